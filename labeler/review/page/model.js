// The Model tab, drawn from the figures that the server sends as this component's value.

import { diagonal, figure, lines, steps } from "./charts.js";
import { between, count, facts, follow, make, parts, percent, table } from "./drawing.js";
import { openCell } from "./gallery.js";
import { colour } from "./parts.js";
import { begin, word, wordOr } from "./words.js";

const SPLITS = ["train", "validation", "test", "sorted"];

/** Called once by the Gradio component with its root element and its channel for values. */
export async function mount(element, channel) {
  const root = await begin(element);
  if (root === null) return;
  const places = parts(root);
  follow(channel, (figures) => {
    places.none.hidden = figures.model !== null;
    places.facts.replaceChildren(...overview(figures));
    const drawn = { stopping, curve, confusion, reliability, uncertainty, classes, refreshes, rounds };
    for (const [name, draw] of Object.entries(drawn)) places[name].replaceChildren(...[draw(figures)].flat());
  });
}

// ------------------------------------------------------------------------------------------------------- in short

function overview({ model, labelled, pool, curve, estimate, stopping }) {
  const list = [
    [word("model.labelled"), count(labelled)],
    [word("model.pool"), count(pool)],
  ];
  const now = curve.points.find((point) => point.model === model?.name);
  if (now) list.unshift([word("model.accuracy"), percent(now.accuracy), aboutAccuracy(now, curve.split)]);
  if (estimate) {
    const bounds = between([estimate.low, estimate.high]);
    const about = word(estimate.audited ? "model.estimatedAbout" : "model.estimatedAlone", { bounds, n: estimate.audited });
    list.push([word("model.estimated"), percent(estimate.accuracy), about]);
  }
  if (stopping.expected_errors !== null && pool > 0) {
    const about = word("model.expectedAbout");
    list.push([word("model.expected"), count(Math.round(stopping.expected_errors)), about]);
  }
  if (model) list.push([word("model.current"), model.name, word("model.learnedFrom", { n: model.labelled })]);
  return facts(list);
}

function aboutAccuracy({ n, intervals }, split) {
  if (split === "estimate") return word("model.estimate");
  return word("model.onImages", { n, split: word(`split.${split}`), bounds: between(intervals.accuracy) });
}

/** What the rule says, in words, and how far there is to go. */
function stopping({ stopping: said }) {
  const card = make("section", "", "lb-stopping");
  card.dataset.state = said.state.replace(" ", "-");
  const mark = make("i");
  mark.setAttribute("aria-hidden", "true");
  const text = make("div");
  const agreement = percent(said.agreement);
  const values = { n: said.told_in ?? 0, turns: said.turns, of: said.of, agreement, apart: said.apart, least: percent(said.threshold) };
  text.append(make("h2", word(`stop.${said.state.replace(" o", "O")}`)), make("p", word(`stop.${said.reason}`, values)));
  if (said.state === "go on") {
    const needed = said.needed === null ? word("stop.neededUnknown") : word("stop.needed", { n: said.needed });
    text.append(make("p", needed));
  }
  card.append(mark, text);
  return card;
}

// -------------------------------------------------------------------------------------------------------- curve

function curve({ curve: { split, points, random } }) {
  if (points.length === 0) return [];
  const series = [seriesOf("accuracy", "1", points)];
  if (points.some(({ f1 }) => f1 !== null)) series.push(seriesOf("f1", "2", points.filter(({ f1 }) => f1 !== null)));
  if (random) {
    const reference = random.map(({ labels, accuracy }) => ({ x: labels, y: accuracy }));
    series.push({ name: word("model.random"), kind: "soft", points: reference });
  }
  const last = points[points.length - 1];
  const about = split === "estimate" ? word("model.curveEstimate") : word("model.curveAbout", { split: word(`split.${split}`) });
  return figure(word("model.curve"), {
    about,
    summary: word("model.curveSummary", { n: last.labels, accuracy: percent(last.accuracy) }),
    legend: series,
    draw: (width) => lines(width, series, { xTitle: word("model.curveX") }),
    numbers: curveNumbers(points),
  });
}

function seriesOf(key, kind, points) {
  const name = word(`model.${key}`);
  const drawn = points.map((point) => {
    const [low, high] = point.intervals?.[key] ?? [null, null];
    const bounds = low === null ? "" : ` (${between([low, high])})`;
    return { x: point.labels, y: point[key], low, high, title: `${point.model}: ${name} ${percent(point[key])}${bounds}` };
  });
  return { name, kind, points: drawn };
}

function curveNumbers(points) {
  const head = ["labels", "current", "accuracy", "bounds", "f1", "bounds"].map((key) => word(`model.${key}`));
  const rows = [...points].reverse().map(({ labels, model, accuracy, f1, intervals }) => [
    count(labels),
    model,
    percent(accuracy),
    intervals ? between(intervals.accuracy) : "",
    percent(f1),
    intervals ? between(intervals.f1) : "",
  ]);
  return table(word("model.curve"), head, rows);
}

// ------------------------------------------------------------------------------------------------------ mistakes

