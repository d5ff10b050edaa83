import { z } from 'zod';

const SLUG = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** Whether the schema `slug` takes it; told without the schema's machinery. */
export function isSlug(text: unknown): boolean {
  return typeof text === 'string' && SLUG.test(text);
}

/** What sites and rooms are named by, so that it can stand in URLs, cookies and keys as it is. */
export const slug = z
  .string('must be a string')
  .regex(SLUG, 'must be 1 to 64 of a-z, 0-9, _ and -, and begin with a letter or digit');
