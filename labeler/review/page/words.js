// Every word of the page comes from words.json. Texts reach the page through textContent and setAttribute only.

let table = {};
let plural = new Intl.PluralRules("en");
let numbers = new Intl.NumberFormat("en");

async function load() {
  const answer = await fetch(new URL("./words.json", import.meta.url));
  table = await answer.json();
  const language = document.documentElement.lang || "en";
  plural = new Intl.PluralRules(language);
  numbers = new Intl.NumberFormat(language);
}

/** The text of a key, its {gaps} filled; `n` chooses the plural form where there are several. */
export function word(key, values = {}) {
  const entry = table[key];
  if (entry === undefined) throw new Error(`no words for ${key}`);
  const text = typeof entry === "string" ? entry : (entry[plural.select(values.n)] ?? entry.other);
  return text.replace(/\{(\w+)\}/g, (gap, name) => (name in values ? shown(values[name]) : gap));
}

/** The text of a key that may not exist: a strategy of somebody else's may give reasons of its own. */
export function wordOr(key, fallback) {
  return key in table ? word(key) : fallback;
}

function shown(value) {
  return typeof value === "number" ? numbers.format(value) : String(value);
}

/** A component's part of the page with its words in place; null where that has been done before. */
export async function begin(element, selector = ".lb-page") {
  const root = element.querySelector(selector);
  if (!root || root.dataset.mounted) return null;
  root.dataset.mounted = "true";
  await load();
  fill(root);
  return root;
}

/** Put the fixed words of a skeleton in place. */
function fill(root) {
  for (const element of root.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of root.querySelectorAll("[data-word-label]")) {
    element.setAttribute("aria-label", word(element.dataset.wordLabel));
  }
}
