// Owns questions to a kernel: which are open, what answers them, and when to stop waiting. Knows neither what is
// asked nor how a message travels.

/** How long a kernel may take to answer before it counts as busy or gone. */
export const ANSWER_MS = 20_000;

const GONE = 'the kernel that made this graph is gone; run its cell again';

interface Open {
  readonly answer: Promise<unknown>;
  settle(value: unknown): void;
  fail(error: Error): void;
}

export class Questions {
  private readonly open = new Map<string, Open>();

  constructor(private readonly send: (content: object) => void) {}

  /**
   * The answer to a question, by its key; whoever asks the same meanwhile gets the same one. Rejects where the
   * kernel cannot be asked or does not answer; it may be asked again then.
   */
  ask<Answer>(key: string, content: object): Promise<Answer> {
    const known = this.open.get(key);
    if (known) return known.answer as Promise<Answer>;
    const { promise, resolve, reject } = withResolvers();
    const close = (): void => {
      clearTimeout(late);
      this.open.delete(key);
    };
    const late = setTimeout(
      () => fail(new Error(`the kernel did not answer within ${ANSWER_MS / 1000} s; it is busy or gone`)),
      ANSWER_MS,
    );
    const fail = (error: Error): void => {
      close();
      reject(error);
    };
    this.open.set(key, {
      answer: promise,
      fail,
      settle: (value) => {
        close();
        resolve(value);
      },
    });
    try {
      this.send(content);
    } catch (error) {
      // Hosts refuse to send once the connection is closed, each in words of its own.
      fail(new Error(GONE, { cause: error }));
    }
    return promise as Promise<Answer>;
  }

  /** Nothing that was asked will be answered: the connection to the kernel ended. */
  lost(): void {
    for (const question of [...this.open.values()]) question.fail(new Error(GONE));
  }

  answer(key: string, value: unknown): void {
    this.open.get(key)?.settle(value);
  }
}

/** `Promise.withResolvers`, which the oldest browsers that we serve lack. */
function withResolvers(): {
  promise: Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
} {
  let resolve: (value: unknown) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<unknown>((kept, failed) => {
    resolve = kept;
    reject = failed;
  });
  return { promise, resolve, reject };
}
