"""Where the person stands: rooms, streets, parks and studios, out of focus."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from labeler.demo.canvas import Canvas, Colour, darker, lighter, mix
from labeler.demo.geometry import ellipse
from labeler.demo.people import palette

_COARSE = 128  # pixels: backgrounds are painted small and enlarged, which is most of their blur


def paint_background(rng: np.random.Generator, size: int) -> Image.Image:
    """An RGB picture of ``size`` x ``size``."""
    scenes = (_gradient, _gradient, _bokeh, _office, _street, _park, _wall, _crowd, _stripes)
    first, second = palette(rng), palette(rng)
    canvas = Canvas(_ramp(first, mix(first, second, 0.5), rng))
    scenes[int(rng.integers(len(scenes)))](canvas, first, second, rng)
    blurred = canvas.image.filter(ImageFilter.GaussianBlur(float(rng.choice((0.6, 1.2, 2.5, 4.0)))))
    return blurred.resize((size, size), Image.Resampling.BILINEAR)


def _ramp(start: Colour, end: Colour, rng: np.random.Generator) -> Image.Image:
    """A linear gradient in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-0.5, 0.5, 16)
    share = np.clip(0.5 + axis * np.cos(angle) + axis[:, None] * np.sin(angle), 0, 1)[..., None]
    cells = np.array(start) * (1 - share) + np.array(end) * share
    return Image.fromarray(cells.astype(np.uint8), "RGB").resize((_COARSE, _COARSE), Image.Resampling.BICUBIC)


def _box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64) * _COARSE


def _gradient(canvas: Canvas, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    x, y = rng.uniform(0.2, 0.8, 2) * _COARSE
    canvas.soft(ellipse(x, y, 40, 40), lighter(first, 0.5), 24, 0.8)


def _bokeh(canvas: Canvas, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    dark = darker(first, float(rng.uniform(0.3, 0.7)))
    canvas.fill(_box(0, 0, 1, 1), dark)
    for _ in range(16):
        x, y = rng.uniform(0, _COARSE, 2)
        radius = float(rng.uniform(5, 14))
        canvas.fill(
            ellipse(x, y, radius, radius),
            lighter(second if rng.uniform() < 0.6 else palette(rng), 0.25),
            float(rng.uniform(0.3, 0.7)),
        )


def _office(canvas: Canvas, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    wall = lighter(first, 0.55)
    canvas.fill(_box(0, 0, 1, 1), wall)
    if rng.uniform() < 0.5:
        left = float(rng.choice((0.02, 0.62)))
        canvas.fill(_box(left, 0.05, left + 0.36, 0.6), lighter(wall, 0.5))
        canvas.fill(_box(left + 0.02, 0.08, left + 0.34, 0.57), mix((170, 210, 236), second, 0.15))
        canvas.fill(_box(left + 0.17, 0.05, left + 0.19, 0.6), lighter(wall, 0.5))
    for shelf in (0.22, 0.45, 0.68):
        if rng.uniform() < 0.3:
            continue
        canvas.fill(_box(0, shelf, 1, shelf + 0.03), darker(mix(wall, (130, 90, 60), 0.6), 0.1))
        x = float(rng.uniform(0, 0.1))
        while x < 1:
            width, height = float(rng.uniform(0.02, 0.06)), float(rng.uniform(0.08, 0.16))
            if rng.uniform() < 0.7:
                canvas.fill(_box(x, shelf - height, x + width, shelf), palette(rng))
            x += width + float(rng.uniform(0, 0.03))


def _street(canvas: Canvas, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    canvas.fill(_box(0, 0, 1, 1), lighter(mix((150, 196, 232), second, 0.25), 0.15))
    x = -0.05
    while x < 1:
        width, top = float(rng.uniform(0.14, 0.3)), float(rng.uniform(0.02, 0.5))
        house = mix(palette(rng), (190, 180, 172), 0.45)
        canvas.fill(_box(x, top, x + width, 1), house)
        for row in np.arange(top + 0.06, 0.85, 0.11):
            for column in np.arange(x + 0.03, x + width - 0.04, 0.07):
                canvas.fill(
                    _box(column, row, column + 0.035, row + 0.055),
                    lighter(house, 0.6) if rng.uniform() < 0.4 else darker(house, 0.45),
                )
        x += width
    canvas.fill(_box(0, 0.86, 1, 1), (120, 118, 122))


def _park(canvas: Canvas, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    canvas.fill(_box(0, 0, 1, 0.65), lighter((150, 200, 236), float(rng.uniform(0, 0.4))))
    green = mix((110, 160, 84), first, 0.2)
    canvas.fill(_box(0, 0.6, 1, 1), green)
    for _ in range(12):
        x, y = rng.uniform(0, 1), rng.uniform(0.25, 0.62)
        radius = float(rng.uniform(0.07, 0.18)) * _COARSE
        tone = mix(darker(green, float(rng.uniform(0.05, 0.45))), (214, 150, 70), 0.4 * float(rng.uniform() < 0.2))
        canvas.fill(ellipse(x * _COARSE, y * _COARSE, radius, radius * 0.9), tone)
    canvas.soft(ellipse(rng.uniform(0, _COARSE), 8, 22, 22), (255, 246, 214), 12, 0.8)


def _wall(canvas: Canvas, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    brick, mortar = mix(first, (170, 100, 76), 0.35), lighter(first, 0.5)
    canvas.fill(_box(0, 0, 1, 1), mortar)
    tall = float(rng.uniform(0.05, 0.12))
    wide = tall * (1.0 if rng.uniform() < 0.4 else 2.2)
    for row in range(int(1 / tall) + 1):
        for column in np.arange(-wide * (row % 2) / 2, 1, wide):
            tone = mix(brick, darker(brick, 0.3), float(rng.uniform()))
            canvas.fill(_box(column + 0.006, row * tall + 0.006, column + wide - 0.006, (row + 1) * tall - 0.006), tone)


def _crowd(canvas: Canvas, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    """Other people, too blurred to have faces; some wear something pale on theirs, as in any street."""
    canvas.fill(_box(0, 0, 1, 1), lighter(first, 0.3))
    for _ in range(7):
        x, y, r = float(rng.uniform(0, 1)), float(rng.uniform(0.15, 0.6)), float(rng.uniform(0.06, 0.1))
        skin = mix((240, 200, 170), (80, 52, 40), float(rng.uniform()))
        canvas.fill(ellipse(x * _COARSE, (y + 4.2 * r) * _COARSE, 2.1 * r * _COARSE, 3 * r * _COARSE), palette(rng))
        canvas.fill(
            ellipse(x * _COARSE, (y - 0.15 * r) * _COARSE, 1.1 * r * _COARSE, 1.3 * r * _COARSE),
            darker(palette(rng), 0.6),
        )
        canvas.fill(ellipse(x * _COARSE, (y + 0.25 * r) * _COARSE, r * _COARSE, 1.2 * r * _COARSE), skin)
        if rng.uniform() < 0.4:
            canvas.fill(
                ellipse(x * _COARSE, (y + 0.8 * r) * _COARSE, 0.8 * r * _COARSE, 0.6 * r * _COARSE),
                lighter(palette(rng), 0.5),
            )


def _stripes(canvas: Canvas, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    """A curtain, a container, a garden fence."""
    pale = lighter(first, 0.35)
    step = float(rng.uniform(0.06, 0.16))
    for x in np.arange(0, 1, step):
        canvas.fill(_box(x, 0, x + step / 2, 1), mix(pale, darker(pale, 0.35), 0.6))
