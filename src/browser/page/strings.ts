/** Everything the page says, in English. `{x}` is put in. The HTML names its strings by these keys. */
const en = {
  rooms: 'Rooms',
  yourRooms: 'Your rooms',
  otherRooms: 'Other rooms',
  filter: 'Find a room',
  newRoom: 'New room',
  people: 'Here now',
  peopleCount: 'Here now: {n}',
  more: 'and {n} more',
  nobody: 'Nobody to be seen right now.',
  you: 'you',
  messages: 'Messages',
  unread: '{n} unread',
  newMessages: 'New messages',
  toLatest: 'To the newest',
  newHere: 'New',
  gap: 'Messages may be missing here',
  beginning: 'This is where the room begins.',
  trimmed: 'Older messages are no longer kept.',
  loading: 'Loading…',
  loadOlder: 'Load older messages',
  empty: 'Nothing said yet. Say hello.',
  today: 'Today',
  yesterday: 'Yesterday',
  writeTo: 'Message to {room}',
  send: 'Send',
  keys: 'Enter sends, Shift+Enter starts a new line',
  left: '{n} characters too many',
  join: 'Join',
  leave: 'Leave',
  logIn: 'Come in',
  logInWhy: 'Pick a name that others will see. No account needed.',
  name: 'Your name',
  logOut: 'Log out',
  settings: 'Settings',
  appearance: 'Appearance',
  auto: 'As the system',
  light: 'Light',
  dark: 'Dark',
  language: 'Language',
  sound: 'Sound for new messages',
  notify: 'Desktop notifications',
  notifyDenied: 'Blocked in this browser’s settings',
  close: 'Close',
  create: 'Create',
  cancel: 'Cancel',
  roomName: 'Name in the address',
  roomNameHint: 'Small letters a–z, digits, - and _',
  roomTitle: 'Title',
  noRoom: 'There is no room “{room}”.',
  toLobby: 'To the lobby',
  pending: 'Waiting to be sent',
  sending: 'Sending…',
  sent: 'Sent',
  failed: 'Not sent',
  retry: 'Try again',
  discard: 'Discard',
  outbox: 'On their way',
  doctor: 'Check network',
  plain: 'Without script',
  ended: 'Your session has ended. Come in again to go on.',
  connecting: 'Connecting…',
  live: 'Live',
  catching: 'Catching up…',
  over: 'Live over {carrier}',
  sse: 'a stream',
  'post-stream': 'a posted stream',
  websocket: 'a WebSocket',
  'long-poll': 'long polls',
  'short-poll': 'short polls',
  held: 'something on the way holds streams back',
  mute: 'the stream went silent',
  cut: 'connections get cut here',
  refused: 'something on the way refuses streams',
  unavailable: 'this browser can’t do better',
  ms: '{n} ms',
  offUnreachable: 'The service can’t be reached',
  offBlocked: 'Something on the way answers in the service’s place',
  offBusy: 'The service asks for patience',
  offEnded: 'Logged out',
  offRefused: 'The service has closed this connection',
  again: 'next try in {n} s',
  tryNow: 'Try now',
  memoryDenied: 'This browser keeps nothing for the page: drafts and unread marks last until it is closed.',
  tooOld: 'too old to be sent by itself',
  eNameTaken: 'Somebody else here has this name already.',
  eInvalid: 'The service doesn’t accept this: {why}',
  eTooFast: 'Too fast. Wait a moment.',
  eRoomExists: 'There is such a room already.',
  eOther: 'That didn’t work: {why}',
};

/** A string's name. */
export type Key = keyof typeof en;
type Strings = { readonly [K in Key]: string };

