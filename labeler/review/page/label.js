// The labelling page: takes presses, keeps the batch, sends the answers, waits for the next round.

import { Batch } from "./batch.js";
import { Clock } from "./clock.js";
import { Images } from "./images.js";
import { isShown, listen } from "./input.js";
import { Memory } from "./memory.js";
import { newId, Outbox } from "./outbox.js";
import { askForRound, getBatch, postDecisions } from "./server.js";
import { View } from "./view.js";
import { isWorking, opening, panelFor, unreachable } from "./waiting.js";
import { fill, load, word } from "./words.js";

const WAITING_MS = 1000;
const IDLE_MS = 5000;
const AWAY_MS = 30000;

/** Called once by the Gradio component with its root element. */
export async function mount(element) {
  const root = element.querySelector(".lb");
  if (!root || root.dataset.mounted) return;
  root.dataset.mounted = "true";
  await load();
  fill(root);
  new LabelPage(root).start();
}

class LabelPage {
  constructor(root) {
    this.root = root;
    this.view = new View(root);
    this.images = new Images();
    this.clock = new Clock();
    this.batch = null;
    this.outbox = null;
    this.identity = null;
    this.unreachable = false;
    this.stranger = false;
    this.timer = 0;
    this.asked = false;
    this.hiddenAt = 0;
  }

  start() {
    listen(this.root, this.view, (name, index) => this.run(name, index));
    document.addEventListener("visibilitychange", () => this.onVisibility());
    addEventListener("resize", () => this.fitHeight());
    new ResizeObserver(() => this.fitHeight()).observe(this.root.parentElement);
    this.fitHeight();
    this.view.panel(opening());
    void this.refresh();
  }

  // --------------------------------------------------------------------------------------------------- commands

  run(name, index) {
    const labelling = this.root.dataset.state === "label";
    if (name === "undo") this.undo();
    else if (name === "help") this.view.help(true);
    else if (name === "close-help") this.view.help(false);
    else if (name === "again") void this.again();
    else if (name === "reload") location.reload();
    else if (!labelling) return;
    else if (name === "confirm") this.confirm();
    else if (name === "choose") this.choose(index);
    else if (name === "skip") this.decide("skip", null);
    else if (name === "back") this.turn(-1);
    else if (name === "forward") this.turn(1);
    else if (name === "go") this.go(index);
    else if (name === "zoom") this.view.zoom(!this.view.zoomed);
  }

  // --------------------------------------------------------------------------------------------------- decisions

  confirm() {
    const { predicted } = this.batch.current;
    if (predicted === null) return this.tell(word("say.chooseClass"));
    this.decide("confirm", predicted);
  }

  choose(index) {
    const label = this.batch.classes[index];
    if (label === undefined) return;
    this.decide(label === this.batch.current.predicted ? "confirm" : "correct", label);
  }

  decide(action, label) {
    const item = this.batch.current;
    const { state } = this.picture.dataset;
    if (state === "away" || (state === "gone" && label !== null)) return this.tell(word(`stage.${state}`));
    const elapsed = this.clock.elapsed();
    this.clock.tick(elapsed);
    this.send(item, action, label, Math.min(elapsed, 86400000));
    this.view.say(word(label === null ? "say.skipped" : "say.labelled", { n: item.number, label: label ?? "" }));
    const next = this.batch.nextOpen(this.batch.at);
    if (next === null) return this.finish();
    this.batch.at = next;
    this.drawImage();
  }

  undo() {
    const item = this.batch?.undoTarget();
    if (!item) return this.tell(word("say.nothingToUndo"));
    this.send(item, "undo", null, null);
    const stillOpen = this.root.dataset.state === "label" || this.waitingToSave;
    const said = word(stillOpen ? "say.undone" : "say.undoneLater", { n: item.number });
    this.view.say(said);
    this.batch.goTo(item);
    if (stillOpen) this.label();
    else this.drawWaiting(this.lastView, said);
  }

  send(item, action, label, elapsed_ms) {
    const op = { op_id: newId(), sha256: item.sha256, action, label, elapsed_ms };
    this.batch.apply(op);
    this.memory.keep(this.batch);
    this.outbox.push(this.batch.round, op);
    this.view.drawStrip(this.batch, item, true);
  }

  /** Said and shown: the press had no effect, and the person looks at the image, not at a status line. */
  tell(text) {
    this.view.say(text);
    this.view.note(text);
  }

  // ---------------------------------------------------------------------------------------------------- browsing

  turn(step) {
    this.batch.turn(step);
    this.drawImage();
  }

  go(index) {
    this.batch.at = index;
    this.drawImage();
  }

  drawImage() {
    const { batch } = this;
    this.picture = this.images.get(batch.current);
    this.view.draw(batch, this.picture, this.unsaved());
    this.view.drawRate(this.clock.rate);
    this.clock.restart();
    this.watchPicture(this.picture);
    const round = [...batch.items.slice(batch.at + 1), ...batch.items.slice(0, batch.at)];
    this.images.prepare([batch.current, ...round.filter((item) => !item.answer)]);
  }

