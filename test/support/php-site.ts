import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { waitFor } from './wait-for.ts';

const ROOT = join(import.meta.dirname, '../..');
const README = readFileSync(join(ROOT, 'examples/php/README.md'), 'utf8');

/** The commands of the example's README that follow the start of the service, as they stand. */
export const PHP_COMMANDS = [...README.matchAll(/^```sh\n([\s\S]*?)^```$/gm)][1]?.[1] as string;

/** The example's shop, run by the commands of its README. */
export class PhpSite {
  readonly url: string;
  /** What `php -S` has written: a line for each connection and each request. */
  log = '';
  readonly #shell: ChildProcess;
  readonly #exit: Promise<unknown>;

  private constructor(port: number, commands: string, env: Record<string, string>) {
    this.url = `http://127.0.0.1:${port}`;
    // A group of its own: what the shell starts ends with it.
    this.#shell = spawn('sh', ['-e', '-c', commands], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'] as string, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#exit = new Promise((resolve) => this.#shell.once('close', resolve));
    const hear = (bytes: Buffer) => {
      this.log += bytes;
    };
    this.#shell.stdout?.on('data', hear);
    this.#shell.stderr?.on('data', hear);
  }

  /** Runs the commands beside a service whose data folder that is. */
  static async start(serviceUrl: string, dataDir: string): Promise<PhpSite> {
    const port = await freePort();
    const commands = PHP_COMMANDS.replaceAll('127.0.0.1:8000', `127.0.0.1:${port}`).replaceAll(
      'http://127.0.0.1:3000',
      serviceUrl,
    );
    const folder = join(dataDir, 'php');
    await mkdir(folder);
    await writeFile(join(folder, 'sessions.ini'), `session.save_path = "${folder}"\n`);
    // Besides the system's own settings.
    const site = new PhpSite(port, commands, { DATA_DIR: dataDir, PHP_INI_SCAN_DIR: `:${folder}` });
    try {
      await waitFor(
        'the PHP site',
        () => {
          if (site.#shell.exitCode !== null) throw new Error(`the commands have ended: ${site.log}`);
          return /Development Server .* started/.test(site.log);
        },
        20_000,
      );
    } catch (error) {
      await site.stop();
      throw error;
    }
    return site;
  }

  /** What was asked for, such as `POST /order.php`, in order. */
  get requests(): string[] {
    return [...this.log.matchAll(/\[\d{3}\]: (\S+ \S+)/g)].map(([, asked]) => asked as string);
  }

  /** How many connections are open. */
  get connections(): number {
    return this.log.split(' Accepted').length - this.log.split(' Closing').length;
  }

  async stop(): Promise<void> {
    try {
      process.kill(-(this.#shell.pid as number), 'SIGTERM');
    } catch {
      // It has ended by itself.
    }
    await this.#exit;
  }
}
