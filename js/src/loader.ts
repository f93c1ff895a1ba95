// Owns a widget's way to the front end, which is a model of its own: there once a notebook, for all graphs of it.
// Knows nothing of what is shown.
import { frontEnd, type Packed, type Rendered } from './hosts/front-ends';

interface Model {
  get(name: string): unknown;
  on(event: string, callback: (content: { type?: string }, buffers: DataView<ArrayBuffer>[]) => void): void;
  off(event: string, callback: unknown): void;
  send(content: unknown): void;
  readonly widget_manager?: { get_model(id: string): Promise<{ get(name: string): unknown }> };
}

/** So long does a kernel that is busy with a cell get to answer. */
const PATIENCE_MS = 600_000;

async function fromItsModel(model: Model): Promise<Packed> {
  const id = String(model.get('front_end')).replace(/^IPY_MODEL_/, '');
  const found = await model.widget_manager?.get_model(id);
  const [script, style] = [found?.get('script'), found?.get('style')] as [BlobPart | null, BlobPart | null];
  if (!script || !style) throw new Error('the model of the front end is not here');
  return { script, style };
}

function fromTheKernel(model: Model): Promise<Packed> {
  return new Promise((resolve, reject) => {
    const waiting = setTimeout(() => reject(new Error('no answer from the kernel')), PATIENCE_MS);
    const answered = ({ type }: { type?: string }, [script, style]: DataView<ArrayBuffer>[]): void => {
      if (type !== 'front end') return;
      clearTimeout(waiting);
      model.off('msg:custom', answered);
      resolve({ script, style });
    };
    model.on('msg:custom', answered);
    model.send({ type: 'front end' });
  });
}

async function render(context: { model: Model; el: HTMLElement }): Promise<() => void> {
  const { model, el } = context;
  let rendered: Rendered;
  try {
    rendered = await frontEnd(String(model.get('version')), () =>
      fromItsModel(model).catch(() => fromTheKernel(model)),
    );
  } catch (error) {
    el.textContent = `The flame graph cannot be shown: ${(error as Error).message}`;
    return () => undefined;
  }
  return rendered.default.render(context);
}

export default { render };
