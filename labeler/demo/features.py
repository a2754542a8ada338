"""The bare face: ears, skin, eyes, brows, nose, mouth, and what age draws into it."""

from __future__ import annotations

import numpy as np

from labeler.demo.canvas import Canvas, Colour, darker, lighter, mix
from labeler.demo.geometry import Head, Points, both_sides, ellipse, mirror, place, ribbon, shifted, smooth
from labeler.demo.people import Person, lit, ruddy


def paint_ears(canvas: Canvas, head: Head, person: Person) -> None:
    """Both ears, set a little back so that a turned head shows one and hides the other."""
    for side in (-1, 1):
        x, y, e = side * (person.width + 0.03), 0.14, person.ear
        shell = [(-0.1, -0.2), (0.06, -0.27), (0.15, -0.14), (0.12, 0.06), (0.06, 0.2), (-0.04, 0.24), (-0.1, 0.1)]
        outer = smooth(place(np.array(shell) * (side * e, e), x, y))
        inner = smooth(place(np.array(shell) * (side * 0.58 * e, 0.62 * e), x, y - 0.02))
        canvas.fill(head.rim(outer, z=-0.22), darker(person.skin, 0.06))
        canvas.soft(head.rim(inner, z=-0.22), darker(ruddy(person.skin), 0.22), 0.035 * head.unit, 0.8)
        if person.earrings:
            drop = ellipse(x + side * 0.02, y + 0.3 * e, 0.045, 0.06)
            canvas.fill(head.rim(drop, z=-0.2), (232, 190, 92))
            canvas.fill(head.rim(ellipse(x, y + 0.285 * e, 0.014, 0.02), z=-0.2), (255, 240, 200))


def paint_skin(canvas: Canvas, head: Head, person: Person, light: float) -> None:
    """The head's shape with the relief of brow, cheeks and chin; ``light`` is the side it comes from, -1 to 1."""
    unit, skin = head.unit, person.skin
    outline = head.rim(person.outline())
    canvas.fill(outline, skin)
    with canvas.inside(outline) as face:
        face.soft(head.at(ellipse(0.1 * light, -0.55, 0.5, 0.26)), lit(skin), 0.16 * unit, 0.45)
        blush = 0.32 + 0.25 * person.makeup
        for side in (-1, 1):
            face.soft(head.at(ellipse(side * 0.56, 0.42, 0.24, 0.17)), ruddy(skin), 0.12 * unit, blush + 0.2)
            face.soft(head.at(ellipse(side * 0.5, 0.26, 0.17, 0.07, turn=side * 0.35)), lit(skin), 0.06 * unit, 0.3)
            socket = ellipse(side * person.eye_gap, -0.06, 0.26, 0.15)
            face.soft(head.at(socket), darker(ruddy(skin), 0.16), 0.07 * unit, 0.4)
        face.soft(head.at(ellipse(0, person.chin - 0.14, 0.16, 0.09)), lit(skin), 0.06 * unit, 0.3)
        face.soft(head.at(ellipse(0, person.mouth_y + 0.17, 0.17, 0.035)), darker(skin, 0.3), 0.04 * unit, 0.5)
        _freckles(face, head, person)


def paint_rim_light(canvas: Canvas, head: Head, person: Person, light: float) -> None:
    """The thin bright edge on the side of the lamp, which lifts dark skin and hair off a dark room."""
    edge = head.rim(person.outline(-0.03))
    on = (edge[:, 0] - head.x) * (1 if light >= 0 else -1) > 0.45 * head.unit
    start = int(np.argmax(on & ~np.roll(on, 1)))
    run = np.roll(edge, -start, axis=0)[: int(on.sum())]
    if len(run) > 3:
        canvas.soft(ribbon(run, (0.0, 0.09 * head.unit, 0.0)), lighter(person.skin, 0.55), 0.05 * head.unit, 0.5)


