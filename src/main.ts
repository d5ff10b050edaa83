#!/usr/bin/env node
import { type CommandName, commandsText, isCommand } from './cli/commands.ts';
import { type Config, configFrom, helpText } from './config.ts';
import { type Log, openLog, withoutCommand } from './log/logger.ts';
import { StartError } from './log/start-error.ts';
import { type RunningServer, startServer } from './server.ts';
import { WORKER_ARGUMENT } from './workers/orders.ts';

/** `restart`: puts new processes in the place of those that serve; one that serves alone can't be replaced so. */
type Running = Pick<RunningServer, 'url' | 'close'> & { restart?(): void };

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** Aborts with the first signal to stop; a second one ends the process at once. */
function stopSignal(log: Log, names: readonly NodeJS.Signals[]): AbortSignal {
  const stopping = new AbortController();
  for (const name of names) {
    process.on(name, () => {
      if (stopping.signal.aborted) process.exit(1);
      log.info({ signal: name }, 'stopping');
      stopping.abort();
    });
  }
  return stopping.signal;
}

/** Of the cluster alone; the primary decides when a worker ends, whatever a terminal or systemd sends to all. */
async function work(): Promise<never> {
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, () => {});
  // The primary is gone. Node.js would exit, for which pino writes what it still has to log: for ever, where nobody reads it.
  process.prependListener('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  const { work } = await import('./workers/work.ts');
  process.exit(await work());
}

/** Serves from this process, or from workers; undefined where a signal gave the start up. */
async function start(config: Config, log: Log, stop: AbortSignal): Promise<Running | undefined> {
  try {
    if (config.workers === 1) return await startServer(config, log, stop);
    const { startWorkers } = await import('./workers/start-workers.ts');
    const workers = await startWorkers(config, log, stop);
    const { failure } = workers;
    failure.addEventListener('abort', () => {
      if (!stop.aborted) void workers.close().then(() => fail(failure.reason));
    });
    return workers;
  } catch (error) {
    if (stop.aborted) return undefined;
    throw error;
  }
}

/** Runs one of the operator's commands; a second signal ends it at once. */
async function command(name: CommandName, args: readonly string[]): Promise<void> {
  const { runCommand } = await import('./cli/run-command.ts');
  const ending = new AbortController();
  for (const signal of STOP_SIGNALS) {
    process.on(signal, () => {
      if (ending.signal.aborted) process.exit(1);
      ending.abort();
    });
  }
  // Whoever reads has gone: nothing more is wanted (`… | head -1`).
  process.stdout.on('error', () => ending.abort());
  const io = {
    env: process.env,
    say: (line: string) => void process.stdout.write(`${line}\n`),
    complain: (line: string) => void process.stderr.write(`${line}\n`),
    signal: ending.signal,
  };
  process.exitCode = await runCommand(io, name, args);
}

async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  const [name, ...args] = argv;
  if (name === WORKER_ARGUMENT && process.connected) return work();
  if (isCommand(name)) return command(name, args);
  const asked = configFrom(process.env, name === 'serve' ? args : argv);
  if (asked.kind === 'help') {
    process.stdout.write(`${helpText()}\n\n${commandsText()}\n`);
    return;
  }
  const log = openLog(asked.config.logLevel);
  let running: Running | undefined;
  // Whoever closes the terminal of a process that serves alone wants it to stop.
  const isHungUp = asked.config.workers === 1 && process.stdin.isTTY;
  const stop = stopSignal(log, isHungUp ? [...STOP_SIGNALS, 'SIGHUP'] : STOP_SIGNALS);
  // Unheard it would end the process at once, and leave a private Redis behind.
  if (!isHungUp) {
    process.on('SIGHUP', () => {
      if (running?.restart) running.restart();
      else
        log.warn(
          { signal: 'SIGHUP' },
          'there is nothing to restart in turn: workers are none, or just starting',
        );
    });
  }
  running = await start(asked.config, log, stop);
  // Given up: nothing is left but timers of Redis' client, which go on for 2 s.
  if (running === undefined) process.exit(0);
  process.stdout.write(`Throughline is at ${running.url}/\n`);
  const close = () => void running.close().then(() => process.exit(0));
  if (stop.aborted) close();
  else stop.addEventListener('abort', close);
}

function fail(error: unknown): void {
  if (!(error instanceof StartError)) throw withoutCommand(error);
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

main().catch(fail);
