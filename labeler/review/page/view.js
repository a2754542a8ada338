// Drawing. Everything that comes from the server or a person is set as text, never as markup.

import { address } from "./images.js";
import { word, wordOr } from "./words.js";

const COLOURS = 9; // shapes and colours for classes; a tenth class starts over
const LATE_MS = 400; // an answer that is stored sooner is not worth a word

export class View {
  constructor(root) {
    this.root = root;
    this.parts = {};
    for (const element of root.querySelectorAll("[data-part]")) this.parts[element.dataset.part] = element;
    this.strip = [];
    this.zoomed = false;
    this.saved = "";
  }

  /** "label" shows stage and answers, anything else the panel. */
  mode(name) {
    this.root.dataset.state = name;
  }

  say(text) {
    this.parts.say.textContent = "";
    // An equal text would not be read out again without the pause.
    requestAnimationFrame(() => (this.parts.say.textContent = text));
  }

  /** A short message people can see, for what needs their eyes. */
  note(text) {
    const note = this.parts["stage-note"];
    note.textContent = text;
    note.hidden = !text;
  }

  // ------------------------------------------------------------------------------------------------- per batch

  /** Build what stays the same for a whole batch: class buttons and film strip. */
  build(batch) {
    this.buttons = batch.classes.map((name, index) => classButton(name, index));
    this.parts.classes.replaceChildren(...this.buttons);
    this.parts["last-key"].textContent = Math.min(COLOURS, batch.classes.length);
    this.strip = batch.items.map((item) => stripItem(item));
    this.parts["strip-list"].replaceChildren(...this.strip.map((entry) => entry.row));
    for (const item of batch.items) this.drawStrip(batch, item, false);
  }

  // ------------------------------------------------------------------------------------------------- per image

  /** Show the current image and everything said of it. */
  draw(batch, picture, unsaved) {
    const item = batch.current;
    this.zoom(false);
    this.show(batch, picture);
    this.drawSuggestion(batch, item);
    this.drawAnswers(batch, item);
    this.drawStrip(batch, item, unsaved.has(item.sha256));
    this.markCurrent(batch.at);
    this.drawTop(batch);
  }

  show(batch, picture) {
    const number = batch.current.number;
    picture.alt = word("stage.alt", { n: number, k: batch.k });
    this.parts.frame.replaceChildren(picture);
    this.drawPicture(picture);
  }

  /** Say whether the picture is there, coming, or not to be had. */
  drawPicture(picture) {
    const { state } = picture.dataset;
    this.parts.stage.dataset.picture = state;
    this.parts.stage.setAttribute("aria-busy", String(state === "coming"));
    this.note(state === "gone" ? word("stage.gone") : state === "away" ? word("stage.away") : "");
  }

  drawSuggestion(batch, item) {
    const { guess, percent, why, meter, suggestion } = this.parts;
    const confidence = batch.confidence(item);
    const index = batch.classes.indexOf(item.predicted);
    suggestion.dataset.class = index < 0 ? "" : colour(index);
    this.parts["guess-shape"].dataset.class = suggestion.dataset.class;
    guess.textContent = index < 0 ? word("suggest.none") : word("suggest.looksLike", { label: item.predicted });
    // A model is never certain: 99.7 must not read as 100.
    const shown = Math.min(99, Math.round(100 * confidence));
    percent.textContent = confidence === null ? "" : word("suggest.percent", { p: shown });
    why.textContent = index < 0 ? word("suggest.noneWhy") : wordOr(`why.${item.why}`, item.why);
    meter.firstElementChild.style.width = `${100 * (confidence ?? 0)}%`;
  }

  drawAnswers(batch, item) {
    this.buttons.forEach((button, index) => {
      const name = batch.classes[index];
      const suggested = name === item.predicted;
      button.setAttribute("aria-pressed", String(item.answer?.label === name));
      button.dataset.suggested = String(suggested);
      button.setAttribute("aria-description", suggested ? word("answers.suggested") : "");
    });
    const { verdict } = this.parts;
    verdict.hidden = !item.answer;
    if (!item.answer) return;
    const label = item.answer.label;
    verdict.firstElementChild.dataset.class = label ? colour(batch.classes.indexOf(label)) : "skip";
    verdict.lastElementChild.textContent = label ? word("stage.answered", { label }) : word("stage.skipped");
  }

  /** One entry of the film strip: ring, shape, key and, for those who listen, words. */
  drawStrip(batch, item, unsaved) {
    const { button, badge, shape } = this.strip[item.number - 1];
    const index = item.answer?.label ? batch.classes.indexOf(item.answer.label) : -1;
    const state = !item.answer ? "open" : item.answer.label ? colour(index) : "skip";
    if (button.dataset.class === state && button.dataset.unsaved === String(unsaved)) return;
    button.dataset.class = shape.dataset.class = state;
    button.dataset.unsaved = String(unsaved);
    badge.dataset.key = state === "skip" ? "S" : index >= 0 && index < COLOURS ? index + 1 : "";
    const kind = state === "open" ? "strip.open" : state === "skip" ? "strip.skipped" : "strip.labelled";
    const text = word(kind, { n: item.number, label: item.answer?.label ?? "" });
    button.setAttribute("aria-label", unsaved ? text + word("strip.unsaved") : text);
  }

