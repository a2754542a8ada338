// The labelling page: its parts, and what a press, the server and the browser mean to them.

import { Clock } from "./clock.js";
import { Dialogs } from "./dialogs.js";
import { Feed } from "./feed.js";
import { Grid } from "./grid.js";
import { Images } from "./images.js";
import { isShown, listen } from "./input.js";
import { keysFor } from "./keys.js";
import { Panels } from "./panels.js";
import { People } from "./people.js";
import { getBatch } from "./server.js";
import { Session } from "./session.js";
import { Single } from "./single.js";
import { View } from "./view.js";
import { opening, panelFor, signedOut, unreachable } from "./waiting.js";
import { begin, word } from "./words.js";
import { Work } from "./work.js";

const AWAY_MS = 30000;
const OF_THE_SWITCH = ["label", "grid", "disputed", "sorted"];

/** Called once by the Gradio component with its root element. The skeleton says in which mode. */
export async function mount(element) {
  const root = await begin(element, ".lb");
  if (root === null) return;
  new LabelPage(root).start();
}

class LabelPage {
  constructor(root) {
    this.root = root;
    this.mode = root.dataset.mode;
    this.switches = this.mode === "label"; // a tab of its own stays in its mode
    this.view = new View(root);
    this.panels = new Panels(this.view.parts);
    this.images = new Images();
    this.clock = new Clock();
    this.session = new Session({
      changed: () => this.onOutbox(),
      acknowledged: (op, ack) => this.onAcknowledged(op, ack),
      refused: (op, why) => this.onRefused(why),
      stranger: () => this.onStranger(),
    });
    this.people = new People(this.view.parts, (text) => this.view.notice(text));
    this.dialogs = new Dialogs(this.view.parts, (item, note) => this.now.flag(item, note));
    this.single = new Single(this);
    this.grid = new Grid(this);
    this.work = new Work(this.view.parts, () => isShown(root), {
      status: (status) => this.onStatus(status),
      news: (text) => this.view.say(text),
      signedOut: () => this.onSignedOut(),
      away: () => {},
    });
    this.feed = new Feed(this);
    this.unreachable = this.stranger = this.signedOut = false;
    this.hiddenAt = 0;
  }

  start() {
    this.keys = listen(this.root, (name) => this.wants(name), (name, value) => this.run(name, value));
    document.addEventListener("visibilitychange", () => this.onVisibility());
    addEventListener("resize", () => this.fitHeight());
    new ResizeObserver(() => this.fitHeight()).observe(this.root.parentElement);
    this.fitHeight();
    this.panels.draw(opening());
    new IntersectionObserver(([seen]) => seen.isIntersecting && this.onShown()).observe(this.root);
  }

  get outbox() {
    return this.session.outbox;
  }

  get history() {
    return this.session.history;
  }

  get memory() {
    return this.session.memory;
  }

  send(entries, made) {
    this.session.send(entries, made);
  }

  /** The mode that is at work. */
  get now() {
    return this.mode === "grid" ? this.grid : this.single;
  }

  /** Whether there are images on the page to answer. */
  get labelling() {
    return this.root.dataset.state === "label";
  }

  /** The keys of each class. */
  get classKeys() {
    return keysFor(this.lastView.classes);
  }

  // --------------------------------------------------------------------------------------------------- commands

  wants(name) {
    if (["undo", "help", "nothing", "grid"].includes(name)) return true;
    return this.labelling && this.now.wants(name);
  }

  run(name, value) {
    if (name === "undo") this.outbox && this.now.undo();
    else if (name === "help") this.dialogs.help(true);
    else if (name === "close-help") this.dialogs.help(false);
    else if (name === "leave-flag") this.dialogs.leave();
    else if (name === "again") void this.feed.again();
    else if (name === "now") void this.feed.hurry();
    else if (name === "reload") location.reload();
    else if (name === "who") this.people.toggle();
    else if (name === "sign-out") void this.people.leave(false, this.outbox);
    else if (name === "sign-out-everywhere") void this.people.leave(true, this.outbox);
    else if (name === "mode") this.changeMode(value);
    else if (name === "grid") this.changeMode(this.mode === "grid" ? "label" : "grid");
    else if (!this.labelling) return;
    else if (name === "flag") this.dialogs.askForNote(this.now.flaggable);
    else this.now.run(name, value);
  }

  changeMode(mode) {
    if (!this.switches || mode === this.mode || !this.lastView) return;
    this.mode = mode;
    this.memory.keep("mode", mode);
    this.drawModes();
    this.feed.change();
  }

  drawModes() {
    const { modes } = this.view.parts;
    modes.hidden = !this.switches;
    for (const button of modes.children) {
      button.setAttribute("aria-pressed", String(button.dataset.to === this.mode));
      if (button.dataset.to === "disputed") button.hidden = !(this.lastView.role === "admin" && this.lastView.overlap > 1);
      if (button.dataset.to === "sorted") button.hidden = !(this.lastView.to_check > 0 || this.mode === "sorted");
    }
  }

