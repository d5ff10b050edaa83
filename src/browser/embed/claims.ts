/** When claims end, in milliseconds since 1970; 0 if they can’t be read. Verifying them is the service's to do. */
export function endOfClaims(claims: string): number {
  try {
    // `payload.signature`, or a JWT's `header.payload.signature`.
    const parts = claims.split('.');
    const payload = (parts[parts.length - 2] as string).replace(/-/g, '+').replace(/_/g, '/');
    // Whatever its strings are in UTF-8, a number is in ASCII.
    const { exp } = JSON.parse(atob(payload));
    return Number(exp) * 1000 || 0;
  } catch {
    return 0;
  }
}
