import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Waits until a server accepts connections. */
export async function untilUp(child, port, name) {
  for (const end = Date.now() + 15_000; Date.now() < end && child.exitCode === null; ) {
    const socket = connect(port, '127.0.0.1');
    const isUp = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isUp) {
      child.stdout?.resume();
      return;
    }
    await pause(50);
  }
  throw new Error(`${name} did not start`);
}
