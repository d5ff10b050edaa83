// What a Node.js process holds: its heap and what hangs on it, once V8 has thrown away what nobody needs. Resident memory says
// as much about when V8 collected last.
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';

const LIMIT_MS = 10_000;

/** Flags with which a process can be asked, by SIGUSR1; until then they change nothing. */
export const inspectable = (port) => `--inspect-port=${port} --inspect-publish-uid=http`;

/** Has a process that was started with `inspectable(port)` collect, and answers the KB that are left. */
export async function collectedKb(pid, port) {
  process.kill(pid, 'SIGUSR1');
  const signal = AbortSignal.timeout(LIMIT_MS);
  const socket = new WebSocket(await addressAt(port, signal));
  try {
    await once(socket, 'open', { signal });
    let asked = 0;
    const ask = async (method, params) => {
      const id = ++asked;
      socket.send(JSON.stringify({ id, method, params }));
      for (;;) {
        const [data] = await once(socket, 'message', { signal });
        const answer = JSON.parse(data);
        if (answer.id !== id) continue;
        if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
        return answer.result;
      }
    };
    await ask('HeapProfiler.collectGarbage');
    const { result } = await ask('Runtime.evaluate', {
      expression: '(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())',
    });
    if (typeof result.value !== 'number') throw new Error('the process doesn’t tell its memory');
    return result.value / 1024;
  } finally {
    socket.terminate();
  }
}

/** The process opens its inspector soon after the signal. */
async function addressAt(port, signal) {
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/json/list`, { signal });
      const [{ webSocketDebuggerUrl }] = await response.json();
      return webSocketDebuggerUrl;
    } catch (error) {
      if (signal.aborted) throw error;
    }
    await pause(20, undefined, { signal });
  }
}
