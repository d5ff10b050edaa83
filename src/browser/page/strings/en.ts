/** What the page's script says, in English. `{x}` is put in. The HTML names its strings by such keys too. */
export const en = {
  yourRooms: 'Your rooms',
  otherRooms: 'Other rooms',
  people: 'Here now',
  peopleCount: 'Here now: {n}',
  more: 'and {n} more',
  nobody: 'Nobody to be seen right now.',
  you: 'you',
  guest: 'guest',
  bot: 'bot',
  moderator: 'moderator',
  admin: 'admin',
  unread: '{n} unread',
  newMessages: 'New messages',
  toLatest: 'To the newest',
  newHere: 'New',
  gap: 'Messages may be missing here',
  beginning: 'This is where the room begins.',
  trimmed: 'Older messages are no longer kept.',
  loading: 'Loading…',
  empty: 'Nothing said yet. Say hello.',
  today: 'Today',
  yesterday: 'Yesterday',
  writeTo: 'Message to {room}',
  keys: 'Enter sends, Shift+Enter starts a new line',
  left: '{n} characters too many',
  join: 'Join',
  leave: 'Leave',
  noRoom: 'There is no room “{room}”, or it isn’t open to you.',
  pending: 'Waiting to be sent',
  notKept: 'lost if this page is closed',
  sending: 'Sending…',
  sent: 'Sent',
  failed: 'Not sent',
  retry: 'Try again',
  discard: 'Discard',
  ended: 'Your session has ended. Come in again to go on.',
  connecting: 'Connecting…',
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
  'off-unreachable': 'The service can’t be reached',
  'off-blocked': 'Something on the way answers in the service’s place',
  'off-busy': 'The service asks for patience',
  'off-session_ended': 'Logged out',
  'off-refused': 'The service has closed this connection',
  again: 'next try in {n} s',
  eInvalid: 'The service doesn’t accept this: {why}',
  eOther: 'That didn’t work: {why}',
};

/** The name of a string that the script says. */
export type Key = keyof typeof en;
/** Those that stand in the HTML alone, and in English are taken from there. */
export type MarkupKey =
  | 'allowCookies'
  | 'appearance'
  | 'auto'
  | 'cancel'
  | 'close'
  | 'closed'
  | 'create'
  | 'dark'
  | 'doctor'
  | 'eClaims'
  | 'eNameTaken'
  | 'eRoomExists'
  | 'eRoomForbidden'
  | 'eTooFast'
  | 'filter'
  | 'language'
  | 'light'
  | 'loadOlder'
  | 'logIn'
  | 'logInWhy'
  | 'logOut'
  | 'membersOnly'
  | 'memoryDenied'
  | 'messages'
  | 'name'
  | 'newRoom'
  | 'noCookies'
  | 'notify'
  | 'notifyDenied'
  | 'outbox'
  | 'plain'
  | 'popOut'
  | 'roomName'
  | 'roomNameHint'
  | 'roomTitle'
  | 'rooms'
  | 'send'
  | 'settings'
  | 'sound'
  | 'toLobby'
  | 'tooOld'
  | 'tryNow';
/** Everything the page says, in one language. */
export type Strings = { readonly [K in Key | MarkupKey]: string };
