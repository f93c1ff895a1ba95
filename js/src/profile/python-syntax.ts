// Owns which parts of Python source are comments, strings, keywords and so on, line by line.

export type Kind = 'comment' | 'string' | 'keyword' | 'number' | 'defined' | 'decorator' | 'plain';

export interface Piece {
  readonly kind: Kind;
  readonly text: string;
}

const KEYWORDS = new Set(
  (
    'False None True and as assert async await break class continue def del elif else except finally for from ' +
    'global if import in is lambda nonlocal not or pass raise return try while with yield match case'
  ).split(' '),
);
// Words that are keywords only at the beginning of a line that ends in a colon.
const SOFT = new Set(['match', 'case']);

const TOKEN =
  /(#.*)|([rbuft]{0,2}(?:"""|'''))|([rbuft]{0,2}(?:"(?:[^"\\]|\\.)*(?:"|$)|'(?:[^'\\]|\\.)*(?:'|$)))|(@[A-Za-z_][\w.]*)|((?:0[xob][\da-f_]+|(?:\d[\d_]*)?\.?\d[\d_]*(?:e[+-]?\d+)?j?))|([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)|(\s+|.)/giy;

/** Each line in pieces; texts of a line's pieces are the line. A string of several lines is one on each of them. */
export function colouredLines(lines: readonly string[]): Piece[][] {
  /** The three quotes that a string of several lines ends with. */
  let inside = '';
  return lines.map((line) => {
    const pieces: Piece[] = [];
    const add = (kind: Kind, text: string): void => {
      if (text === '') return;
      const last = pieces[pieces.length - 1];
      if (last?.kind === kind) pieces[pieces.length - 1] = { kind, text: last.text + text };
      else pieces.push({ kind, text });
    };
    let at = 0;
    let before = '';
    const throughString = (from: number): void => {
      const end = closing(line, inside, from);
      add('string', line.slice(at, end < 0 ? line.length : end));
      at = end < 0 ? line.length : end;
      if (end >= 0) inside = '';
    };
    if (inside) throughString(0);
    while (at < line.length) {
      TOKEN.lastIndex = at;
      const [text, comment, long, string, decorator, number, word] = TOKEN.exec(line) as RegExpExecArray;
      if (long !== undefined) {
        inside = long.slice(-3);
        throughString(at + long.length);
        before = '';
        continue;
      }
      if (comment !== undefined) add('comment', text);
      else if (string !== undefined) add('string', text);
      else if (decorator !== undefined && line.slice(0, at).trim() === '') add('decorator', text);
      else if (number !== undefined) add('number', text);
      else if (word !== undefined) {
        const soft = SOFT.has(word) && !(line.slice(0, at).trim() === '' && /^\s*\w+\s+[^=].*:\s*(#.*)?$/.test(line));
        if (before === 'def' || before === 'class') add('defined', text);
        else add(KEYWORDS.has(word) && !soft && before !== '.' ? 'keyword' : 'plain', text);
      } else add('plain', text);
      if (text.trim() !== '') before = text;
      at += text.length;
    }
    return pieces;
  });
}

/** Where a string that ends with these quotes is over, or -1. */
function closing(line: string, quotes: string, from: number): number {
  for (let at = from; at < line.length; at++) {
    if (line[at] === '\\') at++;
    else if (line.startsWith(quotes, at)) return at + quotes.length;
  }
  return -1;
}
