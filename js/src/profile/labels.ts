// Owns how threads are called in files that have only text for them; `formats/_labels.py` says the same in Python.
import type { Thread } from './container';

/** Whether threads of more than one process are in the profile. */
export function severalProcesses(threads: readonly Thread[]): boolean {
  return new Set(threads.map(({ host, pid }) => `${host}:${pid}`)).size > 1;
}

/** `MainThread (4242), process 17 on node7`. */
export function threadLabel({ name, tid, pid, host }: Thread, withProcess: boolean): string {
  const process = withProcess ? `, process ${pid}${host ? ` on ${host}` : ''}` : '';
  return `${name} (${tid})${process}`;
}
