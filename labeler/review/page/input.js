// Keys, mouse and fingers: what they ask for is handed on by name.

import { command } from "./keys.js";

/**
 * @param root the labelling page.
 * @param view its drawing, for where the stage is and whether it is enlarged.
 * @param run  (name, index) of what is asked for.
 */
export function listen(root, view, run) {
  const { stage, frame } = view.parts;
  const labelling = () => root.dataset.state === "label";
  document.addEventListener("keydown", (event) => onKey(event, root, run), { capture: true });
  document.addEventListener("click", letGo, { capture: true });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (button) run(button.dataset.do, Number(button.dataset.index));
  });
  frame.addEventListener("click", (event) => labelling() && view.zoom(!view.zoomed, ...place(event, stage)));
  stage.addEventListener("pointermove", (event) => {
    if (view.zoomed && event.pointerType === "mouse") view.zoom(true, ...place(event, stage));
  });
}

/** Whether the page is on screen, and not another tab of the application. */
export function isShown(root) {
  return root.offsetParent !== null;
}

function onKey(event, root, run) {
  if (!isShown(root) || document.querySelector("dialog[open]")) return;
  const wanted = command(event);
  if (wanted === null) return;
  event.preventDefault();
  event.stopPropagation();
  run(wanted.name, wanted.index);
}

/** After a click the button lets go of the focus, or Enter would press it once more. */
function letGo(event) {
  if (event.detail > 0) event.target.closest?.("button, [role=tab]")?.blur();
}

/** Where on the stage, in fractions of its width and height. */
function place(event, stage) {
  const box = stage.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}
