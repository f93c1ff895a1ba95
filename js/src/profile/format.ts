// Owns how numbers read: durations, shares, counts, bytes. Knows nothing of profiles.

/** A number without trailing zeros behind its point. */
function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return digits > 0 ? text.replace(/\.?0+$/, '') : text;
}

function significant(value: number): string {
  return fixed(value, value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2);
}

/** A duration in the unit that fits: `850 ns`, `12.5 µs`, `340 ms`, `1.2 s`, `3 min 05 s`. */
export function duration(ns: number): string {
  const sign = ns < 0 ? '−' : '';
  const size = Math.abs(ns);
  if (size === 0) return '0 s';
  if (size < 999.5) return `${sign}${significant(size)} ns`;
  if (size < 999.5e3) return `${sign}${significant(size / 1e3)} µs`;
  if (size < 999.5e6) return `${sign}${significant(size / 1e6)} ms`;
  if (size < 99.95e9) return `${sign}${significant(size / 1e9)} s`;
  const seconds = Math.round(size / 1e9);
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
  const minutes = Math.round(seconds / 60);
  return `${sign}${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/** A share of a whole: `43 %`, `4.3 %`, `0.12 %`; `< 0.01 %` rather than a false zero. */
export function share(part: number, whole: number): string {
  if (whole === 0 || part === 0) return '0 %';
  const percent = (part / whole) * 100;
  const size = Math.abs(percent);
  const sign = percent < 0 ? '−' : '';
  if (size < 0.01) return `< ${sign}0.01 %`;
  const digits = size >= 9.95 ? 0 : size >= 0.995 ? 1 : 2;
  return `${sign}${fixed(size, digits)} %`;
}

/** `+1.2 s`, `−340 ms`: how much more or less than before. */
export function change(ns: number): string {
  return ns > 0 ? `+${duration(ns)}` : duration(ns);
}

/** `1`, `12,345`: grouped in thousands the same way everywhere. */
export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `1 sample`, `12,345 samples`. */
export function counted(value: number, one: string): string {
  return `${count(value)} ${one}${Math.round(value) === 1 ? '' : 's'}`;
}

/** The tick step for an axis of `span` ns with about `wanted` marks: 1, 2 or 5 times a power of ten. */
export function tickStep(span: number, wanted: number): number {
  const raw = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(raw));
  const lead = raw / power;
  return (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10) * power;
}
