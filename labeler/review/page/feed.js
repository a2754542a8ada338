// The way from batch to batch: what is asked of the server, when, and what is shown in between.

import { looksAgain } from "./batch.js";
import { isShown } from "./input.js";
import { askForRound, getBatch, SignedOut } from "./server.js";
import { isWorking } from "./waiting.js";

const WAITING_MS = 1000;
const IDLE_MS = 5000;
const BETWEEN_MS = 400; // a next batch that comes sooner needs no word about waiting

export class Feed {
  /** @param page the labelling page. */
  constructor(page) {
    this.page = page;
    this.ahead = null; // {after, view}: the batch that follows the one at hand
    this.waitingToSave = false;
    this.asked = false; // for a round, once
    this.now = false; // the person does not want to wait for the model
    this.timer = 0;
    this.betweenTimer = 0;
  }

  async refresh() {
    clearTimeout(this.timer);
    const { page } = this;
    const { mode } = page;
    let view;
    try {
      view = { ...(await getBatch(mode, { now: this.now })), mode };
    } catch (error) {
      if (error instanceof SignedOut) page.onSignedOut();
      else page.onUnreachable();
      this.later(2 * WAITING_MS);
      return;
    }
    if (mode !== page.mode) return; // changed meanwhile: another request is under way
    page.onAnswer();
    await page.adopt(view);
    page.drawSaved();
  }

  later(milliseconds) {
    clearTimeout(this.timer);
    const look = () => (isShown(this.page.root) ? void this.refresh() : this.later(milliseconds));
    this.timer = setTimeout(look, milliseconds);
  }

  /** There are images on the page: nothing has to be asked until they are answered. */
  rest() {
    clearTimeout(this.timer);
    clearTimeout(this.betweenTimer);
    this.waitingToSave = this.asked = this.now = false;
  }

  /** Another mode is wanted. */
  change() {
    this.ahead = null;
    this.asked = false;
    this.between();
    void this.refresh();
  }

  /** Ask for what follows the round at hand, once, so that it is there without waiting. */
  async lookAhead(round) {
    if (round === null || this.ahead?.after === round) return;
    const ahead = (this.ahead = { after: round, view: null });
    const { page } = this;
    const { mode } = page;
    try {
      const view = { ...(await getBatch(mode, { after: round })), mode };
      const another = view.items.length > 0 && view.round !== null && view.round !== round;
      if (ahead !== this.ahead || !another || mode !== page.mode || view.user !== page.session.identity.user) return;
      ahead.view = view;
      page.now.prepare(view);
    } catch {
      // Asked for again when it is needed.
    }
  }

  /** Everything at hand has its answer. */
  finish() {
    const { ahead, page } = this;
    this.ahead = null;
    if (ahead?.view) {
      page.lastView = ahead.view;
      if (page.now.accept(ahead.view)) return;
    }
    this.waitingToSave = page.outbox.pending > 0; // what comes next depends on it
    this.between();
    if (!this.waitingToSave) void this.refresh();
  }

  /** The outbox changed: with the last answer on record the next batch can be asked for. */
  saved() {
    if (!this.waitingToSave || this.page.outbox.pending > 0 || this.page.labelling) return;
    this.waitingToSave = false;
    void this.refresh();
  }

  /** What is on the page stays there for a moment: most often the next images come before anybody minds. */
  between() {
    const { page } = this;
    if (page.labelling) page.view.state("between");
    clearTimeout(this.betweenTimer);
    this.betweenTimer = setTimeout(() => page.drawWaiting(), BETWEEN_MS);
  }

  /** Nothing to label in the server's answer: say why, and look again. */
  async wait(view) {
    const { page } = this;
    this.waitingToSave = Boolean(page.now.batch?.complete) && page.outbox.pending > 0;
    const idle = !looksAgain(page.mode) && view.round === null && !view.wait && view.job?.state !== "failed" && !isWorking(view.job);
    if (idle && view.pool > 0 && !this.asked) {
      this.asked = true; // where nothing comes of it the panel offers to try again
      view.job = await askForRound().catch(() => view.job); // not there: the next look says so
    }
    if (page.root.dataset.state !== "between" || view.wait) {
      clearTimeout(this.betweenTimer);
      page.drawWaiting();
    }
    this.later(view.round !== null || view.wait || isWorking(view.job) ? WAITING_MS : IDLE_MS);
  }

  /** Asked for by a button: run what failed again, or look whether there is something by now. */
  async again() {
    const { page } = this;
    try {
      page.lastView.job = await askForRound();
      page.work.draw(page.lastView.job);
    } catch {
      // The next look at the server says what is wrong.
    }
    page.work.soon(WAITING_MS);
    if (!page.labelling) this.later(0);
  }

  /** The person does not want to wait for the model. */
  hurry() {
    this.now = true;
    return this.refresh();
  }
}
