// Answering with a thumb: right, left and up across the image. What a swipe would say is shown while it is under way.

import { colour, shape } from "./parts.js";
import { word } from "./words.js";

const START = 12; // pixels before a touch is more than a tap
const FAR = 0.28; // of the stage: from here on letting go answers
const FAR_UP = 0.2;

export class Swipe {
  /**
   * @param parts   {stage, frame, swipe} of the page.
   * @param zoom    while the picture is enlarged a finger moves it instead.
   * @param offers  () -> {right, left, up}: each {label} or {skip: true} or null; null when nothing can be answered.
   * @param answer  ({label} or {skip}) of the swipe.
   */
  constructor(parts, zoom, offers, answer) {
    Object.assign(this, { parts, zoom, offers, answer });
    this.touch = null;
    const { stage } = parts;
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    stage.addEventListener("pointerup", (event) => this.up(event));
    // The browser took the touch for scrolling, or the system for itself: nothing was meant for us.
    stage.addEventListener("pointercancel", () => this.end());
  }

  down(event) {
    if (event.pointerType === "mouse" || event.target.closest("button")) return;
    if (this.touch || this.zoom.on) return this.end();
    const offers = this.offers();
    if (offers) this.touch = { id: event.pointerId, x: event.clientX, y: event.clientY, offers, way: null, far: false };
  }

  move(event) {
    const { touch } = this;
    if (!touch || event.pointerId !== touch.id) return;
    if (this.zoom.on || this.zoom.fingers.size > 1) return this.end();
    const [dx, dy] = [event.clientX - touch.x, event.clientY - touch.y];
    if (Math.hypot(dx, dy) < START && !touch.way) return;
    const { stage, frame, swipe } = this.parts;
    const way = Math.abs(dx) > Math.abs(dy) ? (dx > 0 ? "right" : "left") : dy < 0 ? "up" : "down";
    const share = way === "up" ? -dy / stage.offsetHeight : Math.abs(dx) / stage.offsetWidth;
    touch.far = Boolean(touch.offers[way]) && share > (way === "up" ? FAR_UP : FAR);
    if (way !== touch.way) this.offer(way, touch.offers[way] ?? null);
    touch.way = way;
    swipe.dataset.far = String(touch.far);
    frame.style.transform = way === "up" || way === "down" ? `translateY(${Math.min(0, dy)}px)` : `translateX(${dx}px)`;
  }

  /** Say what letting go in that direction would answer. */
  offer(way, offered) {
    const { swipe } = this.parts;
    const { classes } = this.touch.offers;
    swipe.hidden = way === "down";
    swipe.dataset.way = way;
    const text = offered === null ? word("swipe.nothing") : (offered.label ?? word("answers.skip"));
    const kind = offered === null ? "" : offered.label ? colour(classes.indexOf(offered.label)) : "skip";
    swipe.dataset.class = kind;
    swipe.replaceChildren(shape(kind), text);
  }

  up(event) {
    const { touch } = this;
    if (!touch || event.pointerId !== touch.id) return;
    const offered = touch.far ? touch.offers[touch.way] : null;
    this.end();
    if (offered) this.answer(offered);
  }

  end() {
    if (this.touch?.way && !this.zoom.on) this.parts.frame.style.transform = "";
    this.touch = null;
    this.parts.swipe.hidden = true;
    this.parts.swipe.dataset.far = "false";
  }
}
