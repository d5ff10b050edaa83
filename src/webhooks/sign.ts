import { createHmac } from 'node:crypto';

/**
 * The headers of a signed call; `timestamp` in seconds since 1970.
 * [spec] Standard Webhooks, "Signature scheme": `v1,` and base64 of the HMAC-SHA256 of `id.timestamp.body`, under the bytes
 * that follow `whsec_` in base64; "Multiple signatures": one for each secret, a space between them.
 */
export function signedHeaders(
  secrets: readonly string[],
  id: string,
  timestamp: number,
  body: string,
): Record<string, string> {
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signatures.join(' '),
  };
}
