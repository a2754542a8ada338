"""The recipe from activations to vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from labeler.domain import InvalidScores
from labeler.rank import features, threads
from labeler.rank.features import FeatureMap

PARTS = ((5, 0.7), (3, 1.0))


def activations(n: int, seed: int = 0, width: int = 8) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(size=(n, width)) + 0.5, 0).astype(np.float32)


def by_hand(
    raw: npt.NDArray[np.float32], fitted_on: npt.NDArray[np.float32], parts: tuple[tuple[int, float], ...] = PARTS
) -> npt.NDArray[np.float64]:
    """The recipe written as it is described, in double precision and without blocks."""
    out, start = [], 0
    for width, weight in parts:
        part = np.sqrt(np.maximum(raw[:, start : start + width].astype(np.float64), 0))
        part = part - np.sqrt(np.maximum(fitted_on[:, start : start + width].astype(np.float64), 0)).mean(axis=0)
        out.append(weight * part / np.linalg.norm(part, axis=1, keepdims=True))
        start += width
    return np.concatenate(out, axis=1)


def test_the_recipe() -> None:
    pool, new = activations(50), activations(9, seed=1)
    fitted = FeatureMap.fit(pool, PARTS)
    vectors = fitted.transform(new)
    assert vectors.dtype == np.float32
    assert vectors.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(vectors, by_hand(new, pool), atol=1e-5)
    assert fitted.parts == ((0, 5, 0.7), (5, 8, 1.0))
    assert fitted.dimension == 8
    assert fitted.mean.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors[:, :5], axis=1), 0.7, atol=1e-5)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = activations(50)
    whole = FeatureMap.fit(pool, PARTS)
    monkeypatch.setattr(features, "BLOCK_ROWS", 7)
    monkeypatch.setattr(features.blocks, "__defaults__", (7,))
    blockwise = FeatureMap.fit(pool, PARTS)
    np.testing.assert_allclose(blockwise.mean, whole.mean, atol=1e-7)
    weights = activations(3, seed=2).T.copy()
    np.testing.assert_allclose(whole.project(pool, weights), whole.transform(pool) @ weights, atol=1e-6)
    assert list(features.blocks(50))[-1] == slice(49, 50)
    assert list(features.blocks(50, start=36)) == [slice(36, 43), slice(43, 50)]


def test_a_memory_mapped_half_precision_file(tmp_path: Path) -> None:
    pool = activations(600)
    np.save(tmp_path / "raw.npy", pool.astype(np.float16))
    mapped = np.load(tmp_path / "raw.npy", mmap_mode="r")
    vectors = FeatureMap.fit(mapped, PARTS).transform(mapped)
    np.testing.assert_allclose(vectors, by_hand(pool, pool), atol=5e-3)


def test_input_is_left_alone() -> None:
    pool = activations(20)
    pool.setflags(write=False)
    before = pool.tobytes()
    FeatureMap.fit(pool, PARTS).transform(pool)
    assert pool.tobytes() == before


def test_vectors_without_deviation_become_zeros() -> None:
    alike = np.tile(activations(1), (4, 1))
    vectors = FeatureMap.fit(alike, PARTS).transform(alike)
    assert np.isfinite(vectors).all()
    assert np.abs(vectors).max() < 0.1
    nothing = np.zeros((3, 8), dtype=np.float32)
    assert (FeatureMap.fit(nothing, PARTS).transform(nothing) == 0).all()


def test_negative_activations_count_as_zero() -> None:
    raw = activations(30)
    negative = np.where(raw == 0, np.float32(-3.0), raw)
    assert (negative < 0).any()
    np.testing.assert_array_equal(
        FeatureMap.fit(raw, PARTS).transform(raw), FeatureMap.fit(negative, PARTS).transform(negative)
    )


def test_an_empty_batch() -> None:
    fitted = FeatureMap.fit(activations(5), PARTS)
    assert fitted.transform(np.empty((0, 8), dtype=np.float32)).shape == (0, 8)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_activations_are_refused(bad: float) -> None:
    raw = activations(30)
    fitted = FeatureMap.fit(raw, PARTS)
    raw[11, 2] = bad
    with pytest.raises(InvalidScores, match="NaN or infinity"):
        FeatureMap.fit(raw, PARTS)
    with pytest.raises(InvalidScores, match="NaN or infinity"):
        fitted.transform(raw)


def test_vectors_of_another_backbone_are_refused() -> None:
    fitted = FeatureMap.fit(activations(5), PARTS)
    for wrong in (activations(5, width=9), activations(5)[:, 0]):
        with pytest.raises(InvalidScores, match="embed again"):
            fitted.transform(wrong)
        with pytest.raises(InvalidScores, match="embed again"):
            FeatureMap.fit(wrong, PARTS)
    with pytest.raises(InvalidScores, match="no vectors"):
        FeatureMap.fit(np.empty((0, 8), dtype=np.float32), PARTS)


def test_half_precision_is_read_exactly() -> None:
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16)[:, None]  # all that are neither negative nor infinite
    found = np.empty(every.shape, dtype=np.float32)
    features._root(every, found)
    assert np.array_equal(found, np.sqrt(every.astype(np.float32)))


@pytest.mark.parametrize("odd", [np.float16(-1.5), np.float16("nan"), np.float16("inf"), np.float16("-inf")])
def test_odd_halves_take_the_careful_way(odd: np.float16) -> None:
    raw = np.array([[odd, 4.0]], dtype=np.float16)
    found = np.empty((1, 2), dtype=np.float32)
    features._root(raw, found)
    assert np.array_equal(found, np.sqrt(np.maximum(raw.astype(np.float32), 0)), equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("rows", [slice(None), slice(3, 90), np.array([99, 0, 0, 41]), np.array([], dtype=np.int64)])
def test_a_projection_is_the_product_of_the_vectors(
    dtype: type[np.floating[Any]], rows: slice | npt.NDArray[np.int64]
) -> None:
    pool = activations(100, width=90).astype(dtype)
    pool[5] = 0
    pool[6, :50] = np.float16(3e-6)  # below the smallest normal number of half precision
    pool.setflags(write=False)
    fitted = FeatureMap.fit(pool, ((50, 0.7), (40, 1.0)))
    weights = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    found = fitted.project(pool, weights, rows)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, fitted.transform(pool[rows]) @ weights, atol=2e-6)


def test_what_equals_the_mean_is_projected_to_nothing() -> None:
    alike = np.tile(activations(1), (4, 1)).astype(np.float16)
    weights = np.ones((8, 1), dtype=np.float32)
    fitted = FeatureMap.fit(alike, PARTS)
    assert np.abs(fitted.project(alike, weights)).max() < 0.3
    nothing = np.zeros((3, 8), dtype=np.float16)
    assert (FeatureMap.fit(nothing, PARTS).project(nothing, weights) == 0).all()


def test_the_plain_recipe_is_projected_as_it_is() -> None:
    raw = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float16)
    weights = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
    plain = FeatureMap.plain(PARTS)
    np.testing.assert_allclose(plain.project(raw, weights), raw.astype(np.float64) @ weights, atol=1e-5)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_projection_refuses_what_the_vectors_refuse(odd: float, dtype: type[np.floating[Any]]) -> None:
    raw = activations(30).astype(dtype)
    fitted = FeatureMap.fit(raw, PARTS)
    weights = np.ones((8, 1), dtype=np.float32)
    raw[11, 2] = odd
    if odd < 0:  # negative activations count as zero, in both
        np.testing.assert_allclose(fitted.project(raw, weights), fitted.transform(raw) @ weights, atol=1e-5)
        return
    with pytest.raises(InvalidScores, match="NaN or infinity"):
        fitted.project(raw, weights)
    with pytest.raises(InvalidScores, match="NaN or infinity"):
        fitted.project(raw, weights, np.array([3, 11]))


def test_threads_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = activations(3_000)
    one = FeatureMap.fit(pool, PARTS)
    monkeypatch.setattr(threads, "THREADED_FROM", 1)
    monkeypatch.setattr(threads, "cores", lambda: 3)
    many = FeatureMap.fit(pool, PARTS)
    np.testing.assert_array_equal(many.mean, one.mean)
    vectors = many.transform(pool)
    monkeypatch.undo()
    np.testing.assert_array_equal(vectors, one.transform(pool))
