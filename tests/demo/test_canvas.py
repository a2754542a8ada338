"""Paint lands inside the shape, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labeler.demo.canvas import Canvas, darker, lighter, mix
from labeler.demo.geometry import ellipse

SQUARE = np.array([(20, 20), (60, 20), (60, 60), (20, 60)], np.float64)
RED = (200, 0, 0)


def blank() -> Canvas:
    return Canvas(Image.new("RGB", (100, 100)))


def red(canvas: Canvas) -> np.ndarray:
    return np.asarray(canvas.image)[..., 0].astype(int)


def test_a_fill_covers_the_shape_and_nothing_else() -> None:
    canvas = blank()
    canvas.fill(SQUARE, RED)
    assert red(canvas)[40, 40] == 200
    assert red(canvas).sum() == 200 * 41 * 41


def test_a_thin_coat_lets_the_ground_through() -> None:
    canvas = blank()
    canvas.fill(SQUARE, RED, 0.5)
    assert red(canvas)[40, 40] == pytest.approx(100, abs=2)
    assert red(canvas)[10, 10] == 0


def test_a_soft_edge_fades_and_keeps_the_amount_of_paint() -> None:
    canvas = blank()
    canvas.soft(SQUARE, RED, 6.0)
    row = red(canvas)[40]
    assert row[40] > 190
    assert row[2] == 0
    assert np.all(np.diff(row[:40]) >= 0), "darker towards the edge, without a step back"
    assert 40 < row[20] < 160
    assert red(canvas).sum() == pytest.approx(200 * 41 * 41, rel=0.1)


def test_nothing_painted_inside_gets_out() -> None:
    canvas = blank()
    with canvas.inside(SQUARE, without=ellipse(40, 40, 8, 8)) as layer:
        layer.fill(np.array([(0, 0), (100, 0), (100, 100), (0, 100)], np.float64), RED)
    got = red(canvas)
    assert got[25, 25] == 200
    assert got[40, 40] == 0, "the hole stays free"
    assert got[:19].sum() == 0
    assert got[:, 62:].sum() == 0


def test_layers_within_layers_keep_their_place() -> None:
    canvas = blank()
    with canvas.inside(SQUARE) as outer, outer.inside(ellipse(60, 60, 15, 15)) as inner:
        inner.fill(np.array([(0, 0), (100, 0), (100, 100), (0, 100)], np.float64), RED)
    got = red(canvas)
    assert got[55, 55] == 200
    assert got[65, 65] == 0
    assert got[30, 30] == 0


def test_a_field_darkens_where_it_is_dark() -> None:
    canvas = Canvas(Image.new("RGB", (100, 100), (200, 200, 200)))
    field = np.ones((10, 10, 3), np.float32)
    field[:, :5] = 0.5
    with canvas.inside(SQUARE) as layer:
        layer.multiply(field)
    got = red(canvas)
    assert got[40, 25] == pytest.approx(100, abs=3)
    assert got[40, 58] == pytest.approx(200, abs=3)
    assert got[40, 10] == 200


@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(0.5, 300), st.floats(0.3, 40))
def test_shapes_may_lie_anywhere_and_leave_the_pad_clean(x: float, y: float, radius: float, blur: float) -> None:
    canvas = blank()
    shape = ellipse(x, y, radius, radius)
    canvas.fill(shape, RED)
    canvas.fill(shape, RED, 0.4)
    canvas.soft(shape, RED, blur)
    with canvas.inside(shape) as layer:
        layer.soft(shape, RED, blur)
        layer.multiply(np.ones((4, 4, 3), np.float32))
    assert canvas.pad.stencil((100, 100), []).getbbox() is None
    if x + radius + 3 * blur < -5:
        assert red(canvas).sum() == 0


def test_colour_words() -> None:
    assert mix((0, 0, 0), (100, 200, 50), 0.5) == (50, 100, 25)
    assert sum(darker((120, 120, 120), 0.3)) < 360 < sum(lighter((120, 120, 120), 0.3))
