import { Refusal } from '../chat/refusals.ts';
import { StartError } from '../log/start-error.ts';
import { type CommandName, USAGES } from './commands.ts';
import { type Io, visible } from './io.ts';
import { RefusedVisit } from './visit.ts';

type Command = (io: Io, args: readonly string[]) => Promise<void>;

/** Each is loaded only when it is called. */
const COMMANDS: Readonly<Record<CommandName, () => Promise<Command>>> = {
  site: async () => (await import('./site-command.ts')).siteCommand,
  key: async () => (await import('./key-command.ts')).keyCommand,
  tail: async () => (await import('./tail-command.ts')).tailCommand,
  post: async () => (await import('./post-command.ts')).postCommand,
  doctor: async () => (await import('./doctor-command.ts')).doctorCommand,
};

/**
 * Runs a command. Answers the exit code: 1 with a sentence about what is wrong, which with `--json` is JSON as well, and
 * without one where a signal gave it up.
 */
export async function runCommand(io: Io, name: CommandName, args: readonly string[]): Promise<number> {
  const [end] = [args.indexOf('--')].filter((i) => i >= 0);
  if (args.slice(0, end).includes('--help')) {
    io.say(USAGES[name]);
    return 0;
  }
  try {
    const command = await COMMANDS[name]();
    await command(io, args);
    return 0;
  } catch (error) {
    if (io.signal.aborted && error === io.signal.reason) return 1;
    if (!(error instanceof StartError || error instanceof Refusal)) throw error;
    const { message } = error;
    const code = error instanceof Refusal || error instanceof RefusedVisit ? { code: error.code } : {};
    io.complain(visible(args.includes('--json') ? JSON.stringify({ error: { ...code, message } }) : message));
    return 1;
  }
}
