// A page of images at once: mark the wrong ones, confirm the rest with one press. Every image gets its own decision.

import { aboutOf } from "./history.js";
import { GridView } from "./gridview.js";
import { Sheet } from "./sheet.js";
import { word } from "./words.js";

const PAST = 10; // pages that an undo can bring back without a reload in between
const LONGEST_MS = 86400000;

export class Grid {
  /** @param page {view, clock, history, memory, outbox, send, tell, finish, lookAhead, labelling}. */
  constructor(page) {
    this.page = page;
    this.drawing = new GridView(page.view.parts);
    this.sheet = null;
    this.past = [];
    this.next = []; // pages that were put back by an undo, to come again
    this.ready = null; // {view, sheet}: the page after this one, its pictures under way
  }

  get batch() {
    return this.sheet;
  }

  /** Take what the server says; false when there is no page in it. */
  accept(view) {
    const same = this.sheet !== null && !this.sheet.confirmed && (this.sheet.round === view.round || this.sheet.again);
    if (!same) {
      const sheet = this.ready?.view === view ? this.ready.sheet : new Sheet(view, this.page.outbox.kept);
      this.ready = null;
      if (sheet.k === 0) return this.resume();
      this.sheet = sheet;
    }
    this.show();
    return true;
  }

  /** A page that an undo had put aside. */
  resume() {
    if (this.next.length === 0) return false;
    this.sheet = this.next.pop();
    this.show();
    return true;
  }

  /** The page after this one is known: have its tiles and pictures ready. */
  prepare(view) {
    const sheet = new Sheet(view, this.page.outbox.kept);
    if (sheet.k === 0) return;
    this.ready = { view, sheet };
    this.drawing.prepare(sheet);
  }

  show() {
    const { sheet, page } = this;
    page.begin();
    this.drawing.show(sheet, page.classKeys);
    this.drawTop();
    page.clock.restart();
    page.lookAhead(sheet.round);
  }

  drawTop() {
    const { parts } = this.page.view;
    parts.count.textContent = word("grid.page", { k: this.sheet.k });
    parts.round.textContent = "";
    parts.pool.textContent = word("top.pool", { n: this.page.lastView.pool });
    this.page.view.drawRate(this.page.clock.rate);
  }

  wants(name) {
    return name !== "zoom" && name !== "explain";
  }

  run(name, value) {
    const { sheet } = this;
    if (name === "confirm") this.confirm();
    else if (name === "mark") this.mark(value);
    else if (name === "space") this.change((item) => sheet.cycle(item), true);
    else if (name === "skip") this.change((item) => sheet.doubt(item), true);
    else if (name === "choose") this.choose(value);
    else this.step({ back: -1, forward: 1, up: -this.drawing.columns, down: this.drawing.columns }[name] ?? 0);
  }

  get flaggable() {
    return this.sheet.current;
  }

  // ------------------------------------------------------------------------------------------------------ marking

  mark(index) {
    this.drawing.move(this.sheet, index);
    this.change((item) => this.sheet.cycle(item), false);
  }

  choose(index) {
    const label = this.sheet.classes[index];
    if (label !== undefined) this.change((item) => this.sheet.choose(item, label), true);
  }

  change(how, seen) {
    const { sheet, drawing } = this;
    const item = sheet.current;
    how(item);
    drawing.drawTile(sheet, item);
    drawing.drawHead(sheet);
    drawing.move(sheet, sheet.at, seen);
    const label = sheet.labelOf(item);
    const said = item.choice === null ? "grid.tile" : label === null ? "grid.tileUnsure" : "grid.tileMarked";
    this.page.view.say(word(said, { n: item.number, label: label ?? "" }));
  }

  step(by) {
    const to = this.sheet.at + by;
    if (by !== 0 && to >= 0 && to < this.sheet.k) this.drawing.move(this.sheet, to, true);
  }

  flag(item, note) {
    item.flagged = true;
    this.page.send([{ item, op: { action: "flag", label: null, note, elapsed_ms: null } }]);
    this.drawing.drawTile(this.sheet, item);
  }

  // --------------------------------------------------------------------------------------------------- whole pages

  confirm() {
    const { sheet, page } = this;
    if (sheet.coming > 0) return page.tell(word("grid.coming", { n: sheet.coming }));
    const elapsed = page.clock.elapsed();
    page.clock.tick(elapsed, sheet.k);
    const share = Math.min(LONGEST_MS, Math.round(elapsed / sheet.k));
    const entries = sheet.answers().map(({ item, action, label }) => ({ item, op: { action, label, elapsed_ms: share } }));
    page.send(entries);
    sheet.confirmed = true;
    sheet.again = false;
    this.past.push(sheet);
    if (this.past.length > PAST) this.past.shift();
    page.memory.keep("page", kept(sheet));
    page.view.say(word("grid.confirmed", { n: sheet.k }));
    if (!this.resume()) page.finish();
  }

  /** The whole last page comes back, as it was marked. */
  undo() {
    const { page } = this;
    const last = this.past.pop() ?? this.remembered();
    if (!last) return page.tell(word("say.nothingToUndo"));
    page.send(last.items.map((item) => ({ item, op: { action: "undo", label: null, elapsed_ms: null } })));
    page.memory.keep("page", null);
    if (this.sheet && this.sheet !== last && !this.sheet.confirmed) this.next.push(this.sheet);
    last.confirmed = false;
    last.again = true;
    this.sheet = last;
    page.view.say(word("grid.undone", { n: last.k }));
    this.show();
  }

  /** The page confirmed last before this page was loaded. */
  remembered() {
    const last = this.page.memory.read("page");
    if (!last || !Array.isArray(last.items) || last.items.length === 0) return null;
    const { history } = this.page;
    // Another window may have taken some of it back, or answered it anew.
    const view = { ...last, classes: this.page.lastView.classes };
    const sheet = new Sheet({ ...view, items: last.items.map((item) => ({ ...item, action: null })) });
    sheet.items.forEach((item) => (item.choice = last.items.find((one) => one.sha256 === item.sha256).choice));
    return history.has(sheet.items[0]) || history.has(sheet.items.at(-1)) ? sheet : null;
  }

  settle() {}
}

function kept(sheet) {
  const items = sheet.items.map((item) => ({
    ...aboutOf(item),
    sha256: item.sha256,
    round: item.round,
    choice: item.choice,
    flagged: item.flagged,
  }));
  return { round: sheet.round, items };
}
