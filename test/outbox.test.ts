import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Refused } from '../src/browser/ask.ts';
import { type Outbox, type OutboxOptions, openOutbox, type Pending } from '../src/browser/outbox.ts';
import { localStorageStore, memoryStore, openStore } from '../src/browser/outbox-store.ts';
import { FakeStorage } from './support/browser-storage.ts';
import { waitFor } from './support/wait-for.ts';

const HOUR_MS = 3_600_000;

/** A service that takes posts: says each clientId once, as the real one does, unless told to fail first. */
class FakeService {
  readonly said: string[] = [];
  readonly requests: string[] = [];
  readonly ids = new Map<string, string>();
  /** What happens to the next requests: refused before, or after (`lost`), the post was accepted. */
  readonly troubles: (Refused | 'lost' | 'hang')[] = [];
  underway = 0;
  mostUnderway = 0;

  readonly send = async ({ clientId, room, text }: { clientId: string; room: string; text: string }) => {
    this.requests.push(text);
    this.mostUnderway = Math.max(this.mostUnderway, ++this.underway);
    await pause(1);
    this.underway--;
    const trouble = this.troubles.shift();
    if (trouble instanceof Refused) throw trouble;
    if (!this.ids.has(clientId)) {
      this.said.push(`${room}: ${text}`);
      this.ids.set(clientId, `${this.said.length}-0`);
    }
    if (trouble === 'lost') throw new Refused('unreachable', 'lost');
    if (trouble === 'hang') await new Promise(() => {});
    return { id: this.ids.get(clientId) as string };
  };
}

let service: FakeService;
let storage: FakeStorage;
let clock: number;
let opened: Outbox[];
let changes: Pending[];
beforeEach(() => {
  service = new FakeService();
  storage = new FakeStorage();
  clock = Date.now();
  opened = [];
  changes = [];
});
afterEach(() => {
  for (const outbox of opened) outbox.close();
});

/** The outbox of a page; one that is opened later with the same owner is that page reloaded. */
function open(options: Partial<OutboxOptions> = {}): Outbox {
  const outbox = openOutbox({
    store: localStorageStore(storage, 'outbox'),
    user: 'u1',
    owner: 'tab1',
    send: service.send,
    onChange: (post) => changes.push(post),
    now: () => clock,
    random: () => 0,
    ...options,
  });
  opened.push(outbox);
  return outbox;
}

const statusesOf = (text: string) => [
  ...new Set(changes.filter((post) => post.text === text).map(({ status }) => status)),
];
const isSaid = (...lines: string[]) =>
  waitFor(`${lines} to be said`, () => service.said.length >= lines.length);
const isEmpty = () => waitFor('the store to be empty', () => storage.length === 0);
const offline = () => new Refused('unreachable', 'offline');

test('a post is kept, sent, and then no longer kept', async () => {
  const outbox = open();
  const post = outbox.add('lobby', 'hello');
  expect(post).toMatchObject({ room: 'lobby', text: 'hello', status: 'pending', isKept: true });
  expect(post.clientId).toMatch(/^[A-Za-z0-9_-]{22,64}$/);
  await isSaid('lobby: hello');
  await isEmpty();
  expect(statusesOf('hello')).toEqual(['pending', 'sending', 'sent']);
  expect(changes.at(-1)).toMatchObject({ clientId: post.clientId, status: 'sent', id: '1-0' });
  expect(outbox.items()).toEqual([]);
});

test('posts of a room go out one by one and in order, whatever fails and comes back', async () => {
  service.troubles.push(
    offline(),
    'lost',
    new Refused('unsure', '', 503),
    new Refused('blocked', '', 403),
    'lost',
  );
  service.troubles.push(new Refused('too_fast', '', 429, 5));
  const outbox = open();
  const lines = Array.from({ length: 10 }, (_, n) => `lobby: ${n}`);
  for (let n = 0; n < 10; n++) outbox.add('lobby', String(n));
  await isSaid(...lines);
  await isEmpty();
  expect(service.said).toEqual(lines);
  expect(service.mostUnderway).toBe(1);
});

