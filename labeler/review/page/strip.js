// The film strip: every image of the batch, its state by ring, shape, letter and words.

import { address } from "./images.js";
import { colour, make, shape } from "./parts.js";
import { word } from "./words.js";

export class Strip {
  constructor(parts) {
    this.nav = parts.strip;
    this.list = parts["strip-list"];
    this.entries = [];
    this.current = null;
    this.keys = [];
  }

  /** @param keys of each class: the first of them is the sign on an image that has it. */
  build(batch, keys) {
    this.keys = keys;
    this.entries = batch.items.map((item) => thumb(item));
    this.list.replaceChildren(...this.entries.map((entry) => entry.row));
    this.current = null;
  }

  draw(batch, item, unsaved) {
    const entry = this.entries[item.number - 1];
    const index = item.answer?.label ? batch.classes.indexOf(item.answer.label) : -1;
    const state = !item.answer ? "open" : item.answer.label ? colour(index) : "skip";
    const drawn = `${state} ${index} ${unsaved} ${item.flagged}`;
    if (entry.drawn === drawn) return;
    entry.drawn = drawn;
    const { button, badge, sign } = entry;
    button.dataset.class = sign.dataset.class = state;
    button.dataset.unsaved = String(unsaved);
    button.dataset.flagged = String(item.flagged);
    badge.dataset.key = state === "skip" ? "?" : index >= 0 ? this.keys[index].find(Boolean)?.toUpperCase() ?? "" : "";
    const kind = state === "open" ? "strip.open" : state === "skip" ? "strip.skipped" : "strip.labelled";
    let text = word(kind, { n: item.number, label: item.answer?.label ?? "" });
    if (item.flagged) text += word("strip.flagged");
    if (unsaved) text += word("strip.unsaved");
    button.setAttribute("aria-label", text);
  }

  markCurrent(at) {
    this.current?.removeAttribute("aria-current");
    const entry = this.entries[at];
    this.current = entry.button;
    this.current.setAttribute("aria-current", "true");
    // In the frame's own turn: asked for now, the place would cost a layout more before the image is painted.
    requestAnimationFrame(() => {
      if (entry !== this.entries[at]) return;
      this.nav.scrollTo({ left: entry.row.offsetLeft - (this.nav.clientWidth - entry.row.clientWidth) / 2 });
    });
  }
}

function thumb(item) {
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
  badge.setAttribute("aria-hidden", "true");
  const sign = shape("open");
  badge.append(sign);
  button.append(picture, badge);
  row.append(button);
  return { row, button, badge, sign, drawn: "" };
}
