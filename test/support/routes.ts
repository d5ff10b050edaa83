import type { Router } from 'express';
import { expect } from 'vitest';

interface Layer {
  readonly route?: { readonly path: string | string[]; readonly methods: Record<string, boolean> };
  readonly handle: { readonly stack?: Layer[] };
  match(path: string): boolean;
}

/** Every route that the service has, as `GET /api/rooms/:room`, from the table that Express goes by. */
export function routesOf(router: Router): string[] {
  const read = (stack: Layer[], prefix: string): string[] =>
    stack.flatMap((layer) => {
      if (layer.route) {
        const { path, methods } = layer.route;
        return ['get', 'post']
          .filter((name) => methods[name])
          .flatMap((name) => [path].flat().map((one) => `${name.toUpperCase()} ${prefix}${one}`));
      }
      if (layer.handle.stack === undefined) return [];
      const [first, ...others] = ['/api', '/plain', '/elsewhere'].filter((start) =>
        layer.match(`${start}/x`),
      );
      // A router under another path would be walked past without a word; one under none is where its own router is.
      expect([first, others.length]).toEqual(others.length === 0 ? [expect.any(String), 0] : ['/api', 2]);
      return read(layer.handle.stack, others.length > 0 ? prefix : (first as string));
    });
  return read(router.stack as unknown as Layer[], '');
}
