#!/usr/bin/env node
import { pino } from 'pino';
import { configFrom, helpText } from './config.ts';
import { type Log, withoutCommand } from './log/logger.ts';
import { StartError } from './log/start-error.ts';
import { startServer } from './server.ts';

/** Aborts with the first signal to stop; a second one ends the process at once. */
function stopSignal(log: Log): AbortSignal {
  const stopping = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (stopping.signal.aborted) process.exit(1);
      log.info({ signal: name }, 'stopping');
      stopping.abort();
    });
  }
  return stopping.signal;
}

async function main(): Promise<void> {
  const asked = configFrom(process.env, process.argv.slice(2));
  if (asked.kind === 'help') {
    process.stdout.write(`${helpText()}\n`);
    return;
  }
  const log = pino({ level: asked.config.logLevel });
  const stop = stopSignal(log);
  const server = await startServer(asked.config, log, stop).catch((error) => {
    if (stop.aborted) return undefined;
    throw error;
  });
  if (server === undefined) return;
  process.stdout.write(`Throughline is at ${server.url}/\n`);
  const close = () => void server.close().then(() => process.exit(0));
  if (stop.aborted) close();
  else stop.addEventListener('abort', close);
}

main().catch((error) => {
  if (!(error instanceof StartError)) throw withoutCommand(error);
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
