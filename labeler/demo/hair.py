"""Hair on the head: what hangs behind it, and what frames and falls over the face."""

from __future__ import annotations

import numpy as np
from labeler.demo.canvas import Canvas, Colour, darker, lighter, mix
from labeler.demo.geometry import Head, Points, both_sides, ellipse, mirror, ribbon, smooth
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
    w, style = person.width, person.hair
    colour = darker(person.hair_colour, 0.28)
    if style in ("long straight", "long wavy", "bob", "curly long"):
        length = 0.95 if style == "bob" else float(rng.uniform(1.5, 2.3))
        swell = {"long straight": 0.18, "long wavy": 0.3, "bob": 0.26, "curly long": 0.46}[style]
        half = [(0, -1.3), (0.7 * w, -1.1), (w + 0.6 * swell, -0.4), (w + 0.8 * swell, 0.5), (w + swell, length * 0.75), (w + 0.6 * swell, length), (0.4, length + 0.08), (0, length)]
        shape = smooth(both_sides(half))
        if style in ("long wavy", "curly long"):
            shape = _scalloped(shape, 0.05 if style == "long wavy" else 0.09, 26)
        placed = head.rim(shape, z=-0.25)
        canvas.fill(placed, colour)
        with canvas.inside(placed) as hair:
            for _ in range(14):
                x = float(rng.uniform(-w - swell, w + swell))
                lock = smooth([(x * 0.8, -0.5), (x * 1.02, 0.6), (x + rng.normal(0, 0.06), length + 0.1)], closed=False)
                hair.fill(head.rim(ribbon(lock, (0.01, 0.06, 0.02)), z=-0.25), lighter(colour, 0.06))
    elif style == "ponytail":
        side = 1 if rng.uniform() < 0.5 else -1
        tail = smooth(np.array([(0.5, -0.9), (1.05, -1.0), (1.4, -0.2), (1.35, 0.8), (1.15, 1.35), (1.1, 0.7), (1.02, -0.1), (0.8, -0.4)]) * (side, 1))
        canvas.fill(head.rim(tail, z=-0.45), colour)
        lock = smooth(np.array([(0.8, -0.8), (1.2, -0.3), (1.24, 0.8)]) * (side, 1), closed=False)
        canvas.fill(head.rim(ribbon(lock, (0.02, 0.1, 0.02)), z=-0.45), lighter(colour, 0.14), 0.6)
    elif style == "bun":
        knot = ellipse(0, -1.42, 0.42, 0.36)
        canvas.fill(head.rim(knot, z=-0.35), person.hair_colour)
        for turn in (0.2, 0.9, 1.7):
            swirl = ribbon(ellipse(0, -1.42, 0.3 * np.cos(turn) + 0.06, 0.26)[:18], (0.0, 0.05, 0.0))
            canvas.fill(head.rim(swirl, z=-0.35), darker(person.hair_colour, 0.25), 0.7)
        canvas.soft(head.rim(ellipse(-0.1, -1.55, 0.16, 0.1), z=-0.35), lighter(person.hair_colour, 0.4), 0.06 * head.unit, 0.5)
    elif style == "afro":
        placed = head.rim(_scalloped(smooth(both_sides([(0, -1.68), (0.8, -1.5), (1.38, -0.85), (1.45, -0.1), (1.22, 0.48), (0.7, 0.5), (0, 0.4)])), 0.045, 40), z=-0.15)
        canvas.fill(placed, colour)
        _curls(canvas, [placed], placed, colour, head.unit, rng, 70)
    elif style == "braids":
        for side in (-1, 1):
            for step in range(7):
                x, y = side * (w + 0.1 + 0.02 * step), 0.45 + 0.24 * step
                canvas.fill(head.rim(ellipse(x, y, 0.16 - 0.008 * step, 0.155, turn=side * 0.5), z=-0.1), mix(colour, person.hair_colour, 0.6))
                canvas.fill(head.rim(ribbon(smooth([(x - 0.1, y + 0.02), (x + 0.08, y + 0.13)], closed=False), 0.025), z=-0.1), darker(colour, 0.3), 0.8)
            canvas.fill(head.rim(ellipse(side * (w + 0.24), 2.05, 0.1, 0.07), z=-0.1), person.second_colour)


