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

/** As package.json has it. */
const OLDEST_NODE = [20, 3];
const BUILD_STAMP = join('dist', '.built');

/** Some are for some tests alone, which are left out where such a program can't be had. */
const PROGRAMS = {
  redis: { name: 'Redis', names: ['redis-server', 'valkey-server'] },
  chromium: { name: 'Chromium', names: ['chromium', 'chromium-browser', 'google-chrome'] },
  firefox: { name: 'Firefox', names: ['firefox-esr', 'firefox'], isOptional: true },
  squid: { name: 'Squid', names: ['squid'], isOptional: true },
  nginx: { name: 'nginx', names: ['nginx'], isOptional: true },
  haproxy: { name: 'HAProxy', names: ['haproxy'], isOptional: true },
  apache: { name: 'Apache httpd', names: ['apache2', 'httpd'], isOptional: true },
  caddy: { name: 'Caddy', names: ['caddy'], isOptional: true },
  mitmproxy: { name: 'mitmproxy', names: ['mitmdump'], isOptional: true },
  lynx: { name: 'Lynx', names: ['lynx'], isOptional: true },
  w3m: { name: 'w3m', names: ['w3m'], isOptional: true },
  python: { name: 'Python', names: ['python3'], isOptional: true },
  php: { name: 'PHP', names: ['php'], isOptional: true },
  ruby: { name: 'Ruby', names: ['ruby'], isOptional: true },
  // The JDK: it is what runs a single source file.
  java: { name: 'Java', names: ['javac'], isOptional: true },
};
/** On some systems these aren't on everybody's PATH. */
const FURTHER_FOLDERS = ['/usr/sbin', '/usr/local/sbin'];

/** Of several packages the first that can be had is installed: newer systems have Valkey in Redis' place. */
const MANAGERS = {
  'apt-get': {
    asRoot: true,
    before: 'apt-get -o DPkg::Lock::Timeout=300 update',
    install: 'apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends',
    redis: ['redis-server', 'valkey-server'],
    // In its headless shell most browser tests take half as long; where there is none, Chromium does.
    chromium: ['chromium chromium-headless-shell', 'chromium', 'chromium-browser'],
    firefox: ['firefox-esr', 'firefox'],
    squid: ['squid'],
    nginx: ['nginx-light', 'nginx'],
    haproxy: ['haproxy'],
    apache: ['apache2-bin'],
    caddy: ['caddy'],
    mitmproxy: ['mitmproxy'],
    lynx: ['lynx'],
    w3m: ['w3m'],
    python: ['python3'],
    php: ['php-cli'],
    ruby: ['ruby'],
    java: ['default-jdk-headless'],
  },
  dnf: {
    asRoot: true,
    install: 'dnf install -y',
    redis: ['redis', 'valkey'],
    chromium: ['chromium'],
    firefox: ['firefox'],
    squid: ['squid'],
    nginx: ['nginx'],
    haproxy: ['haproxy'],
    apache: ['httpd mod_ssl'],
    caddy: ['caddy'],
    lynx: ['lynx'],
    w3m: ['w3m'],
    python: ['python3'],
    php: ['php-cli'],
    ruby: ['ruby'],
    java: ['java-latest-openjdk-devel', 'java-21-openjdk-devel'],
  },
  apk: {
    asRoot: true,
    install: 'apk add --no-cache',
    redis: ['redis', 'valkey'],
    chromium: ['chromium'],
    firefox: ['firefox-esr', 'firefox'],
    squid: ['squid'],
    nginx: ['nginx'],
    haproxy: ['haproxy'],
    apache: ['apache2 apache2-proxy apache2-ssl'],
    caddy: ['caddy'],
    mitmproxy: ['mitmproxy'],
    lynx: ['lynx'],
    w3m: ['w3m'],
    python: ['python3'],
    php: ['php-cli', 'php84', 'php83'],
    ruby: ['ruby'],
    java: ['openjdk21', 'openjdk17'],
  },
  brew: {
    asRoot: false,
    install: 'brew install',
    redis: ['redis', 'valkey'],
    chromium: ['--cask chromium'],
    firefox: ['--cask firefox'],
    squid: ['squid'],
    nginx: ['nginx'],
    haproxy: ['haproxy'],
    apache: ['httpd'],
    caddy: ['caddy'],
    mitmproxy: ['mitmproxy'],
    lynx: ['lynx'],
    w3m: ['w3m'],
    python: ['python3'],
    php: ['php'],
    ruby: ['ruby'],
    java: ['openjdk'],
  },
};

