// Owns which front ends a page has: each version once, whoever brought it. Knows nothing of what they show.

export interface Rendered {
  default: { render(context: { model: object; el: HTMLElement }): () => void };
}

/** Script and style, deflated. */
export interface Packed {
  readonly script: BlobPart;
  readonly style: BlobPart;
}

const FRONT_ENDS = Symbol.for('spprof.front-ends');

declare global {
  interface Window {
    /** By version; a page may hold notebooks of several. */
    [FRONT_ENDS]?: Map<string, Promise<Rendered>>;
  }
}

export async function inflated(packed: BlobPart): Promise<ArrayBuffer> {
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer();
}

async function loaded({ script, style }: Packed): Promise<Rendered> {
  const sheet = document.createElement('style');
  sheet.textContent = new TextDecoder().decode(await inflated(style));
  document.head.append(sheet);
  const url = URL.createObjectURL(new Blob([await inflated(script)], { type: 'text/javascript' }));
  try {
    return (await import(url)) as Rendered;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** The front end of this version, where something on the page has brought it. */
export function known(version: string): Promise<Rendered> | undefined {
  return window[FRONT_ENDS]?.get(version);
}

/** The front end of this version; asked for only where nothing on the page has brought it before. */
export function frontEnd(version: string, packed: () => Packed | Promise<Packed>): Promise<Rendered> {
  const all = (window[FRONT_ENDS] ??= new Map<string, Promise<Rendered>>());
  let found = all.get(version);
  if (!found) {
    found = Promise.resolve().then(packed).then(loaded);
    all.set(version, found);
    // Whoever comes next may have it.
    found.catch(() => all.delete(version));
  }
  return found;
}
