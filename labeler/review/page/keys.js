// From a key press to what it asks for. Knows no page and no batch.

const INTERACTIVE = "button, a[href], summary, [role=button], [role=tab]";
const TYPING = "input, textarea, select, [contenteditable=''], [contenteditable=true]";
const LETTERS = { s: "skip", u: "undo", z: "zoom" };

/**
 * What a keydown asks for: {name, index?}, or null when it is not for us.
 *
 * A held key answers once: only browsing repeats. A focused button keeps Enter and Space for itself.
 */
export function command(event) {
  const target = event.target instanceof Element ? event.target : document.body;
  if (event.isComposing || target.closest(TYPING)) return null;
  const wanted = meaning(event);
  if (wanted === null) return null;
  if (wanted.name === "confirm" && target.closest(INTERACTIVE)) return null;
  if (event.repeat && wanted.name !== "back" && wanted.name !== "forward") return { name: "nothing" };
  return wanted;
}

function meaning(event) {
  const letter = letterOf(event);
  if (event.ctrlKey || event.metaKey || event.altKey) {
    return letter === "z" && !event.altKey && !event.shiftKey ? { name: "undo" } : null;
  }
  if (/^[1-9]$/.test(event.key)) return { name: "choose", index: Number(event.key) - 1 };
  if (event.key === "Enter" || event.key === " ") return { name: "confirm" };
  if (event.key === "ArrowLeft") return { name: "back" };
  if (event.key === "ArrowRight") return { name: "forward" };
  if (event.key === "?") return { name: "help" };
  return letter in LETTERS ? { name: LETTERS[letter] } : null;
}

/** The letter pressed; on a keyboard of another script the one printed on the same place of a Latin one. */
function letterOf(event) {
  const key = event.key.toLowerCase();
  if (/^[a-z]$/.test(key)) return key;
  const place = /^Key([A-Z])$/.exec(event.code ?? "");
  return place && key.length === 1 && key > "\x7f" ? place[1].toLowerCase() : "";
}
