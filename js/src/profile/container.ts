// Owns the bytes of the .spprof container: decodes them into typed columns and refuses what is damaged.
// Knows nothing of trees or views.
import type { Column, FrameRow, FuncRow, LabelRow, SampleRow, StackRow, StringRow, ThreadRow } from './rows';

export interface Thread {
  tid: number;
  name: string;
  pid: number;
  host: string;
}

/** A process among those of the profile; what more is known of it is for those who read it in Python. */
export interface Process {
  pid: number;
  host: string;
  ppid: number;
}

export interface Meta {
  version: number;
  start_time: string;
  end_time: string;
  duration_ns: number;
  interval_ns: number;
  mode: string;
  engine: string;
  weights: string;
  dropped_count: number;
  python_version: string;
  platform: string;
  notes: string[];
  modules: { path: string; build_id?: string }[];
  timestamps_until_ns: number | null;
  /** Where there are several, the one that was asked first; callers before what they made. */
  processes: Process[];
  /** Whose the threads are, where this is a difference of two profiles. */
  difference: { before: ThreadRow[]; after: ThreadRow[] } | null;
}

/** The columns of a profile. Times and weights are nanoseconds in doubles: exact up to 104 days. */
export interface Profile {
  readonly meta: Meta;
  readonly threads: readonly Thread[];
  readonly strings: StringTable;
  readonly funcName: Column<FuncRow, StringRow>;
  readonly funcFile: Column<FuncRow, StringRow>;
  /** First line of the definition, 0 unknown. */
  readonly funcLine: Column<FuncRow, number>;
  readonly funcFlags: Column<FuncRow, number>;
  readonly frameFunc: Column<FrameRow, FuncRow>;
  readonly frameLine: Column<FrameRow, number>;
  /** The caller's stack; -1, which is no row, at the root. */
  readonly stackParent: Column<StackRow, StackRow>;
  readonly stackFrame: Column<StackRow, FrameRow>;
  readonly sampleThread: Column<SampleRow, ThreadRow>;
  readonly sampleStack: Column<SampleRow, StackRow>;
  readonly sampleTime: Column<SampleRow, number>;
  readonly sampleLast: Column<SampleRow, number>;
  readonly sampleCount: Column<SampleRow, number>;
  readonly sampleWeight: Column<SampleRow, number>;
  readonly sampleState: Column<SampleRow, number>;
  /** Innermost label of each row's samples, -1 without one; null where no sample has any. */
  readonly sampleLabel: Column<SampleRow, LabelRow> | null;
  /** The labels around a label; -1, which is no row, at the outermost. */
  readonly labelParent: Column<LabelRow, LabelRow>;
  readonly labelKey: Column<LabelRow, StringRow>;
  readonly labelValue: Column<LabelRow, StringRow>;
  /** Weights before, where this profile is a difference; see difference.ts. */
  readonly sampleBaseline: Column<SampleRow, number> | null;
  /** Samples before, likewise. */
  readonly sampleBaselineCount: Column<SampleRow, number> | null;
  readonly byteLength: number;
  /** Sample rows before some were merged for display; null where these are all. */
  readonly thinnedFrom: number | null;
  /** What the profile shows, in words, what was measured first; none where nobody looked. */
  readonly findings: readonly string[];
}

export const NATIVE = 1;

/** Strings stay UTF-8 until somebody reads them: most of a large profile's names are never shown. */
export class StringTable {
  readonly length: number;
  private readonly decoded: (string | undefined)[];
  private readonly decoder = new TextDecoder();

  constructor(
    private readonly bytes: Uint8Array,
    private readonly offsets: Uint32Array,
  ) {
    this.length = Math.max(0, offsets.length - 1);
    this.decoded = new Array<string | undefined>(this.length);
  }

  /** The same strings and further ones after them. */
  with(more: readonly string[]): StringTable {
    const encoded = more.map((text) => new TextEncoder().encode(text));
    const bytes = new Uint8Array(this.bytes.length + encoded.reduce((sum, { length }) => sum + length, 0));
    const offsets = new Uint32Array(this.length + more.length + 1);
    bytes.set(this.bytes);
    offsets.set(this.offsets);
    let end = this.bytes.length;
    offsets[this.length] = this.offsets.length > 0 ? this.offsets[this.length] : 0;
    encoded.forEach((text, i) => {
      bytes.set(text, end);
      end += text.length;
      offsets[this.length + i + 1] = end;
    });
    return new StringTable(bytes, offsets);
  }

