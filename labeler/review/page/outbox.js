// Answers on their way to the server. One entry of localStorage each, written before anything is sent and removed
// only when the server says that it has it on record: so a reload, a crash of the browser or of the server, and a
// day without a network lose nothing. The server stores each op_id once, so sending again does no harm.

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 8000;
const AT_ONCE = 50;
const PAINT_MS = 60;

export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID exists on https and localhost only
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const outboxes = new Map();

/** The one outbox of a workspace and person in this window, however many tabs of the page use it. */
export function outboxOf(prefix, post) {
  if (!outboxes.has(prefix)) outboxes.set(prefix, new Outbox(prefix, post));
  return outboxes.get(prefix);
}

export class Outbox {
  /**
   * @param prefix  names the workspace and the person: another one's entries are never sent for this one.
   * @param post    async (round, ops) -> {status, acks}; throws when there is no answer.
   */
  constructor(prefix, post) {
    this.prefix = prefix;
    this.post = post;
    this.listeners = [];
    this.memory = new Map(); // entries that localStorage would not take
    this.scheduled = false;
    this.sending = false;
    this.failing = false;
    this.signedOut = false;
    this.stopped = false;
    this.pause = FIRST_PAUSE_MS;
    this.size = AT_ONCE;
    this.timer = 0;
    this.sequence = 0;
    this.kept = this.read();
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    addEventListener("storage", (event) => {
      if (event.key === null || event.key.startsWith(this.prefix)) this.reread();
    });
  }

  /** @param listener {changed(), acknowledged(op, ack), refused(op, why), stranger()} */
  listen(listener) {
    this.listeners.push(listener);
  }

  tell(what, ...about) {
    for (const listener of this.listeners) listener[what](...about);
  }

  get pending() {
    return this.kept.length;
  }

  get onlyInMemory() {
    return this.memory.size > 0;
  }

  /** sha256 of the images with an operation that is not on record yet. */
  get unsent() {
    return new Set(this.kept.map((entry) => entry.op.sha256));
  }

  /** @param entries {round, op, about}: `about` is what a reload has to know of the image to undo this. */
  push(...entries) {
    const when = Date.now().toString().padStart(15, "0");
    for (const entry of entries) {
      const key = `${this.prefix}${when}-${(this.sequence++).toString().padStart(6, "0")}:${entry.op.op_id}`;
      try {
        localStorage.setItem(key, JSON.stringify(entry));
      } catch {
        this.memory.set(key, entry); // full or forbidden: at least this tab keeps it
      }
      this.kept.push({ key, ...entry, since: performance.now() });
    }
    this.tell("changed");
    this.afterPaint();
  }

  /** Kept it is already; sending it may wait until the next image is on the screen. A hidden window paints nothing. */
  afterPaint() {
    if (this.scheduled) return;
    this.scheduled = true;
    const send = () => {
      if (!this.scheduled) return;
      this.scheduled = false;
      this.hurry();
    };
    requestAnimationFrame(() => setTimeout(send));
    setTimeout(send, PAINT_MS);
  }

  /** Send now, without waiting for the end of a pause. */
  hurry() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (!this.failing) this.pause = FIRST_PAUSE_MS;
    void this.flush();
  }

  async flush() {
    if (this.sending || this.stopped || this.kept.length === 0) return;
    this.sending = true;
    const first = this.kept[0];
    const other = this.kept.findIndex((entry) => entry.round !== first.round);
    const entries = this.kept.slice(0, Math.min(this.size, other < 0 ? this.kept.length : other));
    let wait = null;
    try {
      wait = this.take(entries, await this.post(first.round, entries.map((entry) => entry.op)));
    } catch {
      wait = this.failed();
    }
    this.sending = false;
    this.tell("changed");
    if (wait === null) void this.flush();
    else if (wait !== Infinity) this.timer = setTimeout(() => void this.flush(), wait);
  }

  /** Act on an answer; returns the milliseconds to wait before the next try, null for none. */
  take(entries, { status, acks }) {
    this.signedOut = status === 401; // kept; the next try after signing in again, here or in another tab, sends them
    if (status === 200) return this.acknowledge(entries, acks);
    if (status === 409) {
      this.stopped = true;
      this.tell("stranger");
      return Infinity;
    }
    if (![400, 413, 422].includes(status)) return this.failed();
    if (entries.length > 1) {
      this.size = 1; // one of them is at fault: find out which
      return null;
    }
    this.drop(entries[0]);
    this.tell("refused", entries[0].op, `${status}`);
    return null;
  }

  acknowledge(entries, acks) {
    const answers = new Map(acks.map((ack) => [ack.op_id, ack]));
    let again = false;
    for (const entry of entries) {
      const ack = answers.get(entry.op.op_id);
      if (ack === undefined || (ack.error && !ack.final)) {
        again = true;
        continue;
      }
      this.drop(entry);
      if (ack.error) this.tell("refused", entry.op, ack.error);
      else this.tell("acknowledged", entry.op, ack);
    }
    if (again) return this.failed();
    this.failing = false;
    this.pause = FIRST_PAUSE_MS;
    this.size = AT_ONCE;
    return null;
  }

  failed() {
    this.failing = true;
    const wait = this.pause * (0.75 + Math.random() / 2); // not all browsers at the same moment
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
    return wait;
  }

  drop(entry) {
    this.memory.delete(entry.key);
    try {
      localStorage.removeItem(entry.key);
    } catch {
      // Storage that cannot be written held nothing of ours.
    }
    this.kept = this.kept.filter((other) => other.key !== entry.key);
  }

  /** Another tab added or sent some. */
  reread() {
    const before = new Map(this.kept.map((entry) => [entry.key, entry.since]));
    this.kept = this.read();
    for (const entry of this.kept) entry.since = before.get(entry.key) ?? entry.since;
    if (this.kept.length === 0) this.failing = this.signedOut = false; // the other tab got through
    this.tell("changed");
  }

  read() {
    const found = [...this.memory].map(([key, entry]) => ({ key, ...entry }));
    try {
      for (let i = 0; i < localStorage.length; i++) {
        const key = localStorage.key(i);
        if (key.startsWith(this.prefix)) found.push({ key, ...parsed(localStorage.getItem(key)) });
      }
    } catch {
      // No storage: what is in memory is all there is.
    }
    const whole = found.filter((entry) => entry.op?.op_id);
    return whole.sort((a, b) => (a.key < b.key ? -1 : 1)).map((entry) => ({ ...entry, since: performance.now() }));
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
