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

  /** Have the pictures of a batch to come in the browser's own cache. */
  fetch(items) {
    for (const item of items.slice(0, AHEAD)) void fetch(address(item, "full")).catch(() => {});
  }

  clear() {
    this.pictures.clear();
  }
}

function load(item) {
  const picture = new Image();
  picture.dataset.image = item.image_id;
  picture.decoding = "async";
  picture.draggable = false;
  picture.src = address(item, "full");
  picture.ready = watch(picture).then((ready) => {
    if (!ready) return false;
    picture.style.maxWidth = `${picture.naturalWidth * LARGEST_SCALE}px`;
    picture.style.maxHeight = `${picture.naturalHeight * LARGEST_SCALE}px`;
    return true;
  });
  return picture;
}

/** Keep picture.dataset.state; resolves with whether it is there, decoded. */
export function watch(picture) {
  picture.dataset.state = "coming";
  return picture.decode().then(
    () => {
      picture.dataset.state = "ready";
      return true;
    },
    async () => {
      // An <img> does not tell a missing picture from a missing server.
      const status = await fetch(picture.src).then((answer) => answer.status, () => 0);
      // Signed out, or asked too often, says nothing about the picture.
      picture.dataset.state = status >= 400 && status < 500 && ![401, 408, 429].includes(status) ? "gone" : "away";
      return false;
    },
  );
}
