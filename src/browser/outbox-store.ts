/** A post that waits to be sent, as it is kept. */
export interface StoredPost {
  readonly clientId: string;
  /** The id of the user who wrote it: nobody else's session may send it. */
  readonly user: string;
  /** The tab that sends it. */
  readonly owner: string;
  readonly room: string;
  readonly text: string;
  /** When it was written, ms since 1970. */
  readonly at: number;
  /** When its owner last tried to send it. */
  readonly touchedAt: number;
  readonly status: 'pending' | 'failed';
  /** Why it failed: a refusal's code, or `too_old`. */
  readonly error?: string | undefined;
}

/** Where posts wait; all tabs share it, unless it is `memory`. */
export interface OutboxStore {
  /** `memory` doesn't survive a reload. */
  readonly kind: 'indexeddb' | 'localstorage' | 'memory';
  all(): Promise<StoredPost[]>;
  put(post: StoredPost): Promise<void>;
  delete(clientId: string): Promise<void>;
}

interface Listening {
  onsuccess: (() => void) | null;
  onerror: (() => void) | null;
}

interface Request<T> extends Listening {
  readonly result: T;
}

interface ObjectStore {
  getAll(): Request<StoredPost[]>;
  put(post: StoredPost): Request<unknown>;
  delete(clientId: string): Request<unknown>;
}

interface Database {
  createObjectStore(name: string, options: { keyPath: string }): unknown;
  transaction(
    name: string,
    mode: 'readwrite',
  ): {
    oncomplete: (() => void) | null;
    onabort: (() => void) | null;
    readonly error: unknown;
    objectStore(name: string): ObjectStore;
  };
  close(): void;
  onversionchange: (() => void) | null;
}

/** What is used of a browser's IDBFactory; this is checked without the DOM's types too. */
export interface DatabaseFactory {
  open(name: string): Request<unknown> & { onupgradeneeded: (() => void) | null };
}

const POSTS = 'posts';

/** Posts in an IndexedDB database. */
export function indexedDbStore(factory: DatabaseFactory, name: string): OutboxStore {
  let opened: Promise<Database> | undefined;
  const open = () =>
    new Promise<Database>((resolve, reject) => {
      const request = factory.open(name);
      const database = () => request.result as Database;
      request.onupgradeneeded = () => database().createObjectStore(POSTS, { keyPath: 'clientId' });
      request.onsuccess = () => {
        // Or else this tab would keep another from deleting the database.
        database().onversionchange = () => database().close();
        resolve(database());
      };
      request.onerror = () => reject(new Error('no database'));
    });
  const run = async <T>(act: (posts: ObjectStore) => Request<T>): Promise<T> => {
    try {
      opened = opened ?? open();
      const transaction = (await opened).transaction(POSTS, 'readwrite');
      const request = act(transaction.objectStore(POSTS));
      // A request that succeeded isn't kept yet: only its transaction's end says so.
      await new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error);
      });
      return request.result;
    } catch (error) {
      opened = undefined;
      throw error;
    }
  };
  return {
    kind: 'indexeddb',
    all: () => run((posts) => posts.getAll()),
    put: async (post) => void (await run((posts) => posts.put(post))),
    delete: async (clientId) => void (await run((posts) => posts.delete(clientId))),
  };
}

/** What is used of a browser's Storage. */
export interface PostStorage {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** Posts in a localStorage, one key for each, so that tabs don't overwrite one another's. */
export function localStorageStore(storage: PostStorage, name: string): OutboxStore {
  const prefix = `${name}:`;
  return {
    kind: 'localstorage',
    async all() {
      const posts: StoredPost[] = [];
      for (let index = 0; index < storage.length; index++) {
        const key = storage.key(index) ?? '';
        const json = key.startsWith(prefix) && storage.getItem(key);
        try {
          if (json) posts.push(JSON.parse(json));
        } catch {
          // Somebody else's, or broken: one that can't be read mustn't hold up the others.
        }
      }
      return posts;
    },
    put: async (post) => storage.setItem(prefix + post.clientId, JSON.stringify(post)),
    delete: async (clientId) => storage.removeItem(prefix + clientId),
  };
}

/** Posts that a reload forgets. */
export function memoryStore(): OutboxStore {
  const posts = new Map<string, StoredPost>();
  return {
    kind: 'memory',
    all: async () => [...posts.values()],
    put: async (post) => void posts.set(post.clientId, post),
    delete: async (clientId) => void posts.delete(clientId),
  };
}

/** What a browser offers to keep things in. Denied storage may throw already when it is named. */
export interface Storages {
  readonly indexedDB?: DatabaseFactory | undefined;
  readonly localStorage?: PostStorage | undefined;
}

/** A database that doesn't answer is as good as none. */
const ANSWER_WITHIN_MS = 2000;

/** The first store that keeps what is put into it; private windows and policies may deny any of them. */
export async function openStore(storages: Storages, name = 'throughline-outbox'): Promise<OutboxStore> {
  const makers = [
    () => storages.indexedDB && indexedDbStore(storages.indexedDB, name),
    () => storages.localStorage && localStorageStore(storages.localStorage, name),
  ];
  for (const make of makers) {
    try {
      const store = make();
      if (store && (await works(store))) return store;
    } catch {
      // Denied: the next one.
    }
  }
  return memoryStore();
}

async function works(store: OutboxStore): Promise<boolean> {
  const clientId = `probe-${Math.random()}`;
  const probe = { clientId, user: '', owner: '', room: '', text: '', at: 0, touchedAt: 0, status: 'failed' };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ANSWER_WITHIN_MS, false);
  });
  const kept = store.put(probe as StoredPost).then(() => store.delete(clientId));
  const doesWork = await Promise.race([kept.then(() => true), late]);
  clearTimeout(timer);
  return doesWork;
}
