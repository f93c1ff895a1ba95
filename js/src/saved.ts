// Owns graphs in the HTML of saved outputs, with neither kernel nor widget: they take their pictures' place once
// they are seen. One output of a page brings the front end for all. Where anything fails the picture stays.

export {};

interface Rendered {
  default: { render(context: { model: object; el: HTMLElement }): () => void };
}

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

async function show(place: HTMLElement, frontEnd: Promise<Rendered>): Promise<void> {
  const graph = document.createElement('div');
  try {
    const { profile, sources } = place.dataset;
    const data = new DataView(await inflated(profile));
    const texts = JSON.parse(new TextDecoder().decode(await inflated(sources))) as Record<string, string>;
    const { render } = (await frontEnd).default;
    place.append(graph);
    render({ model: model({ data, sources: texts }), el: graph });
    for (const picture of place.querySelectorAll<HTMLElement>(':scope > .spprof-picture')) picture.hidden = true;
  } catch (error) {
    graph.remove();
    console.warn('spprof: the picture is all that can be shown here:', error);
  }
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
  // Beside a widget the picture is hidden, and the graph with it.
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    void show(place, frontEnd);
  });
  watch.observe(place);
}
