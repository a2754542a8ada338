"""Curves, and the head as a solid that turns: where a point of the face lands in the picture.

Face units: x to the picture's right, y down, z towards the camera; the origin lies between the eyes, the face is
about 1 wide to either side, the chin near y = 1.3 and the crown near y = -1.2. Curves and shapes are float arrays
(N, 2), in face units before and in canvas pixels after a :class:`Head` placed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import cos, sin

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]

_CAMERA_DISTANCE = 7.0  # face units: near enough that a turned face looks photographed, far enough not to bulge
_DEPTH = 0.95  # half the depth of the ellipsoid that carries the features
_QUARTER_TURN = np.array([-1.0, 1.0])
_CAP = np.stack(
    [np.cos(np.linspace(np.pi / 2, -np.pi / 2, 9)[1:-1]), np.sin(np.linspace(np.pi / 2, -np.pi / 2, 9)[1:-1])], axis=1
)
_NECK_PIVOT = 1.1  # a head tilts about its neck, not about its nose


def smooth(points: ArrayLike, *, closed: bool = True, steps: int = 7) -> Points:
    """A Catmull-Rom curve through ``points`` (N, 2), ``steps`` points per span."""
    knots = np.asarray(points, np.float64)
    count = len(knots)
    if not closed:
        knots = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    curve = (_catmull_rom(steps) @ knots[_windows(count, closed)]).reshape(-1, 2)
    return curve if closed else np.vstack([curve, knots[-2]])


@cache
def _catmull_rom(steps: int) -> Points:
    """Weights (steps, 4) of the four knots around a span at ``steps`` places along it."""
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    powers = np.hstack([t**0, t, t**2, t**3])
    return 0.5 * powers @ np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], np.float64)


@cache
def _windows(count: int, closed: bool) -> NDArray[np.intp]:
    """Which four knots each span needs: (spans, 4)."""
    if closed:
        around: NDArray[np.intp] = (np.arange(count)[:, None] + np.array([-1, 0, 1, 2])) % count
        return around
    along: NDArray[np.intp] = np.arange(count - 1)[:, None] + np.arange(4)
    return along


def ribbon(curve: Points, widths: float | Sequence[float], *, round_ends: bool = False) -> Points:
    """The closed outline of a stroke along ``curve``; ``widths`` are spread evenly over its length."""
    count = len(curve)
    along = np.empty_like(curve)
    along[1:-1] = curve[2:] - curve[:-2]
    along[0], along[-1] = curve[1] - curve[0], curve[-1] - curve[-2]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    half = _half_widths(count, widths if isinstance(widths, int | float) else tuple(widths))
    reach = half / length
    across = np.empty_like(curve)
    np.multiply(along[:, 1], -reach, out=across[:, 0])
    np.multiply(along[:, 0], reach, out=across[:, 1])
    if not round_ends:
        outline = np.empty((2 * count, 2))
        np.add(curve, across, out=outline[:count])
        np.subtract(curve[::-1], across[::-1], out=outline[count:])
        return outline
    cosine, sine = _CAP[:, :1], _CAP[:, 1:]
    tip = curve[-1] + reach[-1] * cosine * along[-1] + sine * across[-1]
    tail = curve[0] - reach[0] * cosine * along[0] - sine * across[0]
    return np.concatenate([curve + across, tip, (curve - across)[::-1], tail])


@lru_cache(maxsize=1024)
def _half_widths(count: int, widths: float | tuple[float, ...]) -> NDArray[np.float64]:
    profile = (widths,) if isinstance(widths, int | float) else widths
    at = np.linspace(0, len(profile) - 1, count)
    return np.asarray(0.5 * np.interp(at, np.arange(len(profile)), profile))


def ring(outline: Points, width: float) -> Points:
    """A stroke of even width along a closed outline, itself closed."""
    along = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    along /= np.maximum(np.sqrt((along * along).sum(axis=1, keepdims=True)), 1e-9)
    across = along[:, ::-1] * _QUARTER_TURN * (0.5 * width)
    outer, inner = outline + across, (outline - across)[::-1]
    return np.concatenate([outer, outer[:1], inner[-1:], inner])


def ellipse(x: float, y: float, rx: float, ry: float, *, turn: float = 0.0, count: int = 28) -> Points:
    """An ellipse's outline; ``turn`` in radians."""
    points = _circle(count) * (rx, ry)
    return place(points, x, y, turn=turn) if turn else shifted(points, x, y)


