import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ANSWER_MS, Questions } from './questions';

describe('Questions', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('asks once for all who want to know, and again the next time', async () => {
    const sent: object[] = [];
    const questions = new Questions((content) => sent.push(content));
    const both = [questions.ask('a', { type: 'a' }), questions.ask('a', { type: 'a' })];
    questions.answer('b', 0);
    questions.answer('a', 7);
    expect(await Promise.all(both)).toEqual([7, 7]);
    void questions.ask('a', { type: 'a' });
    expect(sent).toEqual([{ type: 'a' }, { type: 'a' }]);
    questions.answer('a', 8);
  });

  it('does not wait for ever, and may be asked again', async () => {
    const questions = new Questions(() => undefined);
    const late = expect(questions.ask('a', {})).rejects.toThrow('the kernel did not answer within 20 s');
    vi.advanceTimersByTime(ANSWER_MS);
    await late;
    const again = questions.ask('a', {});
    questions.answer('a', 'here');
    expect(await again).toBe('here');
  });

  it('tells at once where nothing can be sent', async () => {
    const questions = new Questions(() => {
      throw new Error('Comm is closed');
    });
    await expect(questions.ask('a', {})).rejects.toThrow('the kernel that made this graph is gone');
    await expect(questions.ask('a', {})).rejects.toThrow('the kernel that made this graph is gone');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('tells at once what was asked when the kernel goes', async () => {
    const questions = new Questions(() => undefined);
    const asked = [questions.ask('a', {}), questions.ask('b', {})].map((answer) =>
      expect(answer).rejects.toThrow('the kernel that made this graph is gone'),
    );
    questions.lost();
    await Promise.all(asked);
    expect(vi.getTimerCount()).toBe(0);
    const again = questions.ask('a', {});
    questions.answer('a', 'here');
    expect(await again).toBe('here');
  });
});
