// Whose answers these are: the outbox of this person and workspace, what they answered last, what this browser knows.

import { aboutOf, History } from "./history.js";
import { Memory } from "./memory.js";
import { newId, outboxOf } from "./outbox.js";
import { postDecisions } from "./server.js";

export class Session {
  /** @param listener of the outbox, see there. */
  constructor(listener) {
    this.listener = listener;
    this.identity = null;
    this.memory = null;
    this.outbox = null;
    this.history = new History();
  }

  /** Take note of who the server says this is; false when it is somebody else than before, or another workspace. */
  identify({ user, workspace }) {
    this.identity ??= { user, workspace };
    if (user !== this.identity.user || workspace !== this.identity.workspace) {
      this.outbox.stopped = true;
      return false;
    }
    this.memory ??= new Memory(this.identity);
    if (!this.outbox) {
      this.outbox = outboxOf(`labeler:outbox:${workspace}:${user}:`, (...what) => postDecisions(this.identity, ...what));
      this.outbox.listen(this.listener);
    }
    this.outbox.hurry();
    return true;
  }

  /**
   * Keep operations and send them. Each entry is {item, op}, op without its id.
   * @param made called with each whole operation before it is sent.
   */
  send(entries, made = () => {}) {
    const kept = entries.map(({ item, op }) => {
      const whole = { op_id: newId(), sha256: item.sha256, ...op };
      made(whole);
      if (op.action === "undo") this.history.drop(item.sha256);
      else if (op.action !== "flag") this.history.push(item);
      return { round: item.round, op: whole, about: aboutOf(item) };
    });
    this.outbox.push(...kept);
  }

  /** What was answered before this page was opened; once, for what this page sends it knows itself. */
  remember(view) {
    if (this.history.items.length > 0) return;
    const order = this.memory.orderOf(view.round);
    const rank = new Map(order.map((sha, index) => [sha, index]));
    const answered = view.items.filter((item) => item.action && item.action !== "undo" && view.round !== null);
    answered.sort((a, b) => (rank.get(a.sha256) ?? -1) - (rank.get(b.sha256) ?? -1));
    this.history.load(view.history ?? [], answered, this.outbox.kept);
  }
}
