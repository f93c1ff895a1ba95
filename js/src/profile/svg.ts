// Owns the picture of a call tree as an SVG document of its own.
import { css, type Painter, SCHEMES } from './colors';
import { type Layout, visit } from './layout';

export interface SvgLabels {
  title(node: number): string;
  /** The full sentence, shown by viewers when the pointer rests on a frame. */
  spoken(node: number): string;
  native(node: number): boolean;
}

const WIDTH = 1200;
const ROW = 19;
/** Frames below this share of what is shown are folded away. */
const FLOOR = 0.001;
// Wide enough for any sans-serif at 12 px: a label that is cut beats one that runs over.
const LETTER = 6.6;

function xml(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they have no place in XML, not even escaped
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
      .replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`)
  );
}

export function toSvg(
  layout: Layout,
  painter: Painter,
  labels: SvgLabels,
  options: { from: number; to: number; dark: boolean; bottomUp: boolean; heading: string },
): string {
  const { tree, start } = layout;
  const scheme = SCHEMES[options.dark ? 'dark' : 'light'];
  const scale = WIDTH / (options.to - options.from || 1);
  const nodes: number[] = [];
  visit(
    layout,
    {
      from: options.from,
      to: options.to,
      minDepth: 0,
      maxDepth: tree.maxDepth,
      minWidth: (options.to - options.from) * FLOOR,
    },
    (node) => nodes.push(node),
    () => undefined,
  );
  const rows = 1 + nodes.reduce((deepest, node) => Math.max(deepest, tree.depth[node]), 0);
  const head = 26;
  const height = head + rows * ROW + 4;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    '<defs><pattern id="native" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="1.2" height="6" fill="#000" fill-opacity="0.13"/></pattern></defs>',
    `<rect width="${WIDTH}" height="${height}" fill="${options.dark ? '#17181c' : '#ffffff'}"/>`,
    `<text x="6" y="17" fill="${css(scheme.text)}">${xml(options.heading)}</text>`,
  ];
  for (const node of nodes) {
    const left = Math.max(0, (start[node] - options.from) * scale);
    const right = Math.min(WIDTH, (start[node] + tree.extent[node] - options.from) * scale);
    const wide = Math.max(0.3, right - left - 0.7);
    const depth = tree.depth[node];
    const y = head + (options.bottomUp ? rows - 1 - depth : depth) * ROW;
    const box = `x="${left.toFixed(1)}" y="${y}" width="${wide.toFixed(1)}" height="${ROW - 1}"`;
    const letters = Math.floor((wide - 8) / LETTER);
    const title = labels.title(node);
    const label = title.length <= letters ? title : letters >= 3 ? `${title.slice(0, letters - 1)}…` : '';
    const native = labels.native(node);
    parts.push(
      `<g><title>${xml(labels.spoken(node))}</title><rect ${box} fill="${css(painter.palette[painter.row(node)])}"/>` +
        (native ? `<rect ${box} fill="url(#native)"/>` : '') +
        (label
          ? `<text x="${(left + 4).toFixed(1)}" y="${y + 13}" fill="${css(scheme.text)}"${native ? ' font-style="italic"' : ''}>${xml(label)}</text>`
          : '') +
        '</g>',
    );
  }
  parts.push('</svg>');
  return parts.join('\n');
}
