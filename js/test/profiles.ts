// Owns profiles for tests: written down as call lists, encoded as the container is specified.

import { decode, type Profile } from '../src/profile/container';
import { Names } from '../src/profile/names';
import type { FuncRow } from '../src/profile/rows';
import { plainCrc32 } from './crc';

export interface TestSample {
  /** Root first: `name`, `name@file`, `name@file:line`; a leading `*` makes it native. */
  calls: string[];
  weight?: number;
  thread?: string;
  time?: number;
  last?: number;
  count?: number;
  state?: number;
  /** Labels around it, outermost first: `region=load`, `dataset=a`. */
  labels?: string[];
}

interface Table {
  strings: Map<string, number>;
  funcs: Map<string, { row: number; name: number; file: number; line: number; native: boolean }>;
  frames: Map<string, { func: number; line: number }>;
  stacks: Map<string, { row: number; parent: number; frame: number }>;
}

function row<V>(map: Map<string, V>, key: string, make: (row: number) => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make(map.size);
    map.set(key, value);
  }
  return value;
}

export function encode(
  samples: TestSample[],
  meta: Record<string, unknown> = {},
  patch?: (columns: Map<string, Column>) => void,
): Uint8Array<ArrayBuffer> {
  const table: Table = { strings: new Map(), funcs: new Map(), frames: new Map(), stacks: new Map() };
  const text = (value: string): number => row(table.strings, value, (at) => at);
  const threads = new Map<string, number>();
  const labels = new Map<string, { row: number; parent: number; key: number; value: number }>();
  const rows = samples.map((sample, i) => {
    let label = -1;
    for (const each of sample.labels ?? []) {
      const [key, value] = each.split('=');
      const around = label;
      label = row(labels, `${around}/${each}`, (at) => ({
        row: at,
        parent: around,
        key: text(key),
        value: text(value),
      })).row;
    }
    let parent = -1;
    for (const call of sample.calls) {
      const native = call.startsWith('*');
      const [, name, file = 'app.py', line = '1'] = /^\*?([^@]+)(?:@([^:]*))?(?::(\d+))?$/.exec(
        call,
      ) as unknown as string[];
      const func = row(table.funcs, `${native}${name}@${file}`, (at) => ({
        row: at,
        name: text(name),
        file: text(file),
        line: 1,
        native,
      }));
      const frame = `${func.row}:${line}`;
      row(table.frames, frame, () => ({ func: func.row, line: Number(line) }));
      const frameRow = [...table.frames.keys()].indexOf(frame);
      const above = parent;
      parent = row(table.stacks, `${above}/${frameRow}`, (at) => ({ row: at, parent: above, frame: frameRow })).row;
    }
    const time = sample.time ?? (i + 1) * 10;
    return {
      thread: row(threads, sample.thread ?? 'MainThread', (at) => at),
      stack: parent,
      time,
      last: sample.last ?? time,
      count: sample.count ?? 1,
      weight: sample.weight ?? 10,
      state: sample.state ?? 0,
      label,
    };
  });
  const bytes = [...table.strings.keys()].map((value) => new TextEncoder().encode(value));
  const offsets = [0];
  for (const part of bytes) offsets.push(offsets[offsets.length - 1] + part.length);
  const columns = new Map<string, Column>();
  const add = (name: string, type: string, values: number[]): void => void columns.set(name, { type, values });
  add(
    'strings.bytes',
    'u8',
    bytes.flatMap((part) => [...part]),
  );
  add('strings.offsets', 'u32', offsets);
  const funcs = [...table.funcs.values()];
  add(
    'func.name',
    'u32',
    funcs.map(({ name }) => name),
  );
  add(
    'func.file',
    'u32',
    funcs.map(({ file }) => file),
  );
  add(
    'func.line',
    'i32',
    funcs.map(({ line }) => line),
  );
  add(
    'func.flags',
    'u8',
    funcs.map(({ native }) => (native ? 1 : 0)),
  );
  const frames = [...table.frames.values()];
  add(
    'frame.func',
    'u32',
    frames.map(({ func }) => func),
  );
  add(
    'frame.line',
    'i32',
    frames.map(({ line }) => line),
  );
  add(
    'frame.address',
    'u64',
    frames.map(() => 0),
  );
  const stacks = [...table.stacks.values()];
  add(
    'stack.parent',
    'i32',
    stacks.map(({ parent }) => parent),
  );
  add(
    'stack.frame',
    'u32',
    stacks.map(({ frame }) => frame),
  );
  add(
    'sample.thread',
    'u32',
    rows.map(({ thread }) => thread),
  );
  add(
    'sample.stack',
    'u32',
    rows.map(({ stack }) => stack),
  );
  add(
    'sample.time',
    'i64',
    rows.map(({ time }) => time),
  );
  add(
    'sample.last',
    'i64',
    rows.map(({ last }) => last),
  );
  add(
    'sample.count',
    'u32',
    rows.map(({ count }) => count),
  );
  add(
    'sample.weight',
    'i64',
    rows.map(({ weight }) => weight),
  );
  add(
    'sample.state',
    'u8',
    rows.map(({ state }) => state),
  );
  if (labels.size > 0) {
    const each = [...labels.values()];
    add(
      'label.parent',
      'i32',
      each.map(({ parent }) => parent),
    );
    add(
      'label.key',
      'u32',
      each.map(({ key }) => key),
    );
    add(
      'label.value',
      'u32',
      each.map(({ value }) => value),
    );
    add(
      'sample.label',
      'i32',
      rows.map(({ label }) => label),
    );
  }
  patch?.(columns);
  return container(
    { meta, threads: [...threads.keys()].map((name, i) => ({ tid: i + 1, name, pid: 7, host: '' })) },
    columns,
  );
}

