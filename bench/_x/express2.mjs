import http from 'node:http';
import express from 'express';
import pino from 'pino';
import { createAppServer } from '../../dist/http/app-server.js';
import { logRequests } from '../../dist/http/request-log.js';

const kind = process.argv[2];
const app = express();
app.disable('x-powered-by').disable('etag');
const router = express.Router({ strict: false });
if (kind.includes('log')) router.use(logRequests(pino({ level: 'warn' })));
if (kind.includes('sub')) {
  router.use('/api', express.Router());
  router.use('/plain', express.Router({ strict: true }));
}
router.get('/x', (req, res) => void res.json({ ok: 1 }));
app.use('/', router);
const s = createAppServer(app);
if (kind.includes('upg')) s.on('upgrade', () => {});
if (kind.includes('cluster')) {
}
s.listen(7788, '127.0.0.1');