/** Rows are the truth; the depth of a cell's colour is its share of the row, and its number says the same. */
function confusion({ classes: names, confusion: found }) {
  if (found === null) return [];
  const held = found.basis === "held out";
  const title = held ? word("model.confusionHeldOut") : word("model.confusion", { split: word(`split.${found.basis}`) });
  const rows = found.table.map((line, truth) => {
    const total = line.reduce((sum, n) => sum + n, 0);
    return [names[truth], ...line.map((n, says) => cell(names, truth, says, n, total))];
  });
  const head = ["", ...names.map((name) => word("model.says", { label: name }))];
  const made = table(title, head, rows, { className: "lb-confusion" });
  const card = make("div", "", "lb-card-box");
  card.append(made, make("p", word(held ? "model.confusionHeldOutAbout" : "model.confusionAbout"), "lb-soft"));
  return card;
}

function cell(names, truth, says, n, total) {
  const made = make(n > 0 ? "button" : "span", count(n), "lb-cell");
  made.dataset.right = String(says === truth);
  made.style.setProperty("--share", `${total ? Math.round((100 * n) / total) : 0}%`);
  if (n > 0) {
    made.type = "button";
    const values = { n, label: names[truth], said: names[says] };
    made.setAttribute("aria-label", word("model.cell", values));
    made.addEventListener("click", () => openCell(names[truth], names[says], word("model.cellTitle", values)));
  }
  return made;
}

function reliability({ reliability: found }) {
  if (found === null) return [];
  const bins = found.bins.map((bin) => {
    const values = { n: bin.n, sure: percent(bin.confidence, 0), right: percent(bin.accuracy, 0) };
    return { ...bin, title: word("model.reliabilityBin", values) };
  });
  const head = ["sure", "right", "bounds", "images"].map((key) => word(`model.${key}`));
  const rows = bins.map((bin) => [percent(bin.confidence), percent(bin.accuracy), between([bin.low, bin.high]), count(bin.n)]);
  const held = found.basis === "held out" ? ` ${word("model.confusionHeldOutAbout")}` : "";
  return figure(word("model.reliability"), {
    about: word("model.reliabilityAbout", { ece: percent(found.ece) }) + held,
    summary: word("model.reliabilitySummary", { ece: percent(found.ece), n: found.n }),
    draw: (width) => diagonal(width, bins, { xTitle: word("model.sure"), yTitle: word("model.right") }),
    numbers: table(word("model.reliability"), head, rows),
  });
}

// ---------------------------------------------------------------------------------------------------------- pool

function uncertainty({ uncertainty: found }) {
  if (found === null) return [];
  const { now, before } = found;
  const legend = [now, before].flatMap((drawn, at) =>
    drawn ? [{ name: word("model.afterLabels", { n: drawn.labels }), kind: String(at + 1) }] : [],
  );
  const bins = now.images.length;
  const rows = now.images.map((n, at) => [between([at / bins, (at + 1) / bins]), count(n), ...(before ? [count(before.images[at])] : [])]);
  const unsure = now.images.slice(Math.ceil(bins / 2)).reduce((sum, n) => sum + n, 0);
  return figure(word("model.uncertainty"), {
    about: word("model.uncertaintyAbout"),
    summary: word("model.uncertaintySummary", { n: unsure }),
    legend,
    draw: (width) => steps(width, now.images, before?.images, { xTitle: word("model.unsure"), yTitle: word("model.imagesLog") }),
    numbers: table(word("model.uncertainty"), [word("model.unsure"), ...legend.map(({ name }) => name)], rows),
  });
}

function classes({ classes: names, counts }) {
  const shown = SPLITS.filter((split) => split === "train" || Object.keys(counts[split] ?? {}).length > 0);
  const of = (split, name) => counts[split]?.[name] ?? 0;
  const all = names.reduce((sum, name) => sum + of("train", name), 0);
  const head = [word("model.class"), ...shown.map((split) => word(`split.${split}`)), word("model.share")];
  const rows = names.map((name, index) => [
    name,
    ...shown.map((split) => count(of(split, name))),
    bar(all ? of("train", name) / all : 0, index),
  ]);
  return table(word("model.classes"), head, rows, { className: "lb-balance" });
}

function bar(share, index) {
  const made = make("span", "", "lb-share");
  const full = make("span", "", "lb-share-bar");
  full.dataset.class = colour(index);
  full.style.setProperty("--share", `${100 * share}%`);
  made.append(full, percent(share, 0));
  return made;
}

/** The tries to refresh the backbone; nothing before the first. */
function refreshes({ refreshes: { under_way: job, tries } }) {
  const made = [];
  if (job) made.push(make("p", word("model.refreshing", { share: percent(job.progress), message: job.message }), "lb-soft"));
  if (tries.length === 0) return made;
  const rows = tries.map(({ model, labelled, state, champion, challenger, reason }) => [
    model, count(labelled), word(`refresh.${state}`), percent(champion), percent(challenger), reason,
  ]);
  const head = ["current", "labels", "state", "champion", "challenger", "why"].map((title) => word(`model.${title}`));
  return [...made, table(word("model.refreshes"), head, rows, {})];
}

function rounds({ rounds: list }) {
  const titles = ["round", "labels", "accuracy", "f1", "auc", "ece", "k", "strategy", "state"];
  const rows = list.map(({ round, labelled, metrics, k, strategy, state }) => {
    const accuracy = percent(metrics?.accuracy) + (metrics?.estimated ? ` (${word("model.estimate")})` : "");
    const measured = [accuracy, percent(metrics?.f1), percent(metrics?.roc_auc, 2), percent(metrics?.ece)];
    return [count(round), count(labelled), ...measured, count(k), strategy, wordOr(`state.${state}`, state)];
  });
  const head = titles.map((title) => word(`model.${title}`));
  return table(word("model.rounds"), head, rows, { empty: word("model.noRounds") });
}
