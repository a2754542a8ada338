"""Neck, shoulders and what is worn on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from labeler.demo.canvas import Canvas, Colour, darker, lighter, mix
from labeler.demo.geometry import Head, Points, both_sides, ellipse, ribbon, shifted, smooth
from labeler.demo.people import Person


def paint_body(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """Everything below the chin, with the shadow the head throws on the neck."""
    unit, skin = head.unit, person.skin
    neck, torso = bust = _bust(head, person)
    cloth = person.clothes_colour
    if person.clothes != "straps":
        canvas.fill(torso, cloth)
    else:
        canvas.fill(torso, darker(skin, 0.06))
    canvas.fill(neck, darker(skin, 0.1))
    with canvas.inside(*bust) as below:
        for side in (-1, 1):
            below.soft(head.body(ellipse(side * 1.5, 2.9, 0.5, 0.9)), darker(cloth, 0.5), 0.2 * unit, 0.4)
            bone = smooth([(side * 0.12, 1.93), (side * 0.4, 1.9), (side * 0.8, 1.84)], closed=False)
            below.soft(head.body(ribbon(bone, (0.05, 0.03, 0.0))), darker(skin, 0.3), 0.03 * unit, 0.4)
    _CLOTHES.get(person.clothes, _tee)(canvas, head, person, rng)
    shadow = shifted(head.rim(person.outline(0.03)), 0.0, 0.17 * unit)
    with canvas.inside(neck) as under_chin:
        under_chin.soft(shadow, darker(skin, 0.62), 0.07 * unit, 0.55)


def _bust(head: Head, person: Person) -> tuple[Points, Points]:
    """Neck and torso in pixels."""
    thick = 0.6 * person.width - 0.1 * person.style - (0.06 if person.age < 0.14 else 0.0)
    top = head.rim(np.array([(-thick * 0.92, 0.75), (thick * 0.92, 0.75)]), z=-0.1)
    low = head.body([(thick * 0.97, 1.5), (thick + 0.3, 1.82), (0.0, 2.1), (-thick - 0.3, 1.82), (-thick * 0.97, 1.5)])
    return np.vstack([top, low]), head.body(_shoulders(person))


def _bare(canvas: Canvas, head: Head, person: Person, opening: ArrayLike) -> None:
    """Skin within an opening of the clothes (face units), and nowhere beside the neck."""
    with canvas.inside(*_bust(head, person)) as skin:
        skin.fill(head.body(opening), darker(person.skin, 0.08))


def _shoulders(person: Person) -> Points:
    broad = 1.95 - 0.3 * person.style - (0.35 if person.age < 0.14 else 0.0)
    half = [
        (0.0, 1.66),
        (0.5, 1.66),
        (0.85, 1.84),
        (broad - 0.35, 2.02),
        (broad, 2.4),
        (broad + 0.2, 3.3),
        (broad + 0.3, 5.0),
        (0, 5.0),
    ]
    return smooth(both_sides(half), steps=5)


def _collar(
    canvas: Canvas, head: Head, person: Person, half: list[tuple[float, float]], rib: Colour | None = None
) -> None:
    """An opening in the clothes: skin above ``half`` (right half of its edge, from the neck down)."""
    edge = np.vstack([np.array(half), (np.array(half) * (-1, 1))[::-1][1:]])
    curve = smooth(edge, closed=False)
    _bare(canvas, head, person, np.vstack([curve, [(-half[0][0], 1.3), (half[0][0], 1.3)]]))
    if rib is not None:
        canvas.fill(head.body(ribbon(curve, 0.09)), rib)
        canvas.fill(head.body(ribbon(shifted(curve, 0, 0.045), 0.015)), darker(rib, 0.3))


def _tee(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    _collar(
        canvas, head, person, [(0.74, 1.72), (0.58, 1.9), (0.3, 2.04), (0.0, 2.1)], darker(person.clothes_colour, 0.14)
    )
    if rng.uniform() < 0.4:
        canvas.fill(head.body(ellipse(0, 2.85, 0.36, 0.36)), person.second_colour)
        canvas.fill(head.body(ellipse(0.08, 2.78, 0.16, 0.16)), lighter(person.second_colour, 0.45))


def _striped(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    with canvas.inside(head.body(_shoulders(person))) as cloth:
        for y in np.arange(2.05, 4.2, 0.26):
            cloth.fill(
                head.body(ribbon(smooth([(-2.4, y + 0.12), (0, y), (2.4, y + 0.12)], closed=False), 0.12)),
                person.second_colour,
            )
    _collar(canvas, head, person, [(0.74, 1.72), (0.6, 1.86), (0.3, 1.98), (0.0, 2.02)], person.second_colour)


def _vee(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    colour = (
        mix((80, 160, 160), (70, 110, 170), float(rng.uniform()))
        if person.clothes == "scrubs"
        else person.clothes_colour
    )
    if person.clothes == "scrubs":
        canvas.fill(head.body(_shoulders(person)), colour)
    vee = np.array([(-0.74, 1.72), (-0.5, 2.0), (0, 2.6), (0.5, 2.0), (0.74, 1.72)])
    _bare(canvas, head, person, np.vstack([vee, [(0.6, 1.3), (-0.6, 1.3)]]))
    canvas.fill(head.body(ribbon(vee, 0.11)), darker(colour, 0.16))
    if person.style > 0.5:
        chain = smooth([(-0.55, 1.75), (-0.25, 2.1), (0, 2.18), (0.25, 2.1), (0.55, 1.75)], closed=False)
        canvas.fill(head.body(ribbon(chain, 0.025)), (228, 190, 100))
        canvas.fill(head.body(ellipse(0, 2.22, 0.06, 0.07)), (240, 206, 120))


def _shirt(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    formal = person.clothes == "suit"
    shirt = lighter(person.second_colour, 0.7) if formal else person.clothes_colour
    coat = darker(person.clothes_colour, 0.55)
    if formal:
        canvas.fill(head.body(_shoulders(person)), coat)
        canvas.fill(head.body([(-0.75, 1.7), (0.75, 1.7), (0.2, 4.2), (-0.2, 4.2)]), shirt)
    _bare(canvas, head, person, [(-0.55, 1.5), (0.55, 1.5), (0.5, 1.75), (0.0, 2.05), (-0.5, 1.75)])
    if formal:
        tie = person.second_colour
        canvas.fill(head.body([(-0.13, 2.02), (0.13, 2.02), (0.09, 2.24), (-0.09, 2.24)]), darker(tie, 0.15))
        canvas.fill(head.body([(-0.09, 2.24), (0.09, 2.24), (0.22, 3.8), (-0.22, 3.8)]), tie)
    else:
        canvas.fill(head.body([(-0.03, 2.05), (0.03, 2.05), (0.03, 4.5), (-0.03, 4.5)]), darker(shirt, 0.22))
        for y in (2.3, 2.75, 3.2):
            canvas.fill(head.body(ellipse(0.07, y, 0.035, 0.035, count=12)), lighter(shirt, 0.6))
    for side in (-1, 1):
        flap = np.array([(0.6, 1.5), (0.68, 1.68), (0.42, 2.28), (0.02, 2.02), (0.3, 1.92), (0.52, 1.66)]) * (side, 1)
        canvas.soft(head.body(shifted(flap, 0, 0.05)), darker(shirt, 0.6), 0.03 * head.unit, 0.4)
        canvas.fill(head.body(flap), lighter(shirt, 0.12))
        if formal:
            lapel = np.array(
                [(0.7, 1.72), (0.98, 1.86), (0.92, 2.5), (1.05, 2.6), (0.35, 4.2), (0.2, 4.2), (0.5, 2.5)]
            ) * (side, 1)
            canvas.fill(head.body(lapel), lighter(coat, 0.1))


def _hoodie(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    cloth = person.clothes_colour
    _collar(canvas, head, person, [(0.6, 1.55), (0.5, 1.86), (0.2, 2.12), (0.0, 2.16)])
    for side in (-1, 1):
        fold = smooth(
            np.array(
                [
                    (0.66, 1.34),
                    (1.06, 1.5),
                    (1.14, 1.86),
                    (0.7, 2.18),
                    (0.02, 2.44),
                    (0.0, 2.18),
                    (0.42, 1.96),
                    (0.6, 1.7),
                ]
            )
            * (side, 1)
        )
        canvas.fill(head.body(fold), lighter(cloth, 0.1))
        canvas.soft(
            head.body(
                ribbon(
                    smooth(np.array([(0.72, 1.5), (0.76, 1.85), (0.2, 2.26)]) * (side, 1), closed=False),
                    (0.0, 0.1, 0.0),
                )
            ),
            darker(cloth, 0.4),
            0.04 * head.unit,
            0.6,
        )
        cord = smooth(np.array([(0.24, 2.26), (0.27, 2.6), (0.24, 3.0)]) * (side, 1), closed=False)
        canvas.fill(head.body(ribbon(cord, 0.045, round_ends=True)), lighter(cloth, 0.65))


def _high_collar(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    """Polo neck and puffer: cloth up to the chin, without a mask being anywhere."""
    cloth, puffer = person.clothes_colour, person.clothes == "puffer"
    top = 1.12 if puffer else 1.4
    wide = 0.86 if puffer else 0.66
    tube = smooth(
        both_sides(
            [(0, top + 0.16), (wide * 0.7, top + 0.1), (wide, top), (wide + 0.05, 1.7), (wide + 0.12, 2.0), (0, 2.12)]
        ),
        steps=5,
    )
    if puffer:
        for y in (2.3, 2.85, 3.4):
            seam = smooth([(-2.2, y + 0.25), (0, y), (2.2, y + 0.25)], closed=False)
            canvas.soft(head.body(ribbon(seam, 0.07)), darker(cloth, 0.45), 0.03 * head.unit, 0.8)
            canvas.soft(head.body(ribbon(shifted(seam, 0, 0.16), 0.12)), lighter(cloth, 0.4), 0.06 * head.unit, 0.4)
    canvas.fill(head.body(tube), lighter(cloth, 0.06))
    for step in range(2 if puffer else 9):
        x = -wide + (2 * wide) * (step + 0.5) / (2 if puffer else 9)
        if not puffer:
            canvas.fill(
                head.body(ribbon(smooth([(x, top + 0.14), (x * 1.05, 2.05)], closed=False), 0.02)),
                darker(cloth, 0.25),
                0.7,
            )
    middle = smooth([(-wide, 1.62), (0, 1.76), (wide, 1.62)], closed=False)
    canvas.soft(head.body(ribbon(middle, 0.06)), darker(cloth, 0.45), 0.035 * head.unit, 0.7)
    if puffer:
        canvas.fill(
            head.body([(-0.025, top + 0.16), (0.025, top + 0.16), (0.03, 4.5), (-0.03, 4.5)]), darker(cloth, 0.5)
        )


def _dungarees(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    _collar(
        canvas,
        head,
        person,
        [(0.74, 1.72), (0.58, 1.87), (0.3, 1.98), (0.0, 2.02)],
        lighter(person.clothes_colour, 0.2),
    )
    denim = (70, 98, 140)
    canvas.fill(head.body([(-0.72, 2.75), (0.72, 2.75), (0.9, 5), (-0.9, 5)]), denim)
    for side in (-1, 1):
        canvas.fill(
            head.body(np.array([(0.62, 1.78), (0.86, 1.84), (0.78, 2.85), (0.54, 2.85)]) * (side, 1)),
            darker(denim, 0.12),
        )
        canvas.fill(head.body(ellipse(side * 0.66, 2.84, 0.075, 0.075, count=14)), (226, 184, 96))


def _straps(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    cloth = person.clothes_colour
    canvas.fill(
        head.body(smooth([(-1.5, 2.9), (-0.8, 2.62), (0, 2.8), (0.8, 2.62), (1.5, 2.9), (1.8, 5), (-1.8, 5)])), cloth
    )
    for side in (-1, 1):
        canvas.fill(head.body(np.array([(0.78, 1.84), (0.92, 1.88), (0.94, 2.8), (0.74, 2.8)]) * (side, 1)), cloth)


_CLOTHES = {
    "tee": _tee,
    "stripes": _striped,
    "vee": _vee,
    "scrubs": _vee,
    "shirt": _shirt,
    "suit": _shirt,
    "hoodie": _hoodie,
    "polo neck": _high_collar,
    "puffer": _high_collar,
    "dungarees": _dungarees,
    "straps": _straps,
}
