import { type Browser, chromium, type LaunchOptions } from 'playwright-core';
import { findProgram } from '../proxies/programs.ts';

type Options = Pick<LaunchOptions, 'ignoreDefaultArgs'>;

const WHOLE = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const SHELL = process.env['CHROMIUM'] ?? findProgram('chromium-headless-shell') ?? WHOLE;

/**
 * The system's Chromium, or the one that `CHROMIUM` names, without a window: its headless shell where there is one,
 * in which a page takes half as long. It has the same engine and network, but neither notifications nor a back/forward
 * cache, and blocks no third-party cookies.
 */
export function launchChromium(args: readonly string[] = []): Promise<Browser> {
  return launch(SHELL, args);
}

/** The same with all that belongs to Chromium. */
export function launchWholeChromium(args: readonly string[] = [], options: Options = {}): Promise<Browser> {
  return launch(WHOLE, args, options);
}

function launch(executablePath: string, args: readonly string[], options: Options = {}): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', ...args],
    ...options,
  });
}
