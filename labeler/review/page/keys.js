// From a key press to what it asks for. Knows no page and no batch.

const INTERACTIVE = "button:not(.lb-tile), a[href], summary, [role=button], [role=tab]";
const TYPING = "input, textarea, select, [contenteditable=''], [contenteditable=true]";
const LETTERS = { s: "skip", u: "undo", z: "zoom", f: "flag", g: "grid", e: "explain" };
const ARROWS = { ArrowLeft: "back", ArrowRight: "forward", ArrowUp: "up", ArrowDown: "down" };

/** A letter for each class: the first of its name that means nothing else yet, or "" where there is none left. */
export function lettersFor(classes) {
  const taken = new Set(Object.keys(LETTERS));
  return classes.map((name) => {
    const letter = [...name.toLowerCase()].find((one) => /[a-z]/.test(one) && !taken.has(one)) ?? "";
    taken.add(letter);
    return letter;
  });
}

export class Keys {
  constructor() {
    this.letters = [];
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
    if (/^[1-9]$/.test(event.key)) return { name: "choose", index: Number(event.key) - 1 };
    if (event.key === "Enter") return { name: "confirm" };
    if (event.key === " ") return { name: "space" };
    if (event.key === "?") return { name: "help" };
    if (event.key in ARROWS) return { name: ARROWS[event.key] };
    if (letter in LETTERS) return { name: LETTERS[letter] };
    const index = letter ? this.letters.indexOf(letter) : -1;
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
