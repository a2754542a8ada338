// What this person answered last, newest last: what an undo is about, also after a reload and in an earlier batch.

const KEPT = 200;

export class History {
  constructor() {
    this.items = [];
  }

  /**
   * Begin anew from what is known.
   * @param decided the server's list of this person's last decisions, newest first.
   * @param answered images of the batch at hand that have an answer, oldest first as far as anybody knows.
   * @param unsent  {round, op, about} that the server has not acknowledged yet, oldest first.
   */
  load(decided, answered, unsent) {
    this.items = [];
    for (const item of decided.toReversed()) if (item.action !== "undo") this.push(item);
    for (const item of answered) if (!this.has(item)) this.push(item);
    for (const { round, op, about } of unsent) {
      if (op.action === "flag") continue;
      if (op.action === "undo") this.drop(op.sha256);
      else if (about) this.push({ ...about, sha256: op.sha256, round });
    }
  }

  has(item) {
    return this.items.some((other) => other.sha256 === item.sha256);
  }

  push(item) {
    this.drop(item.sha256);
    this.items.push(item);
    if (this.items.length > KEPT) this.items.shift();
  }

  drop(sha256) {
    this.items = this.items.filter((item) => item.sha256 !== sha256);
  }

  get last() {
    return this.items.at(-1) ?? null;
  }
}

/** What has to be known of an image to put it on the stage once more. */
export function aboutOf(item) {
  const { image_id, predicted, probability, uncertainty, why } = item;
  return { image_id, predicted, probability, uncertainty, why };
}
