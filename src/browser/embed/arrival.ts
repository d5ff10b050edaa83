import type { User } from '../../chat/users.ts';
import type { State } from '../feed.ts';
import type { Given } from '../frame-messages.ts';
import { insist } from '../page/insist.ts';
import { codeOf } from '../page/refusals.ts';
import type { Session } from './session.ts';

/** What the arrival of a user needs of whoever shows it. */
export interface ArrivalHost {
  /** Somebody is here: who came, or who was here before with a log-in renewed. */
  entered(user: User): void;
  /** Nobody is, and whoever comes in must do it by hand. */
  door(error?: unknown): void;
  /** New claims are wanted of the host page. `isQuiet`: the door is there meanwhile. */
  askForClaims(isQuiet: boolean): void;
  state(state: State): void;
  /** Hands out what ends a wait at once. */
  onWait(hurry: () => void): void;
}

/** Of a token's life, what is let pass before another is asked for. */
const RENEW_AFTER = 0.7;
/** What new claims of the host may help against. */
const OUTDATED = /^claims_(expired|early|too_long|revoked)$|^no_session$/;

/** So often the host is asked before the door is shown: what is too new after a log-out isn't a second later. */
const PATIENCE = 3;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** Finds out who is here: by the host's claims, by the session there is, or by asking the host. */
export function openArrival(session: Session, given: Given, host: ArrivalHost) {
  let { claims } = given;
  const mayAsk = given.renews === '1';
  /** How often in vain. */
  let asked = 0;
  let turn = 0;
  let renewal: ReturnType<typeof setTimeout> | undefined;

  const ask = () => {
    host.askForClaims(asked >= PATIENCE);
    asked++;
  };
  const arrive = (user: User) => {
    asked = 0;
    clearTimeout(renewal);
    const { endsAt } = session;
    if (endsAt !== undefined && mayAsk) renewal = setTimeout(ask, (endsAt - Date.now()) * RENEW_AFTER);
    host.entered(user);
  };
  const insistFor = (mine: number, lookUp: () => Promise<User | undefined>) =>
    insist(lookUp, { isWanted: () => mine === turn, tell: host.state, onWait: host.onWait });
  const begin = async () => {
    const mine = ++turn;
    // Whoever was logged in here before may not be whom the host knows now.
    if (claims === undefined && mayAsk && !asked) return ask();
    try {
      const user = await insistFor(mine, () =>
        claims === undefined ? session.whoIsHere() : session.enter({ claims }),
      );
      if (mine !== turn) return;
      if (user) arrive(user);
      else host.door();
    } catch (error) {
      if (mine !== turn) return;
      claims = undefined;
      const mayHelp = mayAsk && OUTDATED.test(String(codeOf(error)));
      if (!mayHelp || asked === PATIENCE) host.door(error);
      if (!mayHelp) return;
      if (!asked) return ask();
      // The host's clock may be off until somebody mends it.
      const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (asked - 1));
      clearTimeout(renewal);
      renewal = setTimeout(ask, pauseMs * (0.5 + Math.random() / 2));
    }
  };
  return {
    begin,
    arrive,
    claims: () => claims,
    /** The host vouches for somebody: for the first time, again, or for another. */
    vouched(given: string): Promise<void> {
      claims = given;
      return begin();
    },
    /** The host vouches for nobody: only a guest may be here. */
    async unvouched(): Promise<void> {
      const mine = ++turn;
      claims = undefined;
      try {
        const user = await insistFor(mine, () => session.whoIsHere());
        if (mine !== turn) return;
        if (user?.guest) return arrive(user);
        if (user) await session.end();
        host.door();
      } catch (error) {
        if (mine === turn) host.door(error);
      }
    },
    /** The session has ended: what it came from doesn't bring it back, since that may be what its user left by. */
    lapsed(): Promise<void> {
      claims = undefined;
      session.forget();
      return begin();
    },
    /** Nobody is to come in any more by what was said so far. */
    stop(): void {
      turn++;
      claims = undefined;
      asked = 0;
      clearTimeout(renewal);
    },
  };
}
