// Drawing a page of the grid. Tiles are built and their pictures fetched before the page is shown.

import { address, watch } from "./images.js";
import { colour, make, percent, shape, sign } from "./parts.js";
import { word } from "./words.js";

const GAP = 8; // pixels between tiles, as in grid.css
const AGAIN_MS = 2000; // until a picture that could not be fetched is asked for again
const ROOM = 8; // pixels of padding around them, for the cursor
const LEAST = 76; // pixels: smaller tiles scroll instead
const MANY = 3; // classes: more of them are not counted one by one on the button

export class GridView {
  constructor(parts) {
    this.parts = parts;
    this.drawn = null;
    this.chips = []; // a button for each class, where there are more than two
    new ResizeObserver(() => this.fit()).observe(parts.tiles);
  }

  /** The tiles of a sheet, ready to be shown. */
  prepare(sheet) {
    if (sheet.drawing) return sheet.drawing;
    const list = make("ol", "lb-tile-list");
    const tiles = sheet.items.map((item) => tile(item));
    list.append(...tiles.map((one) => one.row));
    sheet.drawing = { list, tiles };
    for (const item of sheet.items) this.drawTile(sheet, item);
    // Decoded ahead, so that the page is there in one frame.
    tiles.forEach(({ picture }, index) => void this.arrive(sheet, sheet.items[index], picture));
    return sheet.drawing;
  }

  /** What cannot be shown cannot be labelled: it is set aside as unsure. */
  async arrive(sheet, item, picture) {
    item.seen = await watch(picture);
    if (item.seen) return;
    if (picture.dataset.state === "gone") {
      item.gone = item.seen = true;
      sheet.doubt(item);
      this.drawTile(sheet, item);
      if (sheet === this.drawn) this.drawHead(sheet);
    } else {
      setTimeout(() => {
        picture.src = address(item, "grid");
        void this.arrive(sheet, item, picture);
      }, AGAIN_MS);
    }
  }

  /** @param keys of each class. */
  show(sheet, keys) {
    const { list } = this.prepare(sheet);
    this.drawn = sheet;
    this.offer(sheet.classes, keys);
    this.parts.tiles.replaceChildren(list);
    this.fit();
    this.drawHead(sheet);
    this.move(sheet, sheet.at);
  }

  /** Of two classes a press on an image says the other one; of more, the class of the image under the cursor is chosen. */
  offer(classes, keys) {
    const names = classes.join("\n");
    if (names === this.names) return;
    this.names = names;
    this.chips = classes.length > 2 ? classes.map((name, index) => chip(name, index, keys[index])) : [];
    const { "grid-classes": place } = this.parts;
    place.hidden = this.chips.length === 0;
    place.replaceChildren(...this.chips);
  }

  drawHead(sheet) {
    const { "grid-title": title, "grid-go": go, "grid-how": how } = this.parts;
    title.textContent = sheet.alike ? word("grid.alike", { label: sheet.alike }) : word("grid.mixed");
    const marked = sheet.items.filter((item) => item.choice !== null);
    const counts = sheet.counts.map(({ label, n }) =>
      label === null ? word("grid.unsure", { n }) : word("grid.as", { n, label }),
    );
    const { labelled } = sheet;
    const few = sheet.counts.length <= MANY + 1;
    const most = [word("grid.images", { n: labelled }), ...(labelled < sheet.k ? counts.slice(-1) : [])];
    go.textContent = word("grid.confirm", { what: (few ? counts : most).join(", ") });
    const groups = new Map();
    for (const { choice } of marked) groups.set(choice, (groups.get(choice) ?? 0) + 1);
    const said = [...groups].map(([label, n]) =>
      label === "skip" ? word("grid.unsure", { n }) : word("grid.markedAs", { n, label }),
    );
    how.textContent = said.length ? said.join(", ") : word("grid.how");
  }

