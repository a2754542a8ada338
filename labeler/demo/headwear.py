"""Everything worn on the head: hats, scarves, helmets, headphones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labeler.demo.canvas import Canvas, Colour, darker, lighter
from labeler.demo.geometry import Head, Points, both_sides, ellipse, mirror, ribbon, ring, shifted, smooth
from labeler.demo.people import Person
from labeler.demo.wraps import paint_hijab, paint_hood

# Headwear that hides all hair, and headwear that presses the hair flat.
COVERS_HAIR = ("hijab", "turban", "hood")
FLATTENS_HAIR = ("beanie", "cap", "bucket", "straw hat", "bandana", "helmet")
_STRAW: Colour = (230, 196, 128)


def paint_headwear(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """The hat, scarf or headphones, after the hair."""
    painter = _HEADWEAR.get(person.headwear)
    if painter is not None:
        painter(canvas, head, person, rng)


def paint_behind(canvas: Canvas, head: Head, person: Person) -> None:
    """The part of a scarf, hood or brim that lies behind the head; painted before the body."""
    colour, w = person.headwear_colour, person.width
    if person.headwear in ("hijab", "hood"):
        low = 2.3 if person.headwear == "hijab" else 1.9
        shape = smooth(
            both_sides(
                [
                    (0, -1.46),
                    (0.7, -1.32),
                    (w + 0.3, -0.6),
                    (w + 0.34, 0.4),
                    (w + 0.4, 1.3),
                    (w + 0.5, low),
                    (0, low + 0.2),
                ]
            )
        )
        canvas.fill(head.rim(shape, z=-0.25), darker(colour, 0.45))
    elif person.headwear == "straw hat":
        canvas.fill(head.rim(ellipse(0, -0.6, 1.75, 0.5), z=-0.1), darker(_STRAW, 0.35))


def _dome(
    head: Head, person: Person, top: float, low: float, *, swell: float = 0.04, droop: float = 0.3, lift: float = 0.06
) -> tuple[Points, Points]:
    """A crown from ear to ear (pixels), and its lower edge, which runs round the forehead at ``low``."""
    w = person.width + swell
    half = np.array(
        [
            (0.985 * w, low + droop),
            (0.985 * w, low - 0.12),
            (0.86 * w, -0.9 + 0.45 * (top + 1.2)),
            (0.46 * w, top + 0.09),
            (0.0, top),
        ]
    )
    over = smooth(np.vstack([mirror(half)[::-1], half[::-1][1:]]), closed=False)
    edge = smooth(
        [
            (-w * 0.98, low + droop),
            (-0.86 * w, low + 0.45 * droop),
            (-0.5 * w, low + 0.04),
            (0.0, low - 0.02),
            (0.5 * w, low + 0.04),
            (0.86 * w, low + 0.45 * droop),
            (w * 0.98, low + droop),
        ],
        closed=False,
    )
    rim, front = head.rim(over, z=0.0), head.at(edge, lift)
    front[0], front[-1] = rim[0], rim[-1]
    return np.vstack([rim, front[::-1]]), front


def _shadow_on_face(canvas: Canvas, head: Head, person: Person, edge: Points, depth: float) -> None:
    """What a brim keeps the light from."""
    with canvas.inside(head.rim(person.outline())) as face:
        strip = np.vstack([shifted(edge, 0, -0.3 * head.unit), (shifted(edge, 0, depth * head.unit))[::-1]])
        face.soft(strip, darker(person.skin, 0.65), 0.06 * head.unit, 0.45)


def _relief(canvas: Canvas, shape: Points, colour: Colour, unit: float) -> None:
    """Round a filled shape: light from above left, shade to the right and below."""
    with canvas.inside(shape) as hat:
        middle, extent = shape.mean(axis=0), np.ptp(shape, axis=0)
        hat.soft(shape * 0.5 + middle * 0.5 - extent * (0.14, 0.16), lighter(colour, 0.35), 0.22 * unit, 0.5)
        hat.soft(ring(shape, 0.2 * unit), darker(colour, 0.45), 0.12 * unit, 0.5)


def _beanie(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour, low = person.headwear_colour, -0.52
    crown, edge = _dome(head, person, -1.58, low, swell=0.07)
    _shadow_on_face(canvas, head, person, edge, 0.12)
    if rng.uniform() < 0.5:
        for _ in range(26):
            x, y = rng.normal((0, -1.7), 0.11, 2)
            tuft = head.rim(ellipse(x, y, 0.12, 0.12, count=12), z=-0.05)
            canvas.fill(tuft, lighter(person.second_colour, float(rng.uniform(0, 0.4))))
    canvas.fill(crown, colour)
    _relief(canvas, crown, colour, head.unit)
    cuff = np.vstack([edge, (edge + head.unit * np.array([0.0, -0.3]))[::-1]])
    canvas.fill(cuff, lighter(colour, 0.12))
    for x in np.linspace(0.03, 0.97, 18):
        root = edge[int(x * (len(edge) - 1))]
        canvas.fill(
            ribbon(np.array([root, root + head.unit * np.array([0.0, -0.3])]), 0.025 * head.unit),
            darker(colour, 0.2),
            0.8,
        )


def _cap(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour = person.headwear_colour
    crown, edge = _dome(head, person, -1.42, -0.6, swell=0.04)
    _shadow_on_face(canvas, head, person, edge, 0.28)
    canvas.fill(crown, colour)
    _relief(canvas, crown, colour, head.unit)
    for x in (-0.36, 0.36):
        seam = smooth([(x * 1.3, -0.7), (x * 1.2, -1.1), (0, -1.4)], closed=False)
        canvas.fill(head.at(ribbon(seam, 0.018), 0.1), darker(colour, 0.35), 0.7)
    canvas.fill(head.at(ellipse(0, -0.98, 0.17, 0.14), 0.12), person.second_colour)
    brim = smooth(
        [(-0.82, -0.62), (-0.5, -0.72), (0, -0.76), (0.5, -0.72), (0.82, -0.62), (0.6, -0.5), (0, -0.42), (-0.6, -0.5)]
    )
    canvas.fill(head.at(brim, 0.42), darker(person.second_colour, 0.25))
    canvas.soft(
        head.at(ribbon(smooth([(-0.6, -0.66), (0, -0.72), (0.6, -0.66)], closed=False), 0.06), 0.44),
        lighter(person.second_colour, 0.3),
        0.03 * head.unit,
        0.6,
    )


def _brimmed(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    straw = person.headwear == "straw hat"
    colour = _STRAW if straw else person.headwear_colour
    wide, deep = (1.72, 0.3) if straw else (1.28, 0.36)
    crown, edge = _dome(head, person, -1.56, -0.66, swell=0.02, droop=0.12)
    _shadow_on_face(canvas, head, person, edge, 0.5 if straw else 0.42)
    canvas.fill(crown, colour)
    _relief(canvas, crown, colour, head.unit)
    with canvas.inside(crown) as hat:
        lower, higher = (shifted(edge, 0, by * head.unit) for by in (0.2, -0.2))
        hat.fill(np.vstack([lower, higher[::-1]]), person.second_colour)
    brow = -0.72
    upper = [(0.3, brow - 0.07), (0.75, brow - 0.05), (0.9 * wide, brow + 0.04), (wide, brow + 0.13)]
    front = [(0.82 * wide, brow + 0.06 + 0.7 * deep), (0.45 * wide, brow + deep), (0.0, brow + 1.06 * deep)]
    brim = head.rim(smooth(both_sides([(0.0, brow - 0.07), *upper, *front])), z=0.3)
    canvas.fill(brim, lighter(colour, 0.06))
    with canvas.inside(brim) as rim:
        rim.soft(shifted(brim, 0, 0.6 * deep * head.unit), darker(colour, 0.3), 0.07 * head.unit, 0.35)
        foot = smooth([(-0.9, brow), (0, brow - 0.05), (0.9, brow)], closed=False)
        rim.soft(head.rim(ribbon(foot, 0.1), z=0.3), darker(colour, 0.5), 0.04 * head.unit, 0.6)
        for y in np.linspace(0.12, 0.9, 4) if straw else ():
            weave = smooth([(-0.95 * wide, brow + 0.1), (0, brow + y * deep), (0.95 * wide, brow + 0.1)], closed=False)
            rim.fill(head.rim(ribbon(weave, 0.014), z=0.3), darker(colour, 0.22))


def _turban(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour = person.headwear_colour
    crown, edge = _dome(head, person, -1.62, -0.52, swell=0.14, droop=0.34)
    _shadow_on_face(canvas, head, person, edge, 0.14)
    canvas.fill(crown, colour)
    _relief(canvas, crown, colour, head.unit)
    with canvas.inside(crown) as cloth:
        for step in range(5):
            for side in (-1, 1):
                curve = smooth(
                    np.array([(0.06, -0.66 - 0.17 * step), (0.55, -0.86 - 0.17 * step), (1.2, -0.5 - 0.24 * step)])
                    * (side, 1),
                    closed=False,
                )
                cloth.soft(
                    head.rim(ribbon(curve, (0.02, 0.07, 0.02)), z=0.4), darker(colour, 0.42), 0.025 * head.unit, 0.8
                )
    if rng.uniform() < 0.3:
        canvas.fill(head.at(ellipse(0, -0.84, 0.08, 0.1), 0.2), (236, 200, 110))


def _bandana(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour = person.headwear_colour
    crown, edge = _dome(head, person, -1.32, -0.62, swell=0.02)
    _shadow_on_face(canvas, head, person, edge, 0.08)
    canvas.fill(crown, colour)
    with canvas.inside(crown) as cloth:
        for x in np.linspace(-0.9, 0.9, 8):
            for y in np.linspace(-1.2, -0.55, 4):
                cloth.fill(
                    head.at(ellipse(x + 0.1 * (round(y * 5) % 2), y, 0.05, 0.05, count=12), 0.05),
                    lighter(person.second_colour, 0.3),
                )
    _relief(canvas, crown, colour, head.unit)


def _headphones(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour, w = darker(person.headwear_colour, 0.3), person.width
    top = 1.36 + (0.3 if person.hair == "afro" else 0.06)
    arc = smooth(
        [
            (-w - 0.1, 0.1),
            (-w - 0.1, -0.7),
            (-0.6, -top + 0.12),
            (0, -top),
            (0.6, -top + 0.12),
            (w + 0.1, -0.7),
            (w + 0.1, 0.1),
        ],
        closed=False,
    )
    canvas.fill(head.rim(ribbon(arc, 0.12), z=0.0), colour)
    canvas.fill(head.rim(ribbon(arc - (0, 0.02), 0.03), z=0.0), lighter(colour, 0.4))
    for side in (-1, 1):
        cup = smooth(
            np.array([(-0.06, -0.34), (0.16, -0.3), (0.24, 0), (0.16, 0.32), (-0.06, 0.36), (-0.1, 0.0)]) * (side, 1)
        )
        cup = shifted(cup, side * (w + 0.03), 0.12)
        canvas.fill(head.rim(cup, z=0.0), darker(colour, 0.3))
        canvas.fill(
            head.rim((cup - (side * (w + 0.06), 0.12)) * (0.6, 0.8) + (side * (w + 0.12), 0.12), z=0.0),
            person.headwear_colour,
        )


def _headband(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    w = person.width
    band = smooth([(-w * 0.99, -0.46), (-0.6 * w, -0.8), (0, -0.92), (0.6 * w, -0.8), (w * 0.99, -0.46)], closed=False)
    canvas.fill(head.at(ribbon(band, 0.2), 0.08), person.headwear_colour)
    canvas.fill(head.at(ribbon(band - (0, 0.03), 0.04), 0.08), lighter(person.headwear_colour, 0.4))


def _helmet(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour = lighter(person.headwear_colour, 0.05)
    crown, edge = _dome(head, person, -1.58, -0.6, swell=0.08)
    _shadow_on_face(canvas, head, person, edge, 0.24)
    canvas.fill(crown, colour)
    _relief(canvas, crown, colour, head.unit)
    for x in (-0.2, 0.2):
        ridge = smooth([(x * 1.5, -0.8), (x * 1.4, -1.2), (x, -1.55)], closed=False)
        canvas.soft(head.rim(ribbon(ridge, 0.07), z=0.1), lighter(colour, 0.4), 0.035 * head.unit, 0.7)
    peak = smooth([(-1.05, -0.6), (0, -0.78), (1.05, -0.6), (0.7, -0.46), (0, -0.4), (-0.7, -0.46)])
    canvas.fill(head.at(peak, 0.3), darker(colour, 0.2))


_HEADWEAR: dict[str, Callable[[Canvas, Head, Person, np.random.Generator], None]] = {
    "beanie": _beanie,
    "cap": _cap,
    "bucket": _brimmed,
    "straw hat": _brimmed,
    "hijab": paint_hijab,
    "hood": paint_hood,
    "turban": _turban,
    "bandana": _bandana,
    "headphones": _headphones,
    "headband": _headband,
    "helmet": _helmet,
}
