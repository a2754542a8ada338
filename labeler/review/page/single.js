// One image at a time: also the second looks at mistakes and disputes.

import { Batch } from "./batch.js";
import { Explain } from "./explain.js";
import { Swipe } from "./swipe.js";
import { word } from "./words.js";
import { Zoom } from "./zoom.js";

const AGAIN_MS = 2000; // until a picture that could not be fetched is asked for again
const FEW = 4; // images left when the next batch is asked for ahead

export class Single {
  /** @param page {view, images, clock, history, memory, outbox, send, tell, finish, lookAhead, labelling}. */
  constructor(page) {
    this.page = page;
    this.batch = null;
    this.picture = null;
    this.passed = new Set(); // looked at a second time since this page was opened
    const { parts } = page.view;
    this.zoom = new Zoom(parts, () => page.labelling && this.picture?.dataset.state === "ready");
    this.explain = new Explain(parts);
    this.swipe = new Swipe(parts, this.zoom, () => this.offers(), (offered) => this.swiped(offered));
  }

  /** Take what the server says; false when there is nothing to answer in it. */
  accept(view) {
    const { page } = this;
    const old = this.batch;
    const same = old !== null && old.mode === view.mode && old.round === view.round;
    const batch = new Batch(view, page.outbox.kept, this.passed);
    // What was taken back of earlier batches waits for its answer here, whatever else comes.
    const back = old === null ? [] : old.items.filter((item) => item.again && !item.answer && !batch.bySha.has(item.sha256));
    for (const item of back) batch.bringBack(item);
    const onStage = same && page.labelling && !old.complete ? batch.bySha.get(old.current.sha256) : null;
    if (onStage) batch.goTo(onStage);
    if (batch.k > 0) this.batch = batch;
    if (batch.k === 0 || batch.complete) return false;
    if (!same) {
      page.images.clear();
      page.view.say(word("say.batch", { n: view.round ?? 1, k: batch.k }));
    }
    if (view.explain && !this.told) this.explain.set(true);
    this.told = true;
    this.open();
    return true;
  }

  /** The batch after this one is known: have its first pictures in the browser. */
  prepare(view) {
    this.page.images.fetch(view.items);
  }

  open() {
    const { view, classKeys, outbox } = this.page;
    view.build(this.batch, classKeys);
    const { unsent } = outbox;
    for (const item of this.batch.items) view.strip.draw(this.batch, item, unsent.has(item.sha256));
    this.page.begin();
    this.drawImage();
  }

  wants(name) {
    return name === "up" || name === "down" ? this.zoom.on : name !== "mode";
  }

  run(name, value) {
    const { batch } = this;
    if (name === "confirm" || name === "space") this.confirm();
    else if (name === "choose") this.choose(value);
    else if (name === "skip") this.decide("skip", null);
    else if (name === "zoom") this.zoom.toggle();
    else if (name === "explain") this.explain.toggle(batch);
    else if (name === "go") this.goTo(value);
    else if (this.zoom.on) this.pan(name);
    else if (name === "back") this.turn(-1);
    else if (name === "forward") this.turn(1);
  }

  // --------------------------------------------------------------------------------------------------- decisions

  confirm() {
    const label = this.batch.suggested(this.batch.current);
    if (label === null) return this.page.tell(word("say.chooseClass"));
    this.decide("confirm", label);
  }

  choose(index) {
    const label = this.batch.classes[index];
    if (label === undefined) return;
    this.decide(label === this.batch.suggested(this.batch.current) ? "confirm" : "correct", label);
  }

  decide(action, label) {
    const { batch, page } = this;
    const item = batch.current;
    const { state } = this.picture.dataset;
    if (state === "away" || (state === "gone" && label !== null)) return page.tell(word(`stage.${state}`));
    const elapsed = page.clock.elapsed();
    page.clock.tick(elapsed);
    if (batch.second) this.passed.add(item.sha256);
    this.send(item, { action, label, elapsed_ms: Math.min(elapsed, 86400000) });
    page.view.say(word(label === null ? "say.skipped" : "say.labelled", { n: item.number, label: label ?? "" }));
    const next = batch.nextOpen(batch.at);
    if (next === null) return page.finish();
    batch.at = next;
    this.drawImage();
  }

