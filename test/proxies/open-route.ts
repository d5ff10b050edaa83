import { ChaosProxy } from './chaos.ts';
import { type RunningProxy, startProgram } from './programs.ts';
import type { Route } from './routes.ts';

/** A route that stands: the URL at its near end. */
export interface OpenRoute {
  readonly url: string;
  /** Begins, or begins again: does what it does at first, and later what it does later on. */
  begin(): void;
  stop(): Promise<void>;
}

/** Puts everything that a route is made of in front of a service. */
export async function openRoute(
  { program, rules, later = [] }: Route,
  servicePort: number,
): Promise<OpenRoute> {
  const timers: NodeJS.Timeout[] = [];
  let real: RunningProxy | undefined;
  let chaos: ChaosProxy | undefined;
  if (program) real = await startProgram(program, servicePort);
  if (rules || program?.isForward) {
    const forwards = program?.isForward ? { forwardsTo: servicePort } : {};
    chaos = await ChaosProxy.start({ port: real?.port ?? servicePort, ...forwards }, rules);
  }
  return {
    url: chaos?.url ?? `http://127.0.0.1:${real?.port ?? servicePort}`,
    begin: () => {
      timers.splice(0).forEach(clearTimeout);
      if (chaos && rules) chaos.rules = rules;
      for (const { atMs, rules: next } of later) {
        timers.push(
          setTimeout(() => {
            if (chaos) chaos.rules = next;
          }, atMs),
        );
      }
    },
    stop: async () => {
      timers.forEach(clearTimeout);
      await chaos?.stop();
      await real?.stop();
    },
  };
}
