"""The table of strategies and the door for other packages'."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

import numpy as np
import pytest

from labeler.domain import InvalidScores, UnknownName
from labeler.rank import registry
from labeler.rank.strategies import Choice, Pool, names, select


@pytest.fixture(autouse=True)
def _table_as_it_was() -> Iterator[None]:
    before = dict(registry._table)
    yield
    registry._table.clear()
    registry._table.update(before)


def small_pool(n: int = 4) -> Pool:
    vectors = np.eye(n, 3, dtype=np.float32)
    ids = np.array([f"{i}" for i in range(n)])
    return Pool(vectors, ids, np.full((n, 2), 0.5), vectors[:0], np.empty(0, dtype=np.int64))


def backwards(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    return Choice(np.arange(len(pool))[::-1][:k].astype(np.int64), ("last",) * k)


def test_what_is_built_in() -> None:
    field = {"uncertainty", "margin", "entropy", "committee", "diverse", "typical", "random"}
    assert {"cold-start", "weighted-kmeans", "look-alikes", *field} <= set(names())


def test_an_unknown_name_lists_the_names() -> None:
    with pytest.raises(UnknownName, match=r"unknown strategy 'entropic' \(choose from cold-start, committee, d"):
        select("entropic", small_pool(), 2, seed=0)


def test_registering() -> None:
    registry.register("backwards", needs_model=False)(backwards)
    selection = select("backwards", small_pool(), 2, seed=0)
    assert selection.indices.tolist() == [3, 2]
    assert selection.why == ("last", "last")
    registry.register("backwards")(backwards)
    with pytest.raises(ValueError, match="exists already"):
        registry.register("backwards")(lambda pool, k, rng: backwards(pool, k, rng))


@pytest.mark.parametrize(
    "indices", [[0], [0, 0], [0, 4], [-1, 0], [0, 1, 2]], ids=["few", "twice", "beyond", "negative", "many"]
)
def test_a_strategy_that_breaks_the_contract_is_named(indices: list[int]) -> None:
    registry.register("broken")(lambda pool, k, rng: Choice(np.array(indices), ("x",) * len(indices)))
    with pytest.raises(InvalidScores, match="strategy broken"):
        select("broken", small_pool(), 2, seed=0)


def test_entry_points_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("theirs", f"{__name__}:backwards", registry.ENTRY_POINTS)
    others = importlib.metadata.EntryPoint("broken", "no.such.module:nothing", registry.ENTRY_POINTS)
    found = importlib.metadata.EntryPoints([entry, others])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **want: found.select(**want))
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: backwards if self is not others else 1 / 0)
    assert "theirs" in names()
    # Only the one asked for is imported: another package's broken module does no harm.
    assert select("theirs", small_pool(), 2, seed=0).indices.tolist() == [3, 2]
