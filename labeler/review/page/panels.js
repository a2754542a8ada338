// What the page says of itself: whether everything is saved, and the panel shown while there is nothing to label.

import { bar } from "./parts.js";
import { word } from "./words.js";

const LATE_MS = 400; // an answer that is stored sooner is not worth a word

export class Panels {
  constructor(parts) {
    this.parts = parts;
    this.timer = 0;
    this.saved = "";
  }

  /**
   * What the outbox holds, in words; short waits are not mentioned.
   * @param state {outbox, unreachable, stranger, signedOut}
   */
  drawSaved(state) {
    clearTimeout(this.timer);
    const { outbox, stranger, signedOut } = state;
    const oldest = outbox?.kept[0];
    const [level, text] = savedWords(state);
    if (level === "waiting") {
      const late = LATE_MS - (performance.now() - oldest.since);
      if (late > 0) {
        this.timer = setTimeout(() => this.drawSaved(state), late);
        return;
      }
    }
    this.parts.reload.hidden = !stranger;
    this.parts["sign-in"].hidden = !signedOut || stranger;
    if (text === this.saved) return;
    this.saved = text;
    this.parts.saved.dataset.level = level;
    this.parts["saved-text"].textContent = text;
  }

  /** {mark, title, facts, text, command, progress, again, now, undo, link}: what to say. */
  draw({ mark = "busy", title, facts = [], text = "", command = "", progress = null, again = "", now = false, undo = false, link = "" }) {
    const { parts } = this;
    parts["panel-mark"].dataset.kind = mark;
    parts["panel-title"].textContent = title;
    parts["panel-facts"].textContent = facts.join(" · ");
    parts["panel-text"].textContent = text;
    parts["panel-command"].hidden = !command;
    parts["panel-command"].firstElementChild.textContent = command;
    parts.job.hidden = progress === null;
    if (progress !== null) bar(parts.job, Math.round(100 * progress), 100);
    parts["panel-again"].hidden = !again;
    parts["panel-again"].textContent = again;
    parts["panel-now"].hidden = !now;
    parts["panel-undo"].hidden = !undo;
    parts["panel-link"].hidden = !link;
    parts["panel-link"].textContent = link;
  }
}

function savedWords({ outbox, unreachable, stranger, signedOut }) {
  const n = outbox?.pending ?? 0;
  if (stranger) return ["bad", word("saved.stranger")];
  if (signedOut) return ["bad", n ? word("saved.signedOutPending", { n }) : word("saved.signedOut")];
  const offline = unreachable || outbox?.failing;
  if (offline && n && outbox.onlyInMemory) return ["bad", word("saved.tabOnly", { n })];
  if (offline) return ["bad", n ? word("saved.offlinePending", { n }) : word("saved.offline")];
  return n ? ["waiting", word("saved.pending", { n })] : ["good", word("saved.all")];
}
