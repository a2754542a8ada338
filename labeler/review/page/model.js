// The Model tab's tables, drawn from the overview that the server sends as this component's value.

import { fill, load, word } from "./words.js";

const SPLITS = ["train", "validation", "test"];

/** Called once by the Gradio component with its root element and its channel for values. */
export async function mount(element, { props, watch }) {
  const root = element.querySelector(".lb-model");
  if (!root || root.dataset.mounted) return;
  root.dataset.mounted = "true";
  await load();
  fill(root);
  const draw = () => props.value && typeof props.value === "object" && drawAll(root, props.value);
  watch("value", draw);
  draw();
}

/** Two components share this script; each draws the parts its skeleton has. */
function drawAll(root, overview) {
  const metrics = overview.model?.metrics ?? null;
  const drawn = {
    facts: () => facts(overview, metrics),
    confusion: () => (metrics?.confusion ? [confusion(overview.classes, metrics)] : []),
    classes: () => [classes(overview)],
    rounds: () => [rounds(overview)],
  };
  for (const part of root.querySelectorAll("[data-part]")) {
    if (part.dataset.part in drawn) part.replaceChildren(...drawn[part.dataset.part]());
    else part.hidden = overview.model !== null;
  }
}

function facts(overview, metrics) {
  const list = [
    [word("model.labelled"), count(overview.labelled)],
    [word("model.pool"), count(overview.pool)],
  ];
  if (overview.model) list.push([word("model.current"), overview.model.name]);
  if (metrics?.accuracy != null) {
    const about = metrics.estimated ? word("model.estimate") : word("model.onTest", { n: metrics.n });
    list.unshift([word("model.accuracy"), percent(metrics.accuracy), about]);
  }
  return list.map(([name, value, about]) => {
    const box = document.createElement("div");
    box.append(make("dt", name), make("dd", value));
    if (about) box.append(make("dd", about, "lb-soft"));
    return box;
  });
}

/** Rows are the truth; the depth of a cell's colour is its share of the row, and its number says the same. */
function confusion(names, { confusion: counts }) {
  const head = row("th", ["", ...names.map((name) => word("model.says", { label: name }))]);
  const body = counts.map((line, truth) => {
    const total = line.reduce((sum, n) => sum + n, 0);
    const cells = row("td", [names[truth], ...line.map(count)], true);
    line.forEach((n, says) => {
      const cell = cells.children[says + 1];
      cell.dataset.right = String(says === truth);
      cell.style.setProperty("--share", `${total ? Math.round((100 * n) / total) : 0}%`);
    });
    return cells;
  });
  return table(word("model.confusion"), head, body, "lb-confusion");
}

function classes({ classes: names, counts }) {
  const shown = SPLITS.filter((split) => split === "train" || Object.keys(counts[split] ?? {}).length > 0);
  const head = row("th", [word("model.class"), ...shown.map((split) => word(`split.${split}`))]);
  const body = names.map((name) => row("td", [name, ...shown.map((split) => count(counts[split]?.[name] ?? 0))], true));
  return table(word("model.classes"), head, body);
}

function rounds({ rounds: list }) {
  const titles = ["round", "labelled", "accuracy", "f1", "auc", "ece", "k", "strategy", "state"];
  const head = row("th", titles.map((title) => word(`model.${title}`)));
  const body = [...list].reverse().map(({ round, labelled, metrics, k, strategy, state }) => {
    const accuracy = percent(metrics?.accuracy) + (metrics?.estimated ? ` (${word("model.estimate")})` : "");
    const figures = [accuracy, percent(metrics?.f1), percent(metrics?.roc_auc), percent(metrics?.ece)];
    return row("td", [count(round), count(labelled), ...figures, count(k), strategy, word(`state.${state}`)], true);
  });
  if (body.length === 0) {
    const none = make("td", word("model.noRounds"));
    none.colSpan = titles.length;
    const line = make("tr", "");
    line.append(none);
    body.push(line);
  }
  return table(word("model.rounds"), head, body);
}

function table(title, head, body, className = "") {
  const made = make("table", "", className);
  const thead = make("thead", "");
  const tbody = make("tbody", "");
  thead.append(head);
  tbody.append(...body);
  made.append(make("caption", title), thead, tbody);
  return made;
}

function row(tag, texts, headed = false) {
  const line = make("tr", "");
  texts.forEach((text, index) => {
    const header = tag === "th" || (headed && index === 0);
    const cell = make(header ? (text === "" ? "td" : "th") : tag, text);
    if (cell.tagName === "TH") cell.scope = tag === "th" ? "col" : "row";
    line.append(cell);
  });
  return line;
}

function make(tag, text, className = "") {
  const element = document.createElement(tag);
  if (text !== "") element.textContent = text;
  if (className) element.className = className;
  return element;
}

function count(n) {
  return word("number", { n });
}

function percent(share) {
  return share == null ? "–" : word("suggest.percent", { p: Math.round(share * 1000) / 10 });
}
