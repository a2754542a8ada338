// Keys, mouse and fingers: what they ask for is handed on by name.

import { Keys } from "./keys.js";

const BOUNCE_MS = 80;

/**
 * @param root  the labelling page.
 * @param wants name -> whether the page has a use for it now (arrows belong to the browser otherwise).
 * @param run   (name, value) of what is asked for: value is a number, or the text of data-to.
 * @returns the keys, which learn those of the classes with each batch.
 */
export function listen(root, wants, run) {
  const keys = new Keys();
  const pressed = (event) => {
    if (!isShown(root) || document.querySelector("dialog[open]")) return;
    const wanted = keys.command(event);
    if (wanted === null || !wants(wanted.name)) return;
    event.preventDefault();
    event.stopPropagation();
    run(wanted.name, wanted.index);
  };
  document.addEventListener("keydown", pressed, { capture: true });
  document.addEventListener("keyup", (event) => keys.released(event), { capture: true });
  addEventListener("blur", () => keys.forget());
  document.addEventListener("visibilitychange", () => keys.forget());
  document.addEventListener("click", letGo, { capture: true });
  let last = { button: null, at: 0 };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    // A worn mouse button clicks twice, faster than a hand can.
    const bounced = event.detail > 1 && button === last.button && event.timeStamp - last.at < BOUNCE_MS;
    last = { button, at: event.timeStamp };
    if (!bounced) run(button.dataset.do, button.dataset.to ?? Number(button.dataset.index));
  });
  return keys;
}

/** Whether the page is on screen, and not another tab of the application. */
export function isShown(root) {
  return root.offsetParent !== null;
}

/** After a click the button lets go of the focus, or Enter would press it once more. */
function letGo(event) {
  if (event.detail > 0) event.target.closest?.("button, [role=tab]")?.blur();
}
