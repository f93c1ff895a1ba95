import { describe, expect, it } from 'vitest';
import { folded, profileOf } from '../../test/profiles';
import { type Layout, layOut, neighbour, nodeAtPoint, visit } from './layout';
import { buildTree, functionOf } from './tree';

function make(text: string): { layout: Layout; name: (node: number) => string; node: (name: string) => number } {
  const { profile, names } = profileOf(folded(text));
  const tree = buildTree(profile, names);
  const name = (node: number): string => {
    const func = functionOf(tree, node);
    return func === null ? 'all' : names.name(func);
  };
  return {
    layout: layOut(tree),
    name,
    node: (wanted) => Array.from({ length: tree.length }, (_, n) => n).find((n) => name(n) === wanted) ?? -1,
  };
}

const TEXT = 'main;a;x 30\nmain;a 10\nmain;b;y 35\nmain 25';

describe('layOut', () => {
  it('puts children side by side, largest first, self time to their right', () => {
    const { layout, node } = make(TEXT);
    expect(layout.width).toBe(100);
    expect(['all', 'main', 'a', 'x', 'b', 'y'].map((name) => layout.start[node(name)])).toEqual([0, 0, 0, 0, 40, 40]);
  });
});

describe('nodeAtPoint', () => {
  it('finds the frame under a point, and nothing beside one', () => {
    const { layout, name } = make(TEXT);
    expect(name(nodeAtPoint(layout, 0, 2))).toBe('a');
    expect(name(nodeAtPoint(layout, 39.9, 2))).toBe('a');
    expect(name(nodeAtPoint(layout, 40, 2))).toBe('b');
    expect(nodeAtPoint(layout, 80, 2)).toBe(-1);
    expect(nodeAtPoint(layout, 35, 3)).toBe(-1);
    expect(nodeAtPoint(layout, 5, 9)).toBe(-1);
    expect(nodeAtPoint(layout, 100, 0)).toBe(-1);
    expect(nodeAtPoint(layout, -1, 0)).toBe(-1);
  });

  it('agrees with a search through all frames', () => {
    const { layout } = make(
      Array.from({ length: 400 }, (_, i) => `r${i % 3};s${i % 17};t${i % 41};u${i} ${1 + ((i * 7919) % 97)}`).join(
        '\n',
      ),
    );
    const { tree, start } = layout;
    for (let x = 0.5; x < layout.width; x += layout.width / 211) {
      for (let depth = 0; depth <= 5; depth++) {
        let expected = -1;
        for (let n = 0; n < tree.length; n++)
          if (tree.depth[n] === depth && start[n] <= x && x < start[n] + tree.extent[n]) expected = n;
        expect(nodeAtPoint(layout, x, depth)).toBe(expected);
      }
    }
  });
});

describe('visit', () => {
  const visited = (
    layout: Layout,
    name: (node: number) => string,
    window: Partial<Parameters<typeof visit>[1]>,
  ): { nodes: string[]; rest: number[][] } => {
    const nodes: string[] = [];
    const rest: number[][] = [];
    visit(
      layout,
      { from: 0, to: layout.width, minDepth: 0, maxDepth: 99, minWidth: 0, ...window },
      (node) => nodes.push(name(node)),
      (...run) => rest.push(run),
    );
    return { nodes, rest };
  };

  it('shows everything in reading order when all is in sight', () => {
    const { layout, name } = make(TEXT);
    expect(visited(layout, name, {}).nodes).toEqual(['all', 'main', 'a', 'x', 'b', 'y']);
  });

  it('leaves out what lies beside the window or outside of the depths', () => {
    const { layout, name } = make(TEXT);
    expect(visited(layout, name, { from: 50, to: 60 }).nodes).toEqual(['all', 'main', 'b', 'y']);
    expect(visited(layout, name, { minDepth: 2, maxDepth: 2 }).nodes).toEqual(['a', 'b']);
  });

  it('runs narrow siblings together and says how far they reach', () => {
    const { layout, name } = make('main;big 90\nmain;s1 4\nmain;s2 3\nmain;s3 3');
    const { nodes, rest } = visited(layout, name, { minWidth: 5 });
    expect(nodes).toEqual(['all', 'main', 'big']);
    expect(rest).toEqual([[90, 100, 2]]);
  });

  it('touches no more of a wide tree than is in sight', () => {
    const { layout } = make(Array.from({ length: 3000 }, (_, i) => `main;f${i} ${i < 10 ? 1000 : 1}`).join('\n'));
    let shown = 0;
    visit(
      layout,
      { from: 0, to: layout.width, minDepth: 0, maxDepth: 9, minWidth: 50 },
      () => shown++,
      () => undefined,
    );
    expect(shown).toBe(12);
  });
});

describe('neighbour', () => {
  it('walks to caller, widest callee and across parents', () => {
    const { layout, name, node } = make(TEXT);
    expect(name(neighbour(layout, node('main'), 'callee'))).toBe('a');
    expect(name(neighbour(layout, node('x'), 'caller'))).toBe('a');
    expect(name(neighbour(layout, node('x'), 'next'))).toBe('y');
    expect(name(neighbour(layout, node('y'), 'previous'))).toBe('x');
    expect(name(neighbour(layout, node('y'), 'next'))).toBe('y');
    expect(name(neighbour(layout, node('y'), 'callee'))).toBe('y');
    expect(name(neighbour(layout, 0, 'caller'))).toBe('all');
  });
});