  markCurrent(at) {
    this.current?.removeAttribute("aria-current");
    this.current = this.strip[at].button;
    this.current.setAttribute("aria-current", "true");
    const { strip } = this.parts;
    const { row } = this.strip[at];
    // In the frame's own turn: asked for now, the place would cost a layout more before the image is painted.
    requestAnimationFrame(() => {
      if (row !== this.strip[at]?.row) return;
      strip.scrollTo({ left: row.offsetLeft - (strip.clientWidth - row.clientWidth) / 2 });
    });
  }

  drawTop(batch) {
    const { count, round, pool, progress } = this.parts;
    const done = batch.answered;
    count.textContent = word("top.count", { n: done, k: batch.k });
    round.textContent = word("top.round", { n: batch.round });
    pool.textContent = word("top.pool", { n: batch.poolLeft });
    bar(progress, done, batch.k);
  }

  drawRate(rate) {
    this.parts.rate.textContent = rate === null ? "" : word("top.rate", { n: rate });
  }

  // ------------------------------------------------------------------------------------------------ saved state

  /** What the outbox holds, in words; short waits are not mentioned. */
  drawSaved(outbox, unreachable, stranger) {
    clearTimeout(this.savedTimer);
    const n = outbox?.pending ?? 0;
    const offline = unreachable || outbox?.failing;
    let [level, text] = ["good", word("saved.all")];
    if (stranger) [level, text] = ["bad", word("saved.stranger")];
    else if (offline && n && outbox.onlyInMemory) [level, text] = ["bad", word("saved.tabOnly", { n })];
    else if (offline) [level, text] = ["bad", n ? word("saved.offlinePending", { n }) : word("saved.offline")];
    else if (n) {
      const late = LATE_MS - (performance.now() - outbox.kept[0].since);
      if (late > 0) {
        this.savedTimer = setTimeout(() => this.drawSaved(outbox, unreachable, stranger), late);
        return;
      }
      [level, text] = ["waiting", word("saved.pending", { n })];
    }
    this.parts.reload.hidden = !stranger;
    if (text === this.saved) return;
    this.saved = text;
    this.parts.saved.dataset.level = level;
    this.parts["saved-text"].textContent = text;
  }

  // ------------------------------------------------------------------------------------------------------ panel

  /** {mark, title, facts, text, command, progress, again, undo}: what to say while there is nothing to label. */
  panel({ mark = "busy", title, facts = [], text = "", command = "", progress = null, again = "", undo = false }) {
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
    parts["panel-undo"].hidden = !undo;
  }

  // ------------------------------------------------------------------------------------------------- zoom, help

  /** Enlarge around a point given in fractions of the stage. */
  zoom(on, x = 0.5, y = 0.5) {
    this.zoomed = on;
    this.parts.stage.dataset.zoomed = String(on);
    this.parts.zoom.setAttribute("aria-pressed", String(on));
    this.parts.frame.style.transformOrigin = `${100 * x}% ${100 * y}%`;
  }

  help(open) {
    const { help } = this.parts;
    if (open && !help.open) help.showModal();
    if (!open && help.open) help.close();
  }
}

function colour(index) {
  return String((index % COLOURS) + 1);
}

function bar(element, value, most) {
  element.setAttribute("aria-valuemax", String(most));
  element.setAttribute("aria-valuenow", String(value));
  element.firstElementChild.style.width = most ? `${(100 * value) / most}%` : "0";
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function classButton(name, index) {
  const button = make("button", "lb-class");
  button.type = "button";
  button.dataset.do = "choose";
  button.dataset.index = index;
  const shape = make("i", "lb-shape");
  shape.dataset.class = colour(index);
  const enter = make("kbd", "lb-enter", word("answers.enter"));
  button.append(shape, make("span", "lb-name", name), enter);
  if (index < COLOURS) {
    button.append(make("kbd", "", index + 1));
    button.setAttribute("aria-keyshortcuts", String(index + 1));
  }
  for (const sign of button.querySelectorAll("i, kbd")) sign.setAttribute("aria-hidden", "true");
  return button;
}

function stripItem(item) {
  const row = make("li");
  const button = make("button", "lb-thumb");
  button.type = "button";
  button.dataset.do = "go";
  button.dataset.index = item.number - 1;
  const picture = make("img");
  picture.alt = "";
  picture.loading = "lazy";
  picture.decoding = "async";
  picture.draggable = false;
  picture.src = address(item, "thumb");
  const badge = make("span", "lb-badge");
  const shape = make("i", "lb-shape");
  badge.setAttribute("aria-hidden", "true");
  badge.append(shape);
  button.append(picture, badge);
  row.append(button);
  return { row, button, badge, shape };
}
