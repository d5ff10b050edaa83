import { fileURLToPath } from 'node:url';
import express, { type IRoute, type RequestHandler, type Router } from 'express';
import helmet from 'helmet';
import { Refusal } from './chat/refusals.ts';
import { setApiHeaders, setHeadersOfRefusal } from './http/api-headers.ts';
import { showChatPage } from './http/chat-page.ts';
import { confirm } from './http/confirm.ts';
import { shareWithSite } from './http/cors.ts';
import { echoRequest, probePoll, probeStream, takeReport } from './http/doctor.ts';
import { letOthersLoad, letSiteFrame, showEmbedPage } from './http/embed-page.ts';
import { tellHistory } from './http/history.ts';
import { createHostApi, createKeyOnly } from './http/host-api.ts';
import { inTurn } from './http/in-turn.ts';
import { onlyMainSite } from './http/named-site.ts';
import { checkOrigin } from './http/origin.ts';
import { tellPeople } from './http/people.ts';
import {
  changeMembershipByForm,
  logInByForm,
  logOutByForm,
  postByForm,
  refuseByPage,
  showLobby,
} from './http/plain.ts';
import { EntryPrinter } from './http/plain-entries.ts';
import { showLive, takeProof } from './http/plain-live.ts';
import { showRoom } from './http/plain-page.ts';
import { LIVE_POLICY, PAGE_POLICY, PLAIN_POLICY } from './http/policies.ts';
import { poll } from './http/poll.ts';
import { postMessage } from './http/post-message.ts';
import { hasBody, readBody } from './http/read-body.ts';
import { refuse } from './http/refuse.ts';
import { logRequests, logWhenAnswered } from './http/request-log.ts';
import { changeMembership, createRoom, listRooms, tellRoom } from './http/rooms.ts';
import type { Service } from './http/service.ts';
import { logIn, logOut, tellSession } from './http/sessions.ts';
import { stream } from './http/stream.ts';

const PUBLIC_FOLDER = fileURLToPath(new URL('../public/', import.meta.url));
const BODY_BYTES = 64 * 1024;
/** A form takes more than can be posted, so that what is too long comes back to whoever typed it. */
const FORM_BYTES = 512 * 1024;

/** The order of the middleware and the table of routes. Express hands a promise's rejection on by itself. */
export function createRouter(service: Service, tellMetrics?: RequestHandler): Router {
  const router = express.Router({ strict: false });
  router.get('/api/stream', streamAtOnce(service));
  router.use(logRequests(service.log));
  addApi(router, service);
  router.use('/plain', createPlain(service));
  router.get('/healthz', (_req, res) => void res.json({ status: 'up' }));
  router.get('/readyz', async (_req, res) => {
    const isReady = await service.isReady();
    res.status(isReady ? 200 : 503).json({ status: isReady ? 'ready' : 'not ready' });
  });
  if (tellMetrics) router.get('/metrics', tellMetrics);
  router.get('/rooms/:room', helmet(PAGE_POLICY), showChatPage(PUBLIC_FOLDER));
  router.get('/embed/:site/:room', letSiteFrame(service), showEmbedPage(PUBLIC_FOLDER));
  router.use(
    redirectToFolder,
    helmet(PAGE_POLICY),
    express.static(PUBLIC_FOLDER, {
      index: 'index.html',
      extensions: ['html'],
      setHeaders: letOthersLoad,
    }),
  );
  router.use(() => {
    throw new Refusal('not_found', 'There is nothing here.');
  });
  router.use(refuse(service.log, service.counts));
  return router;
}

