#!/usr/bin/env node
import { pino } from 'pino';
import { configFrom, helpText } from './config.ts';
import { StartError } from './log/start-error.ts';
import { startServer } from './server.ts';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

try {
  const asked = configFrom(process.env, process.argv.slice(2));
  if (asked.kind === 'help') {
    process.stdout.write(`${helpText()}\n`);
  } else {
    const { config } = asked;
    const log = pino({ level: config.logLevel });
    const server = await startServer(config, log);
    process.stdout.write(`Throughline is at ${server.url}/\n`);
    let isClosing = false;
    const stop = async (signal: string) => {
      if (isClosing) process.exit(1);
      isClosing = true;
      log.info({ signal }, 'stopping');
      await server.close();
      process.exit(0);
    };
    for (const signal of SIGNALS) process.on(signal, () => void stop(signal));
  }
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
