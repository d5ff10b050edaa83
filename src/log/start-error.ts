/** What stops the service from starting, as one sentence for the operator (printed without a stack, exit 1). */
export class StartError extends Error {
  override readonly name = 'StartError';
}
