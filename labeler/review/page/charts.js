// Charts as SVG: drawn for the width there is, coloured by the page's variables, each with its numbers in a table.

import { count, make, shape, tick } from "./drawing.js";
import { word } from "./words.js";

const HEIGHT = 270;
const BASE = 0.4; // powers of ten below the 1 of a logarithmic scale, so that a single image has a height
const EDGE = { top: 26, right: 30, bottom: 40, left: 52 };

/** A titled figure: `draw(width)` gives an SVG's children, `numbers` is the same as a table. */
export function figure(title, { about = "", summary, legend = [], draw, numbers }) {
  const made = make("figure", "", "lb-figure");
  const plot = make("div", "", "lb-plot");
  const caption = make("figcaption", title);
  if (about) caption.append(make("span", about, "lb-soft"));
  made.append(caption, plot);
  if (legend.length > 1) made.append(legendOf(legend));
  const details = make("details");
  details.append(make("summary", word("chart.numbers")), numbers);
  made.append(details);
  let drawn = 0;
  const redraw = () => {
    const width = Math.floor(plot.clientWidth);
    if (width <= 0 || width === drawn) return;
    drawn = width;
    const view = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": summary };
    plot.replaceChildren(shape("svg", view, ...draw(width)));
  };
  new ResizeObserver(redraw).observe(plot);
  return made;
}

function legendOf(series) {
  const list = make("ul", "", "lb-legend");
  for (const { name, kind } of series) {
    const entry = make("li", "");
    const sign = shape("svg", { width: 34, height: 14, "aria-hidden": "true", "data-series": kind });
    sign.append(shape("line", { x1: 1, x2: 33, y1: 7, y2: 7, class: "lb-line" }), mark(kind, 17, 7));
    entry.append(sign, name);
    list.append(entry);
  }
  return list;
}

// -------------------------------------------------------------------------------------------------------- frame

/** Maps values to places and draws the axes. Domains are [from, to]. */
class Frame {
  constructor(width, x, y) {
    this.right = width - EDGE.right;
    this.bottom = HEIGHT - EDGE.bottom;
    this.x = scale(x, EDGE.left, this.right);
    this.y = scale(y, this.bottom, EDGE.top);
    this.drawn = [];
  }

  add(tag, attributes, ...children) {
    this.drawn.push(shape(tag, attributes, ...children));
  }

  axes(xTicks, yTicks, { xText = count, yText = tick, xTitle, yTitle }) {
    for (const value of yTicks) {
      const y = this.y(value);
      this.add("line", { x1: EDGE.left, x2: this.right, y1: y, y2: y, class: "lb-rule" });
      this.add("text", { x: EDGE.left - 8, y: y + 4, "text-anchor": "end", text: yText(value) });
    }
    this.add("line", { x1: EDGE.left, x2: this.right, y1: this.bottom, y2: this.bottom, class: "lb-axis" });
    for (const value of xTicks) {
      const x = this.x(value);
      this.add("line", { x1: x, x2: x, y1: this.bottom, y2: this.bottom + 4, class: "lb-axis" });
      this.add("text", { x, y: this.bottom + 17, "text-anchor": "middle", text: xText(value) });
    }
    this.add("text", { x: this.right, y: HEIGHT - 5, "text-anchor": "end", class: "lb-axis-title", text: xTitle });
    if (yTitle) this.add("text", { x: 0, y: 12, class: "lb-axis-title", text: yTitle });
  }
}

function scale([from, to], start, end) {
  const span = to - from || 1;
  return (value) => Math.round((start + ((value - from) / span) * (end - start)) * 10) / 10;
}

/** Round values between the ends, about n of them. */
export function ticks(from, to, n) {
  const rough = (to - from) / n || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-6; i++) found.push(Number((i * step).toFixed(10)));
  return found;
}

// ------------------------------------------------------------------------------------------------------- curves

/**
 * Lines over labels. `series`: {name, kind, points: [{x, y, low, high, title}]}; kind "1" and "2" have marks and
 * bands, "soft" is a reference.
 */
export function lines(width, series, { xTitle }) {
  const points = series.flatMap((one) => one.points);
  const xs = points.map(({ x }) => x);
  const lowest = Math.min(...points.map(({ y, low }) => low ?? y));
  const from = Math.max(0, Math.floor(lowest * 20 - 1e-9) / 20);
  const domain = [Math.min(...xs), Math.max(...xs)];
  if (domain[0] === domain[1]) domain[0] = 0;
  const frame = new Frame(width, domain, [from, 1]);
  frame.axes(ticks(...domain, Math.max(2, Math.floor(width / 64))), ticks(from, 1, 5), { xTitle });
  for (const one of series) {
    const group = shape("g", { "data-series": one.kind });
    group.append(...band(frame, one.points));
    const path = one.points.map(({ x, y }) => `${frame.x(x)},${frame.y(y)}`).join(" ");
    group.append(shape("polyline", { points: path, class: "lb-line" }));
    if (one.points.length <= 60) for (const point of one.points) group.append(pointOf(one.kind, frame, point));
    frame.drawn.push(group);
  }
  return frame.drawn;
}