const de: Strings = {
  rooms: 'Räume',
  yourRooms: 'Deine Räume',
  otherRooms: 'Andere Räume',
  filter: 'Raum suchen',
  newRoom: 'Neuer Raum',
  people: 'Gerade hier',
  peopleCount: 'Gerade hier: {n}',
  more: 'und {n} weitere',
  nobody: 'Gerade ist niemand zu sehen.',
  you: 'du',
  messages: 'Nachrichten',
  unread: '{n} ungelesen',
  newMessages: 'Neue Nachrichten',
  toLatest: 'Zum Neuesten',
  newHere: 'Neu',
  gap: 'Hier fehlen vielleicht Nachrichten',
  beginning: 'Hier beginnt der Raum.',
  trimmed: 'Ältere Nachrichten sind nicht mehr da.',
  loading: 'Lädt…',
  loadOlder: 'Ältere Nachrichten laden',
  empty: 'Noch ist nichts gesagt. Sag Hallo.',
  today: 'Heute',
  yesterday: 'Gestern',
  writeTo: 'Nachricht an {room}',
  send: 'Senden',
  keys: 'Enter sendet, Umschalt+Enter macht eine neue Zeile',
  left: '{n} Zeichen zu viel',
  join: 'Beitreten',
  leave: 'Verlassen',
  logIn: 'Komm herein',
  logInWhy: 'Wähle einen Namen, den andere sehen. Ein Konto braucht es nicht.',
  name: 'Dein Name',
  logOut: 'Abmelden',
  settings: 'Einstellungen',
  appearance: 'Aussehen',
  auto: 'Wie das System',
  light: 'Hell',
  dark: 'Dunkel',
  language: 'Sprache',
  sound: 'Ton bei neuen Nachrichten',
  notify: 'Benachrichtigungen',
  notifyDenied: 'In den Einstellungen des Browsers gesperrt',
  close: 'Schließen',
  create: 'Anlegen',
  cancel: 'Abbrechen',
  roomName: 'Name in der Adresse',
  roomNameHint: 'Kleinbuchstaben a–z, Ziffern, - und _',
  roomTitle: 'Titel',
  noRoom: 'Den Raum „{room}“ gibt es nicht.',
  toLobby: 'Zur Lobby',
  pending: 'Wartet auf das Senden',
  sending: 'Wird gesendet…',
  sent: 'Gesendet',
  failed: 'Nicht gesendet',
  retry: 'Noch einmal',
  discard: 'Verwerfen',
  outbox: 'Unterwegs',
  doctor: 'Netz prüfen',
  plain: 'Ohne Skript',
  ended: 'Deine Sitzung ist zu Ende. Melde dich wieder an.',
  connecting: 'Verbindet…',
  live: 'Verbunden',
  catching: 'Holt nach…',
  over: 'Verbunden über {carrier}',
  sse: 'einen Strom',
  'post-stream': 'einen geposteten Strom',
  websocket: 'einen WebSocket',
  'long-poll': 'lange Abfragen',
  'short-poll': 'kurze Abfragen',
  held: 'etwas unterwegs hält Ströme zurück',
  mute: 'der Strom verstummte',
  cut: 'Verbindungen werden hier gekappt',
  refused: 'etwas unterwegs lehnt Ströme ab',
  unavailable: 'dieser Browser kann nicht mehr',
  ms: '{n} ms',
  offUnreachable: 'Der Dienst ist nicht erreichbar',
  offBlocked: 'Etwas unterwegs antwortet statt des Dienstes',
  offBusy: 'Der Dienst bittet um Geduld',
  offEnded: 'Abgemeldet',
  offRefused: 'Der Dienst hat die Verbindung beendet',
  again: 'nächster Versuch in {n} s',
  tryNow: 'Jetzt versuchen',
  memoryDenied:
    'Dieser Browser merkt sich nichts: Entwürfe und Gelesenes gelten, bis die Seite geschlossen wird.',
  tooOld: 'zu alt, um von selbst gesendet zu werden',
  eNameTaken: 'Diesen Namen hat hier schon jemand.',
  eInvalid: 'Der Dienst nimmt das nicht an: {why}',
  eTooFast: 'Zu schnell. Warte einen Augenblick.',
  eRoomExists: 'Diesen Raum gibt es schon.',
  eOther: 'Das ging nicht: {why}',
};

const ar: Strings = {
  rooms: 'الغرف',
  yourRooms: 'غرفك',
  otherRooms: 'غرف أخرى',
  filter: 'ابحث عن غرفة',
  newRoom: 'غرفة جديدة',
  people: 'الموجودون الآن',
  peopleCount: 'الموجودون الآن: {n}',
  more: 'و{n} آخرون',
  nobody: 'لا أحد هنا الآن.',
  you: 'أنت',
  messages: 'الرسائل',
  unread: '{n} غير مقروءة',
  newMessages: 'رسائل جديدة',
  toLatest: 'إلى الأحدث',
  newHere: 'جديد',
  gap: 'قد تكون هنا رسائل مفقودة',
  beginning: 'هنا تبدأ الغرفة.',
  trimmed: 'لم تعد الرسائل الأقدم محفوظة.',
  loading: 'جارٍ التحميل…',
  loadOlder: 'تحميل رسائل أقدم',
  empty: 'لم يُكتب شيء بعد. ألقِ التحية.',
  today: 'اليوم',
  yesterday: 'أمس',
  writeTo: 'رسالة إلى {room}',
  send: 'إرسال',
  keys: 'Enter للإرسال، Shift+Enter لسطر جديد',
  left: 'أحرف زائدة: {n}',
  join: 'انضمام',
  leave: 'مغادرة',
  logIn: 'تفضّل بالدخول',
  logInWhy: 'اختر اسمًا يراه الآخرون. لا حاجة إلى حساب.',
  name: 'اسمك',
  logOut: 'تسجيل الخروج',
  settings: 'الإعدادات',
  appearance: 'المظهر',
  auto: 'مثل النظام',
  light: 'فاتح',
  dark: 'داكن',
  language: 'اللغة',
  sound: 'صوت عند وصول رسائل',
  notify: 'إشعارات سطح المكتب',
  notifyDenied: 'محظورة في إعدادات المتصفح',
  close: 'إغلاق',
  create: 'إنشاء',
  cancel: 'إلغاء',
  roomName: 'الاسم في العنوان',
  roomNameHint: 'أحرف صغيرة a–z وأرقام و - و _',
  roomTitle: 'العنوان',
  noRoom: 'لا توجد غرفة باسم «{room}».',
  toLobby: 'إلى الردهة',
  pending: 'بانتظار الإرسال',
  sending: 'جارٍ الإرسال…',
  sent: 'أُرسلت',
  failed: 'لم تُرسل',
  retry: 'أعد المحاولة',
  discard: 'تجاهل',
  outbox: 'في الطريق',
  doctor: 'افحص الشبكة',
  plain: 'بدون سكربت',
  ended: 'انتهت جلستك. ادخل من جديد للمتابعة.',
  connecting: 'جارٍ الاتصال…',
  live: 'متصل',
  catching: 'جارٍ اللحاق…',
  over: 'متصل عبر {carrier}',
  sse: 'بث',
  'post-stream': 'بث بطلب POST',
  websocket: 'WebSocket',
  'long-poll': 'استطلاع طويل',
  'short-poll': 'استطلاع قصير',
  held: 'شيء في الطريق يحجز البث',
  mute: 'صمت البث',
  cut: 'الاتصالات تُقطع هنا',
  refused: 'شيء في الطريق يرفض البث',
  unavailable: 'هذا المتصفح لا يستطيع أفضل من ذلك',
  ms: '{n} م.ث',
  offUnreachable: 'تعذّر الوصول إلى الخدمة',
  offBlocked: 'شيء في الطريق يجيب بدل الخدمة',
  offBusy: 'الخدمة تطلب الصبر',
  offEnded: 'تم تسجيل الخروج',
  offRefused: 'أغلقت الخدمة هذا الاتصال',
  again: 'المحاولة التالية بعد {n} ث',
  tryNow: 'حاول الآن',
  memoryDenied: 'هذا المتصفح لا يحفظ شيئًا للصفحة: تبقى المسودات وعلامات القراءة حتى إغلاقها.',
  tooOld: 'أقدم من أن تُرسل تلقائيًا',
  eNameTaken: 'هذا الاسم مستعمل هنا.',
  eInvalid: 'لا تقبل الخدمة هذا: {why}',
  eTooFast: 'أسرع من اللازم. انتظر لحظة.',
  eRoomExists: 'هذه الغرفة موجودة.',
  eOther: 'لم ينجح ذلك: {why}',
};

