"""The quick search finds exactly what comparing all pairs finds."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.pool.near_duplicates import near_duplicates


def by_all_pairs(hashes: list[str], bits: int) -> list[int | None]:
    codes = [int(text, 16) for text in hashes]
    return [next((j for j in range(i) if (codes[i] ^ codes[j]).bit_count() <= bits), None) for i in range(len(codes))]


@st.composite
def families(draw: st.DrawFn) -> list[str]:
    """Hashes around a few centres, so that near pairs, chains and equal ones are common."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=9)
    members = draw(st.lists(st.tuples(st.sampled_from(centres), flips), max_size=40))
    codes = []
    for centre, places in members:
        mask = 0
        for place in places:
            mask ^= 1 << place
        codes.append(f"{centre ^ mask:016x}")
    return codes


@given(families(), st.integers(0, 9))
def test_same_as_all_pairs(hashes: list[str], bits: int) -> None:
    assert near_duplicates(hashes, bits) == by_all_pairs(hashes, bits)


@pytest.mark.parametrize("bits", [0, 1, 4, 7, 20, 63, 64, 100])
def test_same_as_all_pairs_at_every_width(bits: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 2**64, 300, dtype=np.uint64)
    hashes = [f"{code:016x}" for code in codes]
    hashes += [f"{int(code) ^ (1 << (i % 64)) ^ 1:016x}" for i, code in enumerate(codes)] + hashes[:50]
    assert near_duplicates(hashes, bits) == by_all_pairs(hashes, bits)


def test_earliest_may_lie_before_an_equal_one() -> None:
    assert near_duplicates([f"{c:016x}" for c in (1, 0, 0, 3)], 1) == [None, 0, 0, 0]


def test_nothing_and_one() -> None:
    assert near_duplicates([], 4) == []
    assert near_duplicates(["0" * 16], 4) == [None]


def test_memory_stays_far_below_all_pairs() -> None:
    codes = np.random.default_rng(0).integers(0, 2**64, 30_000, dtype=np.uint64)
    hashes = [f"{code:016x}" for code in codes] + ["f" * 16] * 20_000
    tracemalloc.start()
    found = near_duplicates(hashes, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[30_001:] == [30_000] * 19_999
    assert peak < 30 << 20  # one bit per pair would be 149 MiB


@pytest.mark.parametrize("bad", ["0", "g" * 16, "0" * 17])
def test_bad_hash(bad: str) -> None:
    with pytest.raises(ValueError, match=r"hash|literal"):
        near_duplicates([bad], 4)
    with pytest.raises(ValueError, match="negative"):
        near_duplicates([], -1)