  /** Take back the answer of the image on the stage, else the last one given, in whatever batch that was. */
  undo() {
    const { page, batch } = this;
    const here = page.labelling && batch?.current.answer ? batch.current : null;
    const target = here ?? page.history.last;
    if (!target) return page.tell(word("say.nothingToUndo"));
    const own = batch?.bySha.get(target.sha256);
    if (own) this.send(own, { action: "undo", label: null, elapsed_ms: null });
    else page.send([{ item: target, op: { action: "undo", label: null, elapsed_ms: null } }]);
    this.passed.delete(target.sha256);
    if (own) this.batch.goTo(own);
    else this.bringBack(target);
    page.view.say(own ? word("say.undone", { n: own.number }) : word("say.back"));
    if (own && page.labelling) this.drawImage();
    else this.open();
  }

  bringBack(item) {
    const { lastView } = this.page;
    if (!this.batch || this.batch.complete) this.batch = new Batch({ ...lastView, items: [] });
    this.batch.bringBack(item);
  }

  flag(item, note) {
    this.send(item, { action: "flag", label: null, note, elapsed_ms: null });
    this.page.view.say(word("say.flagged", { n: item.number }));
    if (item === this.batch.current) this.page.view.drawAnswers(this.batch, item);
  }

  send(item, op) {
    const { page, batch } = this;
    page.send([{ item, op }], (made) => batch.apply(made, item.round));
    if (op.action === "undo" && item.answer) page.history.push(item); // the answer before that one counts again
    page.memory.keepOrder(batch, page.history);
    page.view.strip.draw(batch, item, true);
  }

  get flaggable() {
    return this.batch.current;
  }

  /** The server has it on record. */
  settle(op, ack) {
    const item = this.batch?.bySha.get(op.sha256);
    if (!item) return;
    const unsaved = this.page.outbox.unsent.has(op.sha256);
    if (!unsaved && this.batch.settle(op, ack)) this.page.history.push(item);
    if (this.page.labelling) this.page.view.strip.draw(this.batch, item, unsaved);
  }

  // -------------------------------------------------------------------------------------------------- on a phone

  offers() {
    const { batch, page } = this;
    if (!page.labelling || this.picture?.dataset.state !== "ready") return null;
    const { classes } = batch;
    const two = classes.length === 2; // of more, none but the suggested one is meant by a direction
    const right = batch.suggested(batch.current) ?? (two ? classes[0] : null);
    const left = two ? { label: classes.find((name) => name !== right) } : null;
    return { classes, right: right === null ? null : { label: right }, left, up: { skip: true } };
  }

  swiped({ label }) {
    if (label) this.choose(this.batch.classes.indexOf(label));
    else this.decide("skip", null);
  }

  // ---------------------------------------------------------------------------------------------------- browsing

  pan(name) {
    const [right, down] = { back: [-1, 0], forward: [1, 0], up: [0, -1], down: [0, 1] }[name] ?? [0, 0];
    this.zoom.pan(right, down);
  }

  turn(step) {
    this.batch.turn(step);
    this.drawImage();
  }

  goTo(index) {
    this.batch.at = index;
    this.drawImage();
  }

  drawImage() {
    const { batch, page } = this;
    this.zoom.reset();
    this.picture = page.images.get(batch.current);
    page.view.draw(batch, this.picture, page.outbox.unsent);
    page.view.drawRate(page.clock.rate);
    page.clock.restart();
    void this.watch(this.picture);
    const round = [...batch.items.slice(batch.at + 1), ...batch.items.slice(0, batch.at)];
    const open = round.filter((item) => !item.answer);
    page.images.prepare([batch.current, ...open]);
    this.explain.show(batch);
    if (open.length < FEW && !batch.second) page.lookAhead(batch.round);
  }

  async watch(picture) {
    if (picture.dataset.state === "ready") return;
    const ready = await picture.ready;
    if (picture !== this.picture || !this.page.labelling) return;
    this.page.view.drawPicture(picture, this.batch.current);
    if (!ready) setTimeout(() => picture === this.picture && this.page.labelling && this.drawImage(), AGAIN_MS);
  }
}