/** The languages there are, by their own names. */
export const LANGUAGES: Readonly<Record<string, { name: string; dir: 'ltr' | 'rtl'; strings: Strings }>> = {
  en: { name: 'English', dir: 'ltr', strings: en },
  de: { name: 'Deutsch', dir: 'ltr', strings: de },
  ar: { name: 'العربية', dir: 'rtl', strings: ar },
};

/** The first of the wanted languages that there is; English if there is none. */
export function languageFor(wanted: readonly (string | undefined)[]): string {
  const known = wanted.map((tag) => String(tag).toLowerCase().split('-')[0] as string);
  return known.filter((code) => Object.hasOwn(LANGUAGES, code))[0] ?? 'en';
}

/** How the page speaks: strings, and numbers, times and days as they are written in the language. */
export interface Words {
  readonly language: string;
  readonly dir: 'ltr' | 'rtl';
  (key: Key, values?: Readonly<Record<string, string | number>>): string;
  time(at: number): string;
  day(at: number): string;
  moment(at: number): string;
}

/** The page's words in one language. */
export function wordsIn(language: string): Words {
  const { dir, strings } = LANGUAGES[language] as (typeof LANGUAGES)[string];
  const format = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(language, options);
  const times = format({ hour: 'numeric', minute: '2-digit' });
  const moments = format({ dateStyle: 'full', timeStyle: 'medium' });
  const days = format({ weekday: 'long', day: 'numeric', month: 'long' });
  const olderDays = format({ day: 'numeric', month: 'long', year: 'numeric' });
  const say = (key: Key, values: Readonly<Record<string, string | number>> = {}) =>
    strings[key].replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = values[name];
      return typeof value === 'number' ? value.toLocaleString(language) : String(value);
    });
  return Object.assign(say, {
    language,
    dir,
    time: (at: number) => times.format(at),
    moment: (at: number) => moments.format(at),
    day(at: number) {
      const date = new Date(at);
      const today = new Date();
      const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
      if (date.toDateString() === today.toDateString()) return say('today');
      if (date.toDateString() === yesterday.toDateString()) return say('yesterday');
      return (date.getFullYear() === today.getFullYear() ? days : olderDays).format(date);
    },
  });
}

/** Puts the strings into the HTML: `data-t` names an element's text, `data-label`, `data-t-label` (with a tooltip) and `data-t-hint` its attributes. */
export function translate(root: HTMLElement, t: Words): void {
  root.lang = t.language;
  root.dir = t.dir;
  const each = (attribute: string, put: (element: Element, text: string) => void) => {
    for (const element of Array.from(root.querySelectorAll(`[${attribute}]`)))
      put(element, t(element.getAttribute(attribute) as Key));
  };
  each('data-t', (element, text) => {
    element.textContent = text;
  });
  each('data-label', (element, text) => element.setAttribute('aria-label', text));
  each('data-t-label', (element, text) => {
    element.setAttribute('aria-label', text);
    element.setAttribute('title', text);
  });
  each('data-t-hint', (element, text) => element.setAttribute('placeholder', text));
}
