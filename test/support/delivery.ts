import { type StreamId, ZERO_ID } from '../../src/chat/ids.ts';
import { DEFAULTS } from '../../src/config.ts';
import { Delivery } from '../../src/delivery/delivery.ts';
import type { Sink } from '../../src/delivery/reader.ts';
import type { LogReader } from '../../src/log/read.ts';

/** A delivery whose window begins, and ends, after `1-0` of the history `e`; `log`: what is asked of the room logs. */
export function newDelivery(
  log: Partial<LogReader> = {},
  options: Partial<typeof DEFAULTS> = {},
  failed: (error: unknown) => void = (error) => {
    throw error;
  },
): Delivery {
  const delivery = new Delivery(
    log as LogReader,
    { ...DEFAULTS, ...options },
    {
      refilled: () => {},
      failed,
      insisting: () => {},
    },
  );
  delivery.refilled({ epoch: 'e', start: ZERO_ID, last: '1-0' as StreamId, entries: [] }, 'start');
  return delivery;
}

/** A sink that takes everything and does nothing with it. */
export const silent: Sink = {
  carrier: 'sse',
  maxBytes: 1e6,
  isFull: false,
  tell: () => {},
  level: () => {},
  end: () => {},
};
