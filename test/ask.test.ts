import { expect, test } from 'vitest';
import { refusalOf } from '../src/browser/ask.ts';
import { REFUSALS } from '../src/chat/refusals.ts';

test('the client knows every refusal of the service, and nobody else’s', () => {
  for (const [code, status] of Object.entries(REFUSALS))
    expect(refusalOf(JSON.stringify({ error: { code, message: 'no' } }), status)).toMatchObject({
      code,
      status,
    });
  for (const body of [
    '{"error":{"code":"Forbidden","message":"no"}}',
    '{"error":{"code":"forbidden"}}',
    '{"error":"no"}',
    'null',
    '<html>',
  ])
    expect(refusalOf(body, 403)).toMatchObject({ code: 'blocked', isPassing: true });
});

test('what asks for patience on the way is listened to where it may, and only there', () => {
  expect(refusalOf('<p>Busy', 503, '60').retryAfterMs).toBe(60_000);
  expect(refusalOf('<p>Log in', 403, '60').retryAfterMs).toBeUndefined();
  expect(refusalOf('<p>Busy', 503, 'Wed, 21 Oct 2026 07:28:00 GMT').retryAfterMs).toBeUndefined();
});
