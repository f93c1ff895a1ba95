// Owns which colour a frame has and why. Colours are computed here, in OKLCH, so that contrast can be tested.
import { NATIVE, type Profile } from './container';
import type { Names, Place } from './names';
import { type FuncRow, rowsOf } from './rows';
import { type CallTree, isFunction } from './tree';

/** `waits`: what threads do, see cause-colors.ts. */
export type ColorMode = 'module' | 'kind' | 'self' | 'diff' | 'waits';
export type Rgb = readonly [number, number, number];

/** OKLCH (lightness 0-1, chroma, hue in degrees) to sRGB 0-255, chroma lowered until it fits the gamut. */
export function oklch(lightness: number, chroma: number, hue: number): Rgb {
  for (let c = chroma; ; c -= 0.005) {
    const rgb = unclipped(lightness, Math.max(0, c), hue);
    if (c <= 0 || rgb.every((channel) => channel > -0.0005 && channel < 1.0005)) {
      return rgb.map((channel) => Math.round(Math.min(1, Math.max(0, channel)) * 255)) as unknown as Rgb;
    }
  }
}

// The matrices are those of the CSS Color 4 specification.
function unclipped(lightness: number, chroma: number, hue: number): number[] {
  const angle = (hue * Math.PI) / 180;
  const a = chroma * Math.cos(angle);
  const b = chroma * Math.sin(angle);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((linear) => (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055));
}

