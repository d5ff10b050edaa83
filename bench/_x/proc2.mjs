import { pino } from 'pino';
import { configFrom } from '../../dist/config.js';
import { startServer } from '../../dist/server.js';

const { config } = configFrom(
  { REDIS_URL: process.env.R, LOG_LEVEL: 'warn', PORT: '7788', HOST: '127.0.0.1' },
  [],
);
await startServer(config, pino({ level: 'warn' }));
console.log('up');
