// Pictures decoded before they are needed, so that showing the next one is one frame and no request.

const AHEAD = 8;
const KEPT = 24;
const LARGEST_SCALE = 4; // small photographs are not blown up further: they only get blurry

export function address(item, size) {
  return `/image/${item.image_id}?size=${size}&v=${item.sha256}`;
}

export class Images {
  constructor() {
    this.pictures = new Map(); // image_id -> <img>, oldest use first
  }

  /**
   * The picture. Its dataset.state is "coming"; "ready" once it is decoded; "gone" when the server has no such picture
   * to give; "away" when it could not be fetched this time.
   */
  get(item) {
    let picture = this.pictures.get(item.image_id);
    if (["gone", "away"].includes(picture?.dataset.state)) picture = undefined;
    picture ??= load(item);
    this.pictures.delete(item.image_id);
    this.pictures.set(item.image_id, picture);
    return picture;
  }

  /** Fetch and decode the pictures that are likely to come next. */
  prepare(items) {
    for (const item of items.slice(0, AHEAD)) this.get(item);
    while (this.pictures.size > KEPT) this.pictures.delete(this.pictures.keys().next().value);
  }

  clear() {
    this.pictures.clear();
  }
}

function load(item) {
  const picture = new Image();
  picture.dataset.state = "coming";
  picture.dataset.image = item.image_id;
  picture.decoding = "async";
  picture.draggable = false;
  picture.src = address(item, "full");
  picture.ready = picture.decode().then(
    () => {
      picture.dataset.state = "ready";
      picture.style.maxWidth = `${picture.naturalWidth * LARGEST_SCALE}px`;
      picture.style.maxHeight = `${picture.naturalHeight * LARGEST_SCALE}px`;
      return true;
    },
    async () => {
      // An <img> does not tell a missing picture from a missing server.
      const status = await fetch(picture.src).then((answer) => answer.status, () => 0);
      picture.dataset.state = status >= 400 && status < 500 ? "gone" : "away";
      return false;
    },
  );
  return picture;
}