export interface Column {
  type: string;
  values: number[];
}

const SIZES: Record<string, number> = { u8: 1, u32: 4, i32: 4, u64: 8, i64: 8 };
const padded = (size: number): number => (size + 7) & ~7;

function container(head: object, columns: Map<string, Column>): Uint8Array<ArrayBuffer> {
  const room = 4096;
  let at = 16 + room;
  const entries = [...columns].map(([name, { type, values }]) => {
    const entry = { name, type, offset: at, length: values.length };
    at += padded(values.length * SIZES[type]);
    return entry;
  });
  const bytes = new Uint8Array(at + 4);
  const view = new DataView(bytes.buffer);
  bytes.set([0x53, 0x50, 0x50, 0x52, 0x4f, 0x46, 0x0d, 0x0a]);
  view.setUint32(8, 1, true);
  const json = new TextEncoder().encode(JSON.stringify({ ...head, columns: entries }).padEnd(room));
  if (json.length !== room) throw new Error('header needs more room');
  view.setUint32(12, room, true);
  bytes.set(json, 16);
  for (const { name, type, offset } of entries) {
    (columns.get(name) as Column).values.forEach((value, i) => {
      const here = offset + i * SIZES[type];
      if (type === 'u8') view.setUint8(here, value);
      else if (type === 'u32') view.setUint32(here, value, true);
      else if (type === 'i32') view.setInt32(here, value, true);
      else view.setBigInt64(here, BigInt(value), true);
    });
  }
  seal(bytes);
  return bytes;
}

/** Writes the checksum anew, for tests that change bytes on purpose. */
export function seal(bytes: Uint8Array<ArrayBuffer>): void {
  new DataView(bytes.buffer).setUint32(bytes.length - 4, plainCrc32(bytes.subarray(0, -4)), true);
}

export function profileOf(
  samples: TestSample[],
  meta: Record<string, unknown> = {},
): { profile: Profile; names: Names; func: (name: string) => FuncRow } {
  const profile = decode(encode(samples, meta));
  const names = new Names(profile);
  const func = (name: string): FuncRow => {
    for (let at = 0 as FuncRow; at < profile.funcName.length; at++) if (names.name(at) === name) return at;
    throw new Error(`no function ${name}`);
  };
  return { profile, names, func };
}

/** `a;b;c 30`, one line a sample: the shortest way to write weights down. */
export function folded(text: string): TestSample[] {
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const at = line.trim().lastIndexOf(' ');
      return { calls: line.trim().slice(0, at).split(';'), weight: Number(line.trim().slice(at + 1)) };
    });
}
