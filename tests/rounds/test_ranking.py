"""A pool that has just grown is ranked as far as it has vectors, again and again, until all of it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from labeler.domain import Split
from labeler.record import rankings
from labeler.record.tables import Job
from labeler.rounds import Workspace, loop, ranking
from labeler.worker import work_once
from tests.workspaces import CLASSES, POOL, draw

NEW = 30


@pytest.fixture
def grown(
    fresh: Callable[[], Path], compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    """A ranked workspace into which drawings were imported since; one batch of eight is made into vectors a time."""
    root = fresh()
    shutil.copytree(compiled, root / "db" / "cache" / "compiled")
    for seed in range(NEW):
        draw(tmp_path / "more", 5_000 + seed, CLASSES[seed % 2])
    with Workspace.open(root, k=8, threads=1) as ws:
        ws.run_round_job()
        ws.import_images(tmp_path / "more", into="unlabelled")
        monkeypatch.setattr(ranking, "EMBED_S", 0.0)
        monkeypatch.setattr(ranking, "FIRST", POOL)
        yield ws


def ranked(ws: Workspace) -> int:
    with ws.store.read() as session:
        newest = rankings.newest(session)
    assert newest is not None
    return newest.pool


def test_it_takes_in_a_part_a_time_and_asks_for_the_next(grown: Workspace) -> None:
    seen = [ranked(grown)]
    grown.request_round()
    while work_once(grown):
        seen.append(ranked(grown))
        assert len(seen) < 20
    assert seen == [POOL, POOL + 8, POOL + 16, POOL + 24, POOL + NEW]
    with grown.store.read() as session:
        said = session.scalars(select(Job.message).order_by(Job.id)).all()
    assert [line.partition(", ")[2] for line in said] == [f"{left} are still to come" for left in (22, 14, 6)] + [""]
    assert "to come" not in grown.run_round_job()
    assert len(grown.learner.material(Split.UNLABELLED).refs) == POOL + NEW


def test_first_of_all_a_fair_sample_however_long_it_takes(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "FIRST", POOL + 20)
    grown.run_round_job()
    assert ranked(grown) == POOL + 24, "whole batches of eight"


def test_what_cannot_be_read_is_not_waited_for(grown: Workspace) -> None:
    """Decided once per ranking: a file that is spoilt after its import must not keep the worker busy for ever."""
    spoilt = sorted((grown.paths.pools / "Unlabelled").glob("shape-50*.png"))
    for file in spoilt[:9]:
        file.write_bytes(b"no picture")
    grown.request_round()
    jobs = 0
    while work_once(grown):
        jobs += 1
        assert jobs < 20
    assert ranked(grown) == POOL + NEW - 9


def test_images_with_a_label_are_learned_from_at_once(grown: Workspace, tmp_path: Path) -> None:
    for seed in range(12):
        draw(tmp_path / "known" / CLASSES[seed % 2], 6_000 + seed, CLASSES[seed % 2])
    grown.import_images(tmp_path / "known", into="train")
    grown.run_round_job()
    with grown.store.read() as session:
        newest = rankings.newest(session)
    assert newest is not None
    assert newest.labelled == 12
    assert newest.model_version_id is not None


def test_a_round_from_the_shell_ranks_everything(grown: Workspace) -> None:
    row, _ = loop.propose(grown.learner, k=8, strategy="auto", seed=0)
    assert row.pool == POOL + NEW


def test_a_small_pool_is_ranked_by_one_job(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the times it has by default everything small is ranked by one job."""
    monkeypatch.setattr(ranking, "EMBED_S", 5.0)
    monkeypatch.setattr(ranking, "FIRST", 2_000)
    grown.request_round()
    assert work_once(grown)
    assert not work_once(grown)
    assert ranked(grown) == POOL + NEW