  // --------------------------------------------------------------------------------------------------- decisions

  /** Said and shown: the press had no effect, and the person looks at the image, not at a status line. */
  tell(text) {
    this.view.say(text);
    if (this.labelling && this.mode !== "grid") this.view.note(text);
    else this.view.notice(text);
  }

  // ------------------------------------------------------------------------------------------ from batch to batch

  /** Make room for what the server says: its images on the page, or the panel that says why there are none. */
  async adopt(view) {
    if (!this.session.identify(view)) return this.onStranger();
    this.heldSince = performance.now();
    const first = !this.lastView;
    this.lastView = view;
    this.keys.classes = this.classKeys;
    if (first && this.remembersMode()) return this.feed.refresh();
    this.session.remember(view);
    this.people.show(view);
    this.drawModes();
    if (!this.now.accept(view)) await this.feed.wait(view);
  }

  /** Go on in the mode this person worked in last. */
  remembersMode() {
    const mode = this.switches ? this.memory.read("mode") : null;
    if (!OF_THE_SWITCH.includes(mode) || mode === this.mode) return false;
    this.mode = mode;
    return true;
  }

  /** Images are about to be on the page. */
  begin() {
    this.feed.rest();
    this.root.dataset.mode = this.mode;
    this.view.state("label");
    this.fitHeight();
  }

  lookAhead(round) {
    void this.feed.lookAhead(round);
  }

  finish() {
    this.feed.finish();
  }

  drawWaiting() {
    if (!this.lastView) return;
    this.root.dataset.mode = this.mode;
    this.view.state("wait");
    const view = { ...this.lastView, mode: this.mode };
    this.panels.draw(panelFor(view, this.now.batch, this.feed.waitingToSave, Boolean(this.history.last)));
  }

  // ------------------------------------------------------------------------------------------------------ events

  onOutbox() {
    if (this.signedOut && this.outbox.pending === 0) this.work.soon(); // another tab may have signed in
    this.drawSaved();
    this.feed.saved();
  }

  onAcknowledged(op, ack) {
    if (this.signedOut) this.signedOut = false;
    if (ack.opinion && !(this.lastView.overlap > 1) && op.action !== "undo") this.view.notice(word("say.opinion"));
    this.now.settle(op, ack);
  }

  onStranger() {
    this.stranger = true;
    this.drawSaved();
  }

  onRefused(why) {
    this.view.notice(word("say.refused", { why }));
    void this.feed.refresh();
  }

  onSignedOut() {
    this.signedOut = true;
    if (!this.lastView) this.panels.draw(signedOut());
    if (!this.lastView) this.view.state("wait");
    this.drawSaved();
  }

  onUnreachable() {
    this.unreachable = true;
    if (!this.lastView) this.panels.draw(unreachable());
    this.drawSaved();
  }

  onStatus(status) {
    if (this.signedOut) {
      this.signedOut = false;
      this.outbox?.hurry();
    }
    this.drawSaved();
    if (!this.lastView) return;
    if (this.outbox.pending === 0) {
      this.lastView.pool = status.pool;
      this.single.batch?.recount(status.pool);
    }
    void this.keepLease();
  }

  /** Somebody who takes their time keeps their images: asking for the batch renews the lease. */
  async keepLease() {
    const due = (this.lastView.lease_s ?? Infinity) * 500;
    const busy = this.labelling && this.clock.elapsed() < due;
    if (!busy || performance.now() - this.heldSince < due) return;
    this.heldSince = performance.now();
    await getBatch(this.mode).catch(() => {});
  }

  onAnswer() {
    this.unreachable = this.signedOut = false;
  }

  /** Seen for the first time, or again after another tab of the application. */
  onShown() {
    if (!isShown(this.root)) return;
    this.fitHeight();
    this.work.soon();
    if (!this.labelling) void this.feed.refresh();
  }

  onVisibility() {
    if (document.hidden) this.hiddenAt = performance.now();
    else if (performance.now() - this.hiddenAt > AWAY_MS || this.signedOut) void this.feed.refresh();
  }

  drawSaved() {
    const { outbox, stranger } = this;
    const signedOut = this.signedOut || Boolean(outbox?.signedOut);
    this.panels.drawSaved({ outbox, unreachable: this.unreachable && !outbox?.pending, stranger, signedOut });
  }

  fitHeight() {
    if (!isShown(this.root)) return;
    this.root.style.setProperty("--lb-top", `${this.root.getBoundingClientRect().top + scrollY}px`);
    // Where the page scrolls, an upward swipe on the image is the browser's.
    this.root.dataset.scrolls = String(document.documentElement.scrollHeight > innerHeight + 1);
  }
}
