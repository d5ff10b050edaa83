import { type Hook, parseHookDraft } from '../chat/hooks.ts';
import { parseSiteName } from '../chat/sites.ts';
import { DeadLetters } from '../log/dead-letters.ts';
import { HookBook } from '../log/hook-book.ts';
import { JournalGroup } from '../log/journal-group.ts';
import { StartError } from '../log/start-error.ts';
import { send } from '../webhooks/send.ts';
import { HOOK_OPTIONS, listOf, misused, readArguments } from './arguments.ts';
import { USAGES } from './commands.ts';
import { type Io, type Tell, tellTo } from './io.ts';
import { type Books, openBooks } from './open-books.ts';

const RESEND_WITHIN_MS = 10_000;

/** `throughline site webhook add|list|rotate|remove|dead|resend`: who is told what happens at a site. */
export async function webhookCommand(io: Io, args: readonly string[]): Promise<void> {
  const { positionals, values } = readArguments(args, HOOK_OPTIONS, USAGES.site);
  const [action, subject, ...more] = positionals;
  const command = COMMANDS.get(action ?? '');
  if (command === undefined || (subject === undefined && action !== 'list')) throw misused(USAGES.site);
  const books = await openBooks(io, values);
  const { redis, keys } = books;
  try {
    await command({
      io,
      books,
      hooks: new HookBook(redis, keys),
      dead: new DeadLetters(redis, keys),
      tell: tellTo(io, values.json === true),
      subject: subject ?? '',
      more,
      events: listOf(values.events) ?? ['message'],
      isAll: values.all === true,
      isNow: values.now === true,
    });
  } finally {
    await books.close();
  }
}

interface Call {
  readonly io: Io;
  readonly books: Books;
  readonly hooks: HookBook;
  readonly dead: DeadLetters;
  readonly tell: Tell;
  /** The site or the webhook that it is about. */
  readonly subject: string;
  readonly more: readonly string[];
  readonly events: readonly string[];
  readonly isAll: boolean;
  readonly isNow: boolean;
}

const COMMANDS: ReadonlyMap<string, (call: Call) => Promise<void>> = new Map([
  ['add', add],
  ['list', list],
  ['rotate', rotate],
  ['remove', remove],
  ['dead', listDead],
  ['resend', resend],
]);

async function add({ books, hooks, tell, subject, more: [url], events }: Call): Promise<void> {
  const { site } = await books.sites.mustGet(parseSiteName(subject));
  const hook = hooks.make(site, parseHookDraft({ url, events }));
  // Its place first: what is said from now on is told, whenever a process takes it up.
  await groupOf(books, hook).create();
  await hooks.put(hook);
  tell(hook, `${hook.secret}\n(verify with it; ${wordsOf(hook)})`);
}

async function list({ hooks, tell, subject }: Call): Promise<void> {
  const site = subject === '' ? undefined : parseSiteName(subject);
  for (const hook of await hooks.list(site)) {
    tell(withoutSecrets(hook), wordsOf(hook));
  }
}

/** Another secret: receivers change over while both sign, unless the old one isn't safe any more. */
async function rotate({ hooks, tell, subject, isNow }: Call): Promise<void> {
  const hook = await hooks.rotate(subject, isNow);
  if (hook === undefined) throw unknownHook(subject);
  const [former] = hook.retiring;
  const words = former
    ? `the former one signs beside it until ${new Date(former.until).toISOString()}`
    : 'the former one signs no more';
  tell({ ...withoutSecrets(hook), secret: hook.secret }, `${hook.secret}\n(verify with it; ${words})`);
}

async function remove(call: Call): Promise<void> {
  const { books, hooks, dead, tell } = call;
  const hook = await hookOf(call);
  await hooks.remove(hook.id);
  await groupOf(books, hook).destroy();
  await dead.drop(hook.id);
  tell({ removed: hook.id }, `${hook.url} is told nothing more.`);
}

async function listDead(call: Call): Promise<void> {
  const { id } = await hookOf(call);
  for (const letter of await call.dead.list(id)) {
    const { place, type, tries, reason, body } = letter;
    call.tell({ ...letter, event: place }, [place, type, `${tries} tries`, reason, body].join('\t'));
  }
}

/** Sends dead letters once more, from here; what is taken is dead no longer. */
async function resend(call: Call): Promise<void> {
  const { io, dead, tell, more, isAll } = call;
  if (isAll === more.length > 0) throw misused(USAGES.site);
  const hook = await hookOf(call);
  const letters = (await dead.list(hook.id)).filter(({ place }) => isAll || more.includes(place));
  const missing = more.find((place) => !letters.some((letter) => letter.place === place));
  if (missing !== undefined) throw new StartError(`There is no dead letter ${missing}.`);
  let left = 0;
  for (const letter of letters) {
    const failure = await send(hook, letter, RESEND_WITHIN_MS, io.signal);
    if (failure === undefined) await dead.remove(hook.id, letter.place);
    else left++;
    const outcome = failure === undefined ? 'delivered' : failure.reason;
    tell({ event: letter.place, outcome }, `${letter.place}\t${outcome}`);
  }
  if (left > 0) throw new StartError(`${left} of ${letters.length} weren’t taken and stay dead letters.`);
}

async function hookOf({ hooks, subject }: Call): Promise<Hook> {
  const hook = (await hooks.list()).find(({ id }) => id === subject);
  if (hook === undefined) throw unknownHook(subject);
  return hook;
}

function unknownHook(id: string): StartError {
  return new StartError(`There is no webhook ${id}.`);
}

function withoutSecrets({ secret: _, retiring, ...shown }: Hook): object {
  return { ...shown, retiring: retiring.map(({ until }) => ({ until })) };
}

function groupOf({ redis, keysOf }: Books, { site, id }: Hook): JournalGroup {
  return new JournalGroup(redis, keysOf(site), id, 'command');
}

function wordsOf({ id, site, url, events }: Hook): string {
  return [id, site, events.join(','), url].join('\t');
}
