// The batch as this browser knows it: what the server said, and on top of it what has been answered since.

export class Batch {
  /**
   * @param view   the answer of GET /api/batch with an open round.
   * @param unsent operations of this round that the server has not acknowledged yet, oldest first.
   * @param order  sha256 of images in the order they were answered, as far as this browser remembers.
   */
  constructor(view, unsent, order) {
    this.round = view.round;
    this.classes = view.classes;
    this.items = view.items.map((item, index) => ({
      ...item,
      number: index + 1,
      answer: item.action && item.action !== "undo" ? { action: item.action, label: item.label } : null,
      before: [], // answers that an undo brings back
    }));
    this.bySha = new Map(this.items.map((item) => [item.sha256, item]));
    this.order = order.filter((sha) => this.bySha.has(sha));
    this.pool = view.pool;
    this.labelledAtFirst = this.labelled;
    for (const op of unsent) this.apply(op);
    this.at = this.nextOpen(-1) ?? 0;
  }

  get k() {
    return this.items.length;
  }

  get current() {
    return this.items[this.at];
  }

  get answered() {
    return this.items.filter((item) => item.answer).length;
  }

  get labelled() {
    return this.items.filter((item) => item.answer?.label).length;
  }

  get complete() {
    return this.items.every((item) => item.answer);
  }

  /** Images in the pool without a label, as of now. */
  get poolLeft() {
    return Math.max(0, this.pool - (this.labelled - this.labelledAtFirst));
  }

  /** The model's probability of the class it suggests, or null. */
  confidence(item) {
    if (item.predicted === null || item.probability === null) return null;
    // For two classes the server's probability is that of the first, whatever is suggested.
    const second = this.classes.length === 2 && item.predicted === this.classes[1];
    return second ? 1 - item.probability : item.probability;
  }

  /** Carry out an operation; unknown images (another round's) are passed over. */
  apply(op) {
    const item = this.bySha.get(op.sha256);
    if (!item) return;
    this.order = this.order.filter((sha) => sha !== op.sha256);
    if (op.action === "undo") {
      item.answer = item.before.pop() ?? null;
    } else {
      item.before.push(item.answer);
      item.answer = { action: op.action, label: op.label };
    }
    if (item.answer) this.order.push(op.sha256);
  }

  /** Believe the server where it knows better: after an undo it may know answers given before a reload. */
  settle(op, ack) {
    const item = this.bySha.get(op.sha256);
    if (!item || op.action !== "undo" || ack.label === (item.answer?.label ?? null)) return;
    item.answer = ack.label === null ? null : { action: "correct", label: ack.label };
  }

  /** The image the next undo is about: the one on stage if it has an answer, else the last one answered. */
  undoTarget() {
    if (this.current.answer) return this.current;
    const last = this.order.findLast((sha) => this.bySha.get(sha).answer);
    if (last !== undefined) return this.bySha.get(last);
    return this.items.findLast((item) => item.answer) ?? null;
  }

  /** Index of the next image without an answer after `from`, going round; null when all have one. */
  nextOpen(from) {
    for (let step = 1; step <= this.k; step++) {
      const index = (from + step) % this.k;
      if (!this.items[index].answer) return index;
    }
    return null;
  }

  goTo(item) {
    this.at = item.number - 1;
  }

  turn(step) {
    this.at = Math.min(this.k - 1, Math.max(0, this.at + step));
  }
}
