"""Augmented views of training images: an affine transform and a shift of the colours, label-preserving by default.

Rotation, shifts, shear, zoom and mirroring are composed to one matrix and the picture is sampled once, bilinearly, so
that a view is blurred no more by five changes than by one. What lies beyond the picture repeats its edge, as the
tutorials' generators do. A view depends on the seed, on the image and on its own number, never on the batch or order
in which it is made.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labeler.domain import SettingError

if TYPE_CHECKING:
    from PIL.Image import Image

    from labeler.settings import Settings

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Rows = NDArray[np.int64]

# Beyond these there is hardly a picture left to see, and the margin around it would fill the memory.
LIMITS = {"rotation": 180.0, "shift_x": 1.0, "shift_y": 1.0, "shear": 60.0, "zoom": 1.0, "channel": 255.0}
_DRAWS = 10


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The greatest change of each kind; a view draws evenly between it and its opposite.

    Attributes:
        rotation: degrees.
        shift_x, shift_y: shares of the side.
        flip: ``none``, ``horizontal``, ``vertical`` or ``both``; each with a chance of one half.
        shear: degrees.
        zoom: 0.1 draws the picture between 1.1 times larger and 1.1 times smaller.
        channel: levels of 256 added to each colour channel by itself.
    """

    rotation: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    flip: str = "none"
    shear: float = 0.0
    zoom: float = 0.0
    channel: float = 0.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Augmentation:
        """The workspace's settings ``augment_*``.

        Raises:
            SettingError: a change is greater than a picture bears (:data:`LIMITS`).
        """
        for name, limit in LIMITS.items():
            value = getattr(settings, f"augment_{name}")
            if value > limit:
                raise SettingError(f"augment_{name} = {value:g} is too large", f"give at most {limit:g}")
        return cls(
            rotation=settings.augment_rotation,
            shift_x=settings.augment_shift_x,
            shift_y=settings.augment_shift_y,
            flip=settings.augment_flip,
            shear=settings.augment_shear,
            zoom=settings.augment_zoom,
            channel=settings.augment_channel,
        )

    @property
    def changes_nothing(self) -> bool:
        """Whether every view is the image itself."""
        return self == Augmentation()

    def __str__(self) -> str:
        changes = [
            (self.rotation, f"rotation ±{self.rotation:g}°"),
            (self.shift_x, f"shift ±{self.shift_x:.0%} across"),
            (self.shift_y, f"shift ±{self.shift_y:.0%} up and down"),
            (self.flip != "none", f"flip {self.flip}"),
            (self.shear, f"shear ±{self.shear:g}°"),
            (self.zoom, f"zoom ±{self.zoom:.0%}"),
            (self.channel, f"colour ±{self.channel:g}"),
        ]
        return ", ".join(text for wanted, text in changes if wanted) or "no augmentation"


@dataclass(frozen=True, slots=True, eq=False)
class AugmentedImages:
    """Squares in memory as a source of training batches: epoch e shows view e of every image.

    Attributes:
        images: uint8 (n, S, S, 3).
        shas: what tells the images apart, their SHA-256 where there is one.
        augmentation, seed: see :func:`augmented`.
    """

    images: Pixels
    shas: Sequence[str]
    augmentation: Augmentation
    seed: int

    def __len__(self) -> int:
        return len(self.images)

    def train(self, rows: Rows, epoch: int) -> Pixels:
        # One thread: this already runs beside the training, which keeps the other cores busy.
        return augmented(
            self.images[rows], [self.shas[row] for row in rows], self.augmentation, self.seed, epoch, threads=1
        )

    def plain(self, rows: Rows) -> Pixels:
        return self.images[rows]


def augmented(
    images: Pixels, shas: Sequence[str], augmentation: Augmentation, seed: int, view: int, *, threads: int = 1
) -> Pixels:
    """One view of each image.

    Args:
        images: uint8 (N, S, S, 3), not modified.
        shas: N texts that tell the images apart: the SHA-256 of each, or its place in a list.
        augmentation: what may change.
        seed, view: another number is another view.
        threads: how many work at once.

    Returns:
        uint8 (N, S, S, 3), a new array; equal to ``images`` where nothing may change.
    """
    out = images.copy()
    if augmentation.changes_nothing:
        return out

    def work(row: int) -> None:
        draws = _draws(seed, shas[row], view)
        view_of = _warped(images[row], _matrix(augmentation, draws, images.shape[1]))
        out[row] = np.asarray(_coloured(view_of, augmentation, draws))

    if threads == 1 or len(images) < 2:
        for row in range(len(images)):
            work(row)
        return out
    with ThreadPoolExecutor(threads, "augment") as executor:
        list(executor.map(work, range(len(images))))
    return out