def _freckles(canvas: Canvas, head: Head, person: Person) -> None:
    if person.freckles <= 0.05:
        return
    # The constellation hangs on the person, not on a stream: it must not shift when something else is drawn.
    rng = np.random.default_rng(round(person.freckles * 1e6))
    spots = rng.normal((0.0, 0.3), (0.36, 0.12), size=(int(14 + 40 * person.freckles), 2))
    tone = mix(person.skin, (150, 86, 50), 0.5)
    for x, y in spots:
        canvas.fill(head.at(ellipse(x, y, 0.014, 0.013, count=8)), tone, 0.7)


def paint_age(canvas: Canvas, head: Head, person: Person) -> None:
    """Forehead lines, crow's feet, bags under the eyes and the folds beside the nose."""
    line = darker(ruddy(person.skin), 0.35)
    depth = float(np.clip((person.age - 0.45) / 0.5, 0, 1))
    fold = 0.16 + 0.45 * depth + (0.2 if person.mouth in ("laugh", "smirk") else 0.0)
    for side in (-1, 1):
        start = (side * (person.nose_width + 0.02), person.nose_length - 0.02)
        end = (side * (person.mouth_width + 0.1), person.mouth_y)
        curve = smooth([start, ((start[0] + end[0]) / 2 + side * 0.05, (start[1] + end[1]) / 2), end], closed=False)
        canvas.soft(head.at(ribbon(curve, (0.0, 0.035, 0.0))), line, 0.016 * head.unit, fold)
    if depth < 0.05:
        return
    for row in range(3):
        y = -0.62 - 0.13 * row
        curve = smooth([(-0.42, y), (-0.15, y - 0.04), (0.15, y - 0.03), (0.42, y + 0.01)], closed=False)
        canvas.soft(head.at(ribbon(curve, (0.0, 0.03, 0.0))), line, 0.014 * head.unit, 0.55 * depth)
    for side in (-1, 1):
        for spread in (-0.06, 0.0, 0.06):
            x = side * (person.eye_gap + 0.25)
            curve = smooth(
                [(x, spread), (x + side * 0.07, 1.4 * spread), (x + side * 0.15, 2.2 * spread)], closed=False
            )
            canvas.fill(head.at(ribbon(curve, (0.018, 0.0))), line, 0.55 * depth)
        gap = side * person.eye_gap
        bag = smooth([(gap - 0.15, 0.13), (gap, 0.19), (gap + 0.15, 0.13)], closed=False)
        canvas.soft(head.at(ribbon(bag, (0.0, 0.035, 0.0))), line, 0.016 * head.unit, 0.7 * depth)


def paint_eyes(canvas: Canvas, head: Head, person: Person, light: float) -> None:
    """Eyes with lids, iris, catchlight and lashes, and the brows above."""
    for side, lids in zip((-1, 1), person.lids, strict=True):
        _brow(canvas, head, person, side)
        if lids < 0.15:
            _closed_eye(canvas, head, person, side)
        else:
            _open_eye(canvas, head, person, side, lids, light)


def _eye_point(person: Person, side: int, points: list[tuple[float, float]]) -> Points:
    """Eye coordinates (x outwards from the pupil, y down) to face units."""
    local = np.array(points) * person.eye_size
    local[:, 1] -= person.eye_tilt * np.sign(local[:, 0]) * np.abs(local[:, 0]) * 4
    return np.stack([side * (person.eye_gap + local[:, 0]), local[:, 1]], axis=1)


def _lash_colour(person: Person) -> Colour:
    return mix(darker(person.hair_colour, 0.72), (30, 22, 26), 0.5)