  async watchPicture(picture) {
    if (picture.dataset.state === "ready") return;
    const ready = await picture.ready;
    if (picture !== this.picture || this.root.dataset.state !== "label") return;
    this.view.drawPicture(picture);
    if (!ready) setTimeout(() => picture === this.picture && this.drawImage(), WAITING_MS * 2);
  }

  unsaved() {
    return new Set(this.outbox.of(this.batch.round).map((op) => op.sha256));
  }

  // ------------------------------------------------------------------------------------------ from batch to batch

  async refresh() {
    clearTimeout(this.timer);
    try {
      const view = await getBatch();
      this.unreachable = false;
      await this.adopt(view);
    } catch (error) {
      this.unreachable = true;
      if (!this.batch) this.view.panel(unreachable());
      this.later(WAITING_MS * 2);
    }
    this.drawSaved();
  }

  later(milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.refresh(), milliseconds);
  }

  async adopt(view) {
    this.identify(view);
    if (this.stranger) return;
    this.lastView = view;
    if (view.round !== null && view.items.length > 0) {
      const same = this.batch?.round === view.round && this.root.dataset.state === "label";
      const batch = new Batch(view, this.outbox.of(view.round), this.memory.orderOf(view.round));
      if (same && !this.batch.complete) batch.at = this.batch.at;
      if (!batch.complete) return this.open(batch, same);
      this.batch = batch;
    }
    await this.wait(view);
  }

  identify(view) {
    const { user, workspace } = view;
    this.identity ??= { user, workspace };
    this.memory ??= new Memory(this.identity);
    if (user !== this.identity.user || workspace !== this.identity.workspace) {
      this.stranger = true;
      this.outbox.stopped = true;
      return;
    }
    const changed = () => this.onOutbox();
    this.outbox ??= new Outbox(`labeler:outbox:${workspace}:${user}:`, (...what) => postDecisions(this.identity, ...what), {
      changed,
      acknowledged: (op, ack) => this.onAcknowledged(op, ack),
      refused: (op, why) => this.onRefused(why),
      stranger: () => {
        this.stranger = true;
        this.drawSaved();
      },
    });
    this.outbox.hurry();
  }

  open(batch, same) {
    this.batch = batch;
    this.asked = false;
    this.view.build(batch);
    if (!same) {
      this.images.clear();
      this.view.say(word("say.batch", { n: batch.round, k: batch.k }));
    }
    this.label();
  }

  label() {
    clearTimeout(this.timer);
    this.waitingToSave = false;
    this.view.mode("label");
    const unsaved = this.unsaved();
    for (const item of this.batch.items) this.view.drawStrip(this.batch, item, unsaved.has(item.sha256));
    this.drawImage();
    this.fitHeight();
  }

  /** The last image has its answer: once that is stored the server closes the round. */
  finish() {
    this.waitingToSave = this.outbox.pending > 0;
    this.drawWaiting(this.lastView);
    if (!this.waitingToSave) void this.refresh();
  }

  async wait(view) {
    this.waitingToSave = view.round !== null && this.outbox.pending > 0;
    if (view.round === null && view.job?.state !== "failed" && !isWorking(view.job) && view.pool > 0 && !this.asked) {
      this.asked = true; // once: where nothing comes of it the panel offers to try again
      view.job = await askForRound();
    }
    this.drawWaiting(view);
    this.later(view.round !== null || isWorking(view.job) ? WAITING_MS : IDLE_MS);
  }

  async again() {
    try {
      this.lastView.job = await askForRound();
    } catch {
      // The next look at the server says what is wrong.
    }
    this.later(0);
  }

  drawWaiting(view, note = "") {
    this.view.mode("wait");
    this.view.panel(panelFor(view, this.batch, this.waitingToSave, note));
  }

  // ------------------------------------------------------------------------------------------------------ events

  onOutbox() {
    this.drawSaved();
    if (this.waitingToSave && this.outbox.pending === 0 && this.batch.complete) {
      this.waitingToSave = false;
      void this.refresh();
    }
  }

  onAcknowledged(op, ack) {
    const item = this.batch?.bySha.get(op.sha256);
    if (!item) return;
    const unsaved = this.unsaved().has(op.sha256);
    if (!unsaved) this.batch.settle(op, ack);
    if (this.root.dataset.state === "label") this.view.drawStrip(this.batch, item, unsaved);
  }

  onRefused(why) {
    this.tell(word("say.refused", { why }));
    void this.refresh();
  }

  onVisibility() {
    if (document.hidden) this.hiddenAt = performance.now();
    else if (performance.now() - this.hiddenAt > AWAY_MS) void this.refresh();
  }

  drawSaved() {
    this.view.drawSaved(this.outbox, this.unreachable && !this.outbox?.pending, this.stranger);
  }

  fitHeight() {
    if (isShown(this.root)) this.root.style.setProperty("--lb-top", `${this.root.getBoundingClientRect().top + scrollY}px`);
  }
}
