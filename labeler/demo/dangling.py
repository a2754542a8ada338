"""Masks that protect nobody: under the chin, on the forehead, over the eyes, on one ear. Mouth and nose are bare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from labeler.demo import masks, patterns
from labeler.demo.canvas import Canvas, darker, lighter
from labeler.demo.geometry import Head, Points, place, ribbon, ring, shifted, smooth
from labeler.demo.masks import Mask
from labeler.demo.people import Person

PLACES = ("chin", "ear", "forehead", "eyes")


def paint_dangling(
    canvas: Canvas, head: Head, person: Person, mask: Mask, where: str, rng: np.random.Generator
) -> None:
    """A mask at one of :data:`PLACES`."""
    if where == "ear":
        _hang_from_ear(canvas, head, person, mask, rng)
        return
    squash, centre = {"chin": (0.42, person.chin + 0.06), "forehead": (0.5, -0.7), "eyes": (0.48, 0.0)}[where]
    turned, unit, tone = head.at if where != "chin" else head.rim, head.unit, mask.colour

    def worn(points: Points) -> Points:
        return turned(shifted((points - (0, 0.75)) * (0.96, squash), 0, centre))

    shape = worn(masks.outline(person, replace(mask, kind="surgical"), 0.0))
    for side in (-1, 1):
        for height in (-0.5, 0.5):
            start = turned([(side * 0.76 * person.width, centre + height * squash)])[0]
            ear = head.rim([(side * (person.width + 0.05), 0.1 + 0.2 * height)], z=-0.1)[0]
            canvas.fill(ribbon(np.linspace(start, ear, 4), 0.032 * unit), lighter(tone, 0.5))
    canvas.soft(shifted(shape, 0, 0.05 * unit), darker(person.skin, 0.6), 0.05 * unit, 0.4)
    with canvas.inside(shape) as cloth:
        cloth.fill(shape, tone)
        patterns.paint_pattern(cloth, worn, mask.pattern, tone, mask.second, rng)
        cloth.soft(ring(shape, 0.14 * unit), darker(tone, 0.4), 0.08 * unit, 0.5)
        for y in (-0.35, 0.0, 0.35):
            pleat = smooth(
                [(-0.9, centre + y * squash), (0, centre + y * squash + 0.06), (0.9, centre + y * squash)], closed=False
            )
            cloth.soft(turned(ribbon(pleat, 0.035)), darker(tone, 0.42), 0.02 * unit, 0.7)


def _hang_from_ear(canvas: Canvas, head: Head, person: Person, mask: Mask, rng: np.random.Generator) -> None:
    side = 1 if rng.uniform() < 0.5 else -1
    x, y, turn = side * (person.width + 0.12), 0.95, side * float(rng.uniform(-0.35, 0.1))
    panel = smooth(
        [(-0.3, -0.42), (0.0, -0.46), (0.3, -0.42), (0.34, 0.0), (0.3, 0.42), (0.0, 0.46), (-0.3, 0.42), (-0.34, 0.0)]
    )
    shape = head.rim(place(panel, x, y, turn=turn), z=0.1)
    unit = head.unit
    for edge in (-0.22, 0.22):
        loop = smooth(
            [(x + edge, y - 0.42), (x + 0.4 * edge, 0.3), (side * (person.width + 0.06), -0.08)], closed=False
        )
        canvas.fill(head.rim(ribbon(loop, 0.032), z=0.0), lighter(mask.colour, 0.5))
    loose = smooth([(x - 0.24, y + 0.4), (x - 0.1, y + 0.78), (x + 0.2, y + 0.74), (x + 0.24, y + 0.4)], closed=False)
    canvas.fill(head.rim(ribbon(loose, 0.03), z=0.1), lighter(mask.colour, 0.5))
    canvas.soft(shifted(shape, 0, 0.06 * unit), (40, 30, 40), 0.06 * unit, 0.3)
    with canvas.inside(shape) as cloth:
        cloth.fill(shape, mask.colour)
        patterns.paint_pattern(
            cloth,
            lambda points: head.rim(place((points - (0, 0.75)) * 0.7, x, y, turn=turn), z=0.1),
            mask.pattern,
            mask.colour,
            mask.second,
            rng,
        )
        for level in (-0.2, 0.0, 0.2):
            pleat = place(np.array([(level, -0.5), (level + 0.02, 0.5)]), x, y, turn=turn)
            cloth.soft(head.rim(ribbon(pleat, 0.04), z=0.1), darker(mask.colour, 0.4), 0.025 * unit, 0.7)
        cloth.soft(ring(shape, 0.1 * unit), darker(mask.colour, 0.4), 0.06 * unit, 0.5)
