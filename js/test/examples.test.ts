// Owns the comparison with Python: both languages must make the same of the shared examples.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decode, type Profile } from '../src/profile/container';
import { toSpeedscope } from '../src/profile/speedscope';
import { threadTimes } from '../src/profile/threads';

interface Truth {
  speedscope: { exporter: string };
  threads: { name: string; weight_ns: number; gil_share: number | null }[];
}

const FOLDER = new URL('../../tests/examples/', import.meta.url);
const examples = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.spprof'))
  .map((name) => ({
    name: name.replace('.spprof', ''),
    profile: decode(Uint8Array.from(readFileSync(new URL(name, FOLDER)))),
    truth: JSON.parse(readFileSync(new URL(name.replace('.spprof', '.json'), FOLDER), 'utf8')) as Truth,
  }));

describe.each(examples)('$name', ({ profile, truth }: { profile: Profile; truth: Truth }) => {
  it("tells each thread's time and share of the GIL", () => {
    const told = threadTimes(profile).map(({ weight, gilShare }, row) => ({
      name: profile.threads[row].name,
      weight_ns: weight,
      gil_share: gilShare,
    }));
    expect(told).toEqual(truth.threads);
  });

  it('is the same Speedscope document', () => {
    expect({ ...toSpeedscope(profile, 'An example'), exporter: '' }).toEqual(truth.speedscope);
  });
});

it('has examples', () => expect(examples.length).toBeGreaterThan(2));
