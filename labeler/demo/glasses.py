"""Glasses and sunglasses."""

from __future__ import annotations

import numpy as np

from labeler.demo.canvas import Canvas, darker, lighter
from labeler.demo.geometry import Head, ellipse, ribbon, ring, shifted, smooth
from labeler.demo.people import Person


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
        "square": smooth(
            [(-0.27, -0.17), (0, -0.2), (0.28, -0.18), (0.28, 0.08), (0.2, 0.2), (-0.18, 0.2), (-0.27, 0.08)]
        ),
        "half rim": smooth([(-0.27, -0.15), (0.28, -0.16), (0.27, 0.08), (0.0, 0.19), (-0.25, 0.1)]),
        "cat": smooth([(-0.26, -0.1), (0, -0.17), (0.36, -0.26), (0.29, 0.06), (0.02, 0.19), (-0.24, 0.1)]),
        "sun": smooth(
            [(-0.29, -0.19), (0, -0.21), (0.32, -0.2), (0.31, 0.08), (0.2, 0.23), (-0.18, 0.22), (-0.29, 0.06)]
        ),
        "aviator": smooth([(-0.27, -0.18), (0.3, -0.2), (0.31, 0.04), (0.1, 0.29), (-0.12, 0.24), (-0.27, 0.0)]),
    }[kind]
    unit, gap = head.unit, max(person.eye_gap, 0.41)
    for side in (-1, 1):
        lens = lens_shape * (side, 1) + (side * gap, 0.02)
        placed = head.at(lens, 0.14)
        arm = (
            head.at(np.array([(side * (gap + 0.27), -0.06)]), 0.14),
            head.rim(np.array([(side * (person.width + 0.03), 0.0)]), z=-0.1),
        )
        canvas.fill(ribbon(np.vstack(arm), 0.04 * unit), frame)
        canvas.soft(shifted(placed, 0, 0.05 * unit), darker(person.skin, 0.5), 0.03 * unit, 0.22)
        if dark_glass:
            canvas.fill(placed, darker(person.second_colour, 0.8), 0.93)
            with canvas.inside(placed) as glass:
                glass.soft(head.at(shifted(lens, 0, 0.2), 0.14), lighter(person.second_colour, 0.2), 0.08 * unit, 0.5)
                gleam = shifted(np.array([(-0.2, -0.3), (-0.06, -0.3), (-0.2, 0.3), (-0.34, 0.3)]), side * gap, 0)
                glass.fill(head.at(gleam, 0.14), (255, 255, 255), 0.2)
        else:
            canvas.fill(placed, (236, 244, 250), 0.12)
            gleam = shifted(smooth([(-0.16, -0.06), (-0.06, -0.15), (0.0, -0.15), (-0.14, 0.02)]), side * gap, 0)
            canvas.fill(head.at(gleam, 0.14), (255, 255, 255), 0.35)
        stroke = ribbon(lens[: len(lens) // 2 + 2], thick) if kind == "half rim" else ring(lens, thick)
        canvas.fill(head.at(stroke, 0.14), frame)
    bridge = smooth([(-gap + 0.25, 0.0), (0, -0.07), (gap - 0.25, 0.0)], closed=False)
    canvas.fill(head.at(ribbon(bridge, max(0.03, thick)), 0.2), frame)
