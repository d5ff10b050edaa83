/**
 * Every way the service says no, with its HTTP status. Closed: anything else that is thrown is a bug and is
 * answered `internal`. In a stream, the temporary ones (429, 503) come as `bye {code}` instead of a status.
 */
export const REFUSALS = {
  malformed_body: 400,
  invalid_field: 400,
  claims_malformed: 400,
  claims_too_long: 400,
  no_session: 401,
  claims_forged: 401,
  claims_expired: 401,
  claims_early: 401,
  claims_revoked: 401,
  api_key_unknown: 401,
  claims_wrong_site: 403,
  scope_missing: 403,
  origin_refused: 403,
  guests_refused: 403,
  room_forbidden: 403,
  room_closed: 403,
  not_found: 404,
  no_site: 404,
  room_not_found: 404,
  method_not_allowed: 405,
  name_taken: 409,
  room_exists: 409,
  client_id_reused: 409,
  other_user: 409,
  too_many_rooms: 409,
  no_claim_key: 409,
  body_too_large: 413,
  claims_too_large: 413,
  unsupported_type: 415,
  too_fast: 429,
  internal: 500,
  /** Nothing was sent to Redis: safe to try again. */
  unavailable: 503,
  /** Sent to Redis without an answer: try again with the same `clientId`. */
  unsure: 503,
} as const satisfies Record<string, number>;

export type RefusalCode = keyof typeof REFUSALS;

/** What a refusal tells beside its code: the field that is wrong, or how many seconds to wait. */
export interface RefusalDetails {
  readonly field?: string;
  readonly retryAfter?: number;
}

/** A typed no. Nothing was changed by whoever throws it (but for `unsure`, which can't know). */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;
  readonly details: RefusalDetails;

  constructor(code: RefusalCode, message: string, details: RefusalDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }

  get status(): number {
    return REFUSALS[this.code];
  }

  /** The one shape of a refusal on the wire. */
  toJSON(): { error: { code: RefusalCode; message: string } & RefusalDetails } {
    return { error: { code: this.code, message: this.message, ...this.details } };
  }
}
