/** HTML that may be sent as it is. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Piece = Markup | readonly Markup[] | string | number | undefined;

const NAMED: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** A text as it stands between tags or within a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => NAMED[character] as string);
}

/** A template of HTML: every text put into it is escaped, and only Markup isn’t. Attributes must be quoted. */
export function html(strings: TemplateStringsArray, ...pieces: Piece[]): Markup {
  return new Markup(strings.reduce((text, string, i) => text + markupOf(pieces[i - 1]) + string));
}

function markupOf(piece: Piece): string {
  if (piece === undefined) return '';
  if (piece instanceof Markup) return piece.text;
  if (typeof piece === 'object') return piece.map(({ text }) => text).join('\n');
  return escapeHtml(String(piece));
}

interface DocumentOptions {
  readonly title: string;
  /** The way from the document to the folder `plain/`, in which all its addresses are told. */
  readonly up: string;
  readonly kind: 'page' | 'live';
}

/** A document up to its body; what follows stays open until `FOOT`. */
export function head({ title, up, kind }: DocumentOptions): Markup {
  return html`<!DOCTYPE html>
<html lang="en" class="${kind}-root">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="${up}../favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="${up}../plain.css">
</head>
<body class="${kind}">
`;
}

export const FOOT = new Markup('\n</body>\n</html>\n');

/** The way from a path, as it stands below `plain`, back to that folder: proxies may serve it under any prefix. */
export function wayUp(path: string): string {
  return '../'.repeat(path.split('/').length - 2);
}