def _draws(seed: int, sha: str, view: int) -> Matrix:
    """Ten numbers in [-1, 1). Always all ten: a setting must not change what another one draws."""
    key = hashlib.sha256(f"{seed}/{sha}/{view}".encode()).digest()
    return np.random.default_rng(np.frombuffer(key, np.uint32)).uniform(-1.0, 1.0, _DRAWS)


def _matrix(augmentation: Augmentation, draws: Matrix, size: int) -> Matrix:
    """Where a pixel of the view comes from: (2, 3), view to image, in pixels with the origin in the corner."""
    angle = math.radians(augmentation.rotation) * draws[0]
    slant = math.tan(math.radians(augmentation.shear) * draws[1])
    scale = (1.0 + augmentation.zoom) ** draws[2]  # as often larger as smaller
    mirror_x = -1.0 if augmentation.flip in ("horizontal", "both") and draws[3] < 0 else 1.0
    mirror_y = -1.0 if augmentation.flip in ("vertical", "both") and draws[4] < 0 else 1.0
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shear = np.array([[1.0, slant], [0.0, 1.0]])
    turned = rotation @ shear @ np.diag([mirror_x, mirror_y]) / scale
    middle = np.array([size / 2, size / 2])
    shift = size * np.array([augmentation.shift_x * draws[5], augmentation.shift_y * draws[6]])
    return np.column_stack([turned, middle - turned @ (middle + shift)])


def _warped(image: Pixels, matrix: Matrix) -> Image:
    from PIL import Image

    size = len(image)
    if np.array_equal(matrix, np.eye(2, 3)):
        return Image.fromarray(image)
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], np.float64)
    margin = max(0, math.ceil(max(-corners.min(), corners.max() - size)))
    inside = matrix.copy()
    inside[:, 2] += margin
    padded = Image.fromarray(_with_margin(image, margin))
    # Pillow maps the centres of pixels, as the matrix does.
    return padded.transform((size, size), Image.Transform.AFFINE, inside.ravel().tolist(), Image.Resampling.BILINEAR)


def _with_margin(image: Pixels, margin: int) -> Pixels:
    """The edge repeated on all sides; numpy.pad takes twice as long."""
    if margin == 0:
        return image
    size = len(image)
    out = np.empty((size + 2 * margin, size + 2 * margin, 3), np.uint8)
    middle = slice(margin, margin + size)
    out[middle, middle] = image
    out[middle, :margin] = image[:, :1]
    out[middle, margin + size :] = image[:, -1:]
    out[:margin] = out[margin]
    out[margin + size :] = out[margin + size - 1]
    return out


def _coloured(image: Image, augmentation: Augmentation, draws: Matrix) -> Image:
    if augmentation.channel == 0:
        return image
    change = np.rint(augmentation.channel * draws[7:10]).astype(np.int64)
    return image.point(np.clip(np.arange(256) + change[:, None], 0, 255).ravel().tolist())


# ---------------------------------------------------------------------------------------------------- contact sheet

_GAP, _BACKGROUND, _INK, _FADED = 12, (250, 250, 248), (28, 28, 30), (96, 96, 102)


def contact_sheet(images: Pixels, names: Sequence[str], augmentation: Augmentation, seed: int, views: int) -> Image:
    """A picture of what training sees: a row per photograph, the original at its left, its views beside it.

    Args:
        images: uint8 (N, S, S, 3).
        names: N names, written under the originals; they also tell the images apart.
        augmentation, seed: see :func:`augmented`.
        views: how many, numbered from 0.
    """
    from PIL import Image, ImageDraw

    size = images.shape[1]
    big, small = _font(max(13, size // 12)), _font(max(11, size // 16))
    caption = _lines(f"seed {seed}: {augmentation}", big, (views + 1) * (size + _GAP) - _GAP)
    line, label = round(big.size * 1.35), round(small.size * 1.6)
    top = _GAP + line * len(caption) + _GAP
    sheet = Image.new(
        "RGB", ((views + 1) * (size + _GAP) + _GAP, top + len(images) * (size + label + _GAP)), _BACKGROUND
    )
    pen = ImageDraw.Draw(sheet)
    for number, text in enumerate(caption):
        pen.text((_GAP, _GAP + number * line), text, _INK, big)
    columns = [images, *(augmented(images, names, augmentation, seed, view) for view in range(views))]
    for at, column in enumerate(columns):
        x = _GAP + at * (size + _GAP)
        for row, picture in enumerate(column):
            y = top + row * (size + label + _GAP)
            sheet.paste(Image.fromarray(picture), (x, y))
            text = _shortened(names[row], small, size) if at == 0 else f"view {at}"
            pen.text((x, y + size + round(small.size * 0.2)), text, _FADED, small)
    return sheet


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _lines(text: str, font: Any, width: int) -> list[str]:
    """Wrapped at spaces."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _shortened(text: str, font: Any, width: int) -> str:
    """The end is kept: file names differ there."""
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text