test('a room that is stuck holds up no other room', async () => {
  service.troubles.push('hang');
  const outbox = open();
  outbox.add('lobby', 'stuck');
  outbox.add('lobby', 'behind it');
  outbox.add('garden', 'free');
  await isSaid('lobby: stuck', 'garden: free');
  expect(service.requests).toEqual(['stuck', 'free']);
});

test('the service’s Retry-After is waited for, but not after a wake-up', async () => {
  service.troubles.push(new Refused('too_fast', '', 429, 60_000));
  const outbox = open();
  outbox.add('lobby', 'hello');
  await waitFor('a refusal', () => changes.length > 2 && changes.at(-1)?.status === 'pending');
  await pause(30);
  expect(service.requests).toHaveLength(1);
  outbox.wake();
  await isSaid('lobby: hello');
});

test.each([
  ['invalid_field', 400],
  ['room_closed', 403],
  ['room_forbidden', 403],
])('what is refused for good has failed, and doesn’t hold up what is behind it: %s', async (code, status) => {
  service.troubles.push(new Refused(code, '', status));
  const outbox = open();
  outbox.add('lobby', 'bad');
  outbox.add('lobby', 'good');
  await isSaid('lobby: good');
  await waitFor('one item left', () => outbox.items().length === 1);
  expect(outbox.items()).toMatchObject([{ text: 'bad', status: 'failed', error: code }]);
  const [{ clientId } = { clientId: '' }] = outbox.items();
  outbox.retry(clientId);
  await isSaid('lobby: good', 'lobby: bad');
  expect(service.ids.has(clientId)).toBe(true);
  await isEmpty();
});

test('a discarded post is neither sent nor kept', async () => {
  service.troubles.push(new Refused('invalid_field', '', 400));
  const outbox = open();
  const { clientId } = outbox.add('lobby', 'bad');
  await waitFor('failure', () => outbox.items()[0]?.status === 'failed');
  outbox.discard(clientId);
  await isEmpty();
  expect(changes.at(-1)).toMatchObject({ clientId, status: 'gone' });
  expect(outbox.items()).toEqual([]);
});

test.each([
  ['no_session', 401],
  ['guests_refused', 403],
])('without a session posts wait until the user is back: %s', async (code, status) => {
  service.troubles.push(new Refused(code, '', status));
  const outbox = open();
  outbox.add('lobby', 'one');
  outbox.add('garden', 'two');
  await waitFor('both to wait', () => outbox.items().every(({ status }) => status === 'pending'));
  await pause(20);
  outbox.wake();
  await pause(20);
  expect(service.said.filter((line) => line.startsWith('lobby'))).toEqual([]);
  outbox.resume();
  await isSaid('lobby: one', 'garden: two');
});

test('posts survive a reload, in order, and those written after it come after them', async () => {
  const before = open({ send: async () => Promise.reject(offline()), random: () => 1 });
  before.add('lobby', 'one');
  before.add('lobby', 'two');
  await waitFor('both kept', () => storage.length === 2);
  before.close();
  clock += 1000;
  const outbox = open();
  outbox.add('lobby', 'three');
  await isSaid('lobby: one', 'lobby: two', 'lobby: three');
  expect(service.said).toEqual(['lobby: one', 'lobby: two', 'lobby: three']);
  await isEmpty();
});

test('a tab that crashes while it sends has its post said once', async () => {
  service.troubles.push('hang');
  const crashed = open();
  crashed.add('lobby', 'hello');
  await isSaid('lobby: hello');
  crashed.close();
  open();
  await isEmpty();
  expect(service.requests).toEqual(['hello', 'hello']);
  expect(service.said).toEqual(['lobby: hello']);
});

test('a message that came by counts as sent though its post was never answered', async () => {
  service.troubles.push('hang');
  const outbox = open();
  const { clientId } = outbox.add('lobby', 'hello');
  outbox.add('lobby', 'next');
  await isSaid('lobby: hello');
  outbox.sawMessage(clientId, '1-0');
  expect(changes).toContainEqual(expect.objectContaining({ clientId, status: 'sent', id: '1-0' }));
  await isSaid('lobby: hello', 'lobby: next');
  await isEmpty();
});

