"""Hair on the head: what hangs behind it, and what frames and falls over the face."""

from __future__ import annotations

import numpy as np

from labeler.demo.canvas import Canvas, darker, lighter, mix
from labeler.demo.geometry import Head, Points, both_sides, ellipse, mirror, ribbon, shifted, smooth
from labeler.demo.locks import paint_comb, paint_curls, paint_strands, scalloped
from labeler.demo.people import LONG_HAIR, Person

# How far the hair stands off the skull, face units.
_VOLUME = {
    "bald": 0.0, "buzz": 0.015, "receding": 0.05, "crop": 0.07, "side part": 0.13, "quiff": 0.12, "pixie": 0.13,
    "fringe": 0.14, "bun": 0.07, "ponytail": 0.08, "braids": 0.09, "bob": 0.14, "long straight": 0.13,
    "long wavy": 0.18, "curly long": 0.22, "curly short": 0.16, "afro": 0.42, "mohawk": 0.02,
}  # fmt: skip
_PARTED = ("long straight", "long wavy", "bob", "curly long", "braids", "side part", "fringe", "pixie")


def paint_back(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """What hangs behind head and neck; painted before the body."""
    painter = _BEHIND.get(person.hair)
    if painter is not None:
        painter(canvas, head, person, rng)


def _hanging(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """Loose hair, as long as it is."""
    w, style = person.width, person.hair
    colour = darker(person.hair_colour, 0.28)
    length = 0.95 if style == "bob" else float(rng.uniform(1.5, 2.3))
    swell = {"long straight": 0.18, "long wavy": 0.3, "bob": 0.26, "curly long": 0.46}[style]
    half = [
        (0, -1.3),
        (0.7 * w, -1.1),
        (w + 0.6 * swell, -0.4),
        (w + 0.8 * swell, 0.5),
        (w + swell, length * 0.75),
        (w + 0.6 * swell, length),
        (0.4, length + 0.08),
        (0, length),
    ]
    shape = smooth(both_sides(half))
    if style in ("long wavy", "curly long"):
        shape = scalloped(shape, 0.05 if style == "long wavy" else 0.09, 26)
    placed = head.rim(shape, z=-0.25)
    canvas.fill(placed, colour)
    with canvas.inside(placed) as hair:
        for _ in range(14):
            x = float(rng.uniform(-w - swell, w + swell))
            lock = smooth([(x * 0.8, -0.5), (x * 1.02, 0.6), (x + rng.normal(0, 0.06), length + 0.1)], closed=False)
            hair.fill(head.rim(ribbon(lock, (0.01, 0.06, 0.02)), z=-0.25), lighter(colour, 0.06))


def _ponytail(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """One tail, behind one shoulder."""
    colour = darker(person.hair_colour, 0.28)
    side = 1 if rng.uniform() < 0.5 else -1
    tail = smooth(
        np.array(
            [
                (0.5, -0.9),
                (1.05, -1.0),
                (1.4, -0.2),
                (1.35, 0.8),
                (1.15, 1.35),
                (1.1, 0.7),
                (1.02, -0.1),
                (0.8, -0.4),
            ]
        )
        * (side, 1)
    )
    canvas.fill(head.rim(tail, z=-0.45), colour)
    lock = smooth(np.array([(0.8, -0.8), (1.2, -0.3), (1.24, 0.8)]) * (side, 1), closed=False)
    canvas.fill(head.rim(ribbon(lock, (0.02, 0.1, 0.02)), z=-0.45), lighter(colour, 0.14), 0.6)


def _bun(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """A knot on the crown."""
    knot = ellipse(0, -1.42, 0.42, 0.36)
    canvas.fill(head.rim(knot, z=-0.35), person.hair_colour)
    for turn in (0.2, 0.9, 1.7):
        swirl = ribbon(ellipse(0, -1.42, 0.3 * np.cos(turn) + 0.06, 0.26)[:18], (0.0, 0.05, 0.0))
        canvas.fill(head.rim(swirl, z=-0.35), darker(person.hair_colour, 0.25), 0.7)
    canvas.soft(
        head.rim(ellipse(-0.1, -1.55, 0.16, 0.1), z=-0.35), lighter(person.hair_colour, 0.4), 0.06 * head.unit, 0.5
    )


def _afro(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """A round cloud of curls."""
    colour = darker(person.hair_colour, 0.28)
    placed = head.rim(
        scalloped(
            smooth(
                both_sides([(0, -1.68), (0.8, -1.5), (1.38, -0.85), (1.45, -0.1), (1.22, 0.48), (0.7, 0.5), (0, 0.4)])
            ),
            0.045,
            40,
        ),
        z=-0.15,
    )
    canvas.fill(placed, colour)
    paint_curls(canvas, [placed], placed, colour, head.unit, rng, 70)


def _braids(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """Two plaits with a band at the end."""
    w = person.width
    colour = darker(person.hair_colour, 0.28)
    for side in (-1, 1):
        for step in range(7):
            x, y = side * (w + 0.1 + 0.02 * step), 0.45 + 0.24 * step
            canvas.fill(
                head.rim(ellipse(x, y, 0.16 - 0.008 * step, 0.155, turn=side * 0.5), z=-0.1),
                mix(colour, person.hair_colour, 0.6),
            )
            canvas.fill(
                head.rim(ribbon(smooth([(x - 0.1, y + 0.02), (x + 0.08, y + 0.13)], closed=False), 0.025), z=-0.1),
                darker(colour, 0.3),
                0.8,
            )
        canvas.fill(head.rim(ellipse(side * (w + 0.24), 2.05, 0.1, 0.07), z=-0.1), person.second_colour)


_BEHIND = {
    "long straight": _hanging,
    "long wavy": _hanging,
    "bob": _hanging,
    "curly long": _hanging,
    "ponytail": _ponytail,
    "bun": _bun,
    "afro": _afro,
    "braids": _braids,
}


def paint_front(
    canvas: Canvas, head: Head, person: Person, rng: np.random.Generator, *, under_hat: bool = False
) -> None:
    """The cap of hair with its hairline, parting, fringe and side locks, and the shadow they cast on the face."""
    style, colour = person.hair, person.hair_colour
    if style == "bald":
        canvas.soft(head.at(ellipse(-0.2, -0.85, 0.22, 0.1)), lighter(person.skin, 0.6), 0.07 * head.unit, 0.5)
        return
    outer, line = _outer_edge(head, person, under_hat), _hairline(head, person, rng)
    cap = np.vstack([outer, line[::-1]])
    pieces = [cap, *_loose_pieces(head, person, rng)]
    with canvas.inside(head.rim(person.outline())) as skin:
        for piece in pieces:
            skin.soft(shifted(piece, 0, 0.06 * head.unit), darker(person.skin, 0.55), 0.05 * head.unit, 0.4)
    if style in ("buzz", "mohawk", "receding"):
        canvas.soft(cap, mix(colour, person.skin, 0.25), 0.035 * head.unit, 0.62 if style != "receding" else 0.9)
        if style == "mohawk" and not under_hat:
            _mohawk(canvas, head, person, rng)
        return
    for piece in pieces:
        canvas.fill(piece, colour)
    if "curly" in style or style == "afro":
        paint_curls(canvas, pieces, cap, colour, head.unit, rng, 46)
        return
    with canvas.inside(*pieces) as hair:
        paint_strands(hair, outer, line, colour, head.unit, rng, along=style in _PARTED)
        for piece in pieces[1:]:
            paint_comb(hair, piece, colour, rng, hanging=style in ("fringe", "bob", "braids") and piece is pieces[1])


def _outer_edge(head: Head, person: Person, under_hat: bool) -> Points:
    """The top of the hair from the left sideburn over the crown to the right one, in pixels."""
    w, v = person.width, 0.01 if under_hat else _VOLUME[person.hair]
    low = 0.3 if person.hair in LONG_HAIR else 0.12
    half = np.array(
        [
            (w + 0.01, low),
            (w + 0.03 + 0.55 * v, -0.25),
            (0.93 * w + 0.85 * v, -0.75),
            (0.55 * w + 0.55 * v, -1.14 - 0.85 * v),
            (0.0, -1.24 - v),
        ]
    )
    whole = np.vstack([mirror(half)[::-1], half[::-1][1:]])
    if person.hair == "quiff" and not under_hat:
        whole[len(half) - 2 : len(half) + 1, 1] -= (0.1, 0.16, 0.06)
    curve = smooth(whole, closed=False)
    if "curly" in person.hair or person.hair == "afro":
        curve = scalloped(curve, 0.045, 22, closed=False)
    return head.rim(curve, z=-0.05)


def _hairline(head: Head, person: Person, rng: np.random.Generator) -> Points:
    """Where hair meets forehead, from the left sideburn to the right one, in pixels."""
    w, style = person.width, person.hair
    high = -0.8 - 0.08 * (person.style < 0.5) - (0.12 if style in ("bun", "ponytail") else 0.0)
    temple, burn = (0.84 * w, -0.42), (0.93 * w, 0.12)
    if style == "receding":
        half = [(0.95 * w, 0.1), (0.86 * w, -0.3), (0.88 * w, -0.72), (0.6 * w, -1.06), (0.0, -1.2)]
    elif style == "mohawk":
        half = [(0.95 * w, -0.05), (0.82 * w, -0.45), (0.6, -0.78), (0.3, -0.92), (0.0, -0.95)]
    else:
        half = [burn, temple, (0.62 * w, -0.68), (0.3, high), (0.0, high - 0.02)]
    right = np.array(half)
    whole = np.vstack([mirror(right)[::-1], right[::-1][1:]])
    if style in ("side part", "pixie", "bob", "long straight", "long wavy"):
        whole[3:6, 0] += (0.3 if style == "side part" else 0.14) * (1 if rng.uniform() < 0.5 else -1)
    return head.at(smooth(whole, closed=False))


def _loose_pieces(head: Head, person: Person, rng: np.random.Generator) -> list[Points]:
    """Fringes, quiffs and side locks in pixels."""
    w, style = person.width, person.hair
    side = 1 if rng.uniform() < 0.5 else -1
    pieces: list[Points] = []
    if style in ("fringe", "bob", "braids") or (style == "long straight" and rng.uniform() < 0.4):
        ends = [
            (x, -0.36 + 0.05 * abs(x) + (0.05 if step % 2 else 0.0))
            for step, x in enumerate(np.linspace(0.74 * w, -0.74 * w, 13))
        ]
        pieces.append(
            head.at(
                np.vstack(
                    [
                        smooth(
                            [(-0.86 * w, -0.5), (-0.5, -1.0), (0, -1.12), (0.5, -1.0), (0.86 * w, -0.5)], closed=False
                        ),
                        ends,
                    ]
                ),
                0.06,
            )
        )
    elif style in ("side part", "pixie", "quiff"):
        low = -0.42 if style == "pixie" else -0.62
        sweep = [
            (0.5, -1.0),
            (0.42, -0.84),
            (0.1, low - 0.08),
            (-0.4, low + 0.04),
            (-0.84 * w, low + 0.2),
            (-0.92 * w, -0.5),
            (-0.6, -1.02),
            (0, -1.2),
        ]
        if style == "quiff":
            sweep = [
                (0.6, -0.8),
                (0.3, -0.86),
                (-0.1, -0.8),
                (-0.6, -0.78),
                (-0.62, -1.2),
                (-0.1, -1.42),
                (0.5, -1.34),
                (0.74, -1.05),
            ]
        pieces.append(head.at(smooth(np.array(sweep) * (side, 1)), 0.08))
    if style in ("long straight", "long wavy", "curly long", "bob"):
        length = 0.98 if style == "bob" else float(rng.uniform(1.2, 1.9))
        for hand in (-1, 1):
            lock = np.array(
                [
                    (0.1, -1.16),
                    (0.66 * w, -1.02),
                    (w + 0.12, -0.4),
                    (w + 0.16, 0.4),
                    (w + 0.2, length * 0.8),
                    (w + 0.02, length),
                    (0.94 * w, length * 0.7),
                    (0.95 * w, 0.3),
                    (0.9 * w, -0.1),
                    (0.74 * w, -0.5),
                    (0.4, -0.8),
                ]
            )
            shape = smooth(lock * (hand, 1))
            pieces.append(head.rim(scalloped(shape, 0.045, 18) if style == "curly long" else shape, z=0.05))
    return pieces


def _mohawk(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    for x in np.linspace(-0.22, 0.22, 7):
        tip = (x * 2.2 + float(rng.normal(0, 0.03)), -1.85 + abs(x))
        spike = np.array(
            [(x - 0.09, -0.95), (x - 0.06 + 0.4 * x, -1.4), tip, (x + 0.07 + 0.4 * x, -1.4), (x + 0.09, -0.95)]
        )
        canvas.fill(head.rim(spike, z=0.1), lighter(person.hair_colour, 0.1 + 0.3 * float(rng.uniform())))
