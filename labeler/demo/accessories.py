"""Glasses, and everything worn on the head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labeler.demo.canvas import Canvas, Colour, darker, lighter
from labeler.demo.geometry import Head, Points, both_sides, ellipse, mirror, ribbon, ring, smooth
from labeler.demo.people import Person

# Headwear that hides all hair, and headwear that presses the hair flat.
COVERS_HAIR = ("hijab", "turban", "hood")
FLATTENS_HAIR = ("beanie", "cap", "bucket", "straw hat", "bandana", "helmet")


def paint_glasses(canvas: Canvas, head: Head, person: Person) -> None:
    """Frames that sit on the nose and reach the ears, with a gleam or dark glass."""
    kind = person.glasses
    if kind == "none":
        return
    dark_glass = kind in ("sun", "aviator")
    frame = darker(person.second_colour, 0.55) if kind not in ("aviator", "half rim") else (176, 150, 96)
    thick = 0.022 if kind in ("half rim", "aviator") else 0.042
    lens_shape = {
        "round": ellipse(0, 0, 0.26, 0.25),
        "square": smooth([(-0.27, -0.17), (0, -0.2), (0.28, -0.18), (0.28, 0.08), (0.2, 0.2), (-0.18, 0.2), (-0.27, 0.08)]),
        "half rim": smooth([(-0.27, -0.15), (0.28, -0.16), (0.27, 0.08), (0.0, 0.19), (-0.25, 0.1)]),
        "cat": smooth([(-0.26, -0.1), (0, -0.17), (0.36, -0.26), (0.29, 0.06), (0.02, 0.19), (-0.24, 0.1)]),
        "sun": smooth([(-0.29, -0.19), (0, -0.21), (0.32, -0.2), (0.31, 0.08), (0.2, 0.23), (-0.18, 0.22), (-0.29, 0.06)]),
        "aviator": smooth([(-0.27, -0.18), (0.3, -0.2), (0.31, 0.04), (0.1, 0.29), (-0.12, 0.24), (-0.27, 0.0)]),
    }[kind]
    unit, gap = head.unit, max(person.eye_gap, 0.41)
    for side in (-1, 1):
        lens = lens_shape * (side, 1) + (side * gap, 0.02)
        placed = head.at(lens, 0.14)
        arm = head.at(np.array([(side * (gap + 0.27), -0.06)]), 0.14), head.rim(np.array([(side * (person.width + 0.03), 0.0)]), z=-0.1)
        canvas.fill(ribbon(np.vstack(arm), 0.04 * unit), frame)
        canvas.soft(placed + (0, 0.05 * unit), darker(person.skin, 0.5), 0.03 * unit, 0.22)
        if dark_glass:
            canvas.fill(placed, darker(person.second_colour, 0.8), 0.93)
            with canvas.inside(placed) as glass:
                glass.soft(head.at(lens + (0, 0.2), 0.14), lighter(person.second_colour, 0.2), 0.08 * unit, 0.5)
                gleam = np.array([(-0.2, -0.3), (-0.06, -0.3), (-0.2, 0.3), (-0.34, 0.3)]) + (side * gap, 0)
                glass.fill(head.at(gleam, 0.14), (255, 255, 255), 0.2)
        else:
            canvas.fill(placed, (236, 244, 250), 0.12)
            gleam = smooth([(-0.16, -0.06), (-0.06, -0.15), (0.0, -0.15), (-0.14, 0.02)]) + (side * gap, 0)
            canvas.fill(head.at(gleam, 0.14), (255, 255, 255), 0.35)
        stroke = ribbon(lens[: len(lens) // 2 + 2], thick) if kind == "half rim" else ring(lens, thick)
        canvas.fill(head.at(stroke, 0.14), frame)
    bridge = smooth([(-gap + 0.25, 0.0), (0, -0.07), (gap - 0.25, 0.0)], closed=False)
    canvas.fill(head.at(ribbon(bridge, max(0.03, thick)), 0.2), frame)


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
        shape = smooth(both_sides([(0, -1.46), (0.7, -1.32), (w + 0.3, -0.6), (w + 0.34, 0.4), (w + 0.4, 1.3), (w + 0.5, low), (0, low + 0.2)]))
        canvas.fill(head.rim(shape, z=-0.25), darker(colour, 0.45))
    elif person.headwear == "straw hat":
        canvas.fill(head.rim(ellipse(0, -0.6, 1.75, 0.5), z=-0.1), darker(_STRAW, 0.35))


_STRAW: Colour = (230, 196, 128)


def _dome(head: Head, person: Person, top: float, low: float, *, swell: float = 0.04, droop: float = 0.3, lift: float = 0.06) -> tuple[Points, Points]:
    """A crown from ear to ear (pixels), and its lower edge, which runs round the forehead at ``low``."""
    w = person.width + swell
    half = np.array([(0.985 * w, low + droop), (0.985 * w, low - 0.12), (0.86 * w, -0.9 + 0.45 * (top + 1.2)), (0.46 * w, top + 0.09), (0.0, top)])
    over = smooth(np.vstack([mirror(half)[::-1], half[::-1][1:]]), closed=False)
    edge = smooth([(-w * 0.98, low + droop), (-0.86 * w, low + 0.45 * droop), (-0.5 * w, low + 0.04), (0.0, low - 0.02), (0.5 * w, low + 0.04), (0.86 * w, low + 0.45 * droop), (w * 0.98, low + droop)], closed=False)
    rim, front = head.rim(over, z=0.0), head.at(edge, lift)
    front[0], front[-1] = rim[0], rim[-1]
    return np.vstack([rim, front[::-1]]), front


def _shadow_on_face(canvas: Canvas, head: Head, person: Person, edge: Points, depth: float) -> None:
    """What a brim keeps the light from."""
    with canvas.inside(head.rim(person.outline())) as face:
        strip = np.vstack([edge + (0, -0.3 * head.unit), (edge + (0, depth * head.unit))[::-1]])
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
        canvas.fill(ribbon(np.array([root, root + head.unit * np.array([0.0, -0.3])]), 0.025 * head.unit), darker(colour, 0.2), 0.8)


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
    brim = smooth([(-0.82, -0.62), (-0.5, -0.72), (0, -0.76), (0.5, -0.72), (0.82, -0.62), (0.6, -0.5), (0, -0.42), (-0.6, -0.5)])
    canvas.fill(head.at(brim, 0.42), darker(person.second_colour, 0.25))
    canvas.soft(head.at(ribbon(smooth([(-0.6, -0.66), (0, -0.72), (0.6, -0.66)], closed=False), 0.06), 0.44), lighter(person.second_colour, 0.3), 0.03 * head.unit, 0.6)


def _brimmed(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    straw = person.headwear == "straw hat"
    colour = _STRAW if straw else person.headwear_colour
    wide, tall = (1.75, 0.36) if straw else (1.3, 0.34)
    crown, edge = _dome(head, person, -1.52, -0.6, swell=0.03)
    _shadow_on_face(canvas, head, person, edge, 0.4 if straw else 0.3)
    ring = ellipse(0, -0.66, wide, tall)
    front = head.rim(np.vstack([ring[:15], smooth([(-wide, -0.66), (-0.8, -0.84), (0.8, -0.84), (wide, -0.66)], closed=False)]), z=0.3)
    canvas.fill(front, darker(colour, 0.08))
    canvas.soft(front + (0, 0.1 * head.unit), darker(colour, 0.3), 0.05 * head.unit, 0.0)
    canvas.fill(crown, colour)
    _relief(canvas, crown, colour, head.unit)
    band = np.vstack([edge + (0, -0.02 * head.unit), (edge + (0, -0.26 * head.unit))[::-1]])
    canvas.fill(band, person.second_colour)
    if straw:
        for y in np.linspace(-0.62, -0.36, 4):
            line = smooth([(-wide * 0.8, y - 0.06), (0, y), (wide * 0.8, y - 0.06)], closed=False)
            canvas.fill(head.rim(ribbon(line, 0.014), z=0.3), darker(colour, 0.25), 0.6)


def _hijab(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """A scarf round face and neck that leaves the whole face free: no mask."""
    colour, w, unit = person.headwear_colour, person.width, head.unit
    outer = both_sides([(0, -1.44), (0.66, -1.3), (w + 0.22, -0.62), (w + 0.26, 0.3), (w + 0.2, 1.0), (1.0, 1.6), (0.95, 2.3), (0, 2.55)])
    hole = both_sides([(0, -0.82), (0.5, -0.74), (0.82 * w, -0.36), (0.92 * w, 0.2), (0.8 * w, 0.78), (0.5 * w, person.chin - 0.06), (0, person.chin + 0.06)])
    whole, gap = head.rim(smooth(outer), z=0.0), head.rim(smooth(hole))
    gap = 0.5 * gap + 0.5 * head.at(smooth(hole))
    with canvas.inside(gap) as face:
        face.soft(ring(gap, 0.16 * unit), darker(person.skin, 0.6), 0.07 * unit, 0.6)
    with canvas.inside(whole, without=gap) as cloth:
        cloth.fill(whole, colour)
        cloth.soft(ring(whole, 0.25 * unit), darker(colour, 0.5), 0.14 * unit, 0.5)
        side = 1 if rng.uniform() < 0.5 else -1
        folds = [[(-0.8, 0.9), (-0.2, 1.5), (0.7, 1.6)], [(-0.95, 0.6), (-0.3, 1.75), (0.9, 2.0)], [(0.5, 1.3), (0.1, 1.7), (-0.7, 2.1)], [(-1.05, -0.2), (-0.98, 0.5), (-0.7, 1.0)], [(1.0, -0.4), (1.02, 0.3), (0.85, 0.95)], [(-0.6, -1.2), (0, -1.12), (0.6, -1.2)], [(-0.75, -0.9), (0, -0.96), (0.75, -0.9)]]
        for fold in folds:
            curve = smooth(np.array(fold) * (side, 1), closed=False)
            cloth.soft(head.rim(ribbon(curve, (0.0, 0.09, 0.0)), z=0.05), darker(colour, 0.42), 0.035 * unit, 0.75)
            cloth.soft(head.rim(ribbon(curve - (0, 0.07), (0.0, 0.06, 0.0)), z=0.05), lighter(colour, 0.35), 0.03 * unit, 0.6)
    canvas.fill(ring(gap, 0.03 * unit), darker(colour, 0.2))


def _hood(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour, w = person.headwear_colour, person.width
    outer = both_sides([(0, -1.5), (0.7, -1.36), (w + 0.26, -0.66), (w + 0.32, 0.3), (w + 0.3, 1.1), (w + 0.1, 1.75), (0.6, 2.0), (0, 2.05)])
    hole = both_sides([(0, -0.98), (0.6, -0.88), (0.98 * w, -0.4), (1.02 * w, 0.3), (0.95 * w, 0.95), (0.66, 1.5), (0, 1.85)])
    whole, gap = head.rim(smooth(outer), z=0.0), head.rim(smooth(hole), z=0.1)
    with canvas.inside(gap) as inside:
        inside.soft(ring(gap, 0.26 * head.unit), darker(person.skin, 0.75), 0.1 * head.unit, 0.5)
    with canvas.inside(whole, without=gap) as cloth:
        cloth.fill(whole, colour)
        cloth.soft(ring(whole, 0.25 * head.unit), darker(colour, 0.45), 0.12 * head.unit, 0.6)
    canvas.fill(ring(gap, 0.09 * head.unit), lighter(colour, 0.16))


def _turban(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour = person.headwear_colour
    crown, edge = _dome(head, person, -1.62, -0.52, swell=0.14, droop=0.34)
    _shadow_on_face(canvas, head, person, edge, 0.14)
    canvas.fill(crown, colour)
    _relief(canvas, crown, colour, head.unit)
    with canvas.inside(crown) as cloth:
        for step in range(5):
            for side in (-1, 1):
                curve = smooth(np.array([(0.06, -0.66 - 0.17 * step), (0.55, -0.86 - 0.17 * step), (1.2, -0.5 - 0.24 * step)]) * (side, 1), closed=False)
                cloth.soft(head.rim(ribbon(curve, (0.02, 0.07, 0.02)), z=0.4), darker(colour, 0.42), 0.025 * head.unit, 0.8)
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
                cloth.fill(head.at(ellipse(x + 0.1 * (round(y * 5) % 2), y, 0.05, 0.05, count=12), 0.05), lighter(person.second_colour, 0.3))
    _relief(canvas, crown, colour, head.unit)


def _headphones(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour, w = darker(person.headwear_colour, 0.3), person.width
    top = 1.36 + (0.3 if person.hair == "afro" else 0.06)
    arc = smooth([(-w - 0.1, 0.1), (-w - 0.1, -0.7), (-0.6, -top + 0.12), (0, -top), (0.6, -top + 0.12), (w + 0.1, -0.7), (w + 0.1, 0.1)], closed=False)
    canvas.fill(head.rim(ribbon(arc, 0.12), z=0.0), colour)
    canvas.fill(head.rim(ribbon(arc - (0, 0.02), 0.03), z=0.0), lighter(colour, 0.4))
    for side in (-1, 1):
        cup = smooth(np.array([(-0.06, -0.34), (0.16, -0.3), (0.24, 0), (0.16, 0.32), (-0.06, 0.36), (-0.1, 0.0)]) * (side, 1) + (side * (w + 0.03), 0.12))
        canvas.fill(head.rim(cup, z=0.0), darker(colour, 0.3))
        canvas.fill(head.rim((cup - (side * (w + 0.06), 0.12)) * (0.6, 0.8) + (side * (w + 0.12), 0.12), z=0.0), person.headwear_colour)


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
        canvas.soft(head.rim(ribbon(ridge, 0.07), z=0.1), lighter(colour, 0.5), 0.03 * head.unit, 0.7)
    peak = smooth([(-1.05, -0.6), (0, -0.78), (1.05, -0.6), (0.7, -0.46), (0, -0.4), (-0.7, -0.46)])
    canvas.fill(head.at(peak, 0.3), darker(colour, 0.2))


_HEADWEAR: dict[str, Callable[[Canvas, Head, Person, np.random.Generator], None]] = {
    "beanie": _beanie,
    "cap": _cap,
    "bucket": _brimmed,
    "straw hat": _brimmed,
    "hijab": _hijab,
    "hood": _hood,
    "turban": _turban,
    "bandana": _bandana,
    "headphones": _headphones,
    "headband": _headband,
    "helmet": _helmet,
}
