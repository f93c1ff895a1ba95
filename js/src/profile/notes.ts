// Owns the line that says how a profile came to be and what is missing from it.
import type { Profile } from './container';
import * as format from './format';
import type { SampleRow } from './rows';

export interface Note {
  text: string;
  warning: boolean;
}

/** What a profile's weights measure. */
export function timeKind({ meta }: Profile): string {
  return meta.mode === 'cpu' ? 'CPU time' : meta.mode === 'wall' ? 'wall time' : 'time';
}

/** How much was measured, and everything that limits what it says. */
export function notesOf(profile: Profile): Note[] {
  const { meta, sampleCount, sampleWeight, sampleTime, sampleBaseline } = profile;
  let samples = 0;
  let weight = 0;
  let timeless = 0;
  let before = 0;
  for (let row = 0 as SampleRow; row < sampleCount.length; row++) {
    samples += sampleCount[row];
    weight += sampleWeight[row];
    if (sampleBaseline) before += sampleBaseline[row];
    if (sampleTime[row] < 0) timeless += sampleCount[row];
  }
  const notes: Note[] = [];
  const of = meta.duration_ns > 0 ? ` over ${format.duration(meta.duration_ns)}` : '';
  if (sampleBaseline) {
    const moved = `${format.change(weight - before)}, ${weight > before ? '+' : ''}${format.share(weight - before, before)}`;
    return [
      { text: `${format.duration(weight)} after, ${format.duration(before)} before: ${moved}`, warning: false },
      ...meta.notes.map((text) => ({ text, warning: true })),
    ];
  }
  const measured = `${format.counted(samples, 'sample')}, ${format.duration(weight)} ${timeKind(profile)}${of}`;
  for (const text of profile.findings.length > 0 ? profile.findings : [measured]) notes.push({ text, warning: false });
  if (meta.python_version) notes.push({ text: `Python ${meta.python_version}`, warning: false });
  if (samples === 0) notes.push({ text: 'No samples: nothing ran long enough to be seen', warning: true });
  if (meta.dropped_count > 0) {
    notes.push({
      text: `${format.counted(meta.dropped_count, 'sample')} dropped (${format.share(meta.dropped_count, meta.dropped_count + samples)})`,
      warning: true,
    });
  }
  // What the asked-for interval should have given in the time that was measured.
  const expected = meta.interval_ns > 0 && meta.weights === 'measured' ? weight / meta.interval_ns : 0;
  if (expected >= 50 && samples + meta.dropped_count < expected * 0.8) {
    notes.push({
      text: `rate not reached: a sample every ${format.duration(weight / Math.max(1, samples))}, asked for every ${format.duration(meta.interval_ns)}`,
      warning: true,
    });
  }
  if (timeless > 0) {
    notes.push({
      text: `${format.counted(timeless, 'sample')} without a time: the memory limit was reached, totals are complete`,
      warning: true,
    });
  }
  for (const note of meta.notes) notes.push({ text: note, warning: true });
  return notes;
}
