import type { User } from '../../chat/users.ts';
import { type Access, ask, Refused } from '../ask.ts';
import type { Bearer } from './bearer.ts';

/** What somebody logs in with: the host's claims, or a guest's name. */
export type Proof = { readonly claims: string } | { readonly name: string };

interface Entered {
  readonly user: User;
  readonly token?: string;
  /** Milliseconds since 1970. */
  readonly expiresAt?: number;
}

/** Logs in where cookies may not be kept: what the browser lets be kept is found out, and a token taken if need be. */
export class Session {
  readonly #access: Access;
  readonly #bearer: Bearer;
  readonly #cookies: CookieJar;
  /** When the token ends, in milliseconds since 1970. */
  endsAt: number | undefined;
  #entering: Promise<unknown> = Promise.resolve();

  constructor(access: Access, bearer: Bearer, cookies: CookieJar = document) {
    this.#access = access;
    this.#bearer = bearer;
    this.#cookies = cookies;
  }

  /** Who is logged in here already. Rejects with `Refused`. */
  async whoIsHere(): Promise<User | undefined> {
    return (await ask<{ user: User | null }>(this.#access, '/session')).user ?? undefined;
  }

  /** Logs in. Rejects with `Refused`; `no_cookies`: for a guest there would have to be some. */
  enter(proof: Proof): Promise<User> {
    const entering = this.#enter(proof);
    this.#entering = Promise.all([this.#entering, entering.catch(() => {})]);
    return entering;
  }

  /** When no log-in is under way any more: the browser keeps its cookie even if nobody waits for the answer. */
  settled(): Promise<unknown> {
    return this.#entering;
  }

  /** Logs out, whoever is here. Rejects with `Refused`. */
  async end(): Promise<void> {
    await this.#entering;
    await ask(this.#access, '/session/end', { body: {} });
    this.forget();
  }

  async #enter(proof: Proof): Promise<User> {
    const kept = this.#bearer.token === undefined ? keptCookies(this.#cookies) : undefined;
    if (kept) {
      const path = kept === 'framed' ? '/session?framed=1' : '/session';
      const { user } = await ask<Entered>(this.#access, path, { body: proof });
      // Only the next request tells whether the browser has kept it.
      const found = await this.whoIsHere();
      if (found && found.id === user.id) return user;
    }
    if (!('claims' in proof)) throw new Refused('no_cookies', 'This browser keeps no cookie here.');
    const { user, token, expiresAt } = await ask<Entered>(this.#access, '/session', {
      body: { claims: proof.claims, token: '1' },
    });
    this.#bearer.token = token;
    this.endsAt = expiresAt;
    return user;
  }

  /** The token is of no use any more. */
  forget(): void {
    this.#bearer.token = this.endsAt = undefined;
  }
}

/** `document`, as far as its cookies go. */
export type CookieJar = Pick<Document, 'cookie'>;

const TRY = 'throughline.try';

/** Which cookies are kept here: those of a page of its own, those of a frame in another site's page, or none. */
export function keptCookies(jar: CookieJar): 'own' | 'framed' | undefined {
  const isKept = (attributes: string) => {
    try {
      jar.cookie = `${TRY}=1${attributes}`;
      const found = jar.cookie.indexOf(`${TRY}=1`) >= 0;
      jar.cookie = `${TRY}=; Max-Age=0${attributes}`;
      return found;
    } catch {
      // Even to look may be denied, as in a sandbox.
      return false;
    }
  };
  if (isKept('; SameSite=Lax')) return 'own';
  return isKept('; SameSite=None; Secure; Partitioned') ? 'framed' : undefined;
}