  get(row: StringRow): string {
    return (this.decoded[row] ??= this.decoder.decode(this.bytes.subarray(this.offsets[row], this.offsets[row + 1])));
  }
}

export class ContainerError extends Error {
  override readonly name = 'ContainerError';
}

const MAGIC = [0x53, 0x50, 0x50, 0x52, 0x4f, 0x46, 0x0d, 0x0a];
const VERSION = 1;
const ELEMENT_BYTES: Record<string, number> = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, u64: 8, i64: 8, f64: 8 };

interface ColumnEntry {
  name: string;
  type: string;
  offset: number;
  length: number;
}

interface Header {
  meta: Partial<Meta>;
  threads: Partial<Thread>[];
  thinned_from?: number;
  findings?: unknown;
  columns: ColumnEntry[];
}

const CRC_TABLES = crcTables();

// Eight tables let the loop take eight bytes a step; byte by byte, checking would cost more than decoding.
function crcTables(): Uint32Array[] {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256));
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    tables[0][byte] = crc;
  }
  for (let byte = 0; byte < 256; byte++) {
    for (let table = 1; table < 8; table++) {
      const before = tables[table - 1][byte];
      tables[table][byte] = (before >>> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

/** CRC-32 as zlib computes it. */
export function crc32(bytes: Uint8Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = CRC_TABLES;
  const end = bytes.length;
  let crc = 0xffffffff;
  let at = 0;
  for (const whole = end - 7; at < whole; at += 8) {
    const low = crc ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24));
    crc =
      t7[low & 0xff] ^
      t6[(low >>> 8) & 0xff] ^
      t5[(low >>> 16) & 0xff] ^
      t4[low >>> 24] ^
      t3[bytes[at + 4]] ^
      t2[bytes[at + 5]] ^
      t1[bytes[at + 6]] ^
      t0[bytes[at + 7]];
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
}

/** Bytes on an 8-byte boundary, so that columns can be viewed in place. */
function aligned(source: ArrayBuffer | ArrayBufferView): Uint8Array<ArrayBuffer> {
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (source.byteOffset % 8 === 0 && source.buffer instanceof ArrayBuffer) {
    return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  }
  return new Uint8Array(new Uint8Array(source.buffer, source.byteOffset, source.byteLength));
}

function readHeader(bytes: Uint8Array<ArrayBuffer>): Header {
  if (bytes.length < 20) throw new ContainerError(`not a profile: ${bytes.length} bytes are too few`);
  if (MAGIC.some((byte, i) => bytes[i] !== byte))
    throw new ContainerError('not a profile: the magic bytes are missing');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint32(8, true);
  if (version !== VERSION) {
    throw new ContainerError(`profile container version ${version}; this viewer reads version ${VERSION}`);
  }
  const headerLength = view.getUint32(12, true);
  if (16 + headerLength + 4 > bytes.length) throw new ContainerError('profile is cut off within its header');
  const expected = view.getUint32(bytes.length - 4, true);
  const actual = crc32(bytes.subarray(0, bytes.length - 4));
  if (expected !== actual) {
    throw new ContainerError(
      `profile is damaged or cut off: checksum ${actual.toString(16)}, expected ${expected.toString(16)}`,
    );
  }
  let header: Partial<Header>;
  try {
    header = JSON.parse(
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(16, 16 + headerLength)),
    ) as Partial<Header>;
  } catch (error) {
    throw new ContainerError(`profile header is not readable: ${(error as Error).message}`);
  }
  if (!Array.isArray(header.columns) || !Array.isArray(header.threads) || typeof header.meta !== 'object') {
    throw new ContainerError('profile header lacks meta, threads or columns');
  }
  return header as Header;
}

class Columns {
  private readonly entries = new Map<string, ColumnEntry>();

  constructor(
    private readonly bytes: Uint8Array<ArrayBuffer>,
    columns: ColumnEntry[],
  ) {
    for (const column of columns) {
      const size = ELEMENT_BYTES[column.type];
      // A column of a type from the future is only a problem to who asks for it.
      if (size === undefined) continue;
      const { offset, length } = column;
      if (
        !Number.isSafeInteger(offset) ||
        !Number.isSafeInteger(length) ||
        offset < 0 ||
        length < 0 ||
        offset % 8 !== 0
      ) {
        throw new ContainerError(`column ${column.name} has a bad offset or length`);
      }
      if (offset + length * size > bytes.length - 4)
        throw new ContainerError(`column ${column.name} reaches past the end`);
      this.entries.set(column.name, column);
    }
  }

  private entry(name: string, type: string): ColumnEntry {
    const column = this.entries.get(name);
    if (!column) throw new ContainerError(`column ${name} is missing`);
    if (column.type !== type) throw new ContainerError(`column ${name} is ${column.type}, expected ${type}`);
    return column;
  }

  has(name: string): boolean {
    return this.entries.has(name);
  }

  private view<T>(name: string, type: string, make: new (buffer: ArrayBuffer, offset: number, length: number) => T): T {
    const { offset, length } = this.entry(name, type);
    return new make(this.bytes.buffer, this.bytes.byteOffset + offset, length);
  }

  u8(name: string): Uint8Array {
    return this.view(name, 'u8', Uint8Array);
  }

  u32(name: string): Uint32Array {
    return this.view(name, 'u32', Uint32Array);
  }

  /** Rows of another table, which `check` has yet to find within it. */
  rows<At extends number, Value extends number>(name: string, type: 'u32' | 'i32' = 'u32'): Column<At, Value> {
    return (type === 'u32' ? this.u32(name) : this.i32(name)) as unknown as Column<At, Value>;
  }

  i32(name: string): Int32Array {
    return this.view(name, 'i32', Int32Array);
  }

  /** A 64-bit column in doubles; BigInt arrays are an order of magnitude slower to work with. */
  i64(name: string): Float64Array {
    const { offset, length } = this.entry(name, 'i64');
    const halves = new Int32Array(this.bytes.buffer, this.bytes.byteOffset + offset, length * 2);
    const result = new Float64Array(length);
    for (let i = 0; i < length; i++) result[i] = halves[2 * i + 1] * 4294967296 + (halves[2 * i] >>> 0);
    return result;
  }
}

function sameLength(table: string, ...columns: { length: number }[]): void {
  if (columns.some((column) => column.length !== columns[0].length)) {
    throw new ContainerError(`the columns of ${table} differ in length`);
  }
}

function within<At extends number>(name: string, values: Column<At, number>, limit: number): void {
  for (let i = 0 as At; i < values.length; i++) {
    if (values[i] >= limit)
      throw new ContainerError(`${name} row ${i} points at ${values[i]}, past the last of ${limit}`);
  }
}

function comeBefore<Row extends number>(name: string, parents: Column<Row, Row>): void {
  for (let row = 0 as Row; row < parents.length; row++) {
    if (parents[row] >= row || parents[row] < -1) {
      throw new ContainerError(`${name} row ${row} points at ${parents[row]}, which does not come before it`);
    }
  }
}

/** Decodes a container; throws ContainerError with what is wrong. */
export function decode(source: ArrayBuffer | ArrayBufferView): Profile {
  const bytes = aligned(source);
  const header = readHeader(bytes);
  const columns = new Columns(bytes, header.columns);
  const stringBytes = columns.u8('strings.bytes');
  const offsets = columns.u32('strings.offsets');
  for (let i = 0; i < offsets.length; i++) {
    if (offsets[i] > stringBytes.length || (i > 0 && offsets[i] < offsets[i - 1])) {
      throw new ContainerError(`strings.offsets row ${i} is out of order or past the end`);
    }
  }
  const labelled = columns.has('sample.label');
  const noRows = new Uint32Array(0);
  const profile: Profile = {
    meta: {
      version: header.meta.version ?? 1,
      start_time: header.meta.start_time ?? '',
      end_time: header.meta.end_time ?? '',
      duration_ns: header.meta.duration_ns ?? 0,
      interval_ns: header.meta.interval_ns ?? 0,
      mode: header.meta.mode ?? '',
      engine: header.meta.engine ?? '',
      weights: header.meta.weights ?? 'measured',
      dropped_count: header.meta.dropped_count ?? 0,
      python_version: header.meta.python_version ?? '',
      platform: header.meta.platform ?? '',
      notes: header.meta.notes ?? [],
      modules: header.meta.modules ?? [],
      timestamps_until_ns: header.meta.timestamps_until_ns ?? null,
      processes: (header.meta.processes ?? []).map(({ pid, host = '', ppid }) => ({ pid, host, ppid })),
      difference: header.meta.difference ?? null,
    },
    threads: header.threads.map((thread) => ({
      tid: thread.tid ?? 0,
      name: thread.name ?? '',
      pid: thread.pid ?? 0,
      host: thread.host ?? '',
    })),
    strings: new StringTable(stringBytes, offsets),
    funcName: columns.rows('func.name'),
    funcFile: columns.rows('func.file'),
    funcLine: columns.i32('func.line'),
    funcFlags: columns.u8('func.flags'),
    frameFunc: columns.rows('frame.func'),
    frameLine: columns.i32('frame.line'),
    stackParent: columns.rows('stack.parent', 'i32'),
    stackFrame: columns.rows('stack.frame'),
    sampleThread: columns.rows('sample.thread'),
    sampleStack: columns.rows('sample.stack'),
    sampleTime: columns.i64('sample.time'),
    sampleLast: columns.i64('sample.last'),
    sampleCount: columns.u32('sample.count'),
    sampleWeight: columns.i64('sample.weight'),
    sampleState: columns.u8('sample.state'),
    sampleLabel: labelled ? columns.rows<SampleRow, LabelRow>('sample.label', 'i32') : null,
    labelParent: labelled ? columns.rows('label.parent', 'i32') : (noRows as unknown as Column<LabelRow, LabelRow>),
    labelKey: labelled ? columns.rows('label.key') : (noRows as unknown as Column<LabelRow, StringRow>),
    labelValue: labelled ? columns.rows('label.value') : (noRows as unknown as Column<LabelRow, StringRow>),
    sampleBaseline: null,
    sampleBaselineCount: null,
    byteLength: bytes.length,
    thinnedFrom: header.thinned_from ?? null,
    findings: Array.isArray(header.findings) ? header.findings.map(String) : [],
  };
  check(profile);
  return profile;
}

// Every later module indexes these columns unchecked, so a bad index must end here.
function check(p: Profile): void {
  for (const side of ['before', 'after'] as const) {
    const rows = p.meta.difference?.[side] ?? [];
    if (!Array.isArray(rows) || !rows.every((row) => p.threads[row] !== undefined)) {
      throw new ContainerError(`meta.difference.${side} is no list of threads`);
    }
  }
  sameLength('func', p.funcName, p.funcFile, p.funcLine, p.funcFlags);
  sameLength('frame', p.frameFunc, p.frameLine);
  sameLength('stack', p.stackParent, p.stackFrame);
  sameLength(
    'sample',
    p.sampleThread,
    p.sampleStack,
    p.sampleTime,
    p.sampleLast,
    p.sampleCount,
    p.sampleWeight,
    p.sampleState,
  );
  sameLength('label', p.labelParent, p.labelKey, p.labelValue);
  within('label.key', p.labelKey, p.strings.length);
  within('label.value', p.labelValue, p.strings.length);
  if (p.sampleLabel) {
    sameLength('sample', p.sampleStack, p.sampleLabel);
    within('sample.label', p.sampleLabel, p.labelParent.length);
  }
  comeBefore('label.parent', p.labelParent);
  within('func.name', p.funcName, p.strings.length);
  within('func.file', p.funcFile, p.strings.length);
  within('frame.func', p.frameFunc, p.funcName.length);
  within('stack.frame', p.stackFrame, p.frameFunc.length);
  within('sample.stack', p.sampleStack, p.stackParent.length);
  within('sample.thread', p.sampleThread, p.threads.length);
  comeBefore('stack.parent', p.stackParent);
}
