// "Why this image": the score, the reason and the three labelled images most like it.

import { address } from "./images.js";
import { colour, make, percent, shape } from "./parts.js";
import { getWhy } from "./server.js";
import { word, wordOr } from "./words.js";

const DWELL_MS = 150; // who goes faster than this does not read it
const KEPT = 60;

export class Explain {
  constructor(parts) {
    this.parts = parts;
    this.open = false;
    this.known = new Map(); // image_id -> promise of the server's answer
    this.item = null;
    this.timer = 0;
  }

  toggle(batch) {
    this.set(!this.open);
    if (this.open) this.show(batch, true);
  }

  set(open) {
    this.open = open;
    this.parts.explain.hidden = !open;
    this.parts["explain-button"].setAttribute("aria-pressed", String(open));
  }

  /** Say why the current image is here, once the person looks at it for a moment, and ask ahead for the next. */
  show(batch, atOnce = false) {
    clearTimeout(this.timer);
    this.item = batch.current;
    if (!this.open) return;
    const known = this.known.get(this.item.image_id)?.value;
    if (known) requestAnimationFrame(() => this.draw(batch, known));
    else this.clear();
    const next = batch.nextOpen(batch.at);
    this.timer = setTimeout(() => void this.fetch(batch, next), atOnce ? 0 : DWELL_MS);
  }

  async fetch(batch, next) {
    const { item } = this;
    const answer = await this.get(item);
    if (item === this.item && this.open) this.draw(batch, answer);
    if (next !== null && item === this.item) await this.get(batch.items[next]);
  }

  get(item) {
    let asked = this.known.get(item.image_id);
    if (!asked) {
      asked = getWhy(item).catch(() => null);
      this.known.set(item.image_id, asked);
      if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
      void asked.then((value) => {
        asked.value = value;
        if (value === null) this.known.delete(item.image_id);
      });
    }
    return asked;
  }

  clear() {
    this.parts["explain-text"].textContent = "";
    this.parts["explain-list"].replaceChildren();
  }

  draw(batch, answer) {
    const { "explain-text": text, "explain-list": list } = this.parts;
    if (answer === null) {
      text.textContent = word("explain.none");
      list.replaceChildren();
      return;
    }
    const said = [answer.why && !batch.suggests ? wordOr(`why.${answer.why}`, answer.why) : ""];
    if (answer.uncertainty !== null && batch.suggests) said.push(word("explain.score", { p: percent(answer.uncertainty) }));
    if (answer.strategy) said.push(word("explain.strategy", { name: answer.strategy }));
    text.textContent = said.filter(Boolean).join(" · ");
    list.replaceChildren(...answer.neighbours.map((neighbour) => neighbourOf(neighbour, batch.classes)));
    if (answer.neighbours.length === 0) text.textContent += ` ${word("explain.alone")}`;
  }
}

function neighbourOf(neighbour, classes) {
  const row = make("li");
  const picture = make("img");
  picture.alt = word("explain.alt", { label: neighbour.label ?? word("answers.skip") });
  picture.decoding = "async";
  picture.draggable = false;
  picture.src = address(neighbour, "thumb");
  const name = make("span", "lb-near-name");
  const index = classes.indexOf(neighbour.label);
  name.append(shape(index < 0 ? "skip" : colour(index)), neighbour.label ?? "");
  row.append(picture, name, make("span", "lb-soft", word("explain.similarity", { p: percent(neighbour.similarity) })));
  return row;
}
