import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { StartError } from '../log/start-error.ts';
import { misused, POST_OPTIONS, readArguments } from './arguments.ts';
import { USAGES } from './commands.ts';
import { type Io, tellTo } from './io.ts';
import { beginVisit, JSON_TYPE, jsonOf, reasonOf, refusalIn } from './visit.ts';

const TRIES = 5;
const MAX_WAIT_S = 10;

/** `throughline post <room> <text>`: says one thing, once, also where that takes several tries. */
export async function postCommand(io: Io, args: readonly string[]): Promise<void> {
  const { positionals, values } = readArguments(args, POST_OPTIONS, USAGES.post);
  const [room, text, ...more] = positionals;
  if (room === undefined || text === undefined || more.length > 0) throw misused(USAGES.post);
  const visit = await beginVisit(io, values, USAGES.post);
  const isKey = visit.headers['Authorization'] !== undefined;
  const clientId = values['client-id'] ?? randomUUID();
  const asBot = { ...(values.as && { as: values.as }), ...(values.name && { name: values.name }) };
  const body = jsonOf({ text, clientId, ...(isKey && asBot) });
  try {
    const answer = await insist(io, visit.address(`/api/rooms/${encodeURIComponent(room)}/messages`), {
      method: 'POST',
      headers: { ...visit.headers, ...JSON_TYPE },
      body,
      signal: io.signal,
    });
    const { id, at } = (await answer.json()) as { id: string; at: number };
    tellTo(io, values.json === true)({ id, at, clientId }, id);
  } finally {
    await visit.end();
  }
}

/** Tries again what will pass: it is sent under one `clientId`. Throws a StartError. */
async function insist({ signal }: Io, url: string, init: RequestInit): Promise<Response> {
  for (let tries = 1; ; tries++) {
    let reason: StartError;
    let waitS = 1;
    try {
      const res = await fetch(url, init);
      if (res.ok) return res;
      reason = await refusalIn(res);
      waitS = Math.min(MAX_WAIT_S, Number(res.headers.get('retry-after')) || 1);
      if (res.status < 500 && res.status !== 429) throw reason;
    } catch (error) {
      if (error instanceof StartError) throw error;
      reason = new StartError(`${new URL(url).origin} can’t be reached: ${reasonOf(error)}.`);
    }
    if (tries === TRIES || signal.aborted) throw reason;
    await pause(waitS * 1000, undefined, { signal }).catch(() => {});
  }
}