def _open_eye(canvas: Canvas, head: Head, person: Person, side: int, lids: float, light: float) -> None:
    unit, skin, size = head.unit, person.skin, person.eye_size
    o = lids
    upper = [
        (-0.19, 0.035),
        (-0.12, -0.05 * o),
        (-0.02, -0.105 * o),
        (0.09, -0.095 * o),
        (0.165, -0.035 * o),
        (0.2, 0.01),
    ]
    lower = [(0.15, 0.05), (0.05, 0.085), (-0.08, 0.075)]
    shape = head.at(smooth(_eye_point(person, side, upper + lower)))
    top = smooth(_eye_point(person, side, upper), closed=False)
    if person.makeup:
        shadow = smooth(
            _eye_point(person, side, [(-0.17, -0.02), (0.0, -0.24), (0.24, -0.16), (0.2, 0.0), (0.0, -0.08)])
        )
        canvas.soft(head.at(shadow), mix(skin, person.second_colour, 0.6), 0.035 * unit, 0.75)
    with canvas.inside(shape) as eye:
        eye.fill(shape, mix((247, 244, 241), skin, 0.06))
        x = side * person.eye_gap + person.gaze[0] * 0.075 * size
        y = -0.012 + person.gaze[1] * 0.06
        radius, iris = 0.105 * size, person.eye_colour
        eye.fill(head.at(ellipse(x, y, radius, radius)), darker(iris, 0.55))
        eye.fill(head.at(ellipse(x, y, 0.86 * radius, 0.86 * radius)), iris)
        eye.soft(head.at(ellipse(x - 0.03 * light, y + 0.05, 0.06, 0.04)), lighter(iris, 0.45), 0.02 * unit, 0.8)
        eye.fill(head.at(ellipse(x, y, 0.45 * radius, 0.45 * radius)), (18, 14, 18))
        lid_shadow = np.vstack([top, (shifted(top, 0, 0.055))[::-1]])
        eye.soft(head.at(lid_shadow), (70, 50, 60), 0.022 * unit, 0.6)
        glint = 0.032 * size
        eye.fill(head.at(ellipse(x + 0.042 * (light or 0.5), y - 0.045, glint, glint, count=14)), (255, 255, 255))
        eye.fill(head.at(ellipse(x - 0.035, y + 0.045, 0.4 * glint, 0.4 * glint, count=10)), (255, 255, 255), 0.7)
    lash = _lash_colour(person)
    dressed = person.style > 0.5 or person.makeup
    canvas.fill(head.at(ribbon(top, (0.012, 0.04, 0.045, 0.03) if dressed else (0.008, 0.026, 0.03, 0.014))), lash)
    if dressed:
        for at, length in ((0.145, 0.07), (0.185, 0.085)):
            root = _eye_point(
                person,
                side,
                [(at, -0.03 * o), (at + 0.6 * length, -0.06 * o - 0.35 * length), (at + length, -0.05 - length)],
            )
            canvas.fill(head.at(ribbon(smooth(root, closed=False), (0.03, 0.0))), lash)
    bottom = smooth(_eye_point(person, side, [(0.19, 0.02), *lower, (-0.18, 0.045)]), closed=False)
    canvas.fill(head.at(ribbon(bottom, (0.02, 0.008, 0.0))), darker(ruddy(skin), 0.45), 0.6)
    if person.crease:
        crease = [(-0.17, -0.05 * o), (-0.04, -0.16 * o - 0.01), (0.1, -0.15 * o - 0.01), (0.21, -0.06 * o)]
        curve = smooth(_eye_point(person, side, crease), closed=False)
        canvas.fill(head.at(ribbon(curve, (0.0, 0.02, 0.012))), darker(ruddy(skin), 0.42), 0.7)


def _closed_eye(canvas: Canvas, head: Head, person: Person, side: int) -> None:
    """A smiling eye arches up, a sleeping one hangs down."""
    bend = -0.085 if person.smile > 0.2 else 0.06
    arc = [(-0.18, 0.03), (-0.08, 0.03 + 0.8 * bend), (0.04, 0.03 + bend), (0.14, 0.03 + 0.55 * bend), (0.2, 0.02)]
    curve = smooth(_eye_point(person, side, arc), closed=False)
    canvas.soft(head.at(ribbon(curve - (0, 0.04), 0.12)), darker(ruddy(person.skin), 0.1), 0.04 * head.unit, 0.5)
    canvas.fill(head.at(ribbon(curve, (0.014, 0.042, 0.02), round_ends=True)), _lash_colour(person))


