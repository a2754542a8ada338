"""Cloth wound round head or neck: headscarves, hoods and scarves. All leave mouth and nose free."""

from __future__ import annotations

import numpy as np

from labeler.demo.canvas import Canvas, darker, lighter
from labeler.demo.geometry import Head, both_sides, ribbon, ring, shifted, smooth
from labeler.demo.people import Person, palette


def paint_hijab(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """A scarf round face and neck that leaves the whole face free: no mask."""
    colour, w, unit = person.headwear_colour, person.width, head.unit
    outer = both_sides(
        [
            (0, -1.44),
            (0.66, -1.3),
            (w + 0.22, -0.62),
            (w + 0.26, 0.3),
            (w + 0.2, 1.0),
            (1.0, 1.6),
            (0.95, 2.3),
            (0, 2.55),
        ]
    )
    hole = both_sides(
        [
            (0, -0.82),
            (0.5, -0.74),
            (0.82 * w, -0.36),
            (0.92 * w, 0.2),
            (0.8 * w, 0.78),
            (0.5 * w, person.chin - 0.06),
            (0, person.chin + 0.06),
        ]
    )
    whole, gap = head.rim(smooth(outer), z=0.0), head.rim(smooth(hole))
    gap = 0.5 * gap + 0.5 * head.at(smooth(hole))
    with canvas.inside(gap) as face:
        face.soft(ring(gap, 0.16 * unit), darker(person.skin, 0.6), 0.07 * unit, 0.6)
    with canvas.inside(whole, without=gap) as cloth:
        cloth.fill(whole, colour)
        cloth.soft(ring(whole, 0.25 * unit), darker(colour, 0.5), 0.14 * unit, 0.5)
        side = 1 if rng.uniform() < 0.5 else -1
        folds = [
            [(-0.8, 0.9), (-0.2, 1.5), (0.7, 1.6)],
            [(-0.95, 0.6), (-0.3, 1.75), (0.9, 2.0)],
            [(0.5, 1.3), (0.1, 1.7), (-0.7, 2.1)],
            [(-1.05, -0.2), (-0.98, 0.5), (-0.7, 1.0)],
            [(1.0, -0.4), (1.02, 0.3), (0.85, 0.95)],
            [(-0.6, -1.2), (0, -1.12), (0.6, -1.2)],
            [(-0.75, -0.9), (0, -0.96), (0.75, -0.9)],
        ]
        for fold in folds:
            curve = smooth(np.array(fold) * (side, 1), closed=False)
            cloth.soft(head.rim(ribbon(curve, (0.0, 0.09, 0.0)), z=0.05), darker(colour, 0.42), 0.035 * unit, 0.75)
            cloth.soft(
                head.rim(ribbon(curve - (0, 0.07), (0.0, 0.06, 0.0)), z=0.05), lighter(colour, 0.35), 0.03 * unit, 0.6
            )
    canvas.fill(ring(gap, 0.03 * unit), darker(colour, 0.2))


def paint_hood(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour, w = person.headwear_colour, person.width
    outer = both_sides(
        [
            (0, -1.5),
            (0.7, -1.36),
            (w + 0.26, -0.66),
            (w + 0.32, 0.3),
            (w + 0.3, 1.1),
            (w + 0.1, 1.75),
            (0.6, 2.0),
            (0, 2.05),
        ]
    )
    hole = both_sides(
        [(0, -0.98), (0.6, -0.88), (0.98 * w, -0.4), (1.02 * w, 0.3), (0.95 * w, 0.95), (0.66, 1.5), (0, 1.85)]
    )
    whole, gap = head.rim(smooth(outer), z=0.0), head.rim(smooth(hole), z=0.1)
    with canvas.inside(gap) as inside:
        inside.soft(ring(gap, 0.26 * head.unit), darker(person.skin, 0.75), 0.1 * head.unit, 0.5)
    with canvas.inside(whole, without=gap) as cloth:
        cloth.fill(whole, colour)
        cloth.soft(ring(whole, 0.25 * head.unit), darker(colour, 0.45), 0.12 * head.unit, 0.6)
    canvas.fill(ring(gap, 0.09 * head.unit), lighter(colour, 0.16))


def paint_scarf(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """Wound round the neck up to the chin."""
    colour, unit = palette(rng), head.unit
    top = person.chin - 0.16 + float(rng.uniform(0, 0.2))
    loops = [
        [
            (-0.98, top - 0.06),
            (-0.5, top + 0.12),
            (0, top + 0.18),
            (0.5, top + 0.12),
            (0.98, top - 0.06),
            (1.08, top + 0.3),
            (0.6, top + 0.56),
            (0, top + 0.62),
            (-0.6, top + 0.56),
            (-1.08, top + 0.3),
        ],
        [
            (-1.08, top + 0.22),
            (0, top + 0.48),
            (1.1, top + 0.2),
            (1.2, top + 0.55),
            (0, top + 0.92),
            (-1.16, top + 0.58),
        ],
    ]
    second = palette(rng) if rng.uniform() < 0.5 else lighter(colour, 0.2)
    tail = smooth([(0.2, top + 0.6), (0.62, top + 0.5), (0.78, top + 1.8), (0.3, top + 1.9)], steps=5)
    for shape, tone in (
        (tail, darker(colour, 0.12)),
        (smooth(loops[1]), darker(colour, 0.05)),
        (smooth(loops[0]), colour),
    ):
        placed = 0.5 * head.body(shape) + 0.5 * head.rim(shape)
        canvas.soft(shifted(placed, 0, 0.05 * unit), (30, 22, 36), 0.06 * unit, 0.35)
        with canvas.inside(placed) as cloth:
            cloth.fill(placed, tone)
            for x in np.linspace(-1.0, 1.0, 8):
                band = smooth([(x * 1.05, top - 0.2), (x, top + 0.3), (x * 1.1 + 0.1, top + 1.9)], closed=False)
                cloth.fill(0.5 * head.body(ribbon(band, 0.1)) + 0.5 * head.rim(ribbon(band, 0.1)), second, 0.8)
            cloth.soft(ring(placed, 0.14 * unit), darker(tone, 0.5), 0.07 * unit, 0.6)
