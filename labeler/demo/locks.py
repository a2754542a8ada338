"""What hair is made of: curls, strands, and the bumpy edge of both."""

from __future__ import annotations

import numpy as np

from labeler.demo.canvas import Canvas, Colour, darker, lighter
from labeler.demo.geometry import Points, ellipse, ribbon


def scalloped(curve: Points, depth: float, bumps: int, *, closed: bool = True) -> Points:
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


def paint_curls(
    canvas: Canvas,
    pieces: list[Points],
    around: Points,
    colour: Colour,
    unit: float,
    rng: np.random.Generator,
    count: int,
) -> None:
    low, high = around.min(axis=0), around.max(axis=0)
    with canvas.inside(*pieces) as hair:
        hair.fill(around, colour)
        for x, y in rng.uniform(low, high, size=(count, 2)):
            radius, start = float(rng.uniform(0.07, 0.13)) * unit, int(rng.integers(28))
            arc = np.roll(ellipse(x, y, radius, radius), start, axis=0)[:17]
            tone = lighter(colour, 0.16) if rng.uniform() < 0.5 else darker(colour, 0.3)
            hair.fill(ribbon(arc, (0.0, 0.045 * unit, 0.0)), tone)


def paint_strands(
    canvas: Canvas, outer: Points, line: Points, colour: Colour, unit: float, rng: np.random.Generator, *, along: bool
) -> None:
    """Locks between hairline and outer edge: along them when combed from a parting, across when combed back."""
    count = 60
    top, low = (
        np.stack([np.interp(np.linspace(0, len(c) - 1, count), np.arange(len(c)), c[:, a]) for a in (0, 1)], axis=1)
        for c in (outer, line)
    )
    tones = (lighter(colour, 0.06), darker(colour, 0.2), darker(colour, 0.12), lighter(colour, 0.1 if along else 0.07))
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
        canvas.soft(ribbon(band, (0.0, 0.14 * unit, 0.0)), lighter(colour, 0.4), 0.05 * unit, 0.4 if along else 0.28)


def paint_comb(canvas: Canvas, piece: Points, colour: Colour, rng: np.random.Generator, *, hanging: bool) -> None:
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
