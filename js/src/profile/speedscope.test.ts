import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { profileOf } from '../../test/profiles';
import { toSpeedscope } from './speedscope';

const { profile } = profileOf([
  { calls: ['main@a.py', 'load@b.py'], weight: 30, thread: 'MainThread' },
  { calls: ['main@a.py'], weight: 12, thread: 'MainThread' },
  { calls: ['work@c.py'], weight: 100, thread: 'Worker' },
]);

describe('toSpeedscope', () => {
  const file = toSpeedscope(profile, 'a run');

  it('writes root first, nanoseconds, one profile a thread, the busiest open', () => {
    expect(file.profiles.map(({ name, endValue, weights }) => [name, endValue, weights])).toEqual([
      ['MainThread (1)', 42, [30, 12]],
      ['Worker (2)', 100, [100]],
    ]);
    expect(file.profiles[0].samples.map((stack) => stack.map((frame) => file.shared.frames[frame].name))).toEqual([
      ['main', 'load'],
      ['main'],
    ]);
    expect(file.activeProfileIndex).toBe(1);
  });

  it('has every key that the format requires', () => {
    // The schema that Speedscope's own release carries.
    const schema = JSON.parse(
      readFileSync(
        new URL('../../node_modules/speedscope/dist/release/file-format-schema.json', import.meta.url),
        'utf8',
      ),
    ) as {
      definitions: Record<string, { required?: string[] }>;
    };
    const need = (name: string): string[] => schema.definitions[name].required ?? [];
    expect(need('FileFormat.SampledProfile').filter((key) => !(key in file.profiles[0]))).toEqual([]);
    expect(need('FileFormat.File').filter((key) => !(key in file))).toEqual([]);
    expect(need('FileFormat.Frame').filter((key) => !(key in file.shared.frames[0]))).toEqual([]);
  });

  it('can be opened even without samples', () => {
    expect(toSpeedscope(profileOf([]).profile, 'empty').profiles).toHaveLength(1);
  });
});
