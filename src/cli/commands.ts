/** Every command there is but `serve`, and what it is for. */
export const USAGES = {
  site: `throughline site add <site> [--title …] [--origin https://…]… [--guests allowed|refused]
throughline site list
throughline site remove <site>
throughline site key <site> [--remove <id>]
throughline site jwt <site> --jwks-url https://… | --public-key <file> [--issuer …] [--audience …] | --none
throughline site webhook add <site> <url> [--events message,presence,closed]
throughline site webhook list [<site>]
throughline site webhook rotate <id> [--now]
throughline site webhook remove <id>
throughline site webhook dead <id>
throughline site webhook resend <id> <event>… | --all`,
  key: `throughline key add <site> [--name …] [--scopes post,rooms,history,revoke,tokens]
throughline key list [<site>]
throughline key revoke <id>`,
  tail: 'throughline tail <room> [--last <n>] [--url …] [--site …] --key tlk_… | --name <guest>',
  post: 'throughline post <room> <text> [--as bot|system] [--client-id …] [--url …] [--site …] --key tlk_… | --name <guest>',
  doctor: 'throughline doctor <url>',
} as const;

export type CommandName = keyof typeof USAGES;

/** Whether the program's first argument is a command of these. */
export function isCommand(name: string | undefined): name is CommandName {
  return name !== undefined && Object.hasOwn(USAGES, name);
}

/** What `--help` prints of the commands. */
export function commandsText(): string {
  const usages = Object.values(USAGES).join('\n').replaceAll(/^/gm, '  ');
  return `Commands; each takes --json:

  throughline serve [--flag value …]
${usages}

site and key work on the Redis of REDIS_URL or DATA_DIR (--redis-url, --data-dir, --namespace), tail and post on the service
at --url (THROUGHLINE_URL, http://localhost:3000), with --key (or THROUGHLINE_API_KEY, which no list of processes shows) or as a guest.`;
}