def _brow(canvas: Canvas, head: Head, person: Person, side: int) -> None:
    lift, slant, thick = person.brow_lift, person.brow_slant, person.brow
    inner, outer = (0.17, -0.235 - lift + slant * 0.4), (0.66, -0.235 - 0.5 * lift - slant * 0.15)
    points = [inner, (0.33, -0.315 - 1.1 * lift), (0.5, -0.335 - lift - 0.2 * slant), outer]
    curve = smooth(np.array(points) * (side, 1), closed=False)
    hair = mix(darker(person.hair_colour, 0.32), person.skin, 0.12)
    if person.age > 0.75:
        hair = lighter(hair, 0.15)
    canvas.soft(head.at(ribbon(curve, (thick, thick * 0.9, 0.02))), hair, 0.012 * head.unit, 0.95)
    canvas.fill(head.at(ribbon(curve, (0.55 * thick, 0.7 * thick, 0.0))), darker(hair, 0.15), 0.6)


def paint_nose(canvas: Canvas, head: Head, person: Person, light: float) -> None:
    """A nose made of light: a shaded flank away from the lamp, a bright ridge, nostrils and a shadow beneath."""
    unit, skin, w, tip = head.unit, person.skin, person.nose_width, person.nose_length
    dark = darker(ruddy(skin), 0.34)
    shade_side = -1 if light >= 0 else 1
    flank = smooth(
        [(0.02, -0.1), (person.nose_bridge + 0.02, 0.05), (w * 0.75, tip - 0.12), (w, tip), (0.04, tip + 0.02)]
    )
    flank = flank if shade_side > 0 else mirror(flank)
    canvas.soft(head.at(flank, 0.06), dark, 0.045 * unit, 0.42)
    canvas.soft(head.at(ellipse(shade_side * 0.03, tip + 0.11, w * 1.05, 0.05)), dark, 0.04 * unit, 0.5)
    ball = both_sides(
        [
            (0, tip - 0.15),
            (0.1, tip - 0.11),
            (w, tip - 0.03),
            (w * 0.92, tip + 0.07),
            (w * 0.4, tip + 0.07),
            (0, tip + 0.1),
        ]
    )
    canvas.soft(head.at(smooth(ball), 0.12), mix(skin, ruddy(skin), 0.6), 0.03 * unit, 0.75)
    for side in (-1, 1):
        wing = [(w * 0.98, tip - 0.09), (w * 1.12, tip - 0.01), (w * 1.0, tip + 0.07), (w * 0.72, tip + 0.07)]
        curve = smooth(np.array(wing) * (side, 1), closed=False)
        canvas.fill(head.at(ribbon(curve, (0.0, 0.026, 0.022, 0.0)), 0.08), dark, 0.85)
        nostril = ellipse(side * w * 0.5, tip + 0.062, 0.052 + 0.1 * (w - 0.18), 0.026, turn=side * -0.3)
        canvas.fill(head.at(nostril, 0.1), darker(dark, 0.55), 0.85)
    base = smooth([(-w * 0.25, tip + 0.085), (0, tip + 0.11), (w * 0.25, tip + 0.085)], closed=False)
    canvas.fill(head.at(ribbon(base, (0.0, 0.02, 0.0)), 0.12), dark, 0.7)
    ridge = shifted(smooth([(0.0, -0.02), (0.0, 0.18), (0.0, tip - 0.1)], closed=False), 0.03 * -shade_side, 0)
    canvas.soft(head.at(ribbon(ridge, (0.04, 0.06, 0.05)), 0.12), lit(skin), 0.03 * unit, 0.55)
    canvas.soft(
        head.at(ellipse(-shade_side * 0.035, tip - 0.035, 0.05, 0.042), 0.16), lighter(skin, 0.65), 0.022 * unit, 0.7
    )


