import express, { type RequestHandler, type Router } from 'express';
import { Refusal } from '../chat/refusals.ts';
import { forApiKeys, KeyAuthority, needScope, refuseWithoutKey } from './api-key.ts';
import { tellHistory } from './history.ts';
import { closeRoom, createRoomByHost, setMembers } from './host-rooms.ts';
import { makeToken, revokeByHost } from './host-users.ts';
import { postByHost } from './post-by-host.ts';
import { listRooms, tellRoom } from './rooms.ts';
import type { Service } from './service.ts';
import { stream } from './stream.ts';

/** The routes for a host's own server. Requests without an API key pass it by. */
export function createHostApi(service: Service): RequestHandler {
  const api = express.Router();
  const asKey: Service = { ...service, authority: new KeyAuthority(service.apiKeys) };
  api.get('/rooms', needScope('history'), listRooms(asKey));
  api.post('/rooms', needScope('rooms'), createRoomByHost(service));
  api.get('/rooms/:room', needScope('history'), tellRoom(asKey));
  api.post('/rooms/:room/close', needScope('rooms'), closeRoom(service));
  api.post('/rooms/:room/members', needScope('rooms'), setMembers(service));
  api.get('/rooms/:room/messages', needScope('history'), tellHistory(asKey));
  api.post('/rooms/:room/messages', needScope('post'), postByHost(service));
  api.get('/stream', needScope('history'), stream(asKey));
  api.post('/tokens', needScope('tokens'), makeToken(service));
  api.post('/users/:id/revoke', needScope('revoke'), revokeByHost(service));
  api.use(() => {
    throw new Refusal('not_found', 'There is no such route for API keys.');
  });
  return forApiKeys(service, api);
}

/** Says to whoever comes without an API key that these want one. */
export function createKeyOnly(): Router {
  const api = express.Router();
  const wanting = ['/rooms/:room/close', '/rooms/:room/members', '/tokens', '/users/:id/revoke'];
  api.post(wanting, refuseWithoutKey);
  return api;
}
