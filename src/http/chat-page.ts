import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Request, Response } from 'express';
import { parseRoomName } from '../chat/rooms.ts';

/**
 * `GET /rooms/:room`: the chat's page, one level deeper than `/`. Its links are made relative to there, rather than
 * absolute: a proxy in front may serve all of it under a path that nobody here knows of. A name that no room can have
 * gets the page too, which says so.
 */
export function showChatPage(publicFolder: string) {
  return async (req: Request, res: Response): Promise<void> => {
    if (req.path.endsWith('/'))
      return res.redirect(302, `../${encodeURIComponent(String(req.params['room']))}`);
    const html = await readFile(join(publicFolder, 'index.html'), 'utf8');
    const room = roomOr('lobby', req.params['room']);
    res
      .set('Cache-Control', 'no-cache')
      .type('html')
      .send(html.replaceAll('="./', '="../').replaceAll('plain/lobby', `plain/${room}`));
  };
}

/** The room of this name; another's if no room can have it. */
export function roomOr(other: string, name: unknown): string {
  try {
    return parseRoomName(name);
  } catch {
    return other;
  }
}
