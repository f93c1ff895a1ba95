// Owns the picture of a call tree as an SVG document of its own.
import { css, type Painter, SCHEMES } from './colors';
import { type Layout, visit } from './layout';

export interface SvgLabels {
  title(node: number): string;
  /** The full sentence, shown by viewers when the pointer rests on a frame. */
  spoken(node: number): string;
  native(node: number): boolean;
  /** What stands behind the title, where there is room. */
  module(node: number): string;
}

const WIDTH = 1200;
const MARGIN = 8;
const HEAD = 28;
const ROW = 21;
/** Between a frame's edge and its label. */
const PAD = 5;
/** Frames below this share of what is shown are folded into one. */
const FLOOR = 0.001;
// Rather too much for any sans-serif at 12 px: a label that is cut beats one that runs over.
const LETTER = 7;
/** A label, or a module behind it, that would be cut to fewer letters than these is left out. */
const FIRST_LETTERS = 3;
const FIRST_MODULE = 4;
/** Narrower native frames are not hatched. */
const HATCHED = 6;

function xml(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they have no place in XML, not even escaped
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
      .replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`)
  );
}

const cut = (text: string, letters: number): string => `${text.slice(0, letters - 1)}…`;

/** What of a label fits, and of the module behind it if all of the label does. */
function fitting(title: string, module: string, wide: number): { label: string; behind: string } {
  // Widths are sums of fractions: what fits to a thousandth of a letter fits.
  const room = Math.trunc((wide - 2 * PAD) / LETTER + 0.001);
  if (title.length > room) return { label: room >= FIRST_LETTERS ? cut(title, room) : '', behind: '' };
  const left = room - title.length - 1;
  if (title === '' || module.length <= left) return { label: title, behind: title === '' ? '' : module };
  return { label: title, behind: left >= FIRST_MODULE ? cut(module, left) : '' };
}

/** The picture as `formats/svg.py` draws it, of what is shown and in the colours in which it is shown. */
export function toSvg(
  layout: Layout,
  painter: Painter,
  labels: SvgLabels,
  options: { from: number; to: number; dark: boolean; bottomUp: boolean; heading: string },
): string {
  const { tree, start } = layout;
  const { from, to, dark } = options;
  const scheme = SCHEMES[dark ? 'dark' : 'light'];
  const scale = (WIDTH - 2 * MARGIN) / (to - from || 1);
  const minWidth = (to - from) * FLOOR;
  const nodes: number[] = [];
  const folded: { from: number; to: number; depth: number }[] = [];
  visit(
    layout,
    { from, to, minDepth: 0, maxDepth: tree.maxDepth, minWidth },
    (node) => nodes.push(node),
    (began, ended, depth) => {
      if (ended - began >= minWidth) folded.push({ from: began, to: ended, depth });
    },
  );
  const depths = [...nodes.map((node) => tree.depth[node]), ...folded.map(({ depth }) => depth)];
  const rows = 1 + depths.reduce((deepest, depth) => Math.max(deepest, depth), 0);
  const height = HEAD + rows * ROW + 4;
  const place = (began: number, ended: number, depth: number): { left: number; y: number; wide: number } => {
    const left = MARGIN + Math.max(0, began - from) * scale;
    const right = MARGIN + Math.min(to - from, ended - from) * scale;
    return { left, y: HEAD + (options.bottomUp ? rows - 1 - depth : depth) * ROW, wide: right - left };
  };
  const box = ({ left, y, wide }: ReturnType<typeof place>): string =>
    `x="${left.toFixed(2)}" y="${y}" width="${Math.max(0.1, wide).toFixed(2)}" height="${ROW - 1}"`;
  const hatching = dark ? 'fill="#fff" fill-opacity="0.13"' : 'fill="#000" fill-opacity="0.11"';
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif" font-size="12">`,
    `<defs><pattern id="native" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="1.2" height="6" ${hatching}/></pattern></defs>`,
    `<rect width="${WIDTH}" height="${height}" fill="${css(scheme.page)}"/>`,
    `<text x="${MARGIN}" y="18" fill="${css(scheme.text)}">${xml(options.heading)}</text>`,
  ];
  const stroke = `stroke="${css(scheme.page)}"`;
  for (const node of nodes) {
    const at = place(start[node], start[node] + tree.extent[node], tree.depth[node]);
    const native = labels.native(node);
    const { label, behind } = fitting(labels.title(node), labels.module(node), at.wide);
    const module = behind ? `<tspan dx="7" fill="${css(scheme.dimText)}">${xml(behind)}</tspan>` : '';
    const style = `fill="${css(scheme.text)}"${native ? ' font-style="italic"' : ''}`;
    parts.push(
      `<g><title>${xml(labels.spoken(node))}</title>` +
        `<rect ${box(at)} fill="${css(painter.palette[painter.row(node)])}" ${stroke}/>` +
        (native && at.wide > HATCHED ? `<rect ${box(at)} fill="url(#native)"/>` : '') +
        (label
          ? `<text x="${(at.left + PAD).toFixed(1)}" y="${at.y + 14}" ${style}>${xml(label)}${module}</text>`
          : '') +
        '</g>',
    );
  }
  for (const run of folded) {
    const rest = `fill="${css(scheme.rest)}" ${stroke}`;
    parts.push(`<g><title>narrow frames</title><rect ${box(place(run.from, run.to, run.depth))} ${rest}/></g>`);
  }
  parts.push('</svg>');
  return parts.join('\n');
}
