import type { DoctorReport } from './trace.ts';

/** What became of a report that was sent. */
export type Sent =
  | { readonly how: 'counted' | 'no session' | 'unreachable' }
  | { readonly how: 'too fast'; readonly seconds: number }
  | { readonly how: 'refused'; readonly code: string };

/** Sends the closed values to the service that the page came from. Never rejects. */
export async function sendReport(base: string, report: DoctorReport): Promise<Sent> {
  try {
    const response = await fetch(`${base}/api/doctor`, {
      method: 'POST',
      credentials: 'same-origin',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(report),
    });
    if (response.status === 204) return { how: 'counted' };
    const { error } = await response.json();
    if (error.code === 'no_session') return { how: 'no session' };
    if (error.code === 'too_fast') return { how: 'too fast', seconds: Number(error.retryAfter) || 60 };
    return { how: 'refused', code: String(error.code) };
  } catch {
    return { how: 'unreachable' };
  }
}
