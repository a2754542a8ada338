"""Hands, and what they do before a face on their own."""

from __future__ import annotations

import numpy as np

from labeler.demo.canvas import Canvas, Colour, darker, lighter, mix
from labeler.demo.geometry import Head, Points, ellipse, place, ribbon, ring, shifted, smooth
from labeler.demo.people import Person, ruddy

Axes = tuple[float, float, float, float]  # x, y, turn, side (-1 or 1) of a part on the face


def on(head: Head, points: Points, axes: Axes, scale: float = 1.0) -> Points:
    """A part's own axes to pixels: on a plane before the face that follows its tilt but not its relief."""
    x, y, turn, side = axes
    return head.rim(place(np.asarray(points) * (side, 1), x, y, turn=turn * side, scale=scale), z=0.75)


def paint_finger(
    canvas: Canvas, head: Head, bones: list[tuple[float, float]], width: float, axes: Axes, skin: Colour, *, nail: bool
) -> None:
    curve = smooth(bones, closed=False, steps=5)
    canvas.fill(
        on(head, shifted(ribbon(curve, (width * 1.1, width, width * 0.92), round_ends=True), 0.012, 0.02), axes),
        darker(ruddy(skin), 0.4),
    )
    canvas.fill(on(head, ribbon(curve, (width * 1.06, width * 0.96, width * 0.86), round_ends=True), axes), skin)
    shine = ribbon(curve[2:-2] - (0.0, 0.18 * width), (0.0, 0.3 * width, 0.0))
    canvas.fill(on(head, shine, axes), lighter(skin, 0.25), 0.6)
    if nail:
        tip, before = curve[-1], curve[-3]
        turn = float(np.arctan2(*(tip - before)[::-1]))
        canvas.fill(
            on(head, ellipse(tip[0], tip[1], 0.34 * width, 0.27 * width, turn=turn, count=14), axes),
            mix(lighter(skin, 0.45), (236, 150, 150), 0.3),
        )


def paint_palm(canvas: Canvas, head: Head, outline: list[tuple[float, float]], axes: Axes, skin: Colour) -> None:
    shape = smooth(outline)
    canvas.soft(on(head, shifted(shape, 0.02, 0.06), axes), darker(skin, 0.75), 0.06 * head.unit, 0.4)
    placed = on(head, shape, axes)
    canvas.fill(placed, skin)
    with canvas.inside(placed) as palm:
        palm.soft(ring(placed, 0.1 * head.unit), darker(ruddy(skin), 0.28), 0.06 * head.unit, 0.6)


def paint_sleeve(
    canvas: Canvas, head: Head, person: Person, path: list[tuple[float, float]], width: float, axes: Axes
) -> None:
    """An arm from the wrist out of the picture."""
    curve = smooth(path, closed=False)
    cloth = person.clothes_colour if person.clothes != "straps" else darker(person.skin, 0.05)
    canvas.fill(on(head, ribbon(curve, (width, width * 1.35)), axes), cloth)
    canvas.soft(
        on(head, ribbon(shifted(curve, 0.3 * width, 0), (0.3 * width, 0.5 * width)), axes),
        darker(cloth, 0.4),
        0.07 * head.unit,
        0.6,
    )
    canvas.fill(on(head, ribbon(curve[:3], (width * 1.1, width * 1.1)), axes), lighter(cloth, 0.15))


def paint_grip(canvas: Canvas, head: Head, axes: Axes, skin: Colour, width: float) -> None:
    """Four fingers round something upright, seen from the front."""
    for row in range(4):
        y = 0.3 - 0.185 * row
        paint_finger(
            canvas, head, [(width + 0.12, y), (0.1, y - 0.03), (-width * 0.55, y + 0.02)], 0.19, axes, skin, nail=True
        )


def paint_hand_over_mouth(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """The back of a hand flat before the mouth, fingers to the other cheek."""
    side, skin = float(rng.choice((-1, 1))), lighter(person.skin, 0.06)
    axes = (side * -0.02, 0.84 + float(rng.uniform(-0.06, 0.1)), float(rng.uniform(-0.1, 0.35)), side)
    paint_sleeve(canvas, head, person, [(0.95, 0.5), (1.5, 1.2), (2.0, 2.4)], 0.5, axes)
    paint_palm(
        canvas,
        head,
        [(0.1, -0.3), (0.5, -0.34), (0.86, -0.12), (1.16, 0.3), (0.86, 0.66), (0.5, 0.4), (0.14, 0.34)],
        axes,
        skin,
    )
    for row, (y, reach) in enumerate(((0.28, -0.36), (0.1, -0.52), (-0.08, -0.56), (-0.25, -0.46))):
        paint_finger(canvas, head, [(0.3, y), (-0.05, y - 0.03), (reach, y + 0.02 * row)], 0.185, axes, skin, nail=True)
    paint_finger(canvas, head, [(0.72, -0.16), (0.52, -0.42), (0.3, -0.5)], 0.17, axes, skin, nail=False)


def paint_giggle(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """Fingertips before the lips, the hand coming from below."""
    side, skin = float(rng.choice((-1, 1))), lighter(person.skin, 0.06)
    axes = (side * 0.08, 1.02, float(rng.uniform(-0.25, 0.1)), side)
    paint_sleeve(canvas, head, person, [(0.12, 0.95), (0.3, 1.6), (0.6, 2.6)], 0.46, axes)
    paint_palm(
        canvas,
        head,
        [(-0.3, 0.1), (0.0, 0.02), (0.32, 0.1), (0.36, 0.6), (0.3, 0.98), (-0.14, 0.98), (-0.28, 0.6)],
        axes,
        skin,
    )
    for x, reach in ((0.26, -0.2), (0.09, -0.34), (-0.09, -0.36), (-0.25, -0.24)):
        paint_finger(canvas, head, [(x, 0.22), (x * 0.95, -0.05), (x * 0.8, reach)], 0.175, axes, skin, nail=True)
    paint_finger(canvas, head, [(-0.26, 0.6), (-0.46, 0.34), (-0.5, 0.1)], 0.17, axes, skin, nail=True)


def paint_thinking(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """Chin in hand, a finger along the cheek; the mouth stays free."""
    side, skin = float(rng.choice((-1, 1))), lighter(person.skin, 0.04)
    axes = (side * 0.42, person.chin + 0.1, 0.1, side)
    paint_sleeve(canvas, head, person, [(0.1, 0.6), (0.24, 1.2), (0.4, 2.4)], 0.46, axes)
    paint_palm(
        canvas,
        head,
        [(-0.32, -0.02), (0.0, -0.12), (0.32, -0.06), (0.34, 0.4), (0.26, 0.66), (-0.12, 0.66), (-0.3, 0.4)],
        axes,
        skin,
    )
    for row, y in enumerate((0.36, 0.2, 0.05)):
        paint_finger(
            canvas,
            head,
            [(0.14, y - 0.02), (-0.16, y - 0.06), (-0.4, y + 0.02 + 0.02 * row)],
            0.17,
            axes,
            skin,
            nail=False,
        )
    paint_finger(canvas, head, [(0.24, 0.0), (0.36, -0.4), (0.4, -0.78)], 0.16, axes, skin, nail=True)
