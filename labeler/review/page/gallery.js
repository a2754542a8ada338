// A dialog of images: small ones to choose from, one large at a time. Used wherever a number stands for images.

import { make, parts, percent } from "./drawing.js";
import { word } from "./words.js";

let dialog = null;

/** The images behind a cell of the confusion matrix, asked of the server when they are wanted. */
export async function openCell(truth, said, title) {
  const gallery = opened(title, word("gallery.loading"));
  try {
    const query = new URLSearchParams({ true: truth, predicted: said });
    const answer = await fetch(`/api/figures/cell?${query}`, { headers: { accept: "application/json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const { total, images } = await answer.json();
    const shown = images.map((image) => ({ ...image, text: word("gallery.says", { label: image.predicted, p: percent(image.probability) }) }));
    gallery.show(shown, total > images.length ? word("gallery.first", { n: images.length, total }) : "");
  } catch {
    gallery.say(word("gallery.failed"));
  }
}

/** Images at hand, one of them large: {image_id, sha256, name, text}. */
export function openImages(title, images, at) {
  const gallery = opened(title, "");
  gallery.show(images, "");
  gallery.enlarge(at);
}

function opened(title, text) {
  dialog?.close();
  dialog = new Gallery(title);
  dialog.say(text);
  return dialog;
}

export function address({ image_id, sha256 }, size) {
  return `/image/${Number(image_id)}?v=${encodeURIComponent(sha256)}&size=${size}`;
}

class Gallery {
  constructor(title) {
    this.images = [];
    this.at = -1;
    this.root = build(title);
    this.parts = parts(this.root);
    this.root.addEventListener("click", (event) => this.onClick(event));
    this.root.addEventListener("keydown", (event) => this.onKey(event));
    this.root.addEventListener("close", () => this.root.remove());
    // Beside the tabs, where the page's colours reach.
    (document.querySelector(".gradio-container") ?? document.body).append(this.root);
    this.root.showModal();
  }

  close() {
    this.root.close();
  }

  say(text) {
    this.parts.say.textContent = text;
  }

  show(images, text) {
    this.images = images;
    this.say(images.length === 0 ? word("gallery.none") : text);
    this.parts.list.replaceChildren(...images.map((image, index) => thumb(image, index)));
  }

  enlarge(at) {
    this.at = at;
    const image = this.images[at];
    this.parts.large.hidden = !image;
    this.parts.list.hidden = Boolean(image);
    if (!image) return;
    const picture = make("img");
    picture.src = address(image, "full");
    picture.alt = word("gallery.alt", { n: at + 1, total: this.images.length });
    this.parts.frame.replaceChildren(picture);
    this.parts.text.textContent = image.text;
    this.parts.name.textContent = image.name;
    this.parts.back.disabled = at === 0;
    this.parts.on.disabled = at === this.images.length - 1;
  }

  onClick(event) {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.do === "close") this.close();
    else if (button.dataset.do === "all") this.leave();
    else if (button.dataset.do === "back") this.enlarge(this.at - 1);
    else if (button.dataset.do === "on") this.enlarge(this.at + 1);
    else if (button.dataset.index) {
      this.enlarge(Number(button.dataset.index));
      this.parts.all.focus();
    }
  }

  leave() {
    const { at } = this;
    this.enlarge(-1);
    this.parts.list.children[at]?.firstElementChild.focus();
  }

  onKey(event) {
    if (this.at < 0) return;
    const next = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1 }[event.key];
    if (next !== undefined && this.images[next]) this.enlarge(next);
  }
}

function build(title) {
  const root = make("dialog", "", "lb-page lb-gallery");
  root.setAttribute("aria-label", title);
  const top = make("header");
  top.append(make("h2", title), button("close", word("gallery.close")));
  const say = make("p", "", "lb-soft");
  say.dataset.part = "say";
  say.setAttribute("role", "status");
  const list = make("ul", "", "lb-thumbs");
  list.dataset.part = "list";
  root.append(top, say, list, large());
  return root;
}

function large() {
  const box = make("div", "", "lb-large");
  box.dataset.part = "large";
  box.hidden = true;
  const frame = make("div", "", "lb-large-frame");
  frame.dataset.part = "frame";
  const text = make("p");
  text.dataset.part = "text";
  const name = make("p", "", "lb-soft");
  name.dataset.part = "name";
  const tools = make("p", "", "lb-buttons");
  tools.append(button("back", word("stage.previous")), button("all", word("gallery.all")), button("on", word("stage.next")));
  box.append(frame, text, name, tools);
  return box;
}

function button(name, text) {
  const made = make("button", text);
  made.type = "button";
  made.dataset.do = made.dataset.part = name;
  return made;
}

function thumb(image, index) {
  const entry = make("li");
  const made = make("button");
  made.type = "button";
  made.dataset.index = index;
  const picture = make("img");
  picture.src = address(image, "thumb");
  picture.alt = word("gallery.open", { n: index + 1 });
  picture.loading = "lazy";
  made.append(picture, make("span", image.text));
  entry.append(made);
  return entry;
}
