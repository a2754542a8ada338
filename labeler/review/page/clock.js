// How long a person looked, and how fast they go. Time with the tab hidden does not count.

const RECENT = 48;
const LONGEST_GAP_MS = 30000;

export class Clock {
  constructor() {
    this.seen = 0; // milliseconds on screen before `since`
    this.since = performance.now();
    this.gaps = [];
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.go()));
  }

  /** A new picture is on the stage. */
  restart() {
    this.seen = 0;
    this.since = document.hidden ? null : performance.now();
  }

  /** Milliseconds the picture has been on screen. */
  elapsed() {
    return Math.round(this.seen + (this.since === null ? 0 : performance.now() - this.since));
  }

  /** So many decisions were made in that time. */
  tick(elapsed, count = 1) {
    for (let i = 0; i < count; i++) this.gaps.push(Math.min(elapsed / count, LONGEST_GAP_MS));
    while (this.gaps.length > RECENT) this.gaps.shift();
  }

  /** Decisions a minute of late, or null while there are too few to tell. */
  get rate() {
    const total = this.gaps.reduce((sum, gap) => sum + gap, 0);
    return this.gaps.length < 3 || total === 0 ? null : Math.round((60000 * this.gaps.length) / total);
  }

  stop() {
    if (this.since !== null) this.seen += performance.now() - this.since;
    this.since = null;
  }

  go() {
    this.since ??= performance.now();
  }
}
