// Owns the plan of the house: which room may import from which, and that no import leads back to where it began.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = new URL('../src/', import.meta.url).pathname;

/** What each room may import from, beside itself. The entries stand above all rooms. */
const MAY_USE: Record<string, string[]> = {
  profile: [],
  state: ['profile'],
  dom: [],
  canvas: ['dom', 'profile'],
  views: ['canvas', 'dom', 'state', 'profile'],
  shell: ['views', 'canvas', 'dom', 'state', 'profile'],
  hosts: [],
  '': ['shell', 'hosts'],
};

/** Modules by path below src/, each with those it imports; types count as well. */
function imports(): Map<string, string[]> {
  const modules = new Map<string, string[]>();
  for (const entry of readdirSync(SRC, { recursive: true }) as string[]) {
    if (!/\.ts$/.test(entry) || /\.(?:test|d)\.ts$/.test(entry)) continue;
    const text = readFileSync(join(SRC, entry), 'utf8');
    const targets = Array.from(
      // What is no module but data belongs to no room.
      text.matchAll(/\bfrom '(\.[^']+)(?<!\.json)'/g),
      ([, target]) => `${relative(SRC, join(SRC, dirname(entry), target))}.ts`,
    );
    modules.set(entry, targets);
  }
  return modules;
}

const room = (path: string): string => (dirname(path) === '.' ? '' : dirname(path));

/** The first circle found, as the way around it. */
function circle(modules: Map<string, string[]>): string[] {
  const done = new Set<string>();
  const walk = (path: string, way: string[]): string[] => {
    if (way.includes(path)) return [...way.slice(way.indexOf(path)), path];
    if (done.has(path)) return [];
    for (const target of modules.get(path) ?? []) {
      const found = walk(target, [...way, path]);
      if (found.length > 0) return found;
    }
    done.add(path);
    return [];
  };
  for (const path of modules.keys()) {
    const found = walk(path, []);
    if (found.length > 0) return found;
  }
  return [];
}

describe('the rooms of src', () => {
  const modules = imports();

  it('are all on the plan', () => {
    expect(modules.size).toBeGreaterThan(30);
    expect([...new Set([...modules.keys()].map(room))].sort()).toEqual(Object.keys(MAY_USE).sort());
  });

  it('import downwards only', () => {
    const wrong = [...modules].flatMap(([path, targets]) =>
      targets
        .filter((target) => room(target) !== room(path) && !MAY_USE[room(path)].includes(room(target)))
        .map((target) => `${path} -> ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('have no circle of imports', () => {
    expect(circle(modules)).toEqual([]);
    expect(
      circle(
        new Map([
          ['a', ['b']],
          ['b', ['c', 'd']],
          ['c', []],
          ['d', ['b']],
        ]),
      ),
    ).toEqual(['b', 'd', 'b']);
  });
});
