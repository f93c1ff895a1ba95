// Owns the meeting of the front end with an anywidget model: traits in, selection and search out.
import type { ViewName } from './views/state';
import './style.css';
import { App, type Selected } from './views/app';

interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown): void;
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  // A change that came from Python must not go back to it.
  const tell = (name: string, value: unknown): void => {
    if (JSON.stringify(model.get(name)) === JSON.stringify(value)) return;
    model.set(name, value);
    model.save_changes();
  };
  const app = new App(el, {
    selected: (selected: Selected | Record<string, never>) => tell('selected', selected),
    searched: (text: string) => tell('search', text),
    viewed: (view: ViewName) => tell('view', view),
  });
  const handlers: Record<string, () => void> = {
    'change:data': () => {
      const data = model.get('data') as DataView | null;
      if (data && data.byteLength > 0) app.setData(data);
    },
    'change:search': () => app.setSearch(String(model.get('search') ?? '')),
    'change:view': () => app.setView(String(model.get('view') ?? '')),
    'change:theme': () => app.setTheme(String(model.get('theme') ?? 'auto')),
  };
  for (const name of ['change:theme', 'change:data', 'change:view', 'change:search']) handlers[name]();
  for (const [name, handler] of Object.entries(handlers)) model.on(name, handler);
  return () => {
    for (const [name, handler] of Object.entries(handlers)) model.off(name, handler);
    app.dispose();
  };
}

export default { render };
