import express from 'express';
import session from 'express-session';
import { createThroughline } from 'throughline';
import { chatPage, logInPage } from './pages.js';
import { userWithPassword } from './users.js';

/**
 * An application with a log-in of its own and the chat at /chat. `secret` signs its sessions; all other settings are the
 * chat's. Answers the application, what takes its server's upgrades, and what ends the chat.
 */
export async function createApp({ secret, ...settings }) {
  const app = express();
  // express-session's own store is for one process, and for trying out.
  const sessions = session({
    secret,
    name: 'workshop.sid',
    resave: false,
    saveUninitialized: false,
    // Other sites' forms come without it.
    cookie: { httpOnly: true, sameSite: 'lax', secure: 'auto' },
  });
  const chat = await createThroughline({
    ...settings,
    basePath: '/chat',
    user: (req) => req.session.user,
  });

  app.use(sessions);
  app.use('/chat', chat.router);

  app.get('/', (req, res) => {
    const { user } = req.session;
    if (user) res.set('Cache-Control', 'private, no-store').send(chatPage(user));
    else res.redirect(303, '/log-in');
  });

  app.get('/log-in', (_req, res) => void res.send(logInPage()));

  app.post('/log-in', onlyOwnForms, express.urlencoded({ extended: false }), async (req, res) => {
    const { login, password } = req.body ?? {};
    const user = await userWithPassword(String(login), String(password));
    if (user === undefined) {
      res.status(401).send(logInPage('There is no user of that name and password.'));
      return;
    }
    await settled((done) => req.session.regenerate(done));
    req.session.user = user;
    res.redirect(303, '/');
  });

  app.post('/log-out', onlyOwnForms, async (req, res) => {
    const { user } = req.session;
    // First here, so that nobody is let in any more when the chat ends what is open.
    await settled((done) => req.session.destroy(done));
    if (user)
      await chat.revoke(user.id).catch((error) => console.error('the chat was not told:', error.message));
    res.redirect(303, '/log-in');
  });

  return { app, takeUpgrade: upgradeTo(chat, sessions), close: chat.close };
}

/** Nobody is logged in or out by another site's form; a browser too old to say whose it is has the cookie's SameSite alone. */
function onlyOwnForms(req, res, next) {
  const from = req.get('Sec-Fetch-Site') ?? 'same-origin';
  if (from === 'same-origin') next();
  else res.status(403).send('This form is another site’s.');
}

/** Upgrades pass no middleware: the session is read first. What isn't the chat's nobody takes here. */
function upgradeTo(chat, sessions) {
  return (req, socket, head) => {
    const isChats = req.url?.startsWith('/chat/') && req.headers.upgrade?.toLowerCase() === 'websocket';
    if (isChats) sessions(req, {}, () => chat.upgrade(req, socket, head));
    else socket.destroy();
  };
}

function settled(start) {
  return new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())));
}
