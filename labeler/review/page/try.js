// The Try tab: an image of one's own to the server, and what the model says of it.

import { make, parts, percent } from "./drawing.js";
import { colour } from "./parts.js";
import { begin, word, wordOr } from "./words.js";

const MAX_BYTES = 20 * 1024 * 1024;

/** Called once by the Gradio component with its root element. */
export async function mount(element) {
  const root = await begin(element);
  if (root === null) return;
  new TryPage(root).listen();
}

class TryPage {
  constructor(root) {
    this.root = root;
    this.parts = parts(root);
    this.sent = 0;
    this.preview = "";
  }

  listen() {
    const { drop, file } = this.parts;
    file.addEventListener("change", () => {
      void this.look(file.files[0]);
      file.value = ""; // so that the same file can be chosen again
    });
    for (const name of ["dragenter", "dragover"]) this.root.addEventListener(name, (event) => this.onDrag(event, true));
    for (const name of ["dragleave", "drop"]) this.root.addEventListener(name, (event) => this.onDrag(event, false));
    this.root.addEventListener("drop", (event) => void this.look(event.dataTransfer.files[0]));
    document.addEventListener("paste", (event) => {
      const pasted = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
      if (pasted && drop.offsetParent !== null) void this.look(pasted);
    });
  }

  onDrag(event, over) {
    event.preventDefault();
    this.parts.drop.dataset.over = String(over);
  }

  /** Send one image; a later one makes an earlier answer stale. */
  async look(file) {
    if (!file) return;
    const turn = ++this.sent;
    this.parts.answer.hidden = true;
    if (file.size > MAX_BYTES) return this.say(word("try.tooLarge"), "bad");
    this.say(word("try.looking", { name: file.name }));
    this.root.setAttribute("aria-busy", "true");
    const outcome = await ask(file);
    if (turn !== this.sent) return;
    this.root.setAttribute("aria-busy", "false");
    if (outcome.problem) this.say(outcome.problem, "bad");
    else this.show(file, outcome.answer);
  }

  say(text, level = "") {
    this.parts.say.textContent = text;
    this.parts.say.dataset.level = level;
  }

  show(file, { predicted, probabilities, model }) {
    const { answer, picture, guess, shares } = this.parts;
    URL.revokeObjectURL(this.preview);
    this.preview = URL.createObjectURL(file);
    picture.src = this.preview;
    picture.alt = word("try.alt", { name: file.name });
    guess.textContent = word("suggest.looksLike", { label: predicted });
    this.parts.model.textContent = word("try.model", { name: model });
    shares.replaceChildren(...Object.entries(probabilities).flatMap(([name, p], index) => share(name, p, index)));
    answer.hidden = false;
    this.say(word("try.done", { label: predicted, p: shown(probabilities[predicted]) }));
  }
}

/** A model is never certain: 99.97 must not read as 100. */
function shown(p) {
  return percent(Math.min(0.999, Math.max(0.001, p)));
}

function share(name, p, index) {
  const value = make("dd", shown(p));
  const bar = make("span", "", "lb-share-bar");
  bar.dataset.class = colour(index);
  bar.style.setProperty("--share", `${100 * p}%`);
  value.prepend(bar);
  return [make("dt", name), value];
}

async function ask(file) {
  try {
    const headers = { "content-type": "application/octet-stream", accept: "application/json" };
    const answer = await fetch("/api/try", { method: "POST", headers, body: file });
    if (answer.ok) return { answer: await answer.json() };
    if (answer.status === 401) return { problem: word("try.signedOut") };
    if (answer.status === 413) return { problem: word("try.tooLarge") };
    const { code } = await answer.json();
    return { problem: wordOr(`try.${code}`, word("try.failed")) };
  } catch {
    return { problem: word("try.offline") };
  }
}
