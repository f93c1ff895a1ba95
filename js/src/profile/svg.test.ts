// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { folded, profileOf } from '../../test/profiles';
import { makePainter } from './colors';
import { layOut } from './layout';
import type { FuncRow } from './rows';
import { toSvg } from './svg';
import { buildTree, functionOf } from './tree';

function picture(text: string, window?: { from: number; to: number }): Document {
  const { profile, names } = profileOf(folded(text));
  const tree = buildTree(profile, names);
  const layout = layOut(tree);
  const name = (node: number): string => {
    const func = functionOf(tree, node);
    return func === null ? 'all' : names.name(func);
  };
  const svg = toSvg(
    layout,
    makePainter('module', false, profile, names, tree),
    {
      title: name,
      spoken: name,
      module: () => '',
      native: (node) => node > 0 && names.native(functionOf(tree, node) as FuncRow),
    },
    { from: 0, to: layout.width, dark: false, bottomUp: false, heading: 'A <run> & "more"', ...window },
  );
  return new DOMParser().parseFromString(svg, 'image/svg+xml');
}

const frames = (svg: Document): string[] =>
  Array.from(svg.querySelectorAll('g'), (g) => {
    const box = g.querySelector('rect');
    return `${g.querySelector('title')?.textContent} ${box?.getAttribute('x')}+${box?.getAttribute('width')}@${box?.getAttribute('y')}`;
  });

describe('toSvg', () => {
  it('draws every frame where it lies', () => {
    expect(frames(picture('main;a 75\nmain;b 25'))).toEqual([
      'all 8.00+1184.00@28',
      'main 8.00+1184.00@49',
      'a 8.00+888.00@70',
      'b 896.00+296.00@70',
    ]);
  });

  it('draws only the window', () => {
    expect(frames(picture('main;a 75\nmain;b 25', { from: 75, to: 100 }))).toEqual([
      'all 8.00+1184.00@28',
      'main 8.00+1184.00@49',
      'b 8.00+1184.00@70',
    ]);
  });

  it('keeps foreign names text', () => {
    const svg = picture('<script>alert(1)</script>&"x" 10');
    expect(svg.querySelector('script')).toBeNull();
    expect(frames(svg)[1]).toContain('<script>alert(1)</script>&"x"');
  });

  it('marks native frames without colour', () => {
    const texts = Array.from(picture('main;*memcpy 10').querySelectorAll('text'));
    expect(texts.map((text) => [text.textContent, text.getAttribute('font-style')]).slice(-2)).toEqual([
      ['main', null],
      ['memcpy', 'italic'],
    ]);
  });
});
