"""Beards and moustaches, from a day's stubble to ones that cover all a mask would."""

from __future__ import annotations

import numpy as np

from labeler.demo.canvas import Canvas, darker, lighter, mix
from labeler.demo.geometry import Head, Points, both_sides, mirror, ribbon, shifted, smooth
from labeler.demo.people import Person


def paint_beard(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> list[Points]:
    """The part on cheeks and chin, painted before the mouth, which shows through it; returns its outline, if any."""
    kind, w, m = person.beard, person.width, person.mouth_y
    if kind in ("none", "moustache"):
        return []
    colour = mix(person.hair_colour, (150, 80, 40), 0.12)
    if kind == "stubble":
        shape = smooth(
            both_sides(
                [
                    (0, m - 0.2),
                    (0.4, m - 0.22),
                    (0.8 * w, 0.5),
                    (0.95 * w, 0.2),
                    (0.9 * w, 0.9),
                    (0.5, person.chin),
                    (0, person.chin + 0.06),
                ]
            )
        )
        with canvas.inside(head.rim(person.outline())) as face:
            face.soft(head.at(shape), mix(colour, person.skin, 0.3), 0.07 * head.unit, 0.42)
        return []
    placed = _outline(head, person)
    canvas.soft(placed, darker(person.skin, 0.45), 0.04 * head.unit, 0.5)
    canvas.fill(placed, colour)
    with canvas.inside(placed) as beard:
        low, high = placed.min(axis=0), placed.max(axis=0)
        for step, (x, y) in enumerate(rng.uniform(low, high, size=(70 if kind != "goatee" else 30, 2))):
            length = float(rng.uniform(0.14, 0.3)) * head.unit
            lean = (x - (low[0] + high[0]) / 2) * 0.12
            lock = smooth([(x, y), (x + lean, y + 0.6 * length), (x + 0.4 * lean, y + length)], closed=False, steps=4)
            tone = (lighter(colour, 0.18), darker(colour, 0.3), darker(colour, 0.15))[step % 3]
            beard.fill(ribbon(lock, (0.0, 0.04 * head.unit, 0.0)), tone)
    return [placed]


def _outline(head: Head, person: Person) -> Points:
    kind, w, m, chin = person.beard, person.width, person.mouth_y, person.chin
    if kind == "goatee":
        return head.at(
            smooth(
                both_sides(
                    [
                        (0, m + 0.08),
                        (0.18, m + 0.09),
                        (0.34, m - 0.02),
                        (0.36, m + 0.2),
                        (0.24, chin + 0.02),
                        (0, chin + 0.1),
                    ]
                )
            )
        )
    drop = 0.1 if kind == "full" else 0.62
    inner = [(0, m - 0.14), (0.3, m - 0.17), (0.52, m - 0.2), (0.76 * w, 0.36), (0.93 * w, 0.0)]
    outer = [
        (1.0 * w, 0.1),
        (0.99 * w, 0.5),
        (person.jaw * w + 0.05 + 0.1 * drop, 0.86),
        (0.62 * person.jaw * w + 0.16 * drop, chin - 0.04 + 0.62 * drop),
        (0.24 + 0.05 * drop, chin + drop),
        (0, chin + drop + 0.05),
    ]
    right = [head.at(inner), head.rim(outer)]
    left = [head.rim(mirror(outer))[1:], head.at(mirror(inner))[:-1]]
    return smooth(np.vstack([*right, *left]), steps=5)


def paint_moustache(canvas: Canvas, head: Head, person: Person) -> None:
    """Above the mouth, or over it."""
    if person.beard in ("none", "stubble"):
        return
    m, w = person.mouth_y, person.mouth_width
    long = {"moustache": 0.16, "goatee": 0.06, "full": 0.1, "huge": 0.3}[person.beard]
    deep = {"moustache": 0.05, "goatee": 0.02, "full": 0.04, "huge": 0.13}[person.beard]
    colour = mix(person.hair_colour, (150, 80, 40), 0.12)
    half = [
        (0, m - 0.2),
        (0.16, m - 0.21),
        (w + 0.3 * long, m - 0.09),
        (w + long, m + 0.03 + 0.3 * deep),
        (w * 0.8, m + deep),
        (0.12, m - 0.05 + deep),
        (0, m - 0.07),
    ]
    shape = head.at(smooth(both_sides(half)), 0.08)
    canvas.soft(shifted(shape, 0, 0.03 * head.unit), darker(person.skin, 0.5), 0.03 * head.unit, 0.45)
    canvas.fill(shape, lighter(colour, 0.05))
    for side in (-1, 1):
        for step in range(8):
            x = 0.03 + 0.05 * step
            lock = smooth(
                np.array([(0.6 * x, m - 0.17), (x + 0.05, m - 0.1), (x + 0.12 + long * 0.3, m - 0.02 + 0.5 * deep)])
                * (side, 1),
                closed=False,
                steps=4,
            )
            canvas.fill(
                head.at(ribbon(lock, (0.0, 0.03, 0.0)), 0.08),
                darker(colour, 0.28) if step % 2 else lighter(colour, 0.2),
                0.8,
            )
