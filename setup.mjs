/**
 * Makes a checkout ready to start: `npm run setup`, or `npm run setup -- --tests` for what its tests need as well.
 * It runs before any package is installed, asks nothing, and does only what is still to be done.
 */
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR = 20;
const BUILD_STAMP = join('dist', '.built');

const PROGRAMS = {
  redis: { name: 'Redis', names: ['redis-server', 'valkey-server'] },
  chromium: { name: 'Chromium', names: ['chromium', 'chromium-browser', 'google-chrome'] },
};

/** Of several packages the first that can be had is installed: newer systems have Valkey in Redis' place. */
const MANAGERS = {
  'apt-get': {
    asRoot: true,
    before: 'apt-get -o DPkg::Lock::Timeout=300 update',
    install: 'apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends',
    redis: ['redis-server', 'valkey-server'],
    chromium: ['chromium', 'chromium-browser'],
  },
  dnf: { asRoot: true, install: 'dnf install -y', redis: ['redis', 'valkey'], chromium: ['chromium'] },
  apk: { asRoot: true, install: 'apk add --no-cache', redis: ['redis', 'valkey'], chromium: ['chromium'] },
  brew: { asRoot: false, install: 'brew install', redis: ['redis', 'valkey'], chromium: ['--cask chromium'] },
};

/** Debian starts a service when it installs one, and at each boot; the embedded Redis needs neither. */
const KEEP_SERVICES_STOPPED = `
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' > $policy
  chmod 755 $policy
fi
`;
const DISABLE_SERVICES = `
if command -v systemctl > /dev/null; then
  for service in redis-server valkey-server; do systemctl disable $service > /dev/null 2>&1 || true; done
fi
`;

function main() {
  if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR) {
    fail(`Throughline needs Node ${NODE_MAJOR} or later; this is ${process.versions.node}.`);
  }
  const unknown = process.argv.slice(2).filter((argument) => argument !== '--tests');
  if (unknown.length > 0) fail(`unknown argument ${unknown.join(' ')}; the only one there is is --tests.`);
  const forTests = process.argv.includes('--tests');
  process.chdir(dirname(fileURLToPath(import.meta.url)));

  const hasNewPackages = installPackages();
  installPrograms(forTests);
  build(hasNewPackages);
}

function installPackages() {
  if (!isOutdated()) {
    say('packages: up to date.');
    return false;
  }
  say('packages: installing (npm ci) …');
  // Also where NODE_ENV says production: the build needs the development packages.
  npm(['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund']);
  // npm 11 leaves out install scripts that nobody approved. esbuild does without its own, unless it lacks its binary.
  const isEsbuildWell = succeeds(process.execPath, ['-e', "require('esbuild').transformSync('')"]);
  if (!isEsbuildWell) run(process.execPath, [join('node_modules', 'esbuild', 'install.js')]);
  return true;
}

/** Whether npm's own record of what it installed differs from package-lock.json, or from what is there. */
function isOutdated() {
  const record = join('node_modules', '.package-lock.json');
  if (!existsSync(record)) return true;
  const wanted = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const isSame = (path) =>
    wanted[path]?.version === installed[path]?.version &&
    wanted[path]?.integrity === installed[path]?.integrity;
  const isNeeded = (path) => path !== '' && (!wanted[path].optional || isForThisMachine(wanted[path]));
  return (
    !Object.keys(installed).every((path) => isSame(path) && existsSync(path)) ||
    !Object.keys(wanted).filter(isNeeded).every(isSame)
  );
}

/** Packages that name a C library are left to npm to choose from. */
function isForThisMachine({ os, cpu, libc }) {
  return os?.includes(process.platform) && cpu?.includes(process.arch) && libc === undefined;
}

