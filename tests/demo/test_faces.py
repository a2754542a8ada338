"""The portraits as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from labeler.demo import draw_face


def test_the_same_seed_draws_the_same_pixels() -> None:
    for masked in (True, False):
        assert draw_face(11, masked=masked).tobytes() == draw_face(11, masked=masked).tobytes()


def test_other_seeds_draw_other_faces() -> None:
    pictures = {draw_face(seed, masked=seed % 2 == 0, size=64).tobytes() for seed in range(20)}
    assert len(pictures) == 20


@pytest.mark.parametrize("size", [64, 192, 224, 256, 301])
def test_size_and_mode(size: int) -> None:
    picture = draw_face(5, masked=True, size=size)
    assert picture.size == (size, size)
    assert picture.mode == "RGB"


def test_seeds_may_be_large() -> None:
    assert draw_face(2**62 - 1, masked=False, size=64).size == (64, 64)


def test_a_mask_changes_the_face_and_not_the_room() -> None:
    for seed in range(40, 64):
        bare, masked = (np.asarray(draw_face(seed, masked=masked, size=96), int) for masked in (False, True))
        difference = np.abs(bare - masked).max(axis=2)
        assert difference[:7, :7].max() < 40, "the corner differs by no more than a blurred edge"
        assert np.median(difference[:10]) <= 6
        assert difference.max() > 20, "but the face does differ"
