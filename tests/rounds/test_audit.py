"""The audit: a share of every batch drawn by lot, marked, counted in the estimate and learned from like the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from labeler import Oracle
from labeler.domain import AUDIT, ImageRef, SettingError, Split
from labeler.rank.features import FeatureMap
from labeler.record import images
from labeler.record.tables import ProposalRow
from labeler.rounds import Workspace
from labeler.rounds.learning import Material
from labeler.rounds.order import Order


def order(audit: float, n: int = 40, seed: int = 0) -> Order:
    rng = np.random.default_rng(0)
    refs = [ImageRef(at, f"{at:064x}", f"pools/Unlabelled/{at}.png") for at in range(n)]
    material = Material(refs, rng.random((n, 6)).astype(np.float32), np.full(n, -1), "k")
    features = FeatureMap.fit(material.raw, [(6, 1.0)])
    return Order(("a", "b"), material, None, features, np.arange(n), seed, audit=audit)


def test_the_share_stands_last_and_nothing_is_asked_twice() -> None:
    chosen = order(0.25).choose("cold-start", 8)
    assert list(chosen.why) == ["typical"] * 6 + [AUDIT] * 2
    assert len(set(chosen.indices.tolist())) == 8


def test_a_fraction_of_an_image_is_one_as_often_as_that() -> None:
    drawn = [list(order(0.05, seed=seed).choose("random", 10).why).count(AUDIT) for seed in range(200)]
    assert set(drawn) == {0, 1}
    assert 70 <= sum(drawn) <= 130


def test_every_image_is_as_likely_to_be_drawn() -> None:
    counts = np.zeros(40)
    for seed in range(300):
        chosen = order(0.5, seed=seed).choose("cold-start", 8)
        counts[chosen.indices[-4:]] += 1
    assert counts.min() > 10  # 30 expected
    assert counts.max() < 60


def test_a_long_order_audits_every_batch_of_the_strategy() -> None:
    chosen = order(0.25).long("cold-start", 8, batches=2, most=30)
    assert list(chosen.why[:16]).count(AUDIT) == 4
    assert AUDIT not in chosen.why[16:]
    assert len(set(chosen.indices.tolist())) == 30


def test_a_small_pool_is_asked_whole() -> None:
    assert sorted(order(0.5, n=3).choose("random", 8).indices.tolist()) == [0, 1, 2]


def test_audited_images_are_on_record_counted_and_learned_from(fresh: Callable[[], Path], truth: Path) -> None:
    with Workspace.open(fresh(), k=8, audit=0.25, refresh="head") as opened:
        oracle = Oracle.from_folder(truth)
        made = [opened.round(annotator=oracle) for _ in range(2)]
        with opened.store.read() as session:
            marked = session.scalars(select(ProposalRow.image_id).where(ProposalRow.why == AUDIT)).all()
            learned = {ref.id for ref in images.refs(session, Split.TRAIN)}
        assert len(marked) == 4
        assert set(marked) <= learned
        assert made[1].metrics is not None
        estimate = made[1].metrics["estimate"]
        assert estimate["audited"] == 4
        assert estimate["low"] < estimate["accuracy"] < estimate["high"]


def test_a_share_above_the_whole_is_refused(fresh: Callable[[], Path]) -> None:
    with pytest.raises(SettingError, match="too large"):
        Workspace.open(fresh(), audit=1.5)
