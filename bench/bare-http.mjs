// As little as accepts a post by HTTP and has it in Redis before it is answered: node:http, one XADD, no session, no room, no
// check. A yardstick of `npm run bench`: what Node can reach at best on this road.
import { createServer } from 'node:http';
import { Redis } from 'ioredis';

const { PORT = '0', REDIS_PORT } = process.env;
const redis = new Redis(Number(REDIS_PORT), '127.0.0.1', { enableAutoPipelining: true });

async function accept(body, res) {
  const { text } = JSON.parse(body);
  const id = await redis.xadd('messages', 'MAXLEN', '~', '10000', '*', 'data', JSON.stringify({ text }));
  const answer = JSON.stringify({ id });
  res.writeHead(201, { 'Content-Type': 'application/json', 'Content-Length': answer.length });
  res.end(answer);
}

const server = createServer((req, res) => {
  let body = '';
  req.setEncoding('utf8');
  req.on('data', (chunk) => {
    body += chunk;
  });
  req.on('end', () => {
    accept(body, res).catch((error) => res.writeHead(500).end(String(error)));
  });
});
server.listen(Number(PORT), '127.0.0.1', () => {
  process.stdout.write(`bare node:http is at http://127.0.0.1:${server.address().port}/\n`);
});
process.on('SIGTERM', () => process.exit(0));
