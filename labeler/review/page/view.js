// Drawing one image at a time, and the line above it. What comes from the server or a person is set as text.

import { bar, colour, make, partsOf, percent, shape, sign } from "./parts.js";
import { Strip } from "./strip.js";
import { word, wordOr } from "./words.js";

const NOTICE_MS = 7000;

export class View {
  constructor(root) {
    this.root = root;
    this.parts = partsOf(root);
    this.strip = new Strip(this.parts);
    this.buttons = [];
    this.noticeTimer = 0;
  }

  /** "label" shows the images, "between" too, "wait" and "loading" the panel. */
  state(name) {
    this.root.dataset.state = name;
  }

  say(text) {
    this.parts.say.textContent = "";
    // An equal text would not be read out again without the pause.
    requestAnimationFrame(() => (this.parts.say.textContent = text));
  }

  /** A message about the image on the stage. */
  note(text) {
    const note = this.parts["stage-note"];
    note.textContent = text;
    note.hidden = !text;
  }

  /** A message about anything else; it goes away by itself. */
  notice(text) {
    const { notice } = this.parts;
    clearTimeout(this.noticeTimer);
    notice.textContent = text;
    notice.hidden = !text;
    if (text) this.noticeTimer = setTimeout(() => (notice.hidden = true), NOTICE_MS);
  }

  // ------------------------------------------------------------------------------------------------- per batch

  /** Build what stays the same for a whole batch: class buttons and film strip. @param keys of each class. */
  build(batch, keys) {
    const names = batch.classes.join("\n");
    if (names !== this.names) {
      this.names = names;
      this.buttons = batch.classes.map((name, index) => classButton(name, index, keys[index]));
      this.parts.classes.replaceChildren(...this.buttons);
      this.parts["last-key"].textContent = keys.findLast(([digit]) => digit)[0];
      this.parts["class-letters"].textContent = keys.map(([, letter]) => letter.toUpperCase()).filter(Boolean).join(" ");
    }
    this.strip.build(batch, keys);
  }

  // ------------------------------------------------------------------------------------------------- per image

  /** Show the current image and everything said of it. */
  draw(batch, picture, unsaved) {
    const item = batch.current;
    this.show(batch, picture);
    this.drawSuggestion(batch, item);
    this.drawAnswers(batch, item);
    this.strip.draw(batch, item, unsaved.has(item.sha256));
    this.strip.markCurrent(batch.at);
    this.drawTop(batch);
  }

  show(batch, picture) {
    picture.alt = word("stage.alt", { n: batch.current.number, k: batch.k });
    this.parts.frame.replaceChildren(picture);
    this.drawPicture(picture, batch.current);
  }

  /** Say whether the picture is there, coming, or not to be had. */
  drawPicture(picture, { again, answer }) {
    const { state } = picture.dataset;
    this.parts.stage.dataset.picture = state;
    this.parts.stage.setAttribute("aria-busy", String(state === "coming"));
    const known = { gone: "stage.gone", away: "stage.away" }[state] ?? (again && !answer ? "stage.again" : null);
    this.note(known ? word(known) : "");
  }

  drawSuggestion(batch, item) {
    const { guess, percent: share, why, meter, suggestion, suggesting } = this.parts;
    const said = sayOf(batch, item);
    suggestion.hidden = said === null;
    if (said === null) return;
    const index = batch.classes.indexOf(said.label);
    suggestion.dataset.class = index < 0 ? "" : colour(index);
    this.parts["guess-shape"].dataset.class = suggestion.dataset.class;
    suggesting.textContent = said.heading;
    guess.textContent = said.text;
    share.textContent = said.share === null ? "" : percent(said.share);
    why.textContent = said.why;
    meter.hidden = said.share === null;
    meter.firstElementChild.style.width = `${100 * (said.share ?? 0)}%`;
  }

  drawAnswers(batch, item) {
    const suggested = batch.suggested(item);
    this.buttons.forEach((button, index) => {
      const name = batch.classes[index];
      button.setAttribute("aria-pressed", String(item.answer?.label === name));
      button.dataset.suggested = String(suggested === name);
      button.setAttribute("aria-description", suggested === name ? word("answers.suggested") : "");
    });
    const { verdict, flagged } = this.parts;
    flagged.hidden = !item.flagged;
    verdict.hidden = !item.answer;
    if (!item.answer) return;
    const label = item.answer.label;
    verdict.firstElementChild.dataset.class = label ? colour(batch.classes.indexOf(label)) : "skip";
    verdict.lastElementChild.textContent = label ? word("stage.answered", { label }) : word("stage.skipped");
  }

  drawTop(batch) {
    const { count, round, pool, progress } = this.parts;
    const done = batch.answered;
    count.textContent = word("top.count", { n: done, k: batch.k });
    round.textContent = batch.round === null ? "" : word("top.round", { n: batch.round });
    pool.textContent = word("top.pool", { n: batch.poolLeft });
    bar(progress, done, batch.k);
  }

  drawRate(rate) {
    this.parts.rate.textContent = rate === null ? "" : word("top.rate", { n: rate });
  }
}

/** What is said beside an image before it is answered; null where nothing should lead the person. */
function sayOf(batch, item) {
  const share = batch.confidence(item);
  const why = item.why ? wordOr(`why.${item.why}`, item.why) : "";
  if (batch.mode === "mistakes") {
    const doubt = item.predicted === null ? "" : word("check.model", { label: item.predicted, p: percent(share ?? 0) });
    const text = item.now.label ? word("check.labelled", { label: item.now.label }) : word("check.unsure");
    return { heading: word("check.heading"), label: item.now.label, text, share: null, why: doubt };
  }
  if (batch.mode === "disputed") {
    const text = item.predicted ? word("suggest.looksLike", { label: item.predicted }) : word("disputed.text");
    return { heading: word("disputed.heading"), label: item.predicted, text, share, why: word("disputed.why") };
  }
  if (!batch.suggests) return null;
  if (item.predicted === null) {
    const text = word("suggest.none");
    return { heading: word("suggest.heading"), label: null, text, share: null, why: word("suggest.noneWhy") };
  }
  const text = word("suggest.looksLike", { label: item.predicted });
  if (batch.mode === "sorted") return { heading: word("sorted.heading"), label: item.predicted, text, share, why };
  return { heading: word("suggest.heading"), label: item.predicted, text, share, why };
}

function classButton(name, index, keys) {
  const button = make("button", "lb-class");
  button.type = "button";
  button.dataset.do = "choose";
  button.dataset.index = index;
  button.append(shape(colour(index)), make("span", "lb-name", name), make("kbd", "lb-enter", word("answers.enter")));
  sign(button, keys);
  return button;
}
