import { describe, expect, it } from 'vitest';
import { folded, profileOf } from '../../test/profiles';
import { show } from '../../test/show';
import { sandwich } from './sandwich';
import { buildTree } from './tree';

function both(text: string, name: string): { callers: string[]; callees: string[] } {
  const { profile, names, func } = profileOf(folded(text));
  const { callers, callees } = sandwich(buildTree(profile, names), profile.funcName.length, func(name));
  return { callers: show(callers, names, profile), callees: show(callees, names, profile) };
}

describe('sandwich', () => {
  it('merges callers above and callees below one function', () => {
    const { callers, callees } = both('a;f;x 4\nb;f;x 2\nb;f;y 3\nb;f 1\nz 90', 'f');
    expect(callers).toEqual(['all 10/0', '  f 10/0', '    b 6/6', '    a 4/4']);
    expect(callees).toEqual(['all 10/0', '  f 10/1', '    x 6/6', '    y 3/3']);
  });

  it('counts recursion once: both sides total what the table says', () => {
    const { callers, callees } = both('main;fib;fib;fib 6\nmain;fib 2', 'fib');
    expect(callers).toEqual(['all 8/0', '  fib 8/0', '    main 8/8']);
    expect(callees).toEqual(['all 8/0', '  fib 8/2', '    fib 6/0', '      fib 6/6']);
  });
});
