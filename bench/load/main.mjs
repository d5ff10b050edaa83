// The load generator: a process of its own, which rig/side.mjs commands over IPC. It holds all readers and posters of one side.
import { setTimeout as pause } from 'node:timers/promises';
import { NchanDialect } from '../dialects/nchan.mjs';
import { PlainExpressDialect } from '../dialects/plain-express.mjs';
import { SocketIoDialect } from '../dialects/socket-io.mjs';
import { ThroughlineDialect } from '../dialects/throughline.mjs';
import { churn } from './churn.mjs';
import { confirmAll } from './confirm-all.mjs';
import { Crowd } from './crowd.mjs';
import { mark, obey } from './obey.mjs';
import { offer } from './offer.mjs';
import { postMany } from './post-many.mjs';
import { postOnly } from './post-only.mjs';
import { readHistory } from './read-history.mjs';
import { saturate } from './saturate.mjs';
import { comeBack, fallBehind } from './storm.mjs';

const DIALECTS = {
  throughline: ThroughlineDialect,
  nchan: NchanDialect,
  'socket.io': SocketIoDialect,
  plain: PlainExpressDialect,
  // They are asked alike.
  'bare-express': ThroughlineDialect,
  'bare-sessions': ThroughlineDialect,
  'bare-append': ThroughlineDialect,
  bare: ThroughlineDialect,
};

let crowd;

const phases = {
  /** Logs in, makes rooms. */
  async prepare({ side, port, people, rooms = 1, isPolling, textBytes = 90 }) {
    crowd = new Crowd(new DIALECTS[side]({ port }), port);
    crowd.textBytes = textBytes;
    await crowd.dialect.prepare({ people, rooms: crowd.nameRooms(rooms), isPolling });
    return {};
  },
  async open(options) {
    await crowd.open(options);
    return {};
  },
  saturate: (options) => saturate(crowd, { ...options, mark }),
  offer: (options) => offer(crowd, { ...options, mark }),
  fallBehind: (options) => fallBehind(crowd, options),
  comeBack: (options) => comeBack(crowd, { ...options, mark }),
  postOnly: (options) => postOnly(crowd, { ...options, mark }),
  postMany: (options) => postMany(crowd, options),
  confirmAll: (options) => confirmAll(crowd, { ...options, mark }),
  readHistory: (options) => readHistory(crowd, { ...options, mark }),
  churn: (options) => churn(crowd, options),
  async leave(options) {
    const checked = crowd.leave(options);
    await pause(500);
    return { checked };
  },
};

obey(phases, () => {
  if (crowd.broken) throw crowd.broken;
});
