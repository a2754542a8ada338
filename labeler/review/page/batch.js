// The batch as this browser knows it: what the server said, and on top of it what has been answered since.

/** The model's probability of the class it suggests, or null. */
export function confidence(item, classes) {
  if (item.predicted === null || item.probability === null) return null;
  // For two classes the server's probability is that of the first, whatever is suggested.
  const second = classes.length === 2 && item.predicted === classes[1];
  return second ? 1 - item.probability : item.probability;
}

/** Whether a mode is a second look: at what people answered, or at what the model sorted. */
export const looksAgain = (mode) => ["mistakes", "disputed", "sorted"].includes(mode);

export class Batch {
  /**
   * @param view   the answer of GET /api/batch.
   * @param unsent entries {round, op} that the server has not acknowledged yet, oldest first.
   * @param passed sha256 of images that need no second look here any more (a second look only).
   */
  constructor(view, unsent = [], passed = new Set()) {
    this.round = view.round;
    this.mode = view.mode ?? "label";
    this.second = looksAgain(this.mode);
    this.classes = view.classes;
    this.suggests = view.suggestion ?? true;
    this.items = [];
    this.bySha = new Map();
    const items = view.items.filter((item) => !passed.has(item.sha256));
    for (const item of items) this.add(item, this.second ? null : answerOf(item), this.items.length);
    this.pool = view.pool;
    this.labelledAtFirst = this.labelled;
    for (const entry of unsent) this.apply(entry.op, entry.round);
    this.at = this.nextOpen(-1) ?? 0;
  }

  add(item, answer, at) {
    const round = item.round === undefined ? this.round : item.round;
    const now = this.second ? { action: item.action, label: item.label } : null;
    const flagged = Boolean(item.flagged);
    const added = { ...item, round, now, answer, flagged, before: [], again: false }; // `before`: what an undo brings back
    this.items.splice(at, 0, added);
    this.items.forEach((each, index) => (each.number = index + 1));
    this.bySha.set(item.sha256, added);
    return added;
  }

  /** An image of another batch whose answer was taken back: before the current one, and next on the stage. */
  bringBack(item) {
    const added = this.add(item, null, Math.min(this.at, this.items.length));
    added.again = true;
    this.goTo(added);
    return added;
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
    return this.second ? this.pool : Math.max(0, this.pool - (this.labelled - this.labelledAtFirst));
  }

  /** The server counted anew. */
  recount(pool) {
    this.pool = pool;
    this.labelledAtFirst = this.labelled;
  }

  /** What Enter answers: the label it has, where that is what is looked at again, else the suggestion; or null. */
  suggested(item) {
    return (this.mode === "mistakes" ? item.now?.label : null) ?? item.predicted;
  }

  confidence(item) {
    return confidence(item, this.classes);
  }

  /** Carry out an operation; images of other batches are passed over. Returns the image. */
  apply(op, round) {
    const item = this.bySha.get(op.sha256);
    if (!item || item.round !== round) return null;
    if (op.action === "flag") {
      item.flagged = true;
    } else if (op.action === "undo") {
      item.answer = item.before.pop() ?? null;
    } else {
      item.before.push(item.answer);
      item.answer = { action: op.action, label: op.label };
    }
    return item;
  }

  /**
   * Believe the server where it knows better: after an undo it may know an answer given before a reload.
   * @returns whether there is one, which counts again.
   */
  settle(op, ack) {
    const item = this.bySha.get(op.sha256);
    if (!item || op.action !== "undo" || this.second || ack.label === (item.answer?.label ?? null)) return false;
    item.answer = ack.label === null ? null : { action: "correct", label: ack.label };
    return item.answer !== null;
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

function answerOf(item) {
  return item.action && item.action !== "undo" ? { action: item.action, label: item.label } : null;
}
