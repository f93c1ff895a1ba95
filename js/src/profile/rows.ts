// Owns the types of row numbers and of columns. Nothing of them is left when the program runs.

declare const table: unique symbol;

/** A row of one table; to the compiler no row of another table, nor just any number. */
export type Row<Table extends string> = number & { readonly [table]: Table };

export type StringRow = Row<'strings'>;
export type FuncRow = Row<'functions'>;
export type FrameRow = Row<'frames'>;
export type StackRow = Row<'stacks'>;
export type LabelRow = Row<'labels'>;
export type SampleRow = Row<'samples'>;
export type ThreadRow = Row<'threads'>;

/**
 * One column of a table. Only the table's own rows index it, and what it holds is a row of the table it points at.
 *
 * A program that was met twice, in `parse` called by `main`, and in `main` itself:
 *
 *     row   strings    functions     frames         stacks             samples
 *           text       name  file    func  line     parent  frame      stack  weight
 *      0    "main"        0     2       0     4         -1      0          1      20
 *      1    "parse"       1     2       1    12          0      1          0      10
 *      2    "app.py"
 *
 * The function and the caller that sample 0 met, 20 ns long:
 *
 *     const stack = sampleStack[0 as SampleRow];     // 1: a StackRow
 *     const func = frameFunc[stackFrame[stack]];     // 1: a FuncRow, by way of frame 1
 *     strings.get(funcName[func]);                   // "parse"
 *     stackParent[stack];                            // 0, which is `main`; -1 ends the way up
 *     frameFunc[stack];                              // does not compile: a stack is no frame
 *
 * `row++` keeps the type, so `for (let row = 0 as StackRow; row < stackFrame.length; row++)` walks a table.
 */
export type Column<At extends number, Value> = { readonly [row in At]: Value } & { readonly length: number };

/** A column that is being made. */
export type Writable<At extends number, Value> = { [row in At]: Value } & { readonly length: number };

/** The rows of a table of this length, in order. */
export function* rowsOf<At extends number>(length: number): Generator<At> {
  for (let row = 0; row < length; row++) yield row as At;
}
