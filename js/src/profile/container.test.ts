import { crc32 as zlibCrc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { plainCrc32 } from '../../test/crc';
import { encode, folded, seal } from '../../test/profiles';
import { ContainerError, crc32, decode } from './container';
import type { SampleRow } from './rows';

const SAMPLES = folded('main;löad 30\nmain;*sort 12');

const FIRST = 0 as SampleRow;

describe('crc32', () => {
  it('gives the check value of CRC-32', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array())).toBe(0);
  });

  it('agrees with the plain algorithm at every length and alignment', () => {
    const bytes = Uint8Array.from({ length: 64 }, (_, i) => (i * 89 + 7) & 255);
    for (let from = 0; from < 9; from++) {
      for (let to = from; to < 64; to += 5)
        expect(crc32(bytes.subarray(from, to))).toBe(plainCrc32(bytes.subarray(from, to)));
    }
  });
});

describe('decode', () => {
  it('reads back what was written', () => {
    const profile = decode(
      encode([{ calls: ['main@a.py:3', 'löad@b.py:7'], weight: 30, time: 2 ** 40, count: 4, state: 9, thread: 'T' }], {
        mode: 'wall',
        dropped_count: 5,
      }),
    );
    expect(Array.from(profile.funcName, (row) => profile.strings.get(row))).toEqual(['main', 'löad']);
    expect(Array.from(profile.funcFile, (row) => profile.strings.get(row))).toEqual(['a.py', 'b.py']);
    expect(Array.from(profile.frameLine)).toEqual([3, 7]);
    expect(Array.from(profile.stackParent)).toEqual([-1, 0]);
    expect(profile.sampleTime[FIRST]).toBe(2 ** 40);
    expect(profile.sampleWeight[FIRST]).toBe(30);
    expect(profile.sampleCount[FIRST]).toBe(4);
    expect(profile.sampleState[FIRST]).toBe(9);
    expect(profile.threads[0].name).toBe('T');
    expect(profile.meta.mode).toBe('wall');
    expect(profile.meta.dropped_count).toBe(5);
  });

  it('keeps the sign of 64-bit numbers', () => {
    expect(decode(encode([{ calls: ['f'], time: -1 }])).sampleTime[FIRST]).toBe(-1);
  });

  it('reads a view that does not lie on an 8-byte boundary', () => {
    const bytes = encode(SAMPLES);
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    expect(decode(new DataView(shifted.buffer, 3)).sampleWeight).toEqual(decode(bytes).sampleWeight);
  });

  it('names what is wrong with bytes that are no profile', () => {
    expect(() => decode(new Uint8Array(4))).toThrow(/too few/);
    const bytes = encode(SAMPLES);
    bytes[0] = 0;
    expect(() => decode(bytes)).toThrow(/magic/);
  });

  it('refuses other container versions, saying which', () => {
    const bytes = encode(SAMPLES);
    bytes[8] = 9;
    seal(bytes);
    expect(() => decode(bytes)).toThrow(/version 9.*version 1/);
  });

  it('notices every flipped byte and every cut', () => {
    const bytes = encode(SAMPLES);
    for (let at = 0; at < bytes.length; at += 97) {
      const damaged = bytes.slice();
      damaged[at] ^= 0x10;
      expect(() => decode(damaged), `byte ${at}`).toThrow(ContainerError);
    }
    for (const length of [20, 500, bytes.length - 8, bytes.length - 1]) {
      expect(() => decode(bytes.slice(0, length)), `cut at ${length}`).toThrow(ContainerError);
    }
  });

  it.each([
    ['sample.stack', 99, /sample.stack row 0 points at 99/],
    ['sample.thread', 3, /sample.thread row 0/],
    ['stack.parent', 1, /stack.parent row 0 points at 1/],
    ['stack.frame', 50, /stack.frame row 0/],
    ['frame.func', 50, /frame.func row 0/],
    ['func.name', 50, /func.name row 0/],
  ])('refuses an index out of its table: %s', (name, value, message) => {
    const bytes = encode(SAMPLES, {}, (columns) => {
      const column = columns.get(name);
      if (column) column.values[0] = value;
    });
    expect(() => decode(bytes)).toThrow(message);
  });

  it('refuses missing columns, wrong types and columns of unlike length', () => {
    expect(() => decode(encode(SAMPLES, {}, (columns) => columns.delete('sample.count')))).toThrow(
      'column sample.count is missing',
    );
    expect(() =>
      decode(encode(SAMPLES, {}, (columns) => columns.set('sample.count', { type: 'u8', values: [1, 1] }))),
    ).toThrow('column sample.count is u8, expected u32');
    expect(() => decode(encode(SAMPLES, {}, (columns) => columns.get('sample.count')?.values.pop()))).toThrow(
      'sample differ in length',
    );
  });

  const labelled = (parent: number, key: number, sample: number) =>
    encode(SAMPLES, {}, (columns) => {
      columns.set('label.parent', { type: 'i32', values: [parent, 0] });
      columns.set('label.key', { type: 'u32', values: [key, 1] });
      columns.set('label.value', { type: 'u32', values: [0, 0] });
      columns.set('sample.label', { type: 'i32', values: [sample, -1] });
    });

  it('reads labels where there are any', () => {
    expect(decode(encode(SAMPLES)).sampleLabel).toBeNull();
    const profile = decode(labelled(-1, 1, 1));
    expect(Array.from(profile.sampleLabel ?? [])).toEqual([1, -1]);
    expect(Array.from(profile.labelParent)).toEqual([-1, 0]);
    expect(Array.from(profile.labelKey)).toEqual([1, 1]);
  });

  it.each([
    [0, 0, 0, /label.parent row 0 points at 0/],
    [-1, 99, 0, /label.key row 0 points at 99/],
    [-1, 0, 2, /sample.label row 0 points at 2/],
  ])('refuses labels out of their tables', (parent, key, sample, message) => {
    expect(() => decode(labelled(parent, key, sample))).toThrow(message);
  });

  it('passes over columns it does not know', () => {
    const bytes = encode(SAMPLES, {}, (columns) => columns.set('sample.colour', { type: 'u8', values: [1, 2] }));
    expect(decode(bytes).sampleStack.length).toBe(2);
  });

  it('computes the checksum that zlib computes', () => {
    const bytes = encode(SAMPLES);
    // node:zlib has crc32 from 20.15 on.
    if (typeof zlibCrc32 === 'function') expect(crc32(bytes)).toBe(zlibCrc32(bytes));
  });
});
