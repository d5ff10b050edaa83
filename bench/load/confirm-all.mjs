// Everybody says once that their stream reaches them and that they are here, as our client does every third of a lease.
import { measured } from './saturate.mjs';

export async function confirmAll(crowd, { connections, mark }) {
  return measured(mark, async () => {
    const start = performance.now();
    const count = await crowd.dialect.confirmAll(
      crowd.rooms.map(({ name }) => name),
      connections,
    );
    return { confirmationsPerSecond: count / ((performance.now() - start) / 1000) };
  });
}
