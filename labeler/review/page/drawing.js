// Elements, tables and numbers for the tabs. Everything that comes from the server is set as text, never as markup.

import { word } from "./words.js";

const SVG = ["http:", "//www.w3.org/2000/svg"].join(""); // a name; nothing is fetched from there

export function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  if (text !== "") element.textContent = text;
  if (className) element.className = className;
  return element;
}

/** An SVG element with attributes; a `text` becomes its content. */
export function shape(tag, { text = "", ...attributes } = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

/** The parts of a skeleton by name. */
export function parts(root) {
  const found = {};
  for (const element of root.querySelectorAll("[data-part]")) found[element.dataset.part] = element;
  return found;
}

/** Draw now and whenever the server sends another value. */
export function follow({ props, watch }, draw) {
  const drawn = () => props.value && typeof props.value === "object" && draw(props.value);
  watch("value", drawn);
  drawn();
}

// ------------------------------------------------------------------------------------------------------- tables

/** A table in a box that scrolls by itself; `head` and the first cell of each row are headers. */
export function table(title, head, rows, { className = "", empty = "" } = {}) {
  const made = make("table", "", className);
  const thead = make("thead");
  thead.append(row(head, "col"));
  const tbody = make("tbody");
  tbody.append(...rows.map((cells) => row(cells)));
  if (rows.length === 0) tbody.append(only(empty, head.length));
  made.append(make("caption", title), thead, tbody);
  return scrolling(title, made);
}

/** Cells are texts or elements; an empty first header is no header. */
function row(cells, scope = "") {
  const line = make("tr");
  cells.forEach((content, index) => {
    const header = scope ? content !== "" : index === 0;
    const cell = make(header ? "th" : "td");
    if (header) cell.scope = scope || "row";
    cell.append(content);
    line.append(cell);
  });
  return line;
}

function only(text, columns) {
  const line = make("tr");
  const cell = make("td", text);
  cell.colSpan = columns;
  line.append(cell);
  return line;
}

/** Reachable by keyboard, for who cannot drag it. */
export function scrolling(name, content) {
  const box = make("div", "", "lb-scroll");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", name);
  box.append(content);
  return box;
}

/** A list of facts: [name, value, remark]. */
export function facts(list) {
  return list.map(([name, value, about]) => {
    const box = make("div");
    box.append(make("dt", name), make("dd", value));
    if (about) box.append(make("dd", about, "lb-soft"));
    return box;
  });
}

// ------------------------------------------------------------------------------------------------------ numbers

export const NOTHING = "–";

export function count(n) {
  return n == null ? NOTHING : word("number", { n });
}

/** "99.0 %": as many digits after the point as asked for, so that columns line up. */
export function percent(share, digits = 1) {
  return share == null ? NOTHING : word("suggest.percent", { p: fixed(share * 100, digits) });
}

/** For an axis: no more digits than there are. */
export function tick(share) {
  return word("suggest.percent", { p: Math.round(share * 1000) / 10 });
}

/** "98.2 to 99.7 %". */
export function between(bounds) {
  const [low, high] = bounds.map((bound) => fixed(bound * 100, 1));
  return word("chart.between", { low, high });
}

export function decimal(value, digits = 2) {
  return value == null ? NOTHING : fixed(value, digits);
}

function fixed(value, digits) {
  return value.toLocaleString(language(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function language() {
  return document.documentElement.lang || "en";
}

export function seconds(ms) {
  return ms == null ? NOTHING : word("team.seconds", { n: fixed(ms / 1000, 1) });
}

/** A moment in this browser's own zone and manner. */
export function moment(iso) {
  if (!iso) return NOTHING;
  const made = make("time", new Date(iso).toLocaleString(language(), { dateStyle: "medium", timeStyle: "short" }));
  made.dateTime = iso;
  return made;
}
