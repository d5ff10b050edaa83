/** What an app puts around a text: the same as Throughline's entries have, so that events weigh about the same. */
export function messageOf(room, text, user) {
  const name = `bench ${user}`;
  return JSON.stringify({
    kind: 'message',
    room,
    at: Date.now(),
    user: { id: `guest-${String(user).padStart(12, '0')}`, name, guest: true },
    text,
  });
}
