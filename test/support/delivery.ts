import { type StreamId, ZERO_ID } from '../../src/chat/ids.ts';
import { DEFAULTS } from '../../src/config.ts';
import { Delivery } from '../../src/delivery/delivery.ts';
import type { LogReader } from '../../src/log/read.ts';

/** A delivery without room logs, whose window begins, and ends, after `1-0` of the history `e`. */
export function newDelivery(): Delivery {
  const delivery = new Delivery({} as LogReader, DEFAULTS, {
    refilled: () => {},
    failed: (error) => {
      throw error;
    },
  });
  delivery.refilled({ epoch: 'e', start: ZERO_ID, last: '1-0' as StreamId, entries: [] }, 'start');
  return delivery;
}
