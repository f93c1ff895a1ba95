import { describe, expect, it } from 'vitest';
import { colouredLines } from './python-syntax';

/** Kind and text of all pieces but plain ones. */
const marked = (source: string): string[][] =>
  colouredLines(source.split('\n')).map((line) =>
    line.filter(({ kind }) => kind !== 'plain').map(({ kind, text }) => `${kind} ${text}`),
  );

describe('Python source', () => {
  it('loses no letter, whatever it is', () => {
    const texts = [
      'def f(x):',
      '  s = "a\\"b" # "',
      "x = '''",
      'in it\\',
      "''' + 1",
      'é = 0x_ff + .5 + 1.',
      '"unended',
      '\t$?!',
    ];
    expect(colouredLines(texts).map((pieces) => pieces.map(({ text }) => text).join(''))).toEqual(texts);
  });

  it('has keywords, names that are defined, numbers, strings, comments and decorators', () => {
    expect(marked('@app.route("/")\nasync def load(x=1e3):  # all\n    return None if x.match else f"{x}"')).toEqual([
      ['decorator @app.route', 'string "/"'],
      ['keyword async', 'keyword def', 'defined load', 'number 1e3', 'comment # all'],
      ['keyword return', 'keyword None', 'keyword if', 'keyword else', 'string f"{x}"'],
    ]);
  });

  it('a string of several lines is one until its own quotes', () => {
    expect(marked('x = """a # b\n\'\'\' "" if\nend""" if y else 2')).toEqual([
      ['string """a # b'],
      ["string ''' \"\" if"],
      ['string end"""', 'keyword if', 'keyword else', 'number 2'],
    ]);
  });

  it('match is a keyword where it begins a statement, a name elsewhere', () => {
    expect(marked('match = re.match(x)\nmatch value:\n    case 1: pass')).toEqual([
      [],
      ['keyword match'],
      ['number 1', 'keyword pass'],
    ]);
    expect(marked('a @ b')).toEqual([[]]);
  });
});
