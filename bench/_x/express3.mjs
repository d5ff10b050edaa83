import http from 'node:http';
import express from 'express';
import { createAppServer } from '../../dist/http/app-server.js';

const kind = process.argv[2];
const app = express();
app.disable('x-powered-by').disable('etag');
let server;
if (kind === 'direct') {
  app.get('/x', (req, res) => res.json({ ok: 1 }));
}
if (kind === 'routeronly') {
  const router = express.Router();
  router.get('/x', (req, res) => void res.json({ ok: 1 }));
  app.use(router);
}
if (kind === 'two') {
  app.use((q, r, n) => n());
  app.use((q, r, n) => n());
  app.get('/x', (req, res) => res.json({ ok: 1 }));
}
if (kind === 'send') {
  app.get('/x', (req, res) => {
    res.setHeader('content-type', 'application/json');
    res.end('{"ok":1}');
  });
}
if (kind === 'routersend') {
  const router = express.Router();
  router.get('/x', (req, res) => {
    res.setHeader('content-type', 'application/json');
    res.end('{"ok":1}');
  });
  app.use(router);
}
if (kind === 'strict') {
  const router = express.Router({ strict: false });
  router.get('/x', (req, res) => void res.json({ ok: 1 }));
  app.use(router);
}
if (kind === 'slash') {
  const router = express.Router();
  router.get('/x', (req, res) => void res.json({ ok: 1 }));
  app.use('/', router);
}
if (kind === 'pino') {
  await import('pino');
  const router = express.Router();
  router.get('/x', (req, res) => void res.json({ ok: 1 }));
  app.use('/', router);
}
if (kind === 'pino2') {
  const { pino } = await import('pino');
  pino({ level: 'warn' });
  const router = express.Router();
  router.get('/x', (req, res) => void res.json({ ok: 1 }));
  app.use('/', router);
}
if (kind === 'helmet') {
  await import('helmet');
  const router = express.Router();
  router.get('/x', (req, res) => void res.json({ ok: 1 }));
  app.use('/', router);
}
createAppServer(app).listen(7788, '127.0.0.1');
