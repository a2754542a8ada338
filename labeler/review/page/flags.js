// The images people marked, with what they wrote; each opens large.

import { follow, make, moment, parts } from "./drawing.js";
import { address, openImages } from "./gallery.js";
import { begin, word } from "./words.js";

/** Called once by the Gradio component with its root element and its channel for values. */
export async function mount(element, channel) {
  const root = await begin(element);
  if (root === null) return;
  const { none, list } = parts(root);
  follow(channel, ({ flags }) => {
    none.hidden = flags.length > 0;
    const images = flags.map((flag) => ({ ...flag, text: textOf(flag) }));
    list.replaceChildren(...images.map((image, index) => entry(image, () => openImages(word("flags.heading"), images, index))));
  });
}

function textOf({ label, note }) {
  const now = label === null ? word("flags.unlabelled") : word("flags.labelled", { label });
  return note ? `${note} (${now})` : now;
}

function entry(image, open) {
  const made = make("li");
  const button = make("button");
  button.type = "button";
  const picture = make("img");
  picture.src = address(image, "thumb");
  picture.alt = word("flags.open", { name: image.name });
  picture.loading = "lazy";
  button.append(picture);
  button.addEventListener("click", open);
  const text = make("div");
  const by = make("p", word("flags.by", { name: image.annotator }), "lb-soft");
  by.append(" ", moment(image.at));
  text.append(make("p", image.note || word("flags.noNote"), image.note ? "lb-note" : "lb-note lb-soft"), make("p", textOf({ ...image, note: "" })), by);
  made.append(button, text);
  return made;
}
