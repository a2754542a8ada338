// What this browser remembers for a person: the order of their answers, the mode they work in, their last page.

export class Memory {
  constructor(identity) {
    this.key = `labeler:memory:${identity.workspace}:${identity.user}:`;
  }

  keep(name, value) {
    try {
      localStorage.setItem(this.key + name, JSON.stringify(value));
    } catch {
      // Full or forbidden: after a reload the page then knows only what the server knows.
    }
  }

  read(name) {
    try {
      return JSON.parse(localStorage.getItem(this.key + name));
    } catch {
      return null;
    }
  }

  keepOrder(batch, history) {
    const ours = history.items.filter((item) => batch.bySha.has(item.sha256)).map((item) => item.sha256);
    this.keep("order", { round: batch.round, order: ours });
  }

  orderOf(round) {
    const kept = this.read("order");
    return kept?.round === round && Array.isArray(kept.order) ? kept.order : [];
  }
}
