"""Pictures of three and of ten classes, drawn for the tests: learnable, not trivial, the same for a seed everywhere.

Three: a face with its mask on, without one, and with the mask below the nose. Ten: signs whose colour, place, size,
angle and ground say nothing. The names are chosen to be awkward on a keyboard: several begin alike, several with the
letter of a command.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

THREE = ("withMask", "withoutMask", "incorrect")
TEN = ("square", "star", "stripes", "fan", "frame", "zigzag", "umbrella", "ellipse", "cross", "crescent")
SIDE = 96
_LARGE = 3  # drawn so many times larger, for smooth edges
Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]
Pen = ImageDraw.ImageDraw


def draw(folder: Path, seed: int, label: str) -> Path:
    """One picture, ``<label>-<seed>.png`` in a folder that is made where it is missing; RGB, 96 x 96."""
    rng = np.random.default_rng([seed, *label.encode()])
    picture = _face(rng, label) if label in THREE else _sign(rng, label)
    picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    noisy = np.asarray(picture, dtype=np.float64) + rng.normal(0, 12, (SIDE, SIDE, 3))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{label}-{seed:04d}.png"
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file)
    return file


def draw_all(folder: Path, classes: Sequence[str], each: int, first: int = 0) -> Path:
    """``<folder>/<class>/``, ``each`` pictures of every class, seeds from ``first`` on; returns the folder."""
    for label in classes:
        for seed in range(first, first + each):
            draw(folder / label, seed, label)
    return folder


def label_of(file: Path) -> str:
    """The class of a picture, which its name begins with."""
    return file.name.rsplit("-", 1)[0]


# --------------------------------------------------------------------------------------------------------- faces


def _face(rng: np.random.Generator, label: str) -> Image.Image:
    side = SIDE * _LARGE
    picture = _ground(rng, side)
    pen = ImageDraw.Draw(picture)
    x, y = (side / 2 + rng.uniform(-20, 20) for _ in range(2))
    wide, high = side * rng.uniform(0.26, 0.34), side * rng.uniform(0.36, 0.43)
    skin = tuple(
        int(value * rng.uniform(0.85, 1.1)) for value in ((236, 190, 160), (140, 94, 66))[int(rng.integers(2))]
    )
    pen.ellipse((x - wide, y - high, x + wide, y + high), fill=skin)
    for sign in (-1, 1):
        _disc(pen, x + sign * wide * 0.42, y - high * 0.2, wide * 0.12, (30, 24, 20))
    pen.polygon(
        [(x, y - high * 0.05), (x + wide * 0.14, y + high * 0.2), (x - wide * 0.14, y + high * 0.2)], fill=(96, 60, 48)
    )
    pen.rectangle((x - wide * 0.35, y + high * 0.42, x + wide * 0.35, y + high * 0.5), fill=(150, 40, 50))
    if label != "withoutMask":
        top = y + high * (-0.02 if label == "withMask" else 0.34)
        _mask(pen, x, top, wide * 0.86, y + high * 0.92, _colour(rng, 130, 250))
    return picture.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC, fillcolor=_colour(rng, 60, 190))


def _mask(pen: Pen, x: float, top: float, wide: float, bottom: float, colour: Colour) -> None:
    pen.polygon([(x - wide, top), (x + wide, top), (x + wide * 0.55, bottom), (x - wide * 0.55, bottom)], fill=colour)
    fold = tuple(max(0, value - 45) for value in colour)
    for share in (0.35, 0.65):
        y = top + (bottom - top) * share
        pen.line([(x - wide * 0.7, y), (x + wide * 0.7, y)], fill=fold, width=3)


# --------------------------------------------------------------------------------------------------------- signs


def _sign(rng: np.random.Generator, label: str) -> Image.Image:
    side = SIDE * _LARGE
    picture = _ground(rng, side)
    sign = Image.new("L", (side, side), 0)
    SIGNS[label](ImageDraw.Draw(sign), side / 2, side * rng.uniform(0.16, 0.36))
    sign = sign.rotate(rng.uniform(-35, 35), Image.Resampling.BICUBIC)
    shift = (int(rng.uniform(-0.12, 0.12) * side), int(rng.uniform(-0.12, 0.12) * side))
    picture.paste(_colour(rng, 10, 80) if rng.random() < 0.5 else _colour(rng, 190, 250), shift, sign)
    _scratches(rng, ImageDraw.Draw(picture), side)
    return picture


def _scratches(rng: np.random.Generator, pen: Pen, side: int) -> None:
    """Lines across everything, which belong to no class."""
    for _ in range(3):
        ends = [float(value) for value in rng.uniform(0, side, 4)]
        pen.line(ends, fill=_colour(rng, 0, 256), width=int(rng.integers(4, 14)))


def _square(pen: Pen, c: float, r: float) -> None:
    pen.rectangle((c - r, c - r, c + r, c + r), fill=255)


def _star(pen: Pen, c: float, r: float) -> None:
    radii = [r if step % 2 == 0 else r * 0.42 for step in range(10)]
    pen.polygon(
        [(c + d * math.sin(i * math.pi / 5), c - d * math.cos(i * math.pi / 5)) for i, d in enumerate(radii)], 255
    )


def _stripes(pen: Pen, c: float, r: float) -> None:
    for step in range(4):
        left = c - r + step * r * 0.55
        pen.rectangle((left, c - r, left + r * 0.28, c + r), fill=255)


def _fan(pen: Pen, c: float, r: float) -> None:
    for start in (0, 120, 240):
        pen.pieslice(_around(c, r), start, start + 60, fill=255)


def _frame(pen: Pen, c: float, r: float) -> None:
    pen.rectangle((c - r, c - r, c + r, c + r), outline=255, width=int(r * 0.28))


def _zigzag(pen: Pen, c: float, r: float) -> None:
    points = [(c - r + step * r / 2, c + (r * 0.6 if step % 2 else -r * 0.6)) for step in range(5)]
    pen.line(points, fill=255, width=int(r * 0.26), joint="curve")


def _umbrella(pen: Pen, c: float, r: float) -> None:
    pen.pieslice(_around(c, r), 180, 360, fill=255)
    pen.rectangle((c - r * 0.08, c, c + r * 0.08, c + r), fill=255)


def _ellipse(pen: Pen, c: float, r: float) -> None:
    pen.ellipse((c - r, c - r * 0.6, c + r, c + r * 0.6), fill=255)


def _cross(pen: Pen, c: float, r: float) -> None:
    pen.rectangle((c - r, c - r * 0.28, c + r, c + r * 0.28), fill=255)
    pen.rectangle((c - r * 0.28, c - r, c + r * 0.28, c + r), fill=255)


def _crescent(pen: Pen, c: float, r: float) -> None:
    pen.ellipse(_around(c, r), fill=255)
    pen.ellipse((c - r * 0.35, c - r * 1.05, c + r * 1.5, c + r * 0.8), fill=0)


SIGNS: dict[str, Callable[[Pen, float, float], None]] = dict(
    zip(
        TEN,
        (_square, _star, _stripes, _fan, _frame, _zigzag, _umbrella, _ellipse, _cross, _crescent),
        strict=True,
    )
)


# -------------------------------------------------------------------------------------------------------- pieces


def _ground(rng: np.random.Generator, side: int) -> Image.Image:
    """Soft blotches, so that the ground is no flat colour."""
    coarse = rng.integers(100, 176, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(4))


def _colour(rng: np.random.Generator, low: int, high: int) -> Colour:
    red, green, blue = (int(value) for value in rng.integers(low, high, 3))
    return red, green, blue


def _around(c: float, r: float) -> Box:
    return c - r, c - r, c + r, c + r


def _disc(pen: Pen, x: float, y: float, r: float, colour: Colour) -> None:
    pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