/** WCAG contrast ratio of two colours, 1 to 21. */
export function contrast(one: Rgb, other: Rgb): number {
  const luminance = (rgb: Rgb): number => {
    const [r, g, b] = rgb.map((channel) => {
      const c = channel / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

export const css = ([r, g, b]: Rgb): string => `rgb(${r} ${g} ${b})`;

export interface Scheme {
  readonly page: Rgb;
  readonly text: Rgb;
  readonly dimText: Rgb;
  /** Runs of frames too narrow to be drawn one by one. */
  readonly rest: Rgb;
  /** Frames that a search does not match. */
  readonly unmatched: Rgb;
  readonly root: Rgb;
  readonly thread: Rgb;
}

export const SCHEMES: Record<'light' | 'dark', Scheme> = {
  light: {
    page: [255, 255, 255],
    text: [24, 26, 31],
    dimText: [58, 62, 72],
    rest: [216, 218, 223],
    unmatched: [236, 237, 240],
    root: [229, 231, 235],
    thread: [214, 219, 228],
  },
  dark: {
    page: [23, 24, 28],
    text: [244, 245, 247],
    dimText: [214, 217, 224],
    rest: [62, 65, 72],
    unmatched: [46, 48, 54],
    root: [50, 53, 60],
    thread: [58, 64, 76],
  },
};

/** Hands out a palette row for each node or function; rows are few, so that a canvas changes colour seldom. */
export interface Painter<Of extends number = number> {
  readonly palette: readonly Rgb[];
  row(of: Of): number;
}

/** A number 0 to 1 that depends on nothing but the text. */
function fraction(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  hash ^= hash >>> 12;
  return (hash >>> 0) / 4294967296;
}

const HUES = 18;
const SHADES = 3;

/**
 * A hue step for every package, by its name; where two want the same or one beside it, the later one takes the
 * next that is free. So a package mostly keeps its colour from profile to profile, and no two of one profile
 * look alike without need.
 */
function packageHues(profile: Profile, names: Names): Map<string, number> {
  const hues = new Map<string, number>();
  const taken = new Set<number>();
  for (let func = 0 as FuncRow; func < profile.funcName.length; func++) {
    const { origin, group } = names.place(func);
    if (origin !== 'package' || hues.has(group)) continue;
    const wanted = Math.floor(fraction(group) * HUES);
    // Steps of 5 are far apart in hue and visit all 18.
    const steps = Array.from({ length: HUES }, (_, tries) => (wanted + 5 * tries) % HUES);
    const apart = steps.find(
      (step) => !taken.has(step) && !taken.has((step + 1) % HUES) && !taken.has((step + HUES - 1) % HUES),
    );
    const step = apart ?? steps.find((free) => !taken.has(free)) ?? wanted;
    taken.add(step);
    hues.set(group, step);
  }
  return hues;
}

/** Your own code is amber, packages have a hue of their own, the standard library and bare libraries stay grey. */
function moduleTone(where: Place, hues: Map<string, number>): { hue: number; chroma: number } {
  if (where.origin === 'cell') return { hue: 70, chroma: 0.11 };
  if (where.origin === 'file') return { hue: 88, chroma: 0.09 };
  if (where.origin === 'package') {
    // From green round to red, leaving out what stands for your own code.
    return { hue: (125 + ((hues.get(where.group) ?? 0) / HUES) * 275) % 360, chroma: 0.075 };
  }
  if (where.origin === 'stdlib') return { hue: 250, chroma: 0.018 };
  return { hue: 40, chroma: 0.014 };
}

function tone(dark: boolean, hue: number, chroma: number, shade: number): Rgb {
  return dark ? oklch(0.39 + shade * 0.03, chroma * 0.95, hue) : oklch(0.88 - shade * 0.04, chroma, hue);
}

class Palette {
  readonly colors: Rgb[] = [];
  private readonly rows = new Map<string, number>();

  row(rgb: Rgb): number {
    const key = rgb.join();
    let row = this.rows.get(key);
    if (row === undefined) {
      row = this.colors.push(rgb) - 1;
      this.rows.set(key, row);
    }
    return row;
  }
}

/** From grey to strong in this many steps, for shares and differences. */
const STEPS = 12;
const WARM = 40;
const COLD = 250;
const KIND_CHROMA = 0.085;

/** From grey (0) to strong (1). */
function ramped(dark: boolean, hue: number, strength: number): Rgb {
  return dark
    ? oklch(0.34 + 0.12 * strength, 0.006 + 0.13 * strength, hue)
    : oklch(0.92 - 0.17 * strength, 0.006 + 0.13 * strength, hue);
}

/** What the colours of a mode mean that are the same for all profiles. */
export function keyOf(mode: Exclude<ColorMode, 'module' | 'waits'>, dark: boolean): { text: string; color: Rgb }[] {
  const kind = (hue: number): Rgb => tone(dark, hue, KIND_CHROMA, 1);
  if (mode === 'kind')
    return [
      { text: 'Python', color: kind(COLD) },
      { text: 'native', color: kind(WARM) },
    ];
  if (mode === 'self')
    return [
      { text: 'no time of its own', color: ramped(dark, WARM, 0) },
      { text: 'some', color: ramped(dark, WARM, 0.5) },
      { text: 'the most', color: ramped(dark, WARM, 1) },
    ];
  return [
    { text: 'gone or faster', color: ramped(dark, COLD, 1) },
    { text: 'as before', color: ramped(dark, WARM, 0) },
    { text: 'slower or new', color: ramped(dark, WARM, 1) },
  ];
}

export function makePainter(
  mode: Exclude<ColorMode, 'waits'>,
  dark: boolean,
  profile: Profile,
  names: Names,
  tree: CallTree,
): Painter {
  const scheme = SCHEMES[dark ? 'dark' : 'light'];

  if (mode === 'self' || mode === 'diff') {
    const palette = new Palette();
    const root = palette.row(scheme.root);
    const thread = palette.row(scheme.thread);
    const special = (node: number): number => (node === 0 ? root : thread);
    const ramp = (hue: number): number[] =>
      Array.from({ length: STEPS + 1 }, (_, step) => palette.row(ramped(dark, hue, step / STEPS)));
    const warm = ramp(WARM);
    const cold = ramp(COLD);
    if (mode === 'self') {
      // The largest self time of all sets the scale; the root of the share spreads the small ones.
      let largest = 0;
      for (let node = 1; node < tree.length; node++) if (tree.self[node] > largest) largest = tree.self[node];
      return {
        palette: palette.colors,
        row: (node) =>
          tree.key[node] < 0 || largest === 0
            ? special(node)
            : warm[Math.round(Math.sqrt(Math.max(0, tree.self[node]) / largest) * STEPS)],
      };
    }
    const { baseline } = tree;
    return {
      palette: palette.colors,
      row: (node) => {
        if (tree.key[node] < 0) return special(node);
        const before = baseline ? baseline[node] : tree.total[node];
        const larger = Math.max(before, tree.total[node]);
        const moved = larger > 0 ? (tree.total[node] - before) / larger : 0;
        return (moved >= 0 ? warm : cold)[Math.round(Math.abs(moved) * STEPS)];
      },
    };
  }

  const ofFunction = functionPainter(mode, dark, profile, names);
  const colors = [...ofFunction.palette, scheme.root, scheme.thread];
  return {
    palette: colors,
    row: (node) => {
      const func = tree.key[node];
      return isFunction(func) ? ofFunction.row(func) : node === 0 ? colors.length - 2 : colors.length - 1;
    },
  };
}

/** Colours by what a function is, whatever it used. */
export function functionPainter(
  mode: 'module' | 'kind',
  dark: boolean,
  profile: Profile,
  names: Names,
): Painter<FuncRow> {
  const hues = mode === 'module' ? packageHues(profile, names) : new Map<string, number>();
  const palette = new Palette();
  const tones = new Map<string, number>();
  const rowOf = Int32Array.from(rowsOf<FuncRow>(profile.funcName.length), (func) => {
    const shade = Math.floor(fraction(names.name(func)) * SHADES);
    const native = (profile.funcFlags[func] & NATIVE) !== 0;
    const { hue, chroma } =
      mode === 'kind' ? { hue: native ? WARM : COLD, chroma: KIND_CHROMA } : moduleTone(names.place(func), hues);
    const key = `${hue} ${chroma} ${shade}`;
    let row = tones.get(key);
    if (row === undefined) tones.set(key, (row = palette.row(tone(dark, hue, chroma, shade))));
    return row;
  });
  return { palette: palette.colors, row: (func) => rowOf[func] };
}