/** Not a router of its own, which would be another round of matching for each request (`bench/PROFILE.md`). */
function addApi(router: Router, service: Service): void {
  const route = (path: string): IRoute => router.route(`/api${path}` as string);
  const share = shareWithSite(service);
  router.use(
    '/api',
    inTurn(
      setApiHeaders,
      share,
      readBody(BODY_BYTES),
      // API keys come from servers: there is no page whose origin could be checked.
      createHostApi(service),
      // Again: the body may name another site.
      share,
      checkOrigin(service),
    ),
  );

  // Routes are tried in turn, so those that are asked for all the time come first.
  route('/rooms/:room/messages').get(tellHistory(service)).post(postMessage(service)).all(only('GET, POST'));
  route('/stream').head(only('GET, POST')).get(stream(service)).post(stream(service)).all(only('GET, POST'));
  route('/poll').head(only('GET, POST')).get(poll(service)).post(poll(service)).all(only('GET, POST'));
  route('/confirm').post(confirm(service)).all(only('POST'));

  if (service.logInSession) {
    route('/session')
      .get(tellSession(service))
      .post(service.logInSession, logIn(service))
      .all(only('GET, POST'));
    route('/session/end').post(service.logInSession, logOut(service)).all(only('POST'));
  } else {
    route('/session').get(tellSession(service)).all(only('GET'));
  }
  route('/rooms').get(listRooms(service)).post(createRoom(service)).all(only('GET, POST'));
  route('/rooms/:room').get(tellRoom(service)).all(only('GET'));
  route('/rooms/:room/join').post(changeMembership(service, 'join')).all(only('POST'));
  route('/rooms/:room/leave').post(changeMembership(service, 'leave')).all(only('POST'));
  route('/rooms/:room/people').get(tellPeople(service)).all(only('GET'));
  route('/doctor').post(takeReport(service)).all(only('POST'));
  route('/doctor/stream')
    .head(only('GET, POST'))
    .get(probeStream(service))
    .post(probeStream(service))
    .all(only('GET, POST'));
  route('/doctor/poll').head(only('GET')).get(probePoll(service)).all(only('GET'));
  route('/doctor/echo').get(echoRequest(service)).all(only('GET'));
  router.use(
    '/api',
    createKeyOnly(),
    () => {
      throw new Refusal('not_found', 'There is no such route.');
    },
    setHeadersOfRefusal,
    refuse(service.log, service.counts),
  );
}

/**
 * Streams are what everybody asks for at once on coming back, and nearly none of them needs more than its line in the log of what stands
 * before the API's routes: hosts and tokens have an `Authorization`, other sites' pages an `Origin`, only a body is read, and only a POST
 * is checked further. (HEAD comes here as well.) Whatever has one of these goes on to the route behind the middleware.
 */
function streamAtOnce(service: Service): RequestHandler {
  const tell = stream(service);
  return (req, res, next) => {
    const { origin, authorization } = req.headers;
    const needsMore =
      req.method !== 'GET' || origin !== undefined || authorization !== undefined || hasBody(req);
    if (needsMore) return next();
    logWhenAnswered(service.log, req, res);
    return tell(req, res);
  };
}

/** The room without any script. */
function createPlain(service: Service): Router {
  const plain = express.Router({ strict: true });
  const printer = new EntryPrinter();
  plain.use((_req, res, next) => {
    res.set('Cache-Control', 'no-store, no-transform');
    next();
  });
  plain.use(helmet(PLAIN_POLICY), express.urlencoded({ limit: FORM_BYTES, inflate: false, extended: false }));
  plain.use(onlyMainSite);
  plain.route('/').get(showLobby).all(only('GET'));
  plain.route('/:room').get(showRoom(service, printer)).all(only('GET'));
  plain
    .route('/:room/live')
    .head(only('GET'))
    .get(helmet(LIVE_POLICY), showLive(service, printer))
    .all(only('GET'));
  plain.route('/:room/proof').get(takeProof(service)).all(only('GET'));
  if (service.logInSession) {
    plain.route('/:room/log-in').post(service.logInSession, logInByForm(service, printer)).all(only('POST'));
    plain
      .route('/:room/log-out')
      .post(service.logInSession, logOutByForm(service, printer))
      .all(only('POST'));
  }
  plain.route('/:room/post').post(postByForm(service, printer)).all(only('POST'));
  for (const change of ['join', 'leave'] as const) {
    plain
      .route(`/:room/${change}`)
      .post(changeMembershipByForm(service, printer, change))
      .all(only('POST'));
  }
  plain.use(() => {
    throw new Refusal('not_found', 'There is nothing here.');
  });
  plain.use(refuseByPage(service));
  return plain;
}

/** Only GET and POST are used: proxies block the rest. */
function only(allowed: string) {
  return (_req: express.Request, res: express.Response): void => {
    res.set('Allow', allowed);
    throw new Refusal('method_not_allowed', `Only ${allowed} can be used here.`);
  };
}

/** The page's own URLs are relative, so the folder's URL must end with a slash. */
function redirectToFolder(req: express.Request, res: express.Response, next: express.NextFunction): void {
  const [path = ''] = req.originalUrl.split('?', 1);
  // Relative, so that it stays with this host, whatever was asked for.
  if (req.path === '/' && !path.endsWith('/'))
    res.redirect(302, `./${path.slice(path.lastIndexOf('/') + 1)}/${req.originalUrl.slice(path.length)}`);
  else next();
}