test('after 23 hours a post has failed, and only its writer sends it again, as a new one', async () => {
  const before = open({ send: async () => Promise.reject(offline()), random: () => 1 });
  const { clientId } = before.add('lobby', 'hello');
  await waitFor('it is kept', () => storage.length === 1);
  before.close();
  clock += 23 * HOUR_MS + 1;
  const outbox = open();
  await waitFor('failure', () => outbox.items()[0]?.status === 'failed');
  outbox.wake();
  await pause(20);
  expect(outbox.items()).toMatchObject([{ clientId, error: 'too_old' }]);
  expect(service.requests).toEqual([]);
  outbox.retry(clientId);
  await isSaid('lobby: hello');
  expect(service.ids.has(clientId)).toBe(false);
  await isEmpty();
});

test('posts of another user are neither shown nor sent, and are forgotten at last', async () => {
  const before = open({ user: 'u2', send: async () => Promise.reject(offline()), random: () => 1 });
  before.add('lobby', 'secret');
  await waitFor('it is kept', () => storage.length === 1);
  before.close();
  changes = [];
  const outbox = open();
  await outbox.adopt();
  expect([outbox.items(), changes, service.requests, storage.length]).toEqual([[], [], [], 1]);
  clock += (23 + 8 * 24) * HOUR_MS;
  await outbox.refresh();
  await isEmpty();
});

test('what a closed tab left is taken over, what a living one is about to send isn’t', async () => {
  const closed = open({ owner: 'tab2', send: async () => Promise.reject(offline()), random: () => 1 });
  closed.add('lobby', 'left behind');
  await waitFor('it is kept', () => storage.length === 1);
  closed.close();
  const outbox = open();
  await outbox.adopt();
  await pause(20);
  expect(outbox.items()).toMatchObject([{ text: 'left behind', status: 'pending' }]);
  expect(service.requests).toEqual([]);
  clock += 11_000;
  await outbox.adopt();
  await isSaid('lobby: left behind');
  await isEmpty();
});

test('tabs see each other’s changes; a tab doesn’t send what another has discarded', async () => {
  service.troubles.push(offline());
  const one = open({ random: () => 1 });
  const { clientId } = one.add('lobby', 'hello');
  await waitFor('it waits', () => one.items()[0]?.status === 'pending' && service.requests.length === 1);
  const other = open({ owner: 'tab2' });
  await waitFor('the other tab shows it', () => other.items().length === 1);
  other.discard(clientId);
  one.wake();
  await waitFor('it is gone here too', () => one.items().length === 0);
  expect(service.said).toEqual([]);
  await isEmpty();
});

test('a duplicated tab, of the same owner, does no harm', async () => {
  service.troubles.push(offline(), offline());
  const one = open();
  for (let n = 0; n < 5; n++) one.add('lobby', String(n));
  await waitFor('all are kept', () => storage.length === 5);
  open();
  const lines = Array.from({ length: 5 }, (_, n) => `lobby: ${n}`);
  await isSaid(...lines);
  await isEmpty();
  expect(service.said).toEqual(lines);
});

test('a post that can’t be kept is sent all the same, and says so', async () => {
  const outbox = open();
  await outbox.refresh();
  storage.isFull = true;
  outbox.add('lobby', 'hello');
  await isSaid('lobby: hello');
  expect(changes).toContainEqual(expect.objectContaining({ text: 'hello', isKept: false }));
  await waitFor('it is sent', () => outbox.items().length === 0);
});

test('the first store that works is used', async () => {
  expect((await openStore({ localStorage: storage })).kind).toBe('localstorage');
  expect(storage.length).toBe(0);
  storage.isFull = true;
  expect((await openStore({ localStorage: storage })).kind).toBe('memory');
  storage.isDenied = true;
  expect((await openStore({ localStorage: storage })).kind).toBe('memory');
  const indexedDB = {
    open(): never {
      throw new Error('SecurityError');
    },
  };
  expect((await openStore({ indexedDB, localStorage: new FakeStorage() })).kind).toBe('localstorage');
  const denied = {
    get indexedDB(): never {
      throw new Error('SecurityError');
    },
  };
  expect((await openStore(denied)).kind).toBe('memory');
});

test('posts are sent without any store, and aren’t said to survive a reload', async () => {
  const outbox = open({ store: memoryStore() });
  expect(outbox.add('lobby', 'hello').isKept).toBe(false);
  await isSaid('lobby: hello');
});
