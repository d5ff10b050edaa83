import http from 'node:http';
import express from 'express';
import { createAppServer } from '../../dist/http/app-server.js';

const app = express();
app.disable('x-powered-by').disable('etag');
const kind = process.argv[2];
app.get('/x', (req, res) => res.json({ ok: 1 }));
if (kind === 'json') {
  app.use(express.json());
}
app.post('/x', (req, res) => res.status(201).json({ ok: 1 }));
const s =
  kind === 'bare'
    ? http.createServer((q, r) => {
        r.setHeader('content-type', 'application/json');
        r.end('{"ok":1}');
      })
    : kind === 'plainexpress'
      ? http.createServer(app)
      : createAppServer(app);
s.listen(7788, '127.0.0.1');
