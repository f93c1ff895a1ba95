// Owns which processes a profile has: who made whom, which threads are whose, and which play the same role.
import type { Profile, Thread } from './container';
import type { ThreadRow } from './rows';
import type { ThreadTimes } from './threads';

/** A process, or all those of one role. */
export interface ProcessChoice {
  readonly label: string;
  /** How many of the profile's processes are above it. */
  readonly depth: number;
  readonly threads: readonly ThreadRow[];
  /** Nanoseconds that its samples stand for. */
  readonly weight: number;
}

/** One process; its threads the busiest first. */
export interface Process extends ProcessChoice {
  readonly key: string;
  readonly role: string;
}

const keyOf = (host: string, pid: number): string => `${host}\0${pid}`;

/** `ForkPoolWorker` of `ForkPoolWorker-3`: what the workers of a pool have in common. */
function roleOf(name: string): string {
  return name.replace(/[-\s#]*\d+$/, '') || name;
}

/** What a process is called: as its main thread, or as what stands before the names of its others. */
function nameOf(threads: readonly Thread[], pid: number): string {
  const main = threads.find(({ tid }) => tid === pid);
  if (main) return main.name;
  const before = /^(.*?): /.exec(threads[0].name);
  return before ? before[1] : threads[0].name;
}

/** Each process before those that it made; siblings by their time. Processes without samples are left out. */
export function processTree({ threads, meta }: Profile, times: readonly ThreadTimes[]): Process[] {
  const rows = new Map<string, ThreadRow[]>();
  threads.forEach(({ host, pid }, row) => {
    const key = keyOf(host, pid);
    const of = rows.get(key);
    if (of) of.push(row as ThreadRow);
    else rows.set(key, [row as ThreadRow]);
  });
  const makers = new Map(
    meta.processes.map(({ host, pid, ppid }) => [keyOf(host, pid), [keyOf(host, ppid), keyOf('', ppid)]]),
  );
  const found = [...rows].map(([key, of]) => {
    const { pid, host } = threads[of[0]];
    const name = nameOf(
      of.map((row) => threads[row]),
      pid,
    );
    const weight = of.reduce((sum, row) => sum + times[row].weight, 0);
    const maker = makers.get(key)?.find((above) => above !== key && rows.has(above)) ?? null;
    return {
      key,
      maker,
      role: roleOf(name),
      label: `${name} · ${host ? `${host} ` : ''}pid ${pid}`,
      threads: [...of].sort((a, b) => times[b].weight - times[a].weight),
      weight,
    };
  });
  const made: Process[] = [];
  const seen = new Set<string>();
  const add = (maker: string | null, depth: number): void => {
    const below = found.filter((each) => each.maker === maker && !seen.has(each.key));
    for (const { maker: _, ...each } of below.sort((a, b) => b.weight - a.weight)) {
      seen.add(each.key);
      made.push({ ...each, depth });
      add(each.key, depth + 1);
    }
  };
  add(null, 0);
  // Numbers that were given out again may make a circle of what no process made.
  for (const { maker: _, ...each } of found) if (!seen.has(each.key)) made.push({ ...each, depth: 0 });
  return made;
}

/** Processes that play the same role together, such as the workers of a pool; only roles of several. */
export function roleChoices(processes: readonly Process[]): ProcessChoice[] {
  const roles = new Map<string, Process[]>();
  for (const each of processes) roles.set(each.role, [...(roles.get(each.role) ?? []), each]);
  return [...roles]
    .filter(([, of]) => of.length > 1)
    .map(([role, of]) => ({
      label: `${of.length} × ${role}`,
      depth: 0,
      threads: of.flatMap(({ threads }) => threads),
      weight: of.reduce((sum, { weight }) => sum + weight, 0),
    }));
}

/** Whether a choice is of exactly these threads. */
export function isOf(choice: ProcessChoice, threads: ReadonlySet<ThreadRow>): boolean {
  return choice.threads.length === threads.size && choice.threads.every((row) => threads.has(row));
}
