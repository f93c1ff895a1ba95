import { describe, expect, it } from 'vitest';
import { profileOf } from '../../test/profiles';
import { asDifference } from './difference';
import { notesOf } from './notes';
import { buildTree, invertTree } from './tree';

describe('asDifference', () => {
  const { profile, names, func } = profileOf([
    { calls: ['main', 'old'], weight: 40, thread: 'before: Main' },
    { calls: ['main', 'kept'], weight: 10, thread: 'before: Main' },
    { calls: ['main', 'kept'], weight: 25, thread: 'after: Main' },
    { calls: ['main', 'kept'], weight: 5, thread: 'after: Worker' },
  ]);
  const joined = asDifference(profile);
  const tree = buildTree(joined, names);
  const at = (name: string): number => Array.from(tree.key).indexOf(func(name));

  it('sets what was against what is', () => {
    expect(joined.threads.map(({ name }) => name)).toEqual(['Main', 'Worker']);
    expect([tree.total[0], tree.baseline?.[0]]).toEqual([30, 50]);
    expect([tree.total[at('kept')], tree.baseline?.[at('kept')]]).toEqual([30, 10]);
  });

  it('believes what the profile says of its threads before their names', () => {
    const samples = [
      { calls: ['f'], weight: 40, thread: 'Main' },
      { calls: ['f'], weight: 25, thread: 'after: all' },
    ];
    const said = asDifference(profileOf(samples, { difference: { before: [1], after: [0] } }).profile);
    expect(buildTree(said, names).total[0]).toBe(40);
    expect(buildTree(said, names).baseline?.[0]).toBe(25);
    expect(asDifference(profileOf(samples).profile).sampleBaseline).toBeNull();
    expect(() => profileOf(samples, { difference: { before: [1], after: [2] } })).toThrow(
      /after is no list of threads/,
    );
  });

  it('shows what is gone as wide as it was', () => {
    expect([tree.total[at('old')], tree.baseline?.[at('old')], tree.extent[at('old')]]).toEqual([0, 40, 40]);
  });

  it('keeps what is gone when read from the leaves', () => {
    const inverted = invertTree(tree);
    const old = Array.from(inverted.key).indexOf(func('old'));
    expect([inverted.total[old], inverted.baseline?.[old], inverted.depth[old]]).toEqual([0, 40, 1]);
    const caller = inverted.childList[inverted.childStart[old]];
    expect([inverted.key[caller], inverted.baseline?.[caller]]).toEqual([func('main'), 40]);
  });

  it('says in the notes what was and what is', () => {
    expect(notesOf(joined)[0].text).toBe('30 ns after, 50 ns before: −20 ns, −40 %');
  });

  it('leaves other profiles as they are', () => {
    const plain = profileOf([
      { calls: ['a'], thread: 'before: x' },
      { calls: ['a'], thread: 'y' },
    ]).profile;
    expect(asDifference(plain)).toBe(plain);
  });
});