@cache
def _circle(count: int) -> Points:
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def mirror(points: ArrayLike) -> Points:
    """The same points on the other half of the face, in reverse order so that outlines stay outlines."""
    flipped: Points = (np.asarray(points, np.float64) * (-1.0, 1.0))[::-1]
    return flipped


def both_sides(right_half: ArrayLike) -> Points:
    """A whole outline from its right half, given from top to bottom; points on the midline are not doubled."""
    half = np.asarray(right_half, np.float64)
    return np.vstack([half, mirror(half[np.abs(half[:, 0]) > 1e-9])])


def shifted(points: Points, x: float, y: float) -> Points:
    """The same shape, moved."""
    moved: Points = points + np.array((x, y))
    return moved


def place(points: ArrayLike, x: float, y: float, *, turn: float = 0.0, scale: float = 1.0) -> Points:
    """Points moved from a part's own axes to (x, y), turned by radians and scaled."""
    p = np.asarray(points, np.float64) * scale
    c, s = cos(turn), sin(turn)
    placed: Points = p @ np.array([[c, s], [-s, c]]) + np.array((x, y))
    return placed


@dataclass(frozen=True, slots=True)
class Head:
    """A pose: it places points of the face (and of the body below) on the canvas.

    Attributes:
        unit: canvas pixels per face unit.
        x, y: canvas pixels of the face's origin.
        yaw, pitch, roll: radians; positive yaw looks to the picture's right, positive pitch looks down.
        width: half width of this person's face in face units.
    """

    unit: float
    x: float
    y: float
    yaw: float
    pitch: float
    roll: float
    width: float

    def at(self, points: ArrayLike, lift: float | NDArray[np.float64] = 0.0) -> Points:
        """Points on the face's surface, raised by ``lift``, turned with the head and seen in perspective."""
        p = np.asarray(points, np.float64)
        x, y = p[:, 0], p[:, 1]
        across, down = x / (1.03 * self.width), (y - 0.05) / 1.38
        solid = np.empty((len(p), 3))
        solid[:, :2] = p
        solid[:, 2] = np.sqrt(np.maximum(1.0 - across * across - down * down, 0.0)) * _DEPTH + lift
        turned = solid @ self._turn
        seen = turned[:, :2] * ((_CAMERA_DISTANCE - _DEPTH) / (_CAMERA_DISTANCE - turned[:, 2:]))
        return self._tilt(seen[:, 0], seen[:, 1])

    @property
    def _turn(self) -> NDArray[np.float64]:
        """Yaw, then pitch, as a matrix to the right of row vectors."""
        return _rotation(self.yaw, self.pitch)

    def rim(self, points: ArrayLike, z: float | None = None) -> Points:
        """Points on the head's outline, which a turn hardly narrows; ``z`` < 0 lies behind it, as hair and ears do.

        Without ``z`` the chin, which stands forward, follows the turn and the temples do not.
        """
        p = np.asarray(points, np.float64)
        x, y = p[:, 0], p[:, 1]
        depth = 0.42 * np.clip((y - 0.35) / 0.95, 0.0, 1.0) ** 1.3 if z is None else np.full(len(p), z)
        return self._tilt(x + depth * sin(self.yaw), y * (1 - 0.1 * abs(self.pitch)) + depth * sin(self.pitch))

    def body(self, points: ArrayLike) -> Points:
        """Points of neck, shoulders and clothes, which stay upright while the head turns."""
        p = np.asarray(points, np.float64)
        return p * self.unit + (self.x, self.y)

    def _tilt(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Points:
        c, s = self.unit * cos(self.roll), self.unit * sin(self.roll)
        down = y - _NECK_PIVOT
        placed = np.empty((len(x), 2))
        placed[:, 0] = x * c - down * s + self.x
        placed[:, 1] = x * s + down * c + (self.y + self.unit * _NECK_PIVOT)
        return placed


@lru_cache(maxsize=64)
def _rotation(yaw: float, pitch: float) -> NDArray[np.float64]:
    c, s = cos(yaw), sin(yaw)
    about_y = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    c, s = cos(pitch), sin(pitch)
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    return np.asarray(about_y @ about_x)
