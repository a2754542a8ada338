// What to say while there is nothing to label. Pure: from what is known to the words and buttons of the panel.

import { word } from "./words.js";

export function isWorking(job) {
  return Boolean(job) && (job.state === "queued" || job.state === "running");
}

/** While the first answer of the server is awaited. */
export const opening = () => ({ title: word("wait.loading") });

/** While the server cannot be reached and nothing is known yet. */
export const unreachable = () => ({ mark: "bad", title: word("wait.offline"), text: word("wait.offlineHint") });

/** While the server does not know who asks. */
export const signedOut = () => ({
  mark: "empty",
  title: word("wait.signedOut"),
  text: word("wait.signedOutHint"),
  link: word("saved.signIn"),
});

/**
 * @param view   the server's last answer.
 * @param batch  the batch or page this browser worked on last, or null.
 * @param saving whether answers of that batch are still on their way.
 * @param undo   whether there is something to take back.
 */
export function panelFor(view, batch, saving, undo) {
  const { job, mode } = view;
  if (saving) return { ...done(view, batch), text: word("wait.saving"), undo: true };
  if (view.wait === "model") return model(view, batch, undo);
  if (mode === "mistakes") return { mark: "done", title: word("wait.checked"), text: word("wait.checkedHint"), undo };
  if (mode === "disputed") return { mark: "done", title: word("wait.agreed"), text: word("wait.agreedHint"), undo };
  if (mode === "sorted") return { mark: "done", title: word("wait.sorted"), text: word("wait.sortedHint"), undo };
  if (job?.state === "failed") {
    const text = `${job.message} ${word("wait.failedHint")}`;
    return { mark: "bad", title: word("wait.failed"), text, again: word("wait.again") };
  }
  if (isWorking(job) || (view.round ?? null) !== null) {
    const text = job?.message || word("wait.training");
    return { ...done(view, batch), text, progress: job?.progress ?? 0, undo };
  }
  if (mode === "grid" && view.pool > 0) return { mark: "empty", title: word("grid.noneTitle"), text: word("grid.none"), undo };
  if (view.pool > 0) {
    return { mark: "empty", title: word("wait.nothing"), text: job?.message || "", again: word("wait.again"), undo };
  }
  return { ...empty(view), undo };
}

function model(view, batch, undo) {
  const { facts = [] } = batch?.complete ? done(view, batch) : {};
  return { title: word("wait.model"), facts, text: word("wait.modelHint"), progress: view.job?.progress ?? 0, now: true, undo };
}

function done(view, batch) {
  if (!batch?.complete) return { title: word(view.labelled > 0 ? "wait.next" : "wait.first") };
  const skipped = batch.k - batch.labelled;
  const facts = [word("wait.labelled", { n: batch.labelled })];
  if (skipped > 0) facts.push(word("wait.skipped", { n: skipped }));
  const title = batch.round === null ? word("wait.next") : word("wait.done", { n: batch.round });
  return { mark: "done", title, facts };
}

function empty(view) {
  const common = { command: word("empty.command"), again: word("empty.look") };
  if (view.labelled === 0) {
    return { ...common, mark: "empty", title: word("empty.none"), text: word("empty.noneHint") };
  }
  const facts = [word("empty.doneHint", { n: view.labelled })];
  return { ...common, mark: "done", title: word("empty.done"), facts, text: word("empty.doneMore") };
}
