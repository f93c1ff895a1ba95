import { expect, test } from 'vitest';
import { profileOf } from '../../test/profiles';
import { openNodes } from './open-nodes';
import { buildTree } from './tree';

const { profile, names } = profileOf([
  { calls: ['main', 'hot', 'inner'], weight: 80 },
  { calls: ['main', 'cold', 'below'], weight: 15 },
  { calls: ['main', 'rare', 'deep'], weight: 5 },
]);
const tree = buildTree(profile, names);
const name = (key: number): string => names.title(key as never);
const shown = (decided: [string, boolean][] = []): string[] =>
  openNodes(tree, name, new Map(decided)).map(
    ({ node, open, leaf }) => `${leaf ? ' ' : open ? '-' : '+'}${'.'.repeat(tree.depth[node])}${name(tree.key[node])}`,
  );

test('what takes a tenth of the time is open, heaviest first', () => {
  expect(shown()).toEqual(['-.main', '-..hot', ' ...inner', '-..cold', ' ...below', '+..rare']);
});

test('what a reader opened or closed stays so', () => {
  expect(
    shown([
      ['\nmain\nhot', false],
      ['\nmain\nrare', true],
    ]),
  ).toEqual(['-.main', '+..hot', '-..cold', ' ...below', '-..rare', ' ...deep']);
  expect(shown([['\nmain', false]])).toEqual(['+.main']);
});
