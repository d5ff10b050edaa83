import type { MessageEntry } from '../../chat/entries.ts';
import { markOf } from './elements.ts';
import type { Memory } from './storage.ts';
import type { Words } from './strings.ts';

const QUIET_MS = 1500;
/** So long another tab has to show the message to the reader, who then needs no telling. */
const GRACE_MS = 400;

/** What calls somebody back who looks elsewhere: the title, a sound, a notification; the latter two if they want them. */
export function openAlerts(memory: Memory, words: () => Words) {
  let audio: AudioContext | undefined;
  let lastBeep = 0;
  const mayNotify = () => typeof Notification === 'function' && Notification.permission === 'granted';

  const beep = () => {
    if (Date.now() - lastBeep < QUIET_MS || typeof AudioContext !== 'function') return;
    lastBeep = Date.now();
    audio = audio ?? new AudioContext();
    void audio.resume();
    const start = audio.currentTime;
    const volume = audio.createGain();
    volume.gain.setValueAtTime(0.0001, start);
    volume.gain.exponentialRampToValueAtTime(0.12, start + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.35);
    volume.connect(audio.destination);
    [660, 880].forEach((hertz, i) => {
      const tone = (audio as AudioContext).createOscillator();
      tone.frequency.value = hertz;
      tone.connect(volume);
      tone.start(start + i * 0.09);
      tone.stop(start + 0.4);
    });
  };

  return {
    beep,
    wantsSound: () => memory.get('sound') === '1',
    wantsNotifications: () => memory.get('notify') === '1' && mayNotify(),
    isDenied: () => typeof Notification !== 'function' || Notification.permission === 'denied',
    setSound(on: boolean) {
      memory.set('sound', on ? '1' : '0');
      if (on) beep();
    },
    /** Asks the browser's leave, so only ever on a click. Answers whether there will be notifications. */
    async setNotifications(on: boolean): Promise<boolean> {
      if (on && typeof Notification === 'function') await Notification.requestPermission();
      memory.set('notify', on && mayNotify() ? '1' : '0');
      return on && mayNotify();
    },
    title(room: string, unread: number) {
      document.title = `${unread ? `(${unread}) ` : ''}${room ? `${room} · ` : ''}Throughline`;
    },
    /** Tells of a message that nobody sees, unless it turns out that somebody did. */
    tell(message: MessageEntry, room: string, isSeen: () => boolean, open: () => void) {
      setTimeout(() => {
        if (isSeen()) return;
        // Every tab hears the message; the first to say so makes the sound.
        if (memory.get('sound') === '1' && memory.get('rung') !== message.id) {
          memory.set('rung', message.id);
          beep();
        }
        if (memory.get('notify') !== '1' || !mayNotify()) return;
        try {
          const { user } = message;
          const notification = new Notification(`${user.name}${markOf(user, words())} · ${room}`, {
            body: message.text.slice(0, 200),
            tag: `throughline:${message.room}`,
          });
          notification.onclick = () => {
            focus();
            open();
            notification.close();
          };
        } catch {
          // Some browsers, mostly on phones, have the name but let only service workers use it.
        }
      }, GRACE_MS);
    },
  };
}
