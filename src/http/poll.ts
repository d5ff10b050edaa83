import type { Request, Response } from 'express';
import { formatCursor } from '../chat/cursors.ts';
import { Refusal } from '../chat/refusals.ts';
import { roomKey } from '../chat/rooms.ts';
import type { CarrierName } from '../delivery/counts.ts';
import type { Frame } from '../delivery/frame.ts';
import type { Ending, Reader, Sink } from '../delivery/reader.ts';
import type { Encoding, Run } from '../delivery/run.ts';
import { beHere } from './being-here.ts';
import { startDrip } from './drip.ts';
import { hearOf } from './lasting.ts';
import { flagOf, numberOf, parseReading } from './reading-request.ts';
import { toRefusal } from './refuse.ts';
import { mayStillRead, mustEnterAll, mustExistAll } from './rights.ts';
import type { Service } from './service.ts';
import { byeFrame } from './stream-sink.ts';
import { whenOver } from './when-over.ts';

/** Some scanners refuse an answer above 64 KB, so a poll's stays well below: 48 KB with what is around the events. */
const ANSWER_BYTES = 48 * 1024;
const ENVELOPE_BYTES = 256;
/** A short poll waits for no news, but Redis may have to be asked about its cursor. */
const SHORT_WAIT_MS = 5000;

/** An answer's beginning, up to its cursor: all who are told the same share it. */
const inAnswer: Encoding = (frames) =>
  Buffer.from(`{"events":[${frames.map(({ json }) => json.toString()).join(',')}],"cursor":`);

const NO_NEWS = inAnswer([]);

/** Puts answers together; the last one is kept, since all who wait in a room are mostly told the same. */
class Answers {
  #beginning: Buffer | undefined;
  #rest = '';
  #whole = Buffer.alloc(0);

  whole(beginning: Buffer, rest: string): Buffer {
    if (beginning !== this.#beginning || rest !== this.#rest) {
      this.#beginning = beginning;
      this.#rest = rest;
      this.#whole = Buffer.concat([beginning, Buffer.from(rest)]);
    }
    return this.#whole;
  }
}

type Answer = (frames: readonly Frame[], beginning?: Buffer) => void;

/** A stream that hangs up after its first news. */
class PollSink implements Sink {
  readonly maxBytes = ANSWER_BYTES - ENVELOPE_BYTES;
  readonly #answer: Answer;
  readonly #isShort: boolean;
  isFull = false;

  constructor(isShort: boolean, answer: Answer) {
    this.#isShort = isShort;
    this.#answer = answer;
  }

  get carrier(): CarrierName {
    return this.#isShort ? 'short-poll' : 'long-poll';
  }

  tell(run: Run): void {
    this.isFull = true;
    this.#answer(run.frames, run.as(inAnswer));
  }

  level(): void {
    if (!this.#isShort || this.isFull) return;
    this.isFull = true;
    this.#answer([]);
  }

  end(ending: Ending | undefined): void {
    if (ending === undefined || this.isFull) return;
    this.isFull = true;
    this.#answer([byeFrame(ending)]);
  }
}

/**
 * `GET|POST /api/poll`: `{events, cursor, more}` with the first news after a cursor, or with none after `wait` seconds.
 * `wait=0` is a short poll. With `drip=1` blanks come before the JSON, so that no proxy takes the connection for idle;
 * refusals are then in the body, under status 200. Safe to repeat.
 */
export function poll(service: Service) {
  const answers = new Answers();
  return async (req: Request, res: Response): Promise<void> => {
    const asked = parseReading(req);
    const { config, authority, log } = service;
    // A poll renews presence where it begins, so the next one must begin before that lease has ended.
    const maxWaitS = Math.min(config.pollWaitMs, config.leaseMs / 2) / 1000;
    const waitMs = Math.ceil(
      numberOf(asked.parameters, 'wait', { min: 0, max: maxWaitS, otherwise: maxWaitS }) * 1000,
    );
    const timers: NodeJS.Timeout[] = [];
    const ticket = authority.ticketOf(req);
    const { delivery, rooms } = service.shardOf(ticket.site);
    const keys = asked.rooms.map((room) => roomKey(ticket.site, room));
    let reader: Reader | undefined;
    let hasBegun = false;
    const { epoch, end } = delivery.window;
    let cursor = asked.after ?? formatCursor(epoch, end);
    const answer: Answer = (frames, beginning = frames.length === 0 ? NO_NEWS : inAnswer(frames)) => {
      stop();
      if (res.writableEnded) return;
      // One that hasn’t begun stands nowhere yet: the client keeps the cursor that it came with, or starts now.
      if (reader !== undefined && hasBegun) cursor = reader.cursor;
      const more = frames.length > 0 && reader?.ended === undefined && reader?.isLevel === false;
      const whole = answers.whole(beginning, `${JSON.stringify(cursor)},"more":${more}}`);
      if (!res.headersSent) {
        res.setHeader('Content-Type', 'application/json; charset=utf-8');
        res.setHeader('Content-Length', whole.length);
      }
      res.end(whole);
      reader?.end();
    };
    const stop = () => timers.forEach(clearTimeout);
    if (flagOf(asked.parameters, 'drip')) timers.push(startDrip(res));
    try {
      const sink = new PollSink(waitMs === 0, (frames, beginning) => {
        if (hasBegun) answer(frames, beginning);
      });
      reader = delivery.enter({
        rooms: keys,
        addresses: ticket.addresses,
        sink,
        isAllowed: () => mayStillRead(authority, ticket, keys, config.byeSpreadMs),
      });
      whenOver(res, () => {
        stop();
        reader?.end();
      });
      const identity = await authority.identify(ticket);
      hearOf(service, reader, identity);
      mustEnterAll(identity, keys);
      await mustExistAll(rooms, keys);
      beHere(service, ticket, identity, keys).catch((error: unknown) => void toRefusal(error, log));
      if (!reader.ended) timers.push(setTimeout(answer, waitMs || SHORT_WAIT_MS, []));
      await reader.begin(asked.after, () => {
        hasBegun = true;
      });
      const endedBy = reader.ended?.by;
      if (endedBy?.code === 'session_ended' && !hasBegun)
        throw new Refusal('no_session', 'The session has ended.');
      if (endedBy !== undefined && !hasBegun) answer([byeFrame(endedBy)]);
    } catch (error) {
      stop();
      reader?.end();
      if (!res.headersSent) throw error;
      if (res.writableEnded) return;
      const refusal = toRefusal(error, log);
      service.counts.refusals[refusal.code]++;
      res.end(JSON.stringify(refusal));
    }
  };
}
