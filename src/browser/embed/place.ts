/** The site and the room that the path of an embed page names, `…/embed/:site/:room`. */
export function placeOfPath(path: string): { site: string; room: string } {
  const [, site = 'main', room = 'lobby'] = /\/embed\/([^/]+)\/([^/]+)\/?$/.exec(path) ?? [];
  return { site: decoded(site), room: decoded(room) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