function band(frame, points) {
  const bounded = points.filter(({ low }) => low != null);
  if (bounded.length < 2) return bounded.map((point) => whisker(frame, point));
  const upper = bounded.map(({ x, high }) => `${frame.x(x)},${frame.y(high)}`);
  const lower = bounded.map(({ x, low }) => `${frame.x(x)},${frame.y(low)}`).reverse();
  return [shape("polygon", { points: [...upper, ...lower].join(" "), class: "lb-band" })];
}

function whisker(frame, { x, low, high }) {
  return shape("line", { x1: frame.x(x), x2: frame.x(x), y1: frame.y(low), y2: frame.y(high), class: "lb-whisker" });
}

function pointOf(kind, frame, { x, y, title }) {
  const made = mark(kind, frame.x(x), frame.y(y));
  if (title) made.append(shape("title", { text: title }));
  return made;
}

/** A disc, a square, or nothing: kinds are told by shape too. */
function mark(kind, x, y, size = 4) {
  if (kind === "1") return shape("circle", { cx: x, cy: y, r: size, class: "lb-dot" });
  if (kind === "2") return shape("rect", { x: x - 3.5, y: y - 3.5, width: 7, height: 7, class: "lb-dot" });
  return shape("g");
}

// -------------------------------------------------------------------------------------------------- calibration

/** `bins`: {confidence, accuracy, low, high, n}; what lies on the diagonal is as sure as it should be. */
export function diagonal(width, bins, { xTitle, yTitle }) {
  const start = Math.max(0, Math.floor(Math.min(...bins.map(({ confidence }) => confidence)) * 10 - 1e-9) / 10);
  const from = Math.max(0, Math.floor(Math.min(start, ...bins.map(({ low }) => low)) * 10) / 10);
  const frame = new Frame(width, [start, 1], [from, 1]);
  frame.axes(ticks(start, 1, 5), ticks(from, 1, 5), { xText: tick, xTitle, yTitle });
  const line = { x1: frame.x(start), y1: frame.y(start), x2: frame.x(1), y2: frame.y(1), class: "lb-ideal" };
  frame.add("line", line);
  const most = Math.max(...bins.map(({ n }) => n));
  const group = shape("g", { "data-series": "1" });
  for (const { confidence, accuracy, low, high, n, title } of bins) {
    group.append(whisker(frame, { x: confidence, low, high }));
    const dot = mark("1", frame.x(confidence), frame.y(accuracy), 4 + 6 * Math.sqrt(n / most));
    dot.append(shape("title", { text: title }));
    group.append(dot);
  }
  frame.drawn.push(group);
  return frame.drawn;
}

// ---------------------------------------------------------------------------------------------------- histogram

/** Bars of `now` and, as a line of steps, `before`: images in equal bins from 0 to 1, on a logarithmic scale. */
export function steps(width, now, before, { xTitle, yTitle }) {
  const digits = Math.ceil(Math.log10(Math.max(2, ...now, ...(before ?? []))));
  const frame = new Frame(width, [0, 1], [0, digits + BASE]);
  const height = (n) => frame.y(n > 0 ? Math.log10(n) + BASE : 0);
  const powers = Array.from({ length: digits + 1 }, (_, power) => power + BASE);
  frame.axes([0, 0.25, 0.5, 0.75, 1], powers, { xText: tick, yText: (at) => count(10 ** Math.round(at - BASE)), xTitle, yTitle });
  const bars = shape("g", { "data-series": "1" });
  now.forEach((n, at) => {
    const [x, end] = [frame.x(at / now.length), frame.x((at + 1) / now.length)];
    const [y, wide] = [height(n), Math.max(1, end - x - 2)];
    bars.append(shape("rect", { x: x + 1, y, width: wide, height: Math.max(0, frame.bottom - y), class: "lb-column" }));
  });
  frame.drawn.push(bars);
  if (before) {
    const path = before.flatMap((n, at) => [at, at + 1].map((i) => `${frame.x(i / before.length)},${height(n)}`));
    frame.drawn.push(shape("g", { "data-series": "2" }, shape("polyline", { points: path.join(" "), class: "lb-line" })));
  }
  return frame.drawn;
}
