import { LinkifyIt } from 'linkify-it';
import { make } from './elements.ts';

/** A piece of a text: plain, or one that leads somewhere. */
export interface Piece {
  readonly text: string;
  readonly href?: string;
}

const SAFE = /^(https?|mailto):/i;

/** What finds links. Those without `http://` are guessed only where nobody could mean anything else; `ftp:` and `//` never. */
export const makeFinder = () =>
  new LinkifyIt({ fuzzyLink: true, maxLength: 2000 }).add('ftp:', null).add('//', null);

/** Cuts a text at its links. Only http, https and mailto ever count as such. */
export function piecesOf(text: string, finder: Pick<LinkifyIt, 'match'>): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const { index, lastIndex, url } of finder.match(text) ?? []) {
    if (!SAFE.test(url)) continue;
    if (index > end) pieces.push({ text: text.slice(end, index) });
    pieces.push({ text: text.slice(index, lastIndex), href: url });
    end = lastIndex;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** What makes nodes of texts: text nodes, and links that tell the other end nothing and vouch for nothing. */
export function openLinks(): (text: string) => Node[] {
  const finder = makeFinder();
  return (text) =>
    piecesOf(text, finder).map((piece) => {
      if (piece.href === undefined) return document.createTextNode(piece.text);
      const link = make('a', '', piece.text);
      link.href = piece.href;
      link.target = '_blank';
      link.rel = 'noopener noreferrer nofollow ugc';
      return link;
    });
}
