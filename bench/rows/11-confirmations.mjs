// What it costs that clients say again and again that they are here: of crowds this is more than the messages.
import { setTimeout as pause } from 'node:timers/promises';
import { whole } from '../rig/formats.mjs';

const CONNECTIONS = 256;
/** In crowds a confirmation is forgotten after a twentieth of LEASE_MS, which is 60 s: then it is Redis' business again. */
const FORGOTTEN_MS = 3500;
/** A session isn't renewed again for half a minute. */
const RENEWED_MS = 31_000;

export const row = 11;
export const title = 'confirmations';

const microseconds = (value) => `${value.toFixed(1)} µs`;

export async function run(measuring) {
  if (!measuring.sides.includes('throughline')) return;
  const people = measuring.pick(20_000, 400);
  for (const [rooms, where] of [
    [measuring.pick(20, 2), 'crowds of 1,000'],
    [measuring.pick(2000, 40), 'rooms of 10'],
  ]) {
    for (const store of measuring.stores) {
      const found = await measuring.one(row, 'throughline', { store, people, rooms }, async (side) => {
        const first = await side.ask('confirmAll', { connections: CONNECTIONS });
        await pause(FORGOTTEN_MS);
        const again = await side.ask('confirmAll', { connections: CONNECTIONS });
        await pause(RENEWED_MS);
        const renewing = await side.ask('confirmAll', { connections: CONNECTIONS });
        return {
          ...figuresOf('first', first),
          ...figuresOf('again', again),
          ...figuresOf('renewing', renewing),
        };
      });
      const state = (label, format, ours) =>
        measuring.state({ row, store, label: `${where}, ${whole(people)} people: ${label}`, format, ours });
      state('first confirmations for each CPU second of the service', whole, found.first);
      state('CPU of Redis for a first one, in which somebody comes', microseconds, found.firstRedisUs);
      // In small rooms it is remembered for longer, so it costs Redis the stream's lease alone.
      state('further confirmations for each CPU second of the service', whole, found.again);
      state('CPU of Redis for a further one', microseconds, found.againRedisUs);
      state('those that renew the session for each CPU second of the service', whole, found.renewing);
      state('CPU of Redis for one that renews the session', microseconds, found.renewingRedisUs);
    }
  }
}

function figuresOf(name, { confirmationsPerSecond, serverCpu, redisCpu }) {
  return {
    [name]: confirmationsPerSecond / (serverCpu - redisCpu),
    [`${name}RedisUs`]: (redisCpu / confirmationsPerSecond) * 1e6,
  };
}
