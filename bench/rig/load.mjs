// The load generator's process, seen from the rig.
import { LOAD_CORE, start, stop } from './processes.mjs';

/** Starts the load generator: `main.mjs`, or another that obeys. */
export function startLoad(program = 'bench/load/main.mjs') {
  const child = start(LOAD_CORE, process.execPath, ['--max-old-space-size=8192', program], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  let onMark = () => {};
  let settle = { resolve: () => {}, reject: () => {} };
  child.on('message', ({ mark, error, figures }) => {
    if (mark !== undefined) onMark(mark);
    else if (error !== undefined) settle.reject(new Error(error));
    else settle.resolve(figures);
  });
  child.once('exit', () => settle.reject(new Error('the load generator ended')));
  return {
    pid: child.pid,
    ask(phase, options, marked) {
      onMark = marked;
      return new Promise((resolve, reject) => {
        settle = { resolve, reject };
        child.send({ phase, ...options });
      });
    },
    close: () => stop(child),
  };
}
