// Who is signed in, and the way out.

import { signOut } from "./server.js";
import { word } from "./words.js";

const LAST_ANSWERS_MS = 3000;

export class People {
  /** @param parts of the page; @param tell (text) shows a message. */
  constructor(parts, tell) {
    this.parts = parts;
    this.tell = tell;
    document.addEventListener("click", (event) => {
      if (!parts.who.contains(event.target)) this.open(false);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || parts["who-menu"].hidden) return;
      this.open(false);
      parts["who-button"].focus();
    });
  }

  show({ accounts, user, role }) {
    const { who, "who-name": name, "who-role": known } = this.parts;
    who.hidden = !accounts;
    name.textContent = user;
    known.textContent = word(role === "admin" ? "who.admin" : "who.annotator", { name: user });
  }

  toggle() {
    this.open(this.parts["who-menu"].hidden);
  }

  open(open) {
    this.parts["who-menu"].hidden = !open;
    this.parts["who-button"].setAttribute("aria-expanded", String(open));
  }

  /** Sign out; what is still on its way gets a moment, what does not make it waits here for the next time. */
  async leave(everywhere, outbox) {
    const until = performance.now() + LAST_ANSWERS_MS;
    while (outbox?.pending && !outbox.failing && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    try {
      await signOut(everywhere);
      location.assign("/login");
    } catch {
      this.tell(word("who.stuck"));
    }
  }
}
