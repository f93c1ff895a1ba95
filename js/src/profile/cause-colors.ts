// Owns the colours of what threads do: running is grey, each cause of waiting has a hue of its own.
import { DOINGS, type Doing, type Doings, mostOf } from './causes';
import { oklch, type Painter, type Rgb, SCHEMES } from './colors';
import type { CallTree } from './tree';

/** Hue and chroma by `Doing`. */
const TONES: readonly (readonly [number, number])[] = [
  [250, 0.008], // running
  [285, 0.035], // unknown
  [25, 0.11], // the GIL
  [62, 0.1], // a lock
  [250, 0.1], // sleep
  [195, 0.09], // a socket
  [145, 0.1], // a file
  [310, 0.1], // a process
  [350, 0.1], // a thread
];
/** From a little more than the others to all of the time. */
const STRENGTHS = [0.35, 0.7, 1];

export function doingColor(doing: Doing, dark: boolean, strength = 1): Rgb {
  const [hue, chroma] = TONES[doing];
  // What runs is lighter than what is not known to wait for anything.
  const light = dark ? (doing === 0 ? 0.36 : 0.42) : doing === 0 ? 0.9 : 0.83;
  return oklch(light, chroma * strength, hue);
}

/** Each frame in the colour of what most of its time was, the paler the less of it that was. */
export function doingPainter(dark: boolean, tree: CallTree, doings: Doings): Painter {
  const scheme = SCHEMES[dark ? 'dark' : 'light'];
  const palette = [
    ...DOINGS.flatMap((_, doing) => STRENGTHS.map((strength) => doingColor(doing, dark, strength))),
    scheme.root,
    scheme.thread,
  ];
  const rows = new Int32Array(tree.length).fill(-1);
  rows[0] = palette.length - 2;
  return {
    palette,
    row: (node) => {
      if (rows[node] < 0) {
        const { doing, share } = mostOf(doings(node));
        const strength = share > 0.85 ? 2 : share > 0.6 ? 1 : 0;
        rows[node] = tree.key[node] < 0 ? palette.length - 1 : doing * STRENGTHS.length + strength;
      }
      return rows[node];
    },
  };
}