/** Debian starts a service when it installs one, and at each boot; what is started here is started by hand. */
const KEEP_SERVICES_STOPPED = `
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' > $policy
  chmod 755 $policy
fi
`;
const SERVICES = {
  redis: ['redis-server', 'valkey-server'],
  squid: ['squid'],
  nginx: ['nginx'],
  haproxy: ['haproxy'],
  caddy: ['caddy'],
};

function main() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
    fail(`Throughline needs Node ${OLDEST_NODE.join('.')} or later; this is ${process.versions.node}.`);
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
  for (const key of forTests ? Object.keys(PROGRAMS) : ['redis']) {
    const { name } = PROGRAMS[key];
    const found = find(key);
    if (found) say(`${name}: ${found}.`);
    else if (key === 'redis' && process.env.REDIS_URL && !forTests)
      say(`${name}: none here, but REDIS_URL names one.`);
    else wanted.push(key);
  }
  if (wanted.length === 0) return;

  const manager = Object.keys(MANAGERS).find(onPath);
  if (!manager) {
    const programs = wanted.map((key) => PROGRAMS[key].names.join(' or ')).join(', and ');
    giveUp(
      wanted,
      `there is no ${Object.keys(MANAGERS).join(', ')} to install with; install ${programs} by hand.`,
    );
    return;
  }
  const toBeHad = wanted.filter((key) => MANAGERS[manager][key]);
  if (toBeHad.length > 0) runInstaller(manager, toBeHad);
  for (const key of wanted) {
    const { name, names, isOptional } = PROGRAMS[key];
    const found = find(key);
    if (found) say(`${name}: installed, ${found}.`);
    else if (isOptional) say(`${name}: not to be had with ${manager}; tests that need it will be skipped.`);
    else fail(`${manager} ended well, but there is still no ${names.join(' or ')} on the PATH.`);
  }
}

function namesOf(keys) {
  const names = keys.map((key) => PROGRAMS[key].name);
  return [names.slice(0, -1).join(', '), names.at(-1)].filter(Boolean).join(' and ');
}

function find(key) {
  return PROGRAMS[key].names.map((name) => onPath(name) ?? inFolders(FURTHER_FOLDERS, name)).find(Boolean);
}

/** Of several packages the first that is to be had; a program that can be done without may fail. */
function installLine(install, key, packages) {
  const tries = packages.map((name) => `${install} ${name}`);
  return [...tries, ...(PROGRAMS[key].isOptional ? ['true'] : [])].join(' || ');
}

/** Without some programs there is nothing to start; without others some tests are left out. */
function giveUp(keys, why) {
  const isOptional = keys.every((key) => PROGRAMS[key].isOptional);
  if (!isOptional) fail(`${namesOf(keys)}: ${why}`);
  say(`${namesOf(keys)}: not here, so tests that need it will be skipped; ${why}`);
}

function runInstaller(manager, wanted) {
  const { asRoot, before, install, ...packages } = MANAGERS[manager];
  const isDebian = manager === 'apt-get';
  const services = isDebian ? wanted.flatMap((key) => SERVICES[key] ?? []) : [];
  const script = [
    'set -e',
    'export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NONINTERACTIVE=1',
    isDebian ? KEEP_SERVICES_STOPPED : '',
    before ?? '',
    ...wanted.map((key) => installLine(install, key, packages[key])),
    ...(services.length > 0 ? ['if command -v systemctl > /dev/null; then'] : []),
    ...services.map((service) => `systemctl disable ${service} > /dev/null 2>&1 || true`),
    ...(services.length > 0 ? ['fi'] : []),
  ].join('\n');
  const isRoot = !asRoot || process.getuid?.() === 0;
  if (!isRoot && !(onPath('sudo') && succeeds('sudo', ['-n', 'true']))) {
    const lines = wanted.map((key) => `(${installLine(install, key, packages[key])})`);
    const steps = [before, ...lines].filter(Boolean);
    if (existsSync('/run/systemd/system')) {
      const first = wanted.flatMap((key) => (isDebian && SERVICES[key]?.[0]) || []);
      if (first.length > 0) steps.push(`systemctl disable --now ${first.join(' ')}`);
    }
    const line = `${onPath('sudo') ? 'sudo sh' : 'su'} -c '${steps.join(' && ')}'`;
    giveUp(wanted, `installing needs root. Run this, and then \`npm run setup\` again:\n${line}`);
    return;
  }
  say(`${namesOf(wanted)}: installing (${manager}) …`);
  if (isRoot) run('sh', ['-c', script], manager);
  else run('sudo', ['-n', 'sh', '-c', script], manager);
}

function build(hasNewPackages) {
  const sources = [
    'src',
    'public',
    'bundle.mjs',
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
  return inFolders((process.env.PATH ?? '').split(delimiter).filter(isAbsolute), name);
}

function inFolders(folders, name) {
  return folders.map((folder) => join(folder, name)).find(isProgram);
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
