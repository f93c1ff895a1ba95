import { expect, it } from 'vitest';
import { profileOf } from '../../test/profiles';
import type { FuncRow, SampleRow, StackRow } from './rows';

it('is as the worked example says, and the compiler refuses the rows of other tables', () => {
  const { profile } = profileOf([
    { calls: ['main', 'parse'], weight: 20 },
    { calls: ['main'], weight: 10 },
  ]);
  const { sampleStack, frameFunc, stackFrame, stackParent, funcName, strings } = profile;
  const stack: StackRow = sampleStack[0 as SampleRow];
  const func: FuncRow = frameFunc[stackFrame[stack]];
  expect(strings.get(funcName[func])).toBe('parse');
  expect(frameFunc[stackFrame[stackParent[stack]]]).toBe(0);
  // `npm run typecheck` fails where one of these lines would compile.
  // @ts-expect-error a stack is no frame
  void frameFunc[stack];
  // @ts-expect-error just any number is no row
  void sampleStack[0];
  // @ts-expect-error a function is no string
  void strings.get(func);
});