def paint_front(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator, *, under_hat: bool = False) -> None:
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
            skin.soft(piece + (0, 0.06 * head.unit), darker(person.skin, 0.55), 0.05 * head.unit, 0.4)
    if style in ("buzz", "mohawk", "receding"):
        canvas.soft(cap, mix(colour, person.skin, 0.25), 0.035 * head.unit, 0.62 if style != "receding" else 0.9)
        if style == "mohawk" and not under_hat:
            _mohawk(canvas, head, person, rng)
        return
    for piece in pieces:
        canvas.fill(piece, colour)
    if "curly" in style or style == "afro":
        _curls(canvas, pieces, cap, colour, head.unit, rng, 46)
        return
    with canvas.inside(*pieces) as hair:
        _strands(hair, outer, line, colour, head.unit, rng, along=style in _PARTED)
        for piece in pieces[1:]:
            _comb(hair, piece, colour, rng, hanging=style in ("fringe", "bob", "braids") and piece is pieces[1])


def _outer_edge(head: Head, person: Person, under_hat: bool) -> Points:
    """The top of the hair from the left sideburn over the crown to the right one, in pixels."""
    w, v = person.width, 0.01 if under_hat else _VOLUME[person.hair]
    low = 0.3 if person.hair in LONG_HAIR else 0.12
    half = np.array([(w + 0.01, low), (w + 0.03 + 0.55 * v, -0.25), (0.93 * w + 0.85 * v, -0.75), (0.55 * w + 0.55 * v, -1.14 - 0.85 * v), (0.0, -1.24 - v)])
    whole = np.vstack([mirror(half)[::-1], half[::-1][1:]])
    if person.hair == "quiff" and not under_hat:
        whole[len(half) - 2 : len(half) + 1, 1] -= (0.1, 0.16, 0.06)
    curve = smooth(whole, closed=False)
    if "curly" in person.hair or person.hair == "afro":
        curve = _scalloped(curve, 0.045, 22, closed=False)
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
        ends = [(x, -0.36 + 0.05 * abs(x) + (0.05 if step % 2 else 0.0)) for step, x in enumerate(np.linspace(0.74 * w, -0.74 * w, 13))]
        pieces.append(head.at(np.vstack([smooth([(-0.86 * w, -0.5), (-0.5, -1.0), (0, -1.12), (0.5, -1.0), (0.86 * w, -0.5)], closed=False), ends]), 0.06))
    elif style in ("side part", "pixie", "quiff"):
        low = -0.42 if style == "pixie" else -0.62
        sweep = [(0.5, -1.0), (0.42, -0.84), (0.1, low - 0.08), (-0.4, low + 0.04), (-0.84 * w, low + 0.2), (-0.92 * w, -0.5), (-0.6, -1.02), (0, -1.2)]
        if style == "quiff":
            sweep = [(0.6, -0.8), (0.3, -0.86), (-0.1, -0.8), (-0.6, -0.78), (-0.62, -1.2), (-0.1, -1.42), (0.5, -1.34), (0.74, -1.05)]
        pieces.append(head.at(smooth(np.array(sweep) * (side, 1)), 0.08))
    if style in ("long straight", "long wavy", "curly long", "bob"):
        length = 0.98 if style == "bob" else float(rng.uniform(1.2, 1.9))
        for hand in (-1, 1):
            lock = np.array([(0.1, -1.16), (0.66 * w, -1.02), (w + 0.12, -0.4), (w + 0.16, 0.4), (w + 0.2, length * 0.8), (w + 0.02, length), (0.94 * w, length * 0.7), (0.95 * w, 0.3), (0.9 * w, -0.1), (0.74 * w, -0.5), (0.4, -0.8)])
            shape = smooth(lock * (hand, 1))
            pieces.append(head.rim(_scalloped(shape, 0.045, 18) if style == "curly long" else shape, z=0.05))
    return pieces


