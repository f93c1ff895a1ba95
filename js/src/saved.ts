// Owns graphs in the HTML of saved outputs, with neither kernel nor widget: they take their pictures' place once
// they are seen. One output of a page brings the front end for all. Where anything fails the picture stays.

export {};

interface Rendered {
  default: { render(context: { model: object; el: HTMLElement }): () => void };
}

/** A widget that is on its way takes the place of the picture within this time. */
const PATIENCE_MS = 1500;

const FRONT_ENDS = Symbol.for('spprof.front-ends');

declare global {
  interface Window {
    /** By version; a page may hold notebooks of several. */
    [FRONT_ENDS]?: Map<string, Promise<Rendered>>;
  }
}

async function inflated(packed = ''): Promise<ArrayBuffer> {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer();
}

async function loaded({ script, style }: DOMStringMap): Promise<Rendered> {
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

/** What the front end takes for a widget's model; nobody answers its questions. */
function model(values: Record<string, unknown>): object {
  return {
    get: (name: string) => values[name],
    set: (name: string, value: unknown) => {
      values[name] = value;
    },
    save_changes: () => undefined,
    on: () => undefined,
    off: () => undefined,
    send: () => {
      throw new Error('there is no kernel');
    },
  };
}

async function shown(place: HTMLElement, graph: HTMLElement, frontEnd: Promise<Rendered>): Promise<() => void> {
  const { profile, sources } = place.dataset;
  const data = new DataView(await inflated(profile));
  const texts = JSON.parse(new TextDecoder().decode(await inflated(sources))) as Record<string, string>;
  const { render } = (await frontEnd).default;
  return render({ model: model({ data, sources: texts }), el: graph });
}

/** Shows the graph for as long as its place is one that can be seen. */
function keepShown(place: HTMLElement, frontEnd: Promise<Rendered>): void {
  let graph: HTMLElement | null = null;
  let waiting = 0;
  let dispose = (): void => undefined;
  const pictures = place.querySelectorAll<HTMLElement>(':scope > .spprof-picture');

  const begin = async (): Promise<void> => {
    const made = document.createElement('div');
    graph = made;
    try {
      place.append(made);
      const end = await shown(place, made, frontEnd);
      if (graph !== made) end();
      else {
        dispose = end;
        for (const picture of pictures) picture.hidden = true;
      }
    } catch (error) {
      made.remove();
      console.warn('spprof: the picture is all that can be shown here:', error);
    }
  };

  new IntersectionObserver((entries) => {
    const { isIntersecting } = entries[entries.length - 1];
    if (isIntersecting && !graph) {
      clearTimeout(waiting);
      waiting = window.setTimeout(() => void begin(), PATIENCE_MS);
    } else if (!isIntersecting && place.getClientRects().length === 0) {
      // A widget is there instead, or the page has put the output away.
      clearTimeout(waiting);
      dispose();
      dispose = () => undefined;
      graph?.remove();
      graph = null;
      for (const picture of pictures) picture.hidden = false;
    }
  }).observe(place);
}

const frontEnds = (window[FRONT_ENDS] ??= new Map<string, Promise<Rendered>>());
for (const element of document.querySelectorAll<HTMLElement>('.spprof-front-end')) {
  const { version = '' } = element.dataset;
  if (!frontEnds.has(version)) frontEnds.set(version, loaded(element.dataset));
}
for (const place of document.querySelectorAll<HTMLElement>('.spprof-saved:not([data-seen])')) {
  const frontEnd = frontEnds.get(place.dataset.version ?? '');
  if (!frontEnd) continue;
  place.dataset.seen = '';
  keepShown(place, frontEnd);
}
