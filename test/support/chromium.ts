import { type Browser, chromium, type LaunchOptions } from 'playwright-core';

/** The system's Chromium, or the one that `CHROMIUM` names, without a window. */
export function launchChromium(
  args: readonly string[] = [],
  options: Pick<LaunchOptions, 'ignoreDefaultArgs'> = {},
): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', ...args],
    ...options,
  });
}
