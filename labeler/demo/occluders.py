"""What people hold before their faces or wind round their necks; none of it is a mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labeler.demo.canvas import Canvas, darker, lighter, mix
from labeler.demo.geometry import Head, ellipse, ribbon, ring, shifted, smooth
from labeler.demo.hands import (
    on,
    paint_finger,
    paint_giggle,
    paint_grip,
    paint_hand_over_mouth,
    paint_palm,
    paint_sleeve,
    paint_thinking,
)
from labeler.demo.people import Person, palette
from labeler.demo.wraps import paint_scarf


def paint_occluder(canvas: Canvas, head: Head, person: Person, name: str, rng: np.random.Generator) -> None:
    """One object by name, see :data:`OCCLUDERS`; the rng decides side, size and colour."""
    OCCLUDERS[name](canvas, head, person, rng)


def _phone(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """A selfie in the mirror: the back of a phone before the lower face."""
    side, skin = float(rng.choice((-1, 1))), lighter(person.skin, 0.06)
    axes = (
        side * float(rng.uniform(-0.1, 0.15)),
        0.96 + float(rng.uniform(-0.06, 0.12)),
        float(rng.normal(0, 0.12)),
        side,
    )
    colour = palette(rng)
    paint_sleeve(canvas, head, person, [(0.5, 0.75), (0.8, 1.4), (1.1, 2.6)], 0.46, axes)
    paint_palm(canvas, head, [(0.2, -0.1), (0.56, 0.0), (0.66, 0.4), (0.62, 0.9), (0.28, 0.9), (0.16, 0.5)], axes, skin)
    body = smooth(
        [
            (-0.38, -0.62),
            (-0.36, -0.68),
            (0.36, -0.68),
            (0.4, -0.62),
            (0.4, 0.72),
            (0.34, 0.78),
            (-0.34, 0.78),
            (-0.4, 0.72),
        ],
        steps=3,
    )
    canvas.soft(on(head, shifted(body, 0.03, 0.05), axes), (30, 24, 34), 0.05 * head.unit, 0.4)
    canvas.fill(on(head, body, axes), darker(colour, 0.35))
    canvas.fill(on(head, body * 0.95, axes), colour)
    canvas.fill(
        on(head, smooth([(-0.32, -0.6), (-0.02, -0.6), (-0.02, -0.26), (-0.32, -0.26)], steps=4), axes),
        darker(colour, 0.3),
    )
    for x, y in ((-0.23, -0.5), (-0.11, -0.37)):
        canvas.fill(on(head, ellipse(x, y, 0.07, 0.07, count=16), axes), (24, 24, 30))
        canvas.fill(on(head, ellipse(x - 0.02, y - 0.02, 0.02, 0.02, count=10), axes), (190, 210, 240))
    paint_grip(canvas, head, (axes[0], axes[1] + 0.3, axes[2], side), skin, 0.4)


def _cup(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """Drinking from a mug or a paper cup."""
    side, skin = float(rng.choice((-1, 1))), lighter(person.skin, 0.06)
    axes = (
        side * float(rng.uniform(-0.05, 0.1)),
        1.06 + float(rng.uniform(-0.05, 0.1)),
        float(rng.normal(0, 0.1)),
        side,
    )
    colour, paper = palette(rng), bool(rng.uniform() < 0.5)
    narrow = 0.3 if paper else 0.4
    paint_sleeve(canvas, head, person, [(0.56, 0.5), (0.9, 1.1), (1.3, 2.4)], 0.46, axes)
    paint_palm(canvas, head, [(0.16, -0.2), (0.5, -0.16), (0.64, 0.2), (0.6, 0.66), (0.24, 0.6)], axes, skin)
    wall = np.array([(-0.42, -0.42), (0.42, -0.42), (narrow, 0.52), (-narrow, 0.52)])
    canvas.soft(on(head, shifted(wall, 0.0, -0.04), axes), (30, 24, 34), 0.06 * head.unit, 0.4)
    if not paper:
        handle = ribbon(smooth([(-0.4, -0.2), (-0.68, -0.16), (-0.66, 0.26), (-0.38, 0.3)], closed=False), 0.1)
        canvas.fill(on(head, handle, axes), darker(colour, 0.2))
    placed = on(head, wall, axes)
    canvas.fill(placed, colour)
    with canvas.inside(placed) as cup:
        if paper:
            cup.fill(
                on(head, np.array([(-0.5, -0.12), (0.5, -0.12), (0.5, 0.24), (-0.5, 0.24)]), axes),
                mix(colour, (160, 116, 76), 0.75),
            )
        else:
            cup.fill(on(head, ellipse(0.02, 0.04, 0.15, 0.15), axes), lighter(person.second_colour, 0.3))
        cup.soft(
            on(head, np.array([(0.2, -0.5), (0.5, -0.5), (0.5, 0.6), (0.2, 0.6)]), axes),
            darker(colour, 0.5),
            0.08 * head.unit,
            0.5,
        )
        cup.soft(
            on(head, np.array([(-0.32, -0.5), (-0.22, -0.5), (-0.2, 0.6), (-0.28, 0.6)]), axes),
            (255, 255, 255),
            0.04 * head.unit,
            0.5,
        )
    rim = ellipse(0, -0.42, 0.43, 0.07)
    canvas.fill(on(head, rim, axes), lighter(colour, 0.5) if not paper else (246, 244, 240))
    paint_grip(canvas, head, (axes[0] + side * 0.12, axes[1] + 0.06, axes[2], side), skin, 0.34)


def _microphone(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    side, skin = float(rng.choice((-1, 1))), lighter(person.skin, 0.06)
    axes = (side * 0.06, person.mouth_y + 0.2, float(rng.uniform(0.1, 0.5)), side)
    paint_sleeve(canvas, head, person, [(0.2, 1.2), (0.5, 1.8), (0.9, 2.8)], 0.46, axes)
    canvas.fill(on(head, np.array([(-0.13, 0.2), (0.13, 0.2), (0.09, 1.4), (-0.09, 1.4)]), axes), (44, 44, 52))
    paint_palm(canvas, head, [(-0.1, 0.66), (0.3, 0.6), (0.36, 1.0), (0.26, 1.3), (-0.06, 1.2)], axes, skin)
    ball = on(head, ellipse(0, 0, 0.25, 0.28), axes)
    canvas.soft(shifted(ball, 0, 0.05 * head.unit), (30, 24, 34), 0.05 * head.unit, 0.45)
    tone = (70, 70, 80) if rng.uniform() < 0.5 else mix(palette(rng), (90, 90, 96), 0.4)
    canvas.fill(ball, tone)
    with canvas.inside(ball) as foam:
        for step in np.linspace(-0.25, 0.25, 7):
            foam.fill(on(head, ribbon(np.array([(step, -0.3), (step, 0.3)]), 0.02), axes), darker(tone, 0.4))
            foam.fill(on(head, ribbon(np.array([(-0.3, step), (0.3, step)]), 0.02), axes), darker(tone, 0.4))
        foam.soft(on(head, ellipse(-0.08, -0.1, 0.09, 0.09), axes), lighter(tone, 0.6), 0.05 * head.unit, 0.7)
    canvas.fill(on(head, np.array([(-0.19, 0.2), (0.19, 0.2), (0.15, 0.3), (-0.15, 0.3)]), axes), (206, 176, 96))
    paint_grip(canvas, head, (axes[0] + axes[2] * -0.75, axes[1] + 0.86, axes[2], side), skin, 0.16)


def _book(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """Someone peeping over a book."""
    axes = (0.0, 1.36 + float(rng.uniform(-0.1, 0.08)), float(rng.normal(0, 0.06)), 1.0)
    colour, skin = palette(rng), lighter(person.skin, 0.06)
    for side in (-1.0, 1.0):
        cover = np.array([(0, -0.72), (1.16, -0.82), (1.2, 0.86), (0, 0.98)]) * (side, 1)
        canvas.soft(on(head, shifted(cover, 0, -0.05), axes), (30, 24, 34), 0.06 * head.unit, 0.35)
        canvas.fill(
            on(head, np.array([(0, -0.76), (1.12, -0.88), (1.12, -0.8), (0, -0.68)]) * (side, 1), axes),
            (244, 238, 224),
        )
        canvas.fill(on(head, cover, axes), colour if side < 0 else darker(colour, 0.12))
    canvas.soft(
        on(head, ribbon(np.array([(0.0, -0.72), (0.0, 0.98)]), 0.12), axes), darker(colour, 0.5), 0.04 * head.unit, 0.8
    )
    canvas.fill(
        on(head, smooth([(0.28, -0.4), (0.92, -0.46), (0.92, -0.18), (0.28, -0.14)], steps=3), axes),
        lighter(colour, 0.6),
    )
    canvas.fill(on(head, ellipse(0.6, 0.24, 0.24, 0.24), axes), person.second_colour)
    canvas.fill(on(head, ellipse(-0.6, 0.1, 0.3, 0.4), axes), lighter(colour, 0.25))
    for side in (-1.0, 1.0):
        grip = (side * 1.05, axes[1] + 0.3, 0.15, side)
        for row in range(4):
            paint_finger(
                canvas,
                head,
                [(0.3, 0.1 + 0.15 * row), (0.0, 0.06 + 0.15 * row), (-0.18, 0.1 + 0.15 * row)],
                0.16,
                grip,
                skin,
                nail=True,
            )


def _lollipop(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    side = float(rng.choice((-1, 1)))
    axes = (side * 0.1, person.mouth_y + 0.02, float(rng.uniform(-0.2, 0.5)), side)
    colour, radius = palette(rng), float(rng.uniform(0.22, 0.4))
    canvas.fill(on(head, ribbon(np.array([(0.0, 0.1), (0.05, 1.5)]), 0.06), axes), (250, 246, 238))
    canvas.soft(on(head, ellipse(0, 0.05, radius, radius), axes), (30, 22, 36), 0.06 * head.unit, 0.4)
    canvas.fill(on(head, ellipse(0, 0, radius, radius), axes), colour)
    t = np.linspace(0, 5 * np.pi, 70)
    spiral = np.stack(
        [t / (5 * np.pi) * radius * 0.95 * np.cos(t), t / (5 * np.pi) * radius * 0.95 * np.sin(t)], axis=1
    )
    canvas.fill(on(head, ribbon(spiral, (0.01, radius * 0.16)), axes), lighter(colour, 0.6))
    canvas.soft(
        on(head, ellipse(-radius * 0.4, -radius * 0.4, 0.07, 0.05), axes), (255, 255, 255), 0.03 * head.unit, 0.8
    )
    paint_grip(
        canvas,
        head,
        (axes[0] - 0.9 * axes[2] * side + 0.03 * side, axes[1] + 1.1, axes[2], side),
        lighter(person.skin, 0.06),
        0.12,
    )


def _bubble_gum(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    radius = float(rng.uniform(0.2, 0.42))
    axes = (0.0, person.mouth_y + 0.05, 0.0, 1.0)
    colour = mix((240, 140, 176), palette(rng), 0.25)
    ball = on(head, ellipse(0, 0, radius, radius * 0.96, count=40), axes)
    canvas.soft(shifted(ball, 0, 0.06 * head.unit), darker(person.skin, 0.6), 0.06 * head.unit, 0.4)
    canvas.fill(ball, colour, 0.95)
    with canvas.inside(ball) as gum:
        gum.soft(ring(ball, 0.14 * head.unit), darker(colour, 0.35), 0.08 * head.unit, 0.7)
        gum.soft(
            on(head, ellipse(-radius * 0.35, -radius * 0.38, radius * 0.28, radius * 0.2, turn=-0.6), axes),
            (255, 255, 255),
            0.04 * head.unit,
            0.85,
        )


def _flowers(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """A bunch held under the nose."""
    side = float(rng.choice((-1, 1)))
    axes = (side * 0.05, 1.1 + float(rng.uniform(0, 0.14)), 0.0, side)
    paint_palm(
        canvas,
        head,
        [(-0.26, 0.6), (0.26, 0.56), (0.36, 1.0), (0.1, 1.4), (-0.3, 1.1)],
        axes,
        lighter(person.skin, 0.06),
    )
    for _ in range(9):
        x, y = rng.normal((0.0, 0.1), (0.42, 0.22))
        leaf = ribbon(smooth([(0.0, 0.9), (x * 0.6, y + 0.3), (x * 1.25, y - 0.16)], closed=False), (0.05, 0.14, 0.0))
        canvas.fill(on(head, leaf, axes), mix((84, 140, 88), (50, 96, 70), float(rng.uniform())))
    for _ in range(11):
        x, y = float(rng.normal(0.0, 0.34)), float(rng.normal(0.02, 0.18))
        colour, radius, turn = lighter(palette(rng), 0.1), float(rng.uniform(0.08, 0.13)), float(rng.uniform(0, 2))
        canvas.fill(on(head, ellipse(x, y, 1.7 * radius, 1.7 * radius, count=16), axes), darker(colour, 0.35), 0.7)
        for angle in turn + np.arange(6) * np.pi / 3:
            canvas.fill(
                on(
                    head,
                    ellipse(
                        x + radius * np.cos(angle),
                        y + radius * np.sin(angle),
                        0.75 * radius,
                        0.62 * radius,
                        turn=float(angle),
                        count=12,
                    ),
                    axes,
                ),
                colour,
            )
        canvas.fill(on(head, ellipse(x, y, 0.6 * radius, 0.6 * radius, count=12), axes), (248, 212, 96))


def _visor(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """A clear face shield: it covers the face and is no mask."""
    w = person.width
    band = smooth([(-w, -0.5), (-0.6, -0.68), (0, -0.74), (0.6, -0.68), (w, -0.5)], closed=False)
    pane = np.vstack(
        [
            band,
            smooth(
                [
                    (w + 0.12, 0.2),
                    (w + 0.06, 1.1),
                    (0.5, 1.5),
                    (0, 1.56),
                    (-0.5, 1.5),
                    (-w - 0.06, 1.1),
                    (-w - 0.12, 0.2),
                ],
                closed=False,
            ),
        ]
    )
    placed = head.at(pane, 0.2)
    canvas.fill(placed, (206, 226, 240), 0.2)
    for x, thick in ((-0.72, 0.12), (-0.5, 0.04), (0.66, 0.06)):
        gleam = smooth([(x, -0.55), (x * 1.1, 0.4), (x * 0.95, 1.3)], closed=False)
        canvas.soft(head.at(ribbon(gleam, (0.0, thick, thick, 0.0)), 0.2), (255, 255, 255), 0.02 * head.unit, 0.55)
    canvas.fill(ring(placed, 0.022 * head.unit), (180, 200, 216), 0.8)
    canvas.fill(head.at(ribbon(band, 0.15), 0.2), person.headwear_colour)
    canvas.fill(head.at(ribbon(band - (0, 0.03), 0.04), 0.2), lighter(person.headwear_colour, 0.4))


OCCLUDERS: dict[str, Callable[[Canvas, Head, Person, np.random.Generator], None]] = {
    "hand over mouth": paint_hand_over_mouth,
    "giggle": paint_giggle,
    "thinking": paint_thinking,
    "phone": _phone,
    "cup": _cup,
    "microphone": _microphone,
    "book": _book,
    "scarf": paint_scarf,
    "lollipop": _lollipop,
    "bubble gum": _bubble_gum,
    "flowers": _flowers,
    "visor": _visor,
}