def paint_mouth(canvas: Canvas, head: Head, person: Person) -> None:
    """Lips in one of seven expressions."""
    w, y, full = person.mouth_width, person.mouth_y, person.lip_fullness
    curl = -0.09 * person.smile
    kind = person.mouth
    if kind in ("ooh", "pout"):
        w, curl, full = w * 0.55, curl * 0.2, full * 1.35
    skew = 0.05 if kind == "smirk" else 0.0
    left, right = (-w * 1.02, y + curl + skew), (w * 1.02, y + curl - 1.4 * skew)
    gape = {"open": 0.1, "laugh": 0.2, "ooh": 0.17, "tongue": 0.12}.get(kind, 0.0)
    if kind == "laugh":
        w, left, right = w * 1.18, (-w * 1.22, y - 0.08), (w * 1.22, y - 0.08)
    sag = 0.05 * person.smile if kind != "ooh" else 0.0
    upper_edge = [
        (-w * 0.5, y - 0.3 * gape + 0.5 * curl + 0.6 * sag),
        (0, y - 0.35 * gape + sag),
        (w * 0.5, y - 0.3 * gape + 0.5 * curl + 0.6 * sag),
    ]
    lower_edge = [
        (w * 0.55, y + 0.65 * gape + 0.5 * curl + 0.6 * sag),
        (0, y + gape + sag),
        (-w * 0.55, y + 0.65 * gape + 0.5 * curl + 0.6 * sag),
    ]
    bow = [
        (w * 0.55, upper_edge[2][1] - 0.8 * full),
        (w * 0.16, upper_edge[1][1] - full),
        (0, upper_edge[1][1] - 0.78 * full),
        (-w * 0.16, upper_edge[1][1] - full),
        (-w * 0.55, upper_edge[0][1] - 0.8 * full),
    ]
    pillow = [
        (-w * 0.5, lower_edge[2][1] + full),
        (0, lower_edge[1][1] + 1.35 * full),
        (w * 0.5, lower_edge[0][1] + full),
    ]
    top = head.at(smooth([left, *upper_edge, right, *bow], steps=5), 0.04)
    bottom = head.at(smooth([left, *pillow, right, *lower_edge], steps=5), 0.04)
    if gape:
        _mouth_inside(canvas, head, person, [left, *upper_edge, right, *lower_edge], gape)
    canvas.fill(bottom, person.lips)
    canvas.fill(top, darker(person.lips, 0.16))
    gloss = ellipse(-0.05 * w, lower_edge[1][1] + 0.62 * full, w * 0.36, full * 0.26)
    canvas.soft(head.at(gloss, 0.04), lighter(person.lips, 0.6), 0.015 * head.unit, 0.55 if person.makeup else 0.32)
    parting = darker(person.lips, 0.62)
    if not gape:
        curve = smooth([left, *upper_edge, right], closed=False)
        canvas.fill(head.at(ribbon(curve, (0.012, 0.024, 0.026, 0.024, 0.012)), 0.04), parting)
    for corner in (left, right):
        canvas.soft(head.at(ellipse(*corner, 0.03, 0.028), 0.02), darker(person.skin, 0.5), 0.014 * head.unit, 0.6)
    if kind == "tongue":
        tongue = smooth(
            [
                (-0.1, lower_edge[1][1] - 0.03),
                (0.1, lower_edge[1][1] - 0.03),
                (0.115, y + 0.27),
                (0, y + 0.34),
                (-0.115, y + 0.27),
            ]
        )
        canvas.fill(head.at(tongue, 0.06), (218, 98, 104))
        canvas.fill(
            head.at(ribbon(smooth([(0, y + 0.1), (0, y + 0.26)], closed=False), (0.02, 0.0)), 0.06), (176, 66, 78)
        )


def _mouth_inside(canvas: Canvas, head: Head, person: Person, edge: list[tuple[float, float]], gape: float) -> None:
    w, y = person.mouth_width, person.mouth_y
    cave = head.at(smooth(edge), 0.02)
    canvas.fill(cave, (86, 26, 34))
    with canvas.inside(cave) as inside:
        inside.soft(head.at(ellipse(0, y + gape * 1.05, w * 0.6, gape * 0.5)), (206, 92, 96), 0.02 * head.unit, 0.95)
        if person.mouth in ("laugh", "open"):
            teeth = smooth(
                [
                    (-w * 1.1, y - 0.2),
                    (w * 1.1, y - 0.2),
                    (w * 0.9, y + 0.02 * person.smile),
                    (0, y + 0.05),
                    (-w * 0.9, y + 0.02 * person.smile),
                ]
            )
            inside.fill(head.at(teeth, 0.02), (250, 246, 238))
            inside.soft(head.at(ribbon(smooth(edge[:5], closed=False), 0.06)), (120, 60, 62), 0.018 * head.unit, 0.5)
