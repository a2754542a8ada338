"""Masks: every kind of them, worn over mouth and nose, or dangling where it protects nobody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labeler.demo import patterns
from labeler.demo.canvas import Canvas, Colour, darker, lighter, mix
from labeler.demo.geometry import Head, Points, both_sides, ellipse, place, ribbon, ring, shifted, smooth
from labeler.demo.people import Person, choose, palette

_SURGICAL: tuple[Colour, ...] = (
    (158, 204, 232),
    (126, 182, 222),
    (158, 212, 196),
    (242, 244, 246),
    (240, 190, 204),
    (52, 54, 62),
    (200, 186, 226),
)
_RESPIRATOR: tuple[Colour, ...] = ((246, 246, 244), (240, 240, 236), (58, 58, 66), (206, 208, 210), (186, 204, 224))


@dataclass(frozen=True, slots=True)
class Mask:
    """What it is made of.

    Attributes:
        kind: surgical, fold (KN95, FFP2 with a seam), cup (a hard shell), cloth, window, gaiter or bandana.
        straps: ``ears`` (loops), ``head`` (two bands) or ``none``.
    """

    kind: str
    colour: Colour
    second: Colour
    pattern: str
    valve: bool
    straps: str


def sample(rng: np.random.Generator, person: Person) -> Mask:
    """A mask for this person."""
    kind = choose(
        rng, {"surgical": 4.2, "fold": 2.2, "cup": 1.0, "cloth": 3.0, "window": 0.3, "gaiter": 0.4, "bandana": 0.35}
    )
    colour, second, pattern = palette(rng), palette(rng), "plain"
    if kind == "surgical":
        colour = _SURGICAL[int(rng.choice(7, p=(0.3, 0.15, 0.12, 0.16, 0.08, 0.12, 0.07)))]
    elif kind in ("fold", "cup"):
        colour = _RESPIRATOR[int(rng.choice(5, p=(0.35, 0.2, 0.2, 0.15, 0.1)))]
    elif kind in ("cloth", "gaiter", "bandana"):
        manner = rng.uniform()
        if manner < 0.06:  # the ones that pass for skin
            colour = mix(person.skin, palette(rng), float(rng.uniform(0.0, 0.14)))
            pattern = "plain" if rng.uniform() < 0.55 else str(rng.choice(patterns.PRINTS))
        elif manner < 0.2:
            pattern = str(rng.choice(patterns.PRINTS))
        elif manner < 0.36:
            colour = (40, 40, 46)
        else:
            pattern = str(rng.choice(patterns.PATTERNS))
    straps = "none" if kind in ("gaiter", "bandana") else "head" if kind == "cup" or rng.uniform() < 0.12 else "ears"
    return Mask(kind, colour, second, pattern, kind in ("fold", "cup") and bool(rng.uniform() < 0.45), straps)


def paint_worn(canvas: Canvas, head: Head, person: Person, mask: Mask, rng: np.random.Generator) -> Points:
    """A mask over mouth and nose; returns its outline in pixels."""
    bulge = {"fold": 0.26, "cup": 0.24, "surgical": 0.1}.get(mask.kind, 0.06)
    slack = float(rng.uniform(-0.04, 0.04))

    def wear(points: Points) -> Points:
        nose = 0.12 * np.exp(-((points[:, 0] / 0.3) ** 2) - ((points[:, 1] - 0.45) / 0.3) ** 2)
        swell = bulge * np.exp(-((points[:, 0] / 0.5) ** 2) - ((points[:, 1] - 0.8) / 0.45) ** 2)
        return head.at(points, nose + swell + 0.05)

    flat = outline(person, mask, slack)
    shape = wear(flat)
    if mask.kind in ("gaiter", "bandana"):
        shape = 0.5 * shape + 0.5 * head.rim(flat)
    with canvas.inside(head.rim(person.outline())) as skin:
        skin.soft(shifted(shape, 0, 0.05 * head.unit), darker(person.skin, 0.6), 0.05 * head.unit, 0.45)
    _straps(canvas, head, person, mask, wear)
    window = wear(_window(person)) if mask.kind == "window" else None
    if window is not None:
        canvas.fill(window, (226, 238, 246), 0.25)  # clear film: the mouth stays visible
    with canvas.inside(shape, without=window) as cloth:
        cloth.fill(shape, mask.colour)
        patterns.paint_pattern(cloth, wear, mask.pattern, mask.colour, mask.second, rng)
        _relief(cloth, head, person, mask, shape, wear, rng)
    _trim(canvas, head, mask, flat, wear, person)
    return shape


def outline(person: Person, mask: Mask, slack: float) -> Points:
    """The mask in face units, as worn by this person."""
    w, chin, top = person.width, person.chin, 0.2 + slack
    if mask.kind in ("fold", "cup"):
        half = [
            (0, top - 0.06),
            (0.15, top - 0.02),
            (0.3, top + 0.14),
            (0.62 * w, 0.4),
            (0.86 * w, 0.58),
            (0.84 * w, 0.76),
            (0.66 * w, 1.0),
            (0.36, chin + 0.02),
            (0, chin + 0.1),
        ]
    elif mask.kind == "gaiter":
        half = [
            (0, top),
            (0.3, top + 0.08),
            (0.7 * w, top + 0.04),
            (1.0 * w, top - 0.02),
            (1.01 * w, 0.5),
            (person.jaw * w + 0.05, 0.9),
            (0.64, chin + 0.12),
            (0.62, 1.9),
            (0, 2.0),
        ]
    elif mask.kind == "bandana":
        half = [
            (0, top),
            (0.3, top + 0.06),
            (0.7 * w, top + 0.06),
            (1.0 * w, top + 0.06),
            (0.98 * w, 0.6),
            (0.72 * w, 1.05),
            (0.34, 1.45),
            (0, 1.74),
        ]
    elif mask.kind == "cloth":
        half = [
            (0, top - 0.02),
            (0.16, top + 0.03),
            (0.42, top + 0.18),
            (0.8 * w, 0.3),
            (0.88 * w, 0.44),
            (0.84 * w, 0.86),
            (0.6 * w, chin - 0.08),
            (0.3, chin + 0.08),
            (0, chin + 0.1),
        ]
    else:
        half = [
            (0, top),
            (0.2, top + 0.05),
            (0.5, top + 0.13),
            (0.82 * w, 0.34),
            (0.87 * w, 0.48),
            (0.83 * w, 0.9),
            (0.7 * w, 1.0),
            (0.4, chin + 0.04),
            (0, chin + 0.1),
        ]
    return smooth(both_sides(half), steps=6)


def _window(person: Person) -> Points:
    m = person.mouth_y
    return smooth(both_sides([(0, m - 0.2), (0.38, m - 0.17), (0.46, m), (0.38, m + 0.2), (0, m + 0.24)]))


def _straps(canvas: Canvas, head: Head, person: Person, mask: Mask, wear: patterns.Wear) -> None:
    """Loops to the ears, or bands round the head; what passes behind it is hidden."""
    if mask.straps == "none":
        return
    w, unit = person.width, head.unit
    tone = lighter(mask.colour, 0.6) if sum(mask.colour) > 240 else (70, 70, 76)
    corners = (
        ((0.82 * w, 0.56), (0.78 * w, 0.84)) if mask.kind in ("fold", "cup") else ((0.8 * w, 0.44), (0.76 * w, 0.92))
    )
    ends = ((w + 0.02, -0.06), (w + 0.02, 0.3)) if mask.straps == "ears" else ((w + 0.02, -0.42), (w + 0.02, 0.62))
    width = (0.03 if mask.straps == "ears" else 0.075) * unit
    with canvas.inside(head.rim(person.outline(0.05))) as skin:
        for side in (-1, 1):
            starts = wear(np.array(corners) * (side, 1))
            for start, stop in zip(starts, head.rim(np.array(ends) * (side, 1), z=-0.12), strict=True):
                middle = 0.5 * (start + stop) + (0, 0.03 * unit)
                curve = smooth([start, middle, stop], closed=False)
                skin.soft(ribbon(shifted(curve, 0, 0.03 * unit), width), darker(person.skin, 0.55), 0.02 * unit, 0.4)
                skin.fill(ribbon(curve, width), tone)


def _relief(
    canvas: Canvas, head: Head, person: Person, mask: Mask, shape: Points, wear: patterns.Wear, rng: np.random.Generator
) -> None:
    """Folds, pleats, seams and the roundness of the cloth."""
    unit, colour, w = head.unit, mask.colour, person.width
    dark, bright = darker(colour, 0.4), lighter(colour, 0.6)
    canvas.soft(ring(shape, 0.16 * unit), dark, 0.1 * unit, 0.4)
    canvas.soft(wear(ellipse(0, 0.5, 0.2, 0.16)), bright, 0.09 * unit, 0.5)
    if mask.kind == "surgical":
        for y, sag in ((0.56, 0.05), (0.74, 0.07), (0.92, 0.08)):
            pleat = smooth(
                [(-w, y - 0.02), (-0.45, y + 0.4 * sag), (0, y + sag), (0.45, y + 0.4 * sag), (w, y - 0.02)],
                closed=False,
            )
            canvas.soft(wear(ribbon(shifted(pleat, 0, 0.03), 0.05)), dark, 0.022 * unit, 0.65)
            canvas.fill(wear(ribbon(pleat, 0.018)), darker(colour, 0.28))
            canvas.soft(wear(ribbon(pleat - (0, 0.04), 0.04)), bright, 0.02 * unit, 0.6)
    elif mask.kind == "fold":
        seam = smooth([(0.0, 0.1), (0.0, 0.5), (0.0, 0.85), (0.0, person.chin + 0.15)], closed=False)
        side = 1 if head.yaw <= 0 else -1
        shade = np.vstack([seam, (np.array([(0.5, 0.1), (0.75, 0.7), (0.4, 1.4)]) * (side, 1))[::-1]])
        canvas.soft(wear(shade), dark, 0.1 * unit, 0.35)
        canvas.fill(wear(ribbon(seam, 0.022)), darker(colour, 0.25))
        canvas.fill(wear(ribbon(seam - (0.02 * side, 0), 0.014)), bright)
        for y in (0.42, 1.06):
            fold = smooth([(-0.72, 0.7 + (y - 0.7) * 0.5), (0, y), (0.72, 0.7 + (y - 0.7) * 0.5)], closed=False)
            canvas.fill(wear(ribbon(fold, 0.012)), darker(colour, 0.2), 0.7)
    elif mask.kind == "cup":
        for grow in (0.62, 0.84):
            rib = ellipse(0, 0.72, 0.6 * grow, 0.56 * grow)
            canvas.fill(wear(ring(rib, 0.014)), darker(colour, 0.18), 0.7)
        canvas.soft(wear(ellipse(0.0, 1.12, 0.5, 0.16)), dark, 0.1 * unit, 0.5)
    else:
        for _ in range(6):
            x, y = float(rng.uniform(-0.7, 0.7)), float(rng.uniform(0.5, 1.3))
            crease = smooth([(x * 1.2, y - 0.12), (x * 0.9, y), (x * 0.5, y + 0.1)], closed=False)
            canvas.soft(wear(ribbon(crease, (0.0, 0.05, 0.0))), dark, 0.025 * unit, 0.55)
            canvas.soft(wear(ribbon(crease - (0, 0.05), (0.0, 0.04, 0.0))), bright, 0.025 * unit, 0.4)
        if mask.kind == "cloth" and rng.uniform() < 0.5:
            seam = smooth([(0.0, 0.1), (0.02, 0.6), (0.0, person.chin + 0.15)], closed=False)
            canvas.fill(wear(ribbon(seam, 0.016)), darker(colour, 0.25), 0.7)


def _trim(canvas: Canvas, head: Head, mask: Mask, flat: Points, wear: patterns.Wear, person: Person) -> None:
    """Hems, the wire over the nose and the valve."""
    tone = darker(mask.colour, 0.22)
    if mask.kind not in ("gaiter", "bandana"):
        canvas.fill(wear(ring(flat, 0.022)), tone, 0.8)
    if mask.kind in ("surgical", "fold", "cup"):
        wire = smooth([(-0.24, 0.33), (-0.1, 0.27), (0, 0.26), (0.1, 0.27), (0.24, 0.33)], closed=False)
        canvas.soft(wear(ribbon(wire, 0.035, round_ends=True)), lighter(mask.colour, 0.55), 0.008 * head.unit, 0.7)
        canvas.fill(wear(ribbon(shifted(wire, 0, 0.022), 0.01)), tone, 0.8)
    if mask.kind == "window":
        canvas.fill(wear(ring(_window(person), 0.04)), tone)
        canvas.fill(
            wear(place([(-0.1, -0.16), (-0.02, -0.16), (-0.16, 0.16), (-0.24, 0.16)], -0.05, person.mouth_y)),
            (255, 255, 255),
            0.45,
        )
    if mask.valve:
        x = 0.26 if mask.kind == "fold" else 0.0
        for radius, colour in (
            (0.17, darker(mask.colour, 0.3)),
            (0.15, lighter(mask.colour, 0.35)),
            (0.1, darker(mask.colour, 0.12)),
        ):
            canvas.fill(wear(ellipse(x, 0.86, radius, radius * 0.9)), colour)
        for y in (0.83, 0.87, 0.91):
            canvas.fill(wear(ribbon(np.array([(x - 0.06, y), (x + 0.06, y)]), 0.016)), darker(mask.colour, 0.4))
