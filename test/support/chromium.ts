import { type Browser, chromium, type LaunchOptions } from 'playwright-core';
import { findProgram } from '../proxies/programs.ts';

type Options = Pick<LaunchOptions, 'ignoreDefaultArgs'>;

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const WHOLE = process.env['CHROMIUM'] ?? NAMES.map(findProgram).find(Boolean) ?? '/usr/bin/chromium';
const SHELL = process.env['CHROMIUM'] ?? findProgram('chromium-headless-shell') ?? WHOLE;

/**
 * Chromium's headless shell, in which a page takes half as long; without one, or where `CHROMIUM` names a browser, the same as
 * `launchWholeChromium`. It has the same engine and network, but neither notifications nor a back/forward cache, and
 * blocks no third-party cookies, whatever it is told.
 */
export function launchChromium(args: readonly string[] = []): Promise<Browser> {
  return launch(SHELL, args);
}

/** The system's Chromium, or the one that `CHROMIUM` names, without a window. */
export function launchWholeChromium(args: readonly string[] = [], options?: Options): Promise<Browser> {
  return launch(WHOLE, args, options);
}

/** Chromium of somebody who blocks third-party cookies. */
export function launchStrictChromium(): Promise<Browser> {
  return launch(WHOLE, ['--test-third-party-cookie-phaseout']);
}

function launch(executablePath: string, args: readonly string[], options: Options = {}): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', ...args],
    ...options,
  });
}
