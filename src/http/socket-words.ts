import type { RawData, WebSocket } from 'ws';
import { type ClientWord, parseClientWord } from './confirm.ts';

const TOKEN_WITHIN_MS = 5000;
/** Frames behind a token that are kept until it was read whose it is. */
const MOST_EARLY_FRAMES = 4;

/** What a client says in a frame; undefined for what isn't understood. */
export function wordOf(data: RawData): ClientWord | undefined {
  try {
    return parseClientWord(String(data));
  } catch {
    return undefined;
  }
}

interface SaidToken {
  /** Undefined if none came in time. */
  readonly token: string | undefined;
  /** Has what came right behind it heard by whoever listens now. */
  hearEarly(): void;
}

/** The token of the first frame. */
export function tokenSaid(webSocket: WebSocket): Promise<SaidToken> {
  return new Promise((resolve) => {
    const early: [RawData, boolean][] = [];
    let isFirst = true;
    const hearEarly = () => {
      webSocket.off('message', hear);
      for (const [data, isBinary] of early) webSocket.emit('message', data, isBinary);
    };
    const settle = (token?: string) => {
      clearTimeout(timer);
      resolve({ token, hearEarly });
    };
    const hear = (data: RawData, isBinary: boolean) => {
      if (isFirst) {
        isFirst = false;
        const word = isBinary ? undefined : wordOf(data);
        settle(word?.kind === 'token' ? word.token : undefined);
      } else if (early.length < MOST_EARLY_FRAMES) early.push([data, isBinary]);
    };
    const timer = setTimeout(settle, TOKEN_WITHIN_MS);
    webSocket.once('close', () => settle());
    webSocket.on('message', hear);
  });
}