  drawTile(sheet, item) {
    const { button, mark, name } = sheet.drawing.tiles[item.number - 1];
    const label = sheet.labelOf(item);
    const kind = label === null ? "skip" : colour(sheet.classes.indexOf(label));
    const share = sheet.confidence(item);
    const marked = item.choice !== null;
    button.dataset.class = mark.dataset.class = kind;
    button.dataset.marked = String(marked);
    button.dataset.flagged = String(item.flagged);
    button.setAttribute("aria-pressed", String(marked));
    name.textContent = item.gone ? word("grid.gone") : marked ? (label ?? word("answers.skip")) : sheet.alike ? "" : item.predicted;
    const text = label === null ? "grid.tileUnsure" : marked ? "grid.tileMarked" : "grid.tile";
    let said = word(text, { n: item.number, label: label ?? "" });
    if (item.flagged) said += word("strip.flagged");
    button.setAttribute("aria-label", said);
    button.title = share === null ? "" : `${item.predicted} ${percent(share)}`;
  }

  /** Put the cursor on an image; `seen` also draws it, once somebody uses the keyboard. */
  move(sheet, at, seen = false) {
    const { tiles } = sheet.drawing;
    const focused = tiles.some(({ button }) => button === document.activeElement);
    tiles[sheet.at].button.tabIndex = -1;
    tiles[sheet.at].button.removeAttribute("data-cursor");
    sheet.at = at;
    const { button } = tiles[at];
    button.tabIndex = 0;
    const label = sheet.labelOf(sheet.current);
    this.chips.forEach((one, index) => one.setAttribute("aria-pressed", String(sheet.classes[index] === label)));
    if (seen || this.chips.length > 0) {
      button.dataset.cursor = "true";
      if (focused) button.focus({ preventScroll: true });
      button.scrollIntoView({ block: "nearest" });
    }
  }

  get columns() {
    return this.fitted?.columns ?? 1;
  }

  /** The largest squares that fill the room there is. */
  fit() {
    if (!this.drawn) return;
    const { tiles } = this.parts;
    const { list } = this.drawn.drawing;
    const [width, height, n] = [tiles.clientWidth - ROOM, tiles.clientHeight - ROOM, this.drawn.k];
    if (width <= 0) return;
    let best = { columns: 1, side: 0 };
    for (let columns = 1; columns <= n; columns++) {
      const rows = Math.ceil(n / columns);
      const side = Math.min((width - GAP * (columns - 1)) / columns, (height - GAP * (rows - 1)) / rows);
      if (side > best.side) best = { columns, side };
    }
    if (best.side < LEAST) {
      const columns = Math.max(1, Math.floor((width + GAP) / (LEAST + GAP)));
      best = { columns, side: (width - GAP * (columns - 1)) / columns };
    }
    this.fitted = best;
    list.style.setProperty("--lb-columns", String(best.columns));
    list.style.setProperty("--lb-side", `${Math.floor(best.side)}px`);
  }
}

function chip(name, index, keys) {
  const button = make("button", "lb-chip");
  button.type = "button";
  button.dataset.do = "choose";
  button.dataset.index = index;
  button.append(shape(colour(index)), make("span", "lb-name", name));
  sign(button, [keys.find(Boolean) ?? ""]);
  return button;
}

function tile(item) {
  const row = make("li");
  const button = make("button", "lb-tile");
  button.type = "button";
  button.tabIndex = -1;
  button.dataset.do = "mark";
  button.dataset.index = item.number - 1;
  const picture = make("img");
  picture.alt = "";
  picture.decoding = "async";
  picture.draggable = false;
  picture.src = address(item, "grid");
  const badge = make("span", "lb-mark-badge");
  badge.setAttribute("aria-hidden", "true");
  const mark = shape("");
  const name = make("span", "lb-mark-name");
  badge.append(mark, name);
  button.append(picture, badge);
  row.append(button);
  return { row, button, picture, mark, name };
}
