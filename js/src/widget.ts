// Owns the meeting of the front end with an anywidget model: traits in, selection, search and view out, files
// asked for by message.
import './style.css';
import { Questions } from './hosts/questions';
import { App, type Selected } from './shell/app';
import { Caption } from './shell/caption';

interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown): void;
}

// Speedscope's page, once for all graphs of a page, each of which has a module of its own: what one of them was
// given outlives the kernel that gave it.
const SPEEDSCOPE = Symbol.for('spprof.speedscope');

declare global {
  interface Window {
    [SPEEDSCOPE]?: string;
  }
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const questions = new Questions((content) => model.send(content));
  // A change that came from Python must not go back to it.
  const tell = (name: string, value: unknown): void => {
    if (JSON.stringify(model.get(name)) === JSON.stringify(value)) return;
    model.set(name, value);
    model.save_changes();
  };

  const sources = (): Record<string, string> => (model.get('sources') ?? {}) as Record<string, string>;

  const app = new App(el, {
    selected: (selected) => tell('selected', selected),
    name: () => String(model.get('name') ?? ''),
    searched: (text) => tell('search', text),
    viewed: (view) => tell('view', view),
    source: (path) =>
      path in sources()
        ? Promise.resolve(sources()[path] || null)
        : questions.ask(`source ${path}`, { type: 'source', file: path }),
    whole: () => questions.ask<DataView<ArrayBuffer>>('profile', { type: 'profile' }),
    speedscope: async () => {
      window[SPEEDSCOPE] ??= await questions.ask<string>('speedscope', { type: 'speedscope' });
      return window[SPEEDSCOPE];
    },
  });

  const data = (): DataView<ArrayBuffer> | null => {
    const bytes = model.get('data') as DataView<ArrayBuffer> | null;
    return bytes && bytes.byteLength > 0 ? bytes : null;
  };
  const caption = new Caption(app.root, async () => {
    if (data()) return;
    const refusal = await questions.ask<string>('open', { type: 'open' });
    if (refusal) throw new Error(refusal);
  });
  el.prepend(caption.element);
  const describe = (): void =>
    caption.set(String(model.get('caption') ?? ''), Boolean(model.get('folded')), data() !== null);

  const lost = (): void => {
    questions.lost();
    // What was said of a running cell is not true any more.
    if (!model.get('folded') && model.get('caption'))
      caption.set('the kernel is gone: this is as far as it came', false, true);
  };

  const handlers: Record<string, (...args: never[]) => void> = {
    'change:theme': () => app.setTheme(String(model.get('theme') ?? 'auto')),
    'change:data': () => {
      const bytes = data();
      if (!bytes) return;
      questions.answer('open', '');
      // First, so that what is drawn finds its room.
      describe();
      app.setData(bytes);
    },
    'change:caption': describe,
    'change:folded': describe,
    'change:all_frames': () => app.setAllFrames(model.get('all_frames') === true),
    'change:view': () => app.setView(String(model.get('view') ?? '')),
    'change:search': () => app.setSearch(String(model.get('search') ?? '')),
    'change:selected': () => app.setSelected((model.get('selected') ?? {}) as Selected),
    'change:sources': () => {
      for (const [path, text] of Object.entries(sources())) questions.answer(`source ${path}`, text || null);
    },
    // Fired when a kernel restarts, and when it closes what it had opened.
    comm_live_update: lost,
    'comm:close': lost,
    'msg:custom': (content: { type?: string; reason?: string }, buffers: DataView[]) => {
      if (content.type === 'speedscope' && buffers.length > 0)
        questions.answer('speedscope', new TextDecoder().decode(buffers[0]));
      if (content.type === 'refused') questions.answer('open', content.reason);
      if (content.type === 'profile' && buffers.length > 0) questions.answer('profile', buffers[0]);
    },
  };
  for (const event of [
    'change:theme',
    'change:caption',
    'change:all_frames',
    'change:view',
    'change:data',
    'change:search',
    'change:selected',
  ])
    handlers[event]();
  for (const [event, handler] of Object.entries(handlers)) model.on(event, handler);
  return () => {
    for (const [event, handler] of Object.entries(handlers)) model.off(event, handler);
    app.dispose();
    caption.element.remove();
  };
}

export default { render };
