// The order in which a round's images were answered, so that undo after a reload still takes back the last one.

export class Memory {
  constructor(identity) {
    this.key = `labeler:order:${identity.workspace}:${identity.user}`;
  }

  keep(batch) {
    try {
      localStorage.setItem(this.key, JSON.stringify({ round: batch.round, order: batch.order }));
    } catch {
      // Without it undo after a reload goes by the order of the strip.
    }
  }

  orderOf(round) {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key));
      return kept?.round === round && Array.isArray(kept.order) ? kept.order : [];
    } catch {
      return [];
    }
  }
}
