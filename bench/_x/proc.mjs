import express from 'express';
import { pino } from 'pino';
import { configFrom } from '../../dist/config.js';
import { createAppServer } from '../../dist/http/app-server.js';
import { openService } from '../../dist/open-service.js';

const { config } = configFrom({ REDIS_URL: process.env.R, LOG_LEVEL: 'warn', POST_BURST: '100000000' }, []);
const service = await openService(config, pino({ level: 'warn' }));
const app = express();
app.disable('x-powered-by').disable('etag');
app.get('/x', (req, res) => void res.json({ ok: 1 }));
app.use('/', service.router);
const s = createAppServer(app);
if (process.env.U) s.on('upgrade', () => {});
s.listen(7788, '127.0.0.1');
console.log('up');