function installPrograms(forTests) {
  const wanted = [];
  for (const key of forTests ? ['redis', 'chromium'] : ['redis']) {
    const { name, names } = PROGRAMS[key];
    const found = names.map(onPath).find(Boolean);
    if (found) say(`${name}: ${found}.`);
    else if (key === 'redis' && process.env.REDIS_URL && !forTests)
      say(`${name}: none here, but REDIS_URL names one.`);
    else wanted.push(key);
  }
  if (wanted.length === 0) return;

  const names = wanted.map((key) => PROGRAMS[key].name).join(' and ');
  const manager = Object.keys(MANAGERS).find(onPath);
  if (!manager) {
    const programs = wanted.map((key) => PROGRAMS[key].names.join(' or ')).join(', and ');
    fail(
      `${names}: there is no ${Object.keys(MANAGERS).join(', ')} to install with; install ${programs} by hand.`,
    );
  }
  runInstaller(manager, wanted, names);
  for (const key of wanted) {
    const found = PROGRAMS[key].names.map(onPath).find(Boolean);
    if (!found)
      fail(`${manager} ended well, but there is still no ${PROGRAMS[key].names.join(' or ')} on the PATH.`);
    say(`${PROGRAMS[key].name}: installed, ${found}.`);
  }
}

function runInstaller(manager, wanted, names) {
  const { asRoot, before, install, ...packages } = MANAGERS[manager];
  const isDebian = manager === 'apt-get';
  const script = [
    'set -e',
    'export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NONINTERACTIVE=1',
    isDebian ? KEEP_SERVICES_STOPPED : '',
    before ?? '',
    ...wanted.map((key) => packages[key].map((name) => `${install} ${name}`).join(' || ')),
    isDebian && wanted.includes('redis') ? DISABLE_SERVICES : '',
  ].join('\n');
  const isRoot = !asRoot || process.getuid?.() === 0;
  if (!isRoot && !(onPath('sudo') && succeeds('sudo', ['-n', 'true']))) {
    const steps = [before, ...wanted.map((key) => `${install} ${packages[key][0]}`)].filter(Boolean);
    if (isDebian && wanted.includes('redis') && existsSync('/run/systemd/system')) {
      steps.push('systemctl disable --now redis-server');
    }
    const line = `${onPath('sudo') ? 'sudo sh' : 'su'} -c '${steps.join(' && ')}'`;
    fail(`${names}: installing needs root. Run this, and then \`npm run setup\` again:\n${line}`);
  }
  say(`${names}: installing (${manager}) …`);
  if (isRoot) run('sh', ['-c', script], manager);
  else run('sudo', ['-n', 'sh', '-c', script], manager);
}

function build(hasNewPackages) {
  const sources = [
    'src',
    'public',
    ...readdirSync('.').filter((name) => /^(tsconfig.*|package)\.json$/.test(name)),
  ];
  const isBuilt = existsSync(BUILD_STAMP) && Math.max(...sources.map(newest)) < statSync(BUILD_STAMP).mtimeMs;
  if (isBuilt && !hasNewPackages) {
    say('build: up to date.');
    return;
  }
  say('build: running (npm run build) …');
  npm(['run', 'build']);
  mkdirSync(dirname(BUILD_STAMP), { recursive: true });
  writeFileSync(BUILD_STAMP, '');
}

/** The latest change under a path; a folder's own counts too, since it tells of files taken away. */
function newest(path) {
  if (!existsSync(path)) return 0;
  const { mtimeMs } = statSync(path);
  if (!statSync(path).isDirectory()) return mtimeMs;
  return Math.max(mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

function onPath(name) {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .filter(isAbsolute)
    .map((folder) => join(folder, name))
    .find(isProgram);
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The npm that runs this script, if one does. */
function npm(args) {
  const cli = process.env.npm_execpath;
  if (cli?.endsWith('npm-cli.js')) run(process.execPath, [cli, ...args], `npm ${args.join(' ')}`);
  else run('npm', args, `npm ${args.join(' ')}`);
}

/** Runs a program without a standard input to ask on. What it says is shown only where it fails. */
function run(program, args, name = program) {
  const { status, signal, error, stdout, stderr } = spawnSync(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  fail(`${name} failed (${error?.message ?? signal ?? `exit code ${status}`}).`);
}

function succeeds(program, args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

function say(sentence) {
  console.log(sentence);
}

function fail(sentence) {
  console.error(`setup: ${sentence}`);
  process.exit(1);
}

main();
