// Small pieces that several drawings share. Texts are set as text, never as markup.

import { word } from "./words.js";

const COLOURS = 10; // shapes and colours for classes; an eleventh class starts over

/** The name under which the style sheet knows a class, by its place in the list. */
export function colour(index) {
  return String((index % COLOURS) + 1);
}

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The sign of a class (or of "skip"), for those who do not tell colours apart. */
export function shape(kind) {
  const sign = make("i", "lb-shape");
  sign.dataset.class = kind;
  sign.setAttribute("aria-hidden", "true");
  return sign;
}

/** Write the keys that do the same as a button on it. */
export function sign(button, keys) {
  const given = keys.filter(Boolean).map((key) => key.toUpperCase());
  for (const key of given) button.append(make("kbd", "", key));
  if (given.length) button.setAttribute("aria-keyshortcuts", given.join(" "));
  for (const drawn of button.querySelectorAll("kbd")) drawn.setAttribute("aria-hidden", "true");
}

export function bar(element, value, most) {
  element.setAttribute("aria-valuemax", String(most));
  element.setAttribute("aria-valuenow", String(value));
  element.firstElementChild.style.width = most ? `${(100 * value) / most}%` : "0";
}

/** A share in [0, 1] as a percentage. A model is never certain: 99.7 must not read as 100. */
export function percent(share) {
  return word("suggest.percent", { p: Math.min(99, Math.round(100 * share)) });
}

/** Every element with data-part below `root`, by that name. */
export function partsOf(root) {
  const parts = {};
  for (const element of root.querySelectorAll("[data-part]")) parts[element.dataset.part] = element;
  return parts;
}
