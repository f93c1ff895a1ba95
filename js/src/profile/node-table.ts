// Owns the table in which trees are built: nodes found or added by their parent and what they stand for.

/** Finds or adds (parent, key) pairs: open addressing over typed arrays, no object a node. */
export class NodeTable {
  length = 1;
  parent = new Int32Array(1024);
  key = new Int32Array(1024);
  depth = new Int32Array(1024);
  private slots = new Int32Array(4096).fill(-1);

  constructor() {
    this.parent[0] = -1;
    this.key[0] = -1;
  }

  private slot(parent: number, key: number): number {
    const mask = this.slots.length - 1;
    let at = (Math.imul(parent, 0x9e3779b1) ^ Math.imul(key, 0x85ebca6b)) >>> 0;
    at = (at ^ (at >>> 15)) & mask;
    for (;;) {
      const node = this.slots[at];
      if (node < 0 || (this.parent[node] === parent && this.key[node] === key)) return at;
      at = (at + 1) & mask;
    }
  }

  child(parent: number, key: number): number {
    const at = this.slot(parent, key);
    if (this.slots[at] >= 0) return this.slots[at];
    const node = this.length++;
    if (node >= this.parent.length) this.grow();
    this.parent[node] = parent;
    this.key[node] = key;
    this.depth[node] = this.depth[parent] + 1;
    this.slots[at] = node;
    if (this.length * 2 > this.slots.length) this.rehash();
    return node;
  }

  private grow(): void {
    const double = (old: Int32Array): Int32Array<ArrayBuffer> => {
      const wider = new Int32Array(old.length * 2);
      wider.set(old);
      return wider;
    };
    this.parent = double(this.parent);
    this.key = double(this.key);
    this.depth = double(this.depth);
  }

  private rehash(): void {
    this.slots = new Int32Array(this.slots.length * 2).fill(-1);
    for (let node = 1; node < this.length; node++) this.slots[this.slot(this.parent[node], this.key[node])] = node;
  }
}
