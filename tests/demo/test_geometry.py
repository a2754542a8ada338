"""Curves go where they are told, and the head turns as a solid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.demo.geometry import Head, both_sides, ellipse, mirror, place, ribbon, ring, shifted, smooth


def head(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Head:
    return Head(unit=100.0, x=200.0, y=200.0, yaw=yaw, pitch=pitch, roll=roll, width=0.95)


def area(outline: np.ndarray) -> float:
    x, y = outline.T
    return float(0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


@pytest.mark.parametrize("closed", [True, False])
def test_a_smooth_curve_passes_through_its_points(closed: bool) -> None:
    knots = np.array([(0, 0), (1, 2), (3, 1), (4, -1), (2, -3)], np.float64)
    curve = smooth(knots, closed=closed, steps=5)
    for knot in knots:
        assert np.abs(curve - knot).sum(axis=1).min() < 1e-9
    assert len(curve) == (25 if closed else 21)


def test_a_ribbon_is_as_wide_as_asked() -> None:
    line = np.stack([np.linspace(0, 10, 21), np.zeros(21)], axis=1)
    assert area(ribbon(line, 2.0)) == pytest.approx(20.0)
    assert area(ribbon(line, (0.0, 2.0, 0.0))) == pytest.approx(10.0)
    rounded = area(ribbon(line, 2.0, round_ends=True))
    assert rounded == pytest.approx(20.0 + np.pi, rel=0.02)


def test_a_ring_follows_a_closed_outline_without_a_gap() -> None:
    stroke = ring(ellipse(0, 0, 10, 10, count=200), 2.0)
    assert area(stroke) == pytest.approx(np.pi * (11**2 - 9**2), rel=0.01)


@given(st.floats(-3, 3), st.floats(0.1, 4))
def test_placing_turns_and_scales_but_does_not_distort(turn: float, scale: float) -> None:
    shape = ellipse(0, 0, 2, 1)
    placed = place(shape, 5.0, -3.0, turn=turn, scale=scale)
    assert area(placed) == pytest.approx(area(shape) * scale**2)
    assert placed.mean(axis=0) == pytest.approx((5.0, -3.0))


def test_mirrored_halves_make_a_symmetric_outline() -> None:
    outline = both_sides([(0, -1), (1, 0), (0.5, 1), (0, 1.2)])
    assert len(outline) == 6
    assert sorted(map(tuple, np.round(mirror(outline), 9))) == sorted(map(tuple, np.round(outline, 9)))
    assert shifted(outline, 2.0, 0.0).mean(axis=0)[0] == pytest.approx(2.0)


def test_a_turned_head_moves_its_nose_more_than_its_temples_and_hides_the_far_cheek() -> None:
    points = [(0.0, 0.4), (-0.6, 0.2), (0.6, 0.2)]
    straight, turned = head().at(points), head(yaw=0.4).at(points)
    nose, left, right = (turned - straight)[:, 0]
    assert nose > left > 0
    assert nose > right
    assert turned[2, 0] - turned[0, 0] < straight[2, 0] - straight[0, 0]


def test_looking_down_lowers_the_nose_and_a_tilt_turns_about_the_neck() -> None:
    assert head(pitch=0.2).at([(0.0, 0.4)])[0, 1] > head().at([(0.0, 0.4)])[0, 1]
    crown, pivot = head(roll=0.3).rim([(0.0, -1.2), (0.0, 1.1)], z=0.0)
    assert crown[0] > 220
    assert pivot == pytest.approx(head().rim([(0.0, 1.1)], z=0.0)[0])
