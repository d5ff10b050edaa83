/** Somebody who reads the pages with a browser that runs no script: keeps cookies, fills forms in, follows redirects. */
export class PlainVisitor {
  readonly url: string;
  readonly cookies = new Map<string, string>();
  page = '';
  status = 0;

  constructor(url: string) {
    this.url = url;
  }

  get cookie(): string {
    return Array.from(this.cookies, ([name, value]) => `${name}=${value}`).join('; ');
  }

  /** Loads an address as a link would, following redirects; what it led to is the page. */
  async load(path: string, init: RequestInit = {}): Promise<Response> {
    let url = new URL(path, `${this.url}/plain/`).href;
    let res = await this.fetch(url, init);
    while (res.status === 302 || res.status === 303) {
      await res.text();
      url = new URL(res.headers.get('location') as string, url).href;
      res = await this.fetch(url);
    }
    this.status = res.status;
    this.page = await res.text();
    return res;
  }

  async fetch(url: string, init: RequestInit = {}): Promise<Response> {
    const headers = { ...(init.headers as Record<string, string>), Cookie: this.cookie };
    const res = await fetch(url, { redirect: 'manual', ...init, headers });
    for (const line of res.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      this.cookies.set(name, value);
    }
    return res;
  }

  /** The value of a hidden field of the page. */
  hidden(name: string): string {
    return new RegExp(`name="${name}" value="([^"]*)"`).exec(this.page)?.[1] ?? '';
  }

  /** Sends a form of the page, with its hidden fields. */
  send(action: string, fields: Record<string, string> = {}, headers = {}, room = 'lobby'): Promise<Response> {
    const hidden = { formToken: this.hidden('formToken'), clientId: this.hidden('clientId') };
    const body = new URLSearchParams({ ...hidden, ...fields });
    return this.load(`${room}/${action}`, { method: 'POST', body, headers });
  }

  async logIn(name: string): Promise<this> {
    await this.load('lobby');
    await this.send('log-in', { name });
    return this;
  }

  /** The address of the page's frame. */
  get frame(): string {
    return (/<iframe [^>]*src="([^"]*)"/.exec(this.page)?.[1] ?? '').replaceAll('&amp;', '&');
  }

  /** What stands in the textarea. */
  get kept(): string | undefined {
    return /<textarea[^>]*>\n([^<]*)<\/textarea>/.exec(this.page)?.[1];
  }
}

/** A frame's document as it arrives; it fetches the pictures in it, unless it is one that gets nothing before the end. */
export class LiveFrame {
  text = '';
  refresh = '';
  status = 0;
  hasEnded = false;
  done: Promise<void> = Promise.resolve();
  readonly #stopping = new AbortController();

  static open(visitor: PlainVisitor, src: string, fetchesPictures = true): LiveFrame {
    const frame = new LiveFrame();
    frame.done = frame.#read(visitor, src, fetchesPictures).catch(() => {});
    return frame;
  }

  async #read(visitor: PlainVisitor, src: string, fetchesPictures: boolean): Promise<void> {
    const url = new URL(src, `${visitor.url}/plain/`).href;
    const res = await visitor.fetch(url, { signal: this.#stopping.signal });
    this.status = res.status;
    this.refresh = res.headers.get('refresh') ?? '';
    const decoder = new TextDecoder();
    let proofs = 0;
    for await (const chunk of res.body ?? []) {
      this.text += decoder.decode(chunk, { stream: true });
      const pictures = Array.from(this.text.matchAll(/<img class="proof" src="([^"]*)"/g));
      for (const [, src = ''] of fetchesPictures ? pictures.slice(proofs) : [])
        void visitor.fetch(new URL(src.replaceAll('&amp;', '&'), url).href).catch(() => {});
      proofs = pictures.length;
    }
    this.hasEnded = true;
  }

  /** The messages' texts, in the order in which they stand. */
  get texts(): string[] {
    return textsOf(this.text);
  }

  /** Where its `Refresh` leads, as seen from the folder of the pages. */
  get next(): string {
    return /url=\.\.\/(.*)$/.exec(this.refresh)?.[1] ?? '';
  }

  async cut(): Promise<void> {
    this.#stopping.abort();
    await this.done;
  }
}

/** The texts of the messages in a document, still in HTML. */
export function textsOf(page: string): string[] {
  return Array.from(page.matchAll(/<p class="text" dir="auto">(.*?)<\/p>/gs), ([, text = '']) => text);
}
