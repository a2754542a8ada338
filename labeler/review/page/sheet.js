// A page of the grid as values: images that are presumed to be what the model says, and which of them are marked.

import { confidence } from "./batch.js";

export class Sheet {
  /** @param view the answer of GET /api/batch?mode=grid; @param unsent entries the server does not have yet. */
  constructor(view, unsent = []) {
    this.round = view.round;
    this.classes = view.classes;
    const answered = new Set();
    for (const { op } of unsent) {
      if (op.action === "undo") answered.delete(op.sha256);
      else if (op.action !== "flag") answered.add(op.sha256);
    }
    this.items = view.items
      .filter((item) => !item.action && !answered.has(item.sha256) && item.predicted !== null)
      .map((item, index) => ({
        ...item,
        round: item.round === undefined ? view.round : item.round,
        number: index + 1,
        choice: null, // null: as suggested; a class; or "skip"
        flagged: Boolean(item.flagged),
        seen: false, // its picture is there
        gone: false, // ... and never will be
      }));
    this.at = 0; // where the cursor of the keyboard is
    this.confirmed = false;
  }

  get k() {
    return this.items.length;
  }

  get current() {
    return this.items[this.at];
  }

  /** Images whose pictures are not here yet: nobody can say what they show. */
  get coming() {
    return this.items.filter((item) => !item.seen).length;
  }

  get complete() {
    return this.confirmed;
  }

  /** The class an image is confirmed as; null for one that is marked unsure. */
  labelOf(item) {
    return item.choice === "skip" ? null : (item.choice ?? item.predicted);
  }

  get labelled() {
    return this.items.filter((item) => item.choice !== "skip").length;
  }

  /** The one class all are presumed to be, or null. */
  get alike() {
    const first = this.items[0]?.predicted;
    return this.items.every((item) => item.predicted === first) ? first : null;
  }

  /** How many are confirmed as what: [{label (null: unsure), n}], the classes in their order. */
  get counts() {
    const kinds = [...this.classes, null];
    return kinds
      .map((label) => ({ label, n: this.items.filter((item) => this.labelOf(item) === label).length }))
      .filter(({ n }) => n > 0);
  }

  /** Mark an image as the next of the other classes; after the last one as suggested again. */
  cycle(item) {
    if (item.gone) return;
    const others = this.classes.filter((name) => name !== item.predicted);
    const before = item.choice === null || item.choice === "skip" ? -1 : others.indexOf(item.choice);
    item.choice = item.choice === "skip" ? null : (others[before + 1] ?? null);
  }

  choose(item, label) {
    if (!item.gone) item.choice = label === item.predicted ? null : label;
  }

  /** Unsure, or no longer. */
  doubt(item) {
    item.choice = item.choice === "skip" && !item.gone ? null : "skip";
  }

  confidence(item) {
    return confidence(item, this.classes);
  }

  /** What each image is answered with. */
  answers() {
    return this.items.map((item) => {
      const label = this.labelOf(item);
      const action = label === null ? "skip" : label === item.predicted ? "confirm" : "correct";
      return { item, action, label };
    });
  }
}
