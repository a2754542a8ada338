"""Prints on cloth: stripes, dots, flowers, checks, and mouths that are not there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labeler.demo.canvas import Canvas, Colour, darker, mix
from labeler.demo.geometry import Points, ellipse, place, ribbon, shifted, smooth

# Places a shape given in face units on the bulging cloth.
Wear = Callable[[Points], Points]
PATTERNS = ("plain", "stripes", "dots", "flowers", "checks", "hearts", "stars", "camouflage", "two tone")
PRINTS = ("smile", "teeth", "lips", "moustache", "cat", "tongue")


def paint_pattern(
    canvas: Canvas, wear: Wear, name: str, first: Colour, second: Colour, rng: np.random.Generator
) -> None:
    """Fill the lower face's area with a pattern; the caller clips it to the mask."""
    painter = _PAINTERS.get(name)
    if painter is not None:
        painter(canvas, wear, first, second, rng)


def _grid(rng: np.random.Generator, step: float) -> list[tuple[float, float]]:
    shift = float(rng.uniform(0, step))
    rows = np.arange(0.1, 1.75, step)
    return [
        (float(x) + (step / 2 if row % 2 else 0.0), float(y))
        for row, y in enumerate(rows)
        for x in np.arange(-1.1 - shift, 1.15, step)
    ]


