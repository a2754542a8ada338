"""A sheet to paint on: filled and soft-edged shapes, clipping, shading, and a few colour words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from labeler.demo.geometry import Points

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour ``share`` of the way from ``a`` to ``b``."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def darker(colour: Colour, share: float) -> Colour:
    """Towards a bluish black: shadows drawn with plain grey look dirty."""
    return mix(colour, (24, 16, 34), share)


def lighter(colour: Colour, share: float) -> Colour:
    """Towards a warm white."""
    return mix(colour, (255, 250, 240), share)


class StencilPad:
    """One sheet on which every stencil of a picture is cut: a new sheet for each took as long as the painting."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sheet = Image.new("L", (size, size))
        self._pen = ImageDraw.Draw(self._sheet)

    def stencil(self, size: tuple[int, int], outlines: list[tuple[Points, int]]) -> Image.Image:
        """An L picture of ``size`` with the outlines filled by their values, later ones over earlier ones."""
        right, bottom = 0.0, 0.0
        for outline, value in outlines:
            self._pen.polygon(outline.ravel().tolist(), fill=value)
            x, y = outline.max(axis=0).tolist()
            right, bottom = max(right, x), max(bottom, y)
        stencil = self._sheet.crop((0, 0, *size))
        self._sheet.paste(0, (0, 0, min(self._size, int(right) + 2), min(self._size, int(bottom) + 2)))
        return stencil


class Canvas:
    """A square RGB picture, or a window on one, with the brushes the painters share.

    Every coordinate is in pixels of the whole picture; shapes are closed outlines (N, 2).

    Attributes:
        image: the pixels of the window.
        size: edge of the whole picture.
        origin: where the window's upper left corner lies in it.
    """

    def __init__(self, image: Image.Image, parent: Canvas | None = None, origin: tuple[int, int] = (0, 0)) -> None:
        self.image = image
        self.size: int = parent.size if parent else image.width
        self.origin = origin
        self._pen = ImageDraw.Draw(image)
        self.pad: StencilPad = parent.pad if parent else StencilPad(image.width)

    def fill(self, shape: Points, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a shape; hard edges, which the final reduction smooths."""
        shape = shape - self.origin
        if alpha >= 1.0:
            self._pen.polygon(shape.ravel().tolist(), fill=colour)
            return
        box = self._box(shape, 1)
        if box is not None:
            size = (box[2] - box[0], box[3] - box[1])
            self._lay(colour, box, self.pad.stencil(size, [(shape - box[:2], round(255 * alpha))]))

    def soft(self, shape: Points, colour: Colour, blur: float, alpha: float = 1.0) -> None:
        """Fill a shape whose edge fades over about ``blur`` pixels.

        The stencil is blurred small and enlarged: nobody sees the difference, and it is ten times faster.
        """
        shape = shape - self.origin
        box = self._box(shape, round(2.2 * blur) + 2)
        if box is None:
            return
        factor = min(8.0, max(1.0, blur / 1.6))
        width, height = box[2] - box[0], box[3] - box[1]
        small = (max(2, round(width / factor)), max(2, round(height / factor)))
        scaled = (shape - box[:2]) * (small[0] / width, small[1] / height)
        stencil = self.pad.stencil(small, [(scaled, round(255 * alpha))]).filter(
            ImageFilter.GaussianBlur(blur / factor)
        )
        self._lay(colour, box, stencil.resize((width, height), Image.Resampling.BILINEAR))

    @contextmanager
    def inside(self, *shapes: Points, without: Points | None = None, alpha: float = 1.0) -> Iterator[Canvas]:
        """A canvas on which anything may be painted; only what lies inside the shapes arrives here."""
        edges = shapes[0] if len(shapes) == 1 else np.concatenate(shapes)
        box = self._box(edges - self.origin, 1)
        if box is None:
            yield Canvas(Image.new("RGB", (1, 1)), self, (-self.size, -self.size))
            return
        origin = (self.origin[0] + box[0], self.origin[1] + box[1])
        layer = Canvas(self.image.crop(box), self, origin)
        yield layer
        outlines = [(shape - origin, round(255 * alpha)) for shape in shapes]
        if without is not None:
            outlines.append((without - origin, 0))
        self.image.paste(layer.image, box, self.pad.stencil(layer.image.size, outlines))

    def multiply(self, field: NDArray[np.float32]) -> None:
        """Darken by a coarse field over the whole picture (h, h, 3) in [0, 1], enlarged to the canvas."""
        if min(self.origin) < 0:  # a window that lies outside the picture, see inside()
            return
        coarse = Image.fromarray((255 * np.clip(field, 0, 1)).astype(np.uint8), "RGB")
        scale, (left, top), (width, height) = coarse.width / self.size, self.origin, self.image.size
        region = (left * scale, top * scale, (left + width) * scale, (top + height) * scale)
        shade = coarse.resize((width, height), Image.Resampling.BILINEAR, box=region)
        self.image.paste(ImageChops.multiply(self.image, shade))

    def _box(self, shape: Points, margin: int) -> Box | None:
        """The window's pixels that a shape can touch, or None when it lies outside."""
        (left, top), (right, bottom) = shape.min(axis=0).tolist(), shape.max(axis=0).tolist()
        width, height = self.image.size
        box = (
            max(0, int(left) - margin - 1),
            max(0, int(top) - margin - 1),
            min(width, int(right) + margin + 2),
            min(height, int(bottom) + margin + 2),
        )
        return box if box[2] > box[0] and box[3] > box[1] else None

    def _lay(self, colour: Colour, box: Box, stencil: Image.Image) -> None:
        """Paste a colour through a stencil; from an image, because Pillow is twice as fast with one."""
        self.image.paste(Image.new("RGB", stencil.size, colour), box, stencil)
