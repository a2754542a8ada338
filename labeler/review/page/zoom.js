// Looking closer: a part of the stage enlarged, moved with the mouse, a finger, the arrow keys, the wheel or two fingers.

const CLOSER = 2.5;
const MOST = 8;
const STEP = 0.15; // of the stage, for an arrow key
const SLIP = 6; // pixels a hand may tremble during a click

export class Zoom {
  /** @param parts {stage, frame, zoom} of the page; @param labelling () -> whether a picture is there to look at. */
  constructor(parts, labelling) {
    this.parts = parts;
    this.labelling = labelling;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.fingers = new Map(); // pointerId -> {x, y}
    this.dragged = false;
    const { stage, frame } = parts;
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.up(event));
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    frame.addEventListener("click", (event) => {
      if (this.labelling() && !this.dragged) this.toggle(event);
    });
  }

  get on() {
    return this.scale > 1;
  }

  /** Closer around the place of an event, or the middle; or back to the whole picture. */
  toggle(event = null) {
    if (this.on) this.reset();
    else this.to(CLOSER, event);
  }

  reset() {
    if (this.on) this.set(1, 0, 0);
  }

  /** To a scale, with what is under the pointer staying there. */
  to(scale, event = null) {
    const box = this.parts.frame.parentElement.getBoundingClientRect();
    const inset = this.parts.frame.offsetLeft;
    const px = event ? event.clientX - box.left - inset : this.parts.frame.offsetWidth / 2;
    const py = event ? event.clientY - box.top - inset : this.parts.frame.offsetHeight / 2;
    const wanted = Math.min(MOST, Math.max(1, scale));
    const grown = wanted / this.scale;
    this.set(wanted, px - (px - this.x) * grown, py - (py - this.y) * grown);
  }

  /** Move by fractions of the stage: positive looks further right and down. */
  pan(right, down) {
    const { frame } = this.parts;
    this.set(this.scale, this.x - right * STEP * frame.offsetWidth, this.y - down * STEP * frame.offsetHeight);
  }

  set(scale, x, y) {
    const { stage, frame, zoom } = this.parts;
    const room = (size) => size * (1 - scale);
    this.scale = scale;
    this.x = Math.min(0, Math.max(room(frame.offsetWidth), x));
    this.y = Math.min(0, Math.max(room(frame.offsetHeight), y));
    frame.style.transform = this.on ? `translate(${this.x}px, ${this.y}px) scale(${scale})` : "";
    stage.dataset.zoomed = String(this.on);
    zoom.setAttribute("aria-pressed", String(this.on));
  }

  // ----------------------------------------------------------------------------------------------------- fingers

  down(event) {
    if (event.target.closest("button")) return;
    if (this.fingers.size === 0) this.dragged = false;
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY, from: [event.clientX, event.clientY] });
  }

  move(event) {
    const finger = this.fingers.get(event.pointerId);
    if (!finger || !this.labelling()) return;
    const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
    if (Math.hypot(event.clientX - finger.from[0], event.clientY - finger.from[1]) > SLIP) this.dragged = true;
    const apart = this.apart();
    finger.x = event.clientX;
    finger.y = event.clientY;
    if (this.fingers.size === 2) {
      this.dragged = true;
      if (apart > 0) this.to((this.scale * this.apart()) / apart, this.middle());
    } else if (this.on && this.dragged) {
      this.parts.stage.setPointerCapture(event.pointerId);
      this.set(this.scale, this.x + dx, this.y + dy);
    }
  }

  up(event) {
    this.fingers.delete(event.pointerId);
  }

  wheel(event) {
    if (!this.labelling() || (!event.ctrlKey && !this.on && event.deltaY > 0)) return; // the page's own scrolling
    event.preventDefault();
    this.to(this.scale * Math.exp(-event.deltaY / 400), event);
  }

  apart() {
    if (this.fingers.size !== 2) return 0;
    const [a, b] = this.fingers.values();
    return Math.hypot(a.x - b.x, a.y - b.y);
  }

  middle() {
    const [a, b] = this.fingers.values();
    return { clientX: (a.x + b.x) / 2, clientY: (a.y + b.y) / 2 };
  }
}
