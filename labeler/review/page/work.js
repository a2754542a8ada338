// What runs in the background while people label: one calm line above the images.

import { bar } from "./parts.js";
import { getStatus, SignedOut } from "./server.js";
import { isWorking } from "./waiting.js";
import { word } from "./words.js";

const BUSY_MS = 3000;
const CALM_MS = 15000;
const NEWS_MS = 8000;

export class Work {
  /**
   * @param parts  of the page.
   * @param shown  () -> whether anybody can see it.
   * @param events {status(answer), news(text), signedOut(), away()}
   */
  constructor(parts, shown, events) {
    Object.assign(this, { parts, shown, events });
    this.ranking = null;
    this.newsUntil = 0;
    this.timer = 0;
    this.drawn = "";
    document.addEventListener("visibilitychange", () => document.hidden || this.soon());
  }

  /** Look now, and then ever again. */
  soon(milliseconds = 0) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(), milliseconds);
  }

  async look() {
    let wait = CALM_MS;
    if (this.shown() && !document.hidden) {
      try {
        const status = await getStatus();
        this.take(status);
        if (isWorking(status.job)) wait = BUSY_MS;
      } catch (error) {
        if (error instanceof SignedOut) this.events.signedOut();
        else this.events.away();
      }
    }
    this.soon(wait);
  }

  take(status) {
    const before = this.ranking;
    this.ranking = status.ranking;
    if (before !== null && status.ranking !== null && before !== status.ranking) {
      this.newsUntil = performance.now() + NEWS_MS;
      this.events.news(word("work.new"));
    }
    this.draw(status.job);
    this.events.status(status);
  }

  draw(job) {
    const { work, "work-text": text, "work-bar": line, "work-again": again } = this.parts;
    const [kind, said] = this.words(job);
    const progress = Math.round(100 * (job?.progress ?? 0));
    const drawn = `${kind} ${said} ${progress}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    work.hidden = kind === "none";
    work.dataset.kind = kind;
    text.textContent = text.title = said;
    line.hidden = kind !== "busy";
    again.hidden = kind !== "failed";
    if (kind === "busy") bar(line, progress, 100);
  }

  words(job) {
    if (job?.state === "failed") return ["failed", word("work.failed", { why: job.message })];
    if (performance.now() < this.newsUntil) return ["news", word("work.new")];
    if (job?.state === "running") return ["busy", word("work.busy", { p: Math.round(100 * job.progress) })];
    if (job?.state === "queued") return ["busy", word("work.queued")];
    return ["none", ""];
  }
}
