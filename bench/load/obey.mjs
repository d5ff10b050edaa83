/** Runs the phases that the rig asks for over IPC, one at a time; `check` throws where the load broke meanwhile. */
export function obey(phases, check = () => {}) {
  process.on('message', async ({ phase, ...options }) => {
    try {
      const figures = await phases[phase](options);
      check();
      process.send({ figures });
    } catch (error) {
      process.send({ error: error.message });
    }
  });
  process.on('disconnect', () => process.exit(0));
}

/** Tells the rig that what is measured begins (`start`) or is over (`end`). */
export const mark = (name) => process.send({ mark: name });