def _stripes(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    turn, step = float(rng.choice((0.0, np.pi / 2, 0.7, -0.7))), float(rng.uniform(0.11, 0.24))
    line = np.stack([np.linspace(-1.6, 1.6, 18), np.zeros(18)], axis=1)
    for offset in np.arange(-1.5, 1.5, step):
        canvas.fill(wear(place(ribbon(shifted(line, 0, offset), step * 0.45), 0.0, 0.75, turn=turn)), second)


def _dots(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    step = float(rng.uniform(0.15, 0.28))
    for x, y in _grid(rng, step):
        canvas.fill(wear(ellipse(x, y, step * 0.24, step * 0.24, count=12)), second)


def _flowers(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    for x, y in _grid(rng, 0.3):
        turn = float(rng.uniform(0, 2))
        for petal in range(5):
            angle = turn + petal * 2 * np.pi / 5
            canvas.fill(
                wear(ellipse(x + 0.055 * np.cos(angle), y + 0.055 * np.sin(angle), 0.042, 0.042, count=10)), second
            )
        canvas.fill(wear(ellipse(x, y, 0.032, 0.032, count=10)), (246, 206, 90))
        leaf = ribbon(smooth([(x + 0.1, y + 0.06), (x + 0.17, y + 0.14)], closed=False), (0.0, 0.05, 0.0))
        canvas.fill(wear(leaf), mix(second, (80, 140, 90), 0.8))


def _checks(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    step = float(rng.uniform(0.14, 0.26))
    line = np.stack([np.linspace(-1.3, 1.3, 18), np.zeros(18)], axis=1)
    for turn in (0.0, np.pi / 2):
        for offset in np.arange(-1.3, 1.3, step):
            canvas.fill(wear(place(ribbon(shifted(line, 0, offset), step * 0.45), 0.0, 0.75, turn=turn)), second, 0.55)


def _hearts(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    heart = smooth([(0, 0.09), (-0.1, -0.01), (-0.055, -0.075), (0, -0.03), (0.055, -0.075), (0.1, -0.01)], steps=4)
    for x, y in _grid(rng, 0.28):
        canvas.fill(wear(place(heart, x, y, turn=float(rng.normal(0, 0.2)))), second)


def _stars(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2, 0.04, 0.095)
    star = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    for x, y in _grid(rng, 0.29):
        canvas.fill(wear(place(star, x, y, turn=float(rng.uniform(0, 1)))), second)


def _camouflage(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    tones = (darker(first, 0.35), mix(first, second, 0.5), darker(second, 0.25))
    for step, (x, y) in enumerate(rng.uniform((-1, 0.1), (1, 1.6), size=(30, 2))):
        blob = rng.normal(0, 0.04, (7, 2)) + ellipse(x, y, 0.17, 0.09, count=7)
        canvas.fill(wear(smooth(blob, steps=4)), tones[step % 3])


def _two_tone(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    edge = smooth([(-1.2, 0.7), (-0.3, 0.9), (0.3, 0.62), (1.2, 0.8)], closed=False)
    canvas.fill(wear(np.vstack([edge, [(1.2, 1.9), (-1.2, 1.9)]])), second)


def _smile(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    curve = smooth([(-0.42, 0.72), (-0.2, 0.92), (0.2, 0.92), (0.42, 0.72)], closed=False)
    canvas.fill(wear(ribbon(curve, 0.055, round_ends=True)), darker(first, 0.75))
    for side in (-1, 1):
        canvas.fill(wear(ellipse(side * 0.5, 0.66, 0.09, 0.07)), (232, 130, 130), 0.7)


def _teeth(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    jaw = smooth([(-0.46, 0.72), (0, 0.78), (0.46, 0.72), (0.36, 1.0), (0, 1.08), (-0.36, 1.0)])
    canvas.fill(wear(jaw), (60, 24, 30))
    for x in np.linspace(-0.36, 0.3, 7):
        for y, tall in ((0.79, 0.1), (0.93, 0.09)):
            canvas.fill(
                wear(np.array([(x, y), (x + 0.08, y), (x + 0.075, y + tall), (x + 0.005, y + tall)])), (250, 246, 236)
            )


def _lips(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    top = smooth([(-0.32, 0.84), (-0.1, 0.72), (0, 0.76), (0.1, 0.72), (0.32, 0.84), (0, 0.86)], steps=5)
    low = smooth([(-0.32, 0.84), (0, 0.87), (0.32, 0.84), (0.16, 0.98), (-0.16, 0.98)], steps=5)
    canvas.fill(wear(top), (186, 40, 60))
    canvas.fill(wear(low), (214, 66, 82))
    canvas.fill(wear(ellipse(-0.08, 0.93, 0.07, 0.02)), (250, 190, 196), 0.8)


def _moustache(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    half = np.array([(0, 0.7), (0.16, 0.64), (0.36, 0.74), (0.54, 0.64), (0.44, 0.84), (0.2, 0.86), (0, 0.78)])
    for side in (-1, 1):
        canvas.fill(wear(smooth(half * (side, 1))), (48, 34, 32))


def _cat(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    ink = darker(first, 0.78)
    canvas.fill(wear(smooth([(-0.11, 0.56), (0.11, 0.56), (0, 0.68)])), (224, 120, 140))
    for side in (-1, 1):
        curl = smooth(np.array([(0, 0.66), (0.06, 0.82), (0.22, 0.84), (0.3, 0.74)]) * (side, 1), closed=False)
        canvas.fill(wear(ribbon(curl, 0.035)), ink)
        for y in (0.62, 0.74, 0.86):
            whisker = smooth(np.array([(0.3, 0.72 + (y - 0.72) * 0.4), (0.72, y)]) * (side, 1), closed=False)
            canvas.fill(wear(ribbon(whisker, (0.03, 0.0))), ink)


def _tongue(canvas: Canvas, wear: Wear, first: Colour, second: Colour, rng: np.random.Generator) -> None:
    _smile(canvas, wear, first, second, rng)
    canvas.fill(wear(smooth([(0.02, 0.91), (0.24, 0.88), (0.26, 1.06), (0.14, 1.14), (0.03, 1.06)])), (222, 92, 104))


_PAINTERS: dict[str, Callable[[Canvas, Wear, Colour, Colour, np.random.Generator], None]] = {
    "stripes": _stripes,
    "dots": _dots,
    "flowers": _flowers,
    "checks": _checks,
    "hearts": _hearts,
    "stars": _stars,
    "camouflage": _camouflage,
    "two tone": _two_tone,
    "smile": _smile,
    "teeth": _teeth,
    "lips": _lips,
    "moustache": _moustache,
    "cat": _cat,
    "tongue": _tongue,
}
