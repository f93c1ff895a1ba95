// Owns what can be saved: the picture as SVG or PNG, the profile for Speedscope or as our own file.

import { download } from '../dom/clipboard';
import * as format from '../profile/format';
import { timeKind } from '../profile/notes';
import { toSpeedscope } from '../profile/speedscope';
import { toSvg } from '../profile/svg';
import { functionOf } from '../profile/tree';
import { module, native, spoken, title } from '../state/describe';
import type { ContainerBytes, State } from '../state/state';

/** The call tree as it is zoomed and filtered. */
export function svgOf(state: State): string {
  const { tree, layout } = state.aggregate;
  const zoomed = state.zoomedNode();
  const whole = tree.extent[zoomed] > 0 ? tree.extent[zoomed] : layout.width;
  const from = tree.extent[zoomed] > 0 ? layout.start[zoomed] : 0;
  return toSvg(
    layout,
    state.painter(tree),
    {
      title: (node) => title(state, tree, node),
      spoken: (node) => spoken(state, tree, node),
      native: (node) => native(state, tree, node),
      module: (node) => module(state, tree, node),
    },
    {
      from,
      to: from + whole,
      dark: state.dark,
      bottomUp: state.choices.view === 'flame',
      heading: `${zoomed > 0 ? `${title(state, tree, zoomed)} · ` : ''}${format.duration(tree.total[zoomed])} of ${timeKind(state.data)}, ${format.counted(tree.totalCount[zoomed], 'sample')}`,
    },
  );
}

/** Rasterises an SVG document at twice its size. */
export async function pngOf(svg: string): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth * 2;
  canvas.height = image.naturalHeight * 2;
  const pen = canvas.getContext('2d');
  if (!pen) throw new Error('this browser has no 2D canvas');
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error('the picture is too large for this browser'))),
      'image/png',
    );
  });
}

/** What files are called without their ending: as the profile is, or its cell. */
export function fileName(state: State, name: string): string {
  const { tree, names } = state;
  let called = name;
  if (called === '' && tree.childStart[1] - tree.childStart[0] === 1) {
    const func = functionOf(tree, tree.childList[tree.childStart[0]]);
    const cell = func === null ? null : /^In \[(\d+)\]/.exec(names.title(func));
    if (cell) called = `cell-${cell[1]}`;
  }
  // What no file system minds.
  return called.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+|[-.]+$/g, '') || 'profile';
}

/** Of a coarser copy the name says so, as a note within it does. */
export function saveContainer(container: ContainerBytes, coarser: boolean, name: string): void {
  download(`${name}${coarser ? '-coarser' : ''}.spprof`, container, 'application/octet-stream');
}

export type ExportKind = 'svg' | 'png' | 'speedscope' | 'spprof';

export async function save(kind: ExportKind, state: State, name: string): Promise<void> {
  if (kind === 'svg') download(`${name}.svg`, svgOf(state), 'image/svg+xml');
  else if (kind === 'png') download(`${name}.png`, await pngOf(svgOf(state)), 'image/png');
  else if (kind === 'speedscope')
    download(`${name}.speedscope.json`, JSON.stringify(toSpeedscope(state.whole)), 'application/json');
  else saveContainer(state.container, false, name);
}