def _scalloped(curve: Points, depth: float, bumps: int, *, closed: bool = True) -> Points:
    """The same curve with round bumps along it: the edge of curls."""
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    count = bumps * 7
    at = np.linspace(0, length[-1], count, endpoint=not closed)
    even = np.stack([np.interp(at, length, curve[:, axis]) for axis in (0, 1)], axis=1)
    out = np.gradient(even, axis=0)[:, ::-1] * (1, -1)
    out /= np.maximum(np.hypot(out[:, :1], out[:, 1:]), 1e-9)
    centre = even.mean(axis=0)
    out *= np.sign(((even - centre) * out).sum(axis=1, keepdims=True))
    waves = np.abs(np.sin(np.linspace(0, np.pi * bumps, count)))[:, None]
    return np.asarray(even + out * depth * (waves - 0.3))


def _curls(canvas: Canvas, pieces: list[Points], around: Points, colour: Colour, unit: float, rng: np.random.Generator, count: int) -> None:
    low, high = around.min(axis=0), around.max(axis=0)
    with canvas.inside(*pieces) as hair:
        hair.fill(around, colour)
        for x, y in rng.uniform(low, high, size=(count, 2)):
            radius, start = float(rng.uniform(0.07, 0.13)) * unit, int(rng.integers(28))
            arc = np.roll(ellipse(x, y, radius, radius), start, axis=0)[:17]
            tone = lighter(colour, 0.16) if rng.uniform() < 0.5 else darker(colour, 0.3)
            hair.fill(ribbon(arc, (0.0, 0.045 * unit, 0.0)), tone)


def _strands(canvas: Canvas, outer: Points, line: Points, colour: Colour, unit: float, rng: np.random.Generator, *, along: bool) -> None:
    """Locks between hairline and outer edge: along them when combed from a parting, across when combed back."""
    count = 60
    top, low = (np.stack([np.interp(np.linspace(0, len(c) - 1, count), np.arange(len(c)), c[:, a]) for a in (0, 1)], axis=1) for c in (outer, line))
    tones = (lighter(colour, 0.09), darker(colour, 0.2), darker(colour, 0.12), lighter(colour, 0.15))
    for step in range(20):
        tone = tones[step % 4]
        thick = float(rng.uniform(0.02, 0.06)) * unit
        if along:
            level = float(rng.uniform(0.05, 0.95))
            path = low + (top - low) * level
            start = int(rng.integers(0, 22))
            part = path[start : start + 24] if step % 2 else path[count - start - 24 : count - start]
        else:
            root = int(rng.integers(2, count - 2))
            share = np.linspace(0, 1, 12)[:, None]
            part = low[root] + (top[(root + count // 2) // 2 if abs(root - 30) > 8 else root] - low[root]) * share
        canvas.fill(ribbon(part, (0.0, thick, 0.0)), tone)
    for start, stop in ((14, 26), (35, 44)):
        band = (low + (top - low) * 0.55)[start:stop]
        canvas.soft(ribbon(band, (0.0, 0.14 * unit, 0.0)), lighter(colour, 0.5), 0.045 * unit, 0.45)


def _comb(canvas: Canvas, piece: Points, colour: Colour, rng: np.random.Generator, *, hanging: bool) -> None:
    """A few strands through a side lock along its length, or down a fringe that hangs."""
    half = len(piece) // 2
    first, second = piece[:half], piece[: len(piece) - half - 1 : -1]
    for step in range(9):
        share = (step + 0.5 + float(rng.uniform(-0.3, 0.3))) / 9
        if hanging:
            at = int(share * (half - 1))
            path, width = first[at] + (second[at] - first[at]) * np.linspace(0, 1, 5)[:, None], 0.016 * canvas.size
        else:
            path, width = first + (second - first) * share, 0.011 * canvas.size
        canvas.fill(ribbon(path, (0.0, width, 0.0)), lighter(colour, 0.1) if step % 2 else darker(colour, 0.16))


def _mohawk(canvas: Canvas, head: Head, person: Person, rng: np.random.Generator) -> None:
    for x in np.linspace(-0.22, 0.22, 7):
        tip = (x * 2.2 + float(rng.normal(0, 0.03)), -1.85 + abs(x))
        spike = np.array([(x - 0.09, -0.95), (x - 0.06 + 0.4 * x, -1.4), tip, (x + 0.07 + 0.4 * x, -1.4), (x + 0.09, -0.95)])
        canvas.fill(head.rim(spike, z=0.1), lighter(person.hair_colour, 0.1 + 0.3 * float(rng.uniform())))
