// Owns how much text fits where on a canvas. Widths are summed from characters: asking the canvas for every
// label would take most of a frame.

export class TextMeter {
  private readonly ascii = new Float64Array(128);
  private readonly other = new Map<string, number>();
  private readonly cache = new Map<string, number>();
  private readonly ellipsis: number;

  constructor(
    private readonly context: CanvasRenderingContext2D,
    readonly font: string,
  ) {
    context.font = font;
    for (let code = 32; code < 127; code++) this.ascii[code] = context.measureText(String.fromCharCode(code)).width;
    this.ellipsis = context.measureText('…').width;
  }

  private character(text: string, at: number): number {
    const code = text.charCodeAt(at);
    if (code < 128) return this.ascii[code];
    const letter = text[at];
    let width = this.other.get(letter);
    if (width === undefined) {
      this.context.font = this.font;
      width = this.context.measureText(letter).width;
      this.other.set(letter, width);
    }
    return width;
  }

  width(text: string): number {
    let width = this.cache.get(text);
    if (width === undefined) {
      width = 0;
      for (let i = 0; i < text.length; i++) width += this.character(text, i);
      this.cache.set(text, width);
    }
    return width;
  }

  /** The text, its beginning with an ellipsis, or '' where not even two letters fit. */
  fit(text: string, room: number): string {
    if (this.width(text) <= room) return text;
    let width = this.ellipsis;
    let at = 0;
    while (at < text.length && width + this.character(text, at) <= room) width += this.character(text, at++);
    return at < 2 ? '' : `${text.slice(0, at)}…`;
  }
}
