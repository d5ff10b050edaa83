import { startServer } from '../../dist/server.js'; import { configFrom } from '../../dist/config.js'; import { pino } from 'pino';
const {config}=configFrom({REDIS_URL:process.env.R, LOG_LEVEL:'warn', PORT:'7788', HOST:'127.0.0.1'},[]);
await startServer(config,pino({level:'warn'})); console.log('up');
