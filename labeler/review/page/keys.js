// From a key press to what it asks for. Knows no page and no batch.

const INTERACTIVE = "button:not(.lb-tile), a[href], summary, [role=button], [role=tab]";
const TYPING = "input, textarea, select, [contenteditable=''], [contenteditable=true]";
/** The digits of the classes in the order of the keyboard: the tenth has the 0. */
const DIGITS = [..."1234567890"];
const LETTERS = { s: "skip", u: "undo", z: "zoom", f: "flag", g: "grid", e: "explain" };
const ARROWS = { ArrowLeft: "back", ArrowRight: "forward", ArrowUp: "up", ArrowDown: "down" };

/**
 * The keys of each class, shown on its button: [digit, letter], either "" where there is none; no key means two things.
 *
 * Ten classes have a digit. The others, who have nothing else, choose their letters first and take any that is left;
 * then each whose initial is free has that one, and the rest the first free letter of their names. That is enough for
 * thirty classes.
 */
export function keysFor(classes) {
  const free = new Set([..."abcdefghijklmnopqrstuvwxyz"].filter((letter) => !(letter in LETTERS)));
  const letters = classes.map(() => "");
  const inName = (name) => [...name.toLowerCase()].filter((one) => /[a-z]/.test(one));
  const give = (index, wanted) => {
    const letter = letters[index] ? undefined : wanted.find((one) => free.has(one));
    if (!letter) return;
    letters[index] = letter;
    free.delete(letter);
  };
  const each = (from, wanted) => classes.forEach((name, index) => index >= from && give(index, wanted(name)));
  each(DIGITS.length, (name) => inName(name).slice(0, 1));
  each(DIGITS.length, inName);
  each(DIGITS.length, () => [...free]);
  each(0, (name) => inName(name).slice(0, 1));
  each(0, inName);
  return classes.map((_, index) => [DIGITS[index] ?? "", letters[index]]);
}

export class Keys {
  constructor() {
    this.classes = []; // the keys of each class, of keysFor()
    this.down = new Set(); // physical keys that were pressed and not let go of
  }

  /**
   * What a keydown asks for: {name, index?}, or null when it is not for us.
   *
   * A held key answers once: only browsing repeats. A key that bounces, so that it is pressed again without having
   * been let go of, is a held one, whatever the browser says. A focused button keeps Enter and Space for itself.
   */
  command(event) {
    const target = event.target instanceof Element ? event.target : document.body;
    // A field that was closed with its dialog keeps the focus until the next frame.
    if (event.isComposing || target.closest(TYPING)?.offsetParent) return null;
    const wanted = this.meaning(event);
    if (wanted === null) return null;
    if ((wanted.name === "confirm" || wanted.name === "space") && target.closest(INTERACTIVE)) return null;
    const held = event.repeat || this.down.has(event.code);
    // While Command is held, macOS does not tell of keys that are let go of.
    if (event.code && !event.metaKey) this.down.add(event.code);
    return held && !Object.values(ARROWS).includes(wanted.name) ? { name: "nothing" } : wanted;
  }

  released(event) {
    this.down.delete(event.code);
  }

  /** The window lost the keyboard: it will not hear what is let go of. */
  forget() {
    this.down.clear();
  }

  meaning(event) {
    const letter = letterOf(event);
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return letter === "z" && !event.altKey && !event.shiftKey ? { name: "undo" } : null;
    }
    if (DIGITS.includes(event.key)) return { name: "choose", index: DIGITS.indexOf(event.key) };
    if (event.key === "Enter") return { name: "confirm" };
    if (event.key === " ") return { name: "space" };
    if (event.key === "?") return { name: "help" };
    if (event.key in ARROWS) return { name: ARROWS[event.key] };
    if (letter in LETTERS) return { name: LETTERS[letter] };
    const index = letter ? this.classes.findIndex((keys) => keys[1] === letter) : -1;
    return index >= 0 ? { name: "choose", index } : null;
  }
}

/** The letter pressed; on a keyboard of another script the one printed on the same place of a Latin one. */
function letterOf(event) {
  const key = event.key.toLowerCase();
  if (/^[a-z]$/.test(key)) return key;
  const place = /^Key([A-Z])$/.exec(event.code ?? "");
  return place && key.length === 1 && key > "\x7f" ? place[1].toLowerCase() : "";
}
