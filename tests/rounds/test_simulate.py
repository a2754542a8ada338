"""A simulated run decides what a live workspace decides; what it keeps, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from labeler import Oracle, workspace
from labeler.domain import TruthError, UnknownName
from labeler.rounds import Workspace, simulate, trial
from labeler.rounds.trial import Plan
from labeler.settings import Settings
from tests.workspaces import CLASSES

K, ROUNDS, HELD_BACK = 8, 4, 16


def plan(strategy: str, audit: float = 0.0, examples: int = 0, seed: int = 3) -> Plan:
    budget = K * ROUNDS + examples * len(CLASSES)
    return Plan(strategy, seed, K, budget, HELD_BACK, audit=audit, examples=examples)


@pytest.fixture(scope="module")
def cache(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vectors of the drawings, so that no network has to run."""
    folder = tmp_path_factory.mktemp("cache")
    shutil.copytree(built / "db/cache/vectors", folder / "vectors")
    return folder


@pytest.fixture(scope="module")
def photographs(truth: Path, cache: Path) -> trial.Photographs:
    found, notes = simulate.gather(truth, CLASSES, Settings(), cache, None)
    assert notes == []
    return found


@pytest.mark.parametrize(
    ("strategy", "audit", "examples"),
    [("auto", 0.0, 0), ("auto", 0.25, 0), ("uncertainty", 0.0, 2), ("random", 0.0, 0)],
)
def test_a_live_workspace_makes_the_same_decisions(
    photographs: trial.Photographs,
    truth: Path,
    cache: Path,
    tmp_path: Path,
    strategy: str,
    audit: float,
    examples: int,
) -> None:
    planned = plan(strategy, audit, examples)
    simulated = trial.run(photographs, planned)
    paths = workspace.create(tmp_path / "w", CLASSES)
    shutil.copytree(cache / "vectors", paths.vectors)
    tested = trial.test_split(photographs, HELD_BACK, planned.seed)
    given = set(trial.given_examples(photographs, planned))
    for ref, kept in zip(photographs.refs, tested, strict=True):
        split = "test" if kept else "train" if ref.sha256 in given else "pool"
        folder = tmp_path / split / ("" if split == "pool" else str(ref.label))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(ref.path, folder)
    asked: list[str] = []
    accuracy: list[float] = []
    estimates: list[float] = []
    with Workspace.open(paths.root, k=K, seed=planned.seed, strategy=strategy, audit=audit, refresh="head") as live:
        live.import_images(tmp_path / "pool", into="unlabelled")
        live.import_images(tmp_path / "test", into="test")
        if examples:
            live.import_images(tmp_path / "train", into="train")
        for _ in range(ROUNDS):
            made = live.round(annotator=Oracle.from_folder(truth))
            asked += [proposal.sha256 for proposal in made.proposals]
            assert made.metrics is not None
            accuracy.append(made.metrics["accuracy"])
            estimates.append(made.metrics["estimate"]["accuracy"])
    assert asked == simulated.chosen
    assert accuracy == pytest.approx(simulated.accuracy)
    assert estimates == pytest.approx([each[0] for each in simulated.estimate if each is not None])


def test_the_test_split_is_stratified_and_follows_the_seed(photographs: trial.Photographs) -> None:
    one, again, other = (trial.test_split(photographs, 15, seed) for seed in (1, 1, 2))
    assert int(one.sum()) == 15
    assert sorted(np.bincount(photographs.y[one])) == [7, 8]
    assert (one == again).all()
    assert (one != other).any()


def test_full_supervision_is_what_the_head_reaches_with_every_label(photographs: trial.Photographs) -> None:
    everything = Plan("random", 3, 8, 1000, HELD_BACK)
    curve = trial.run(photographs, everything)
    assert curve.labels[-1] == len(photographs.refs) - HELD_BACK
    assert trial.full_supervision(photographs, everything) == pytest.approx(curve.accuracy[-1])


def test_twins_count_once_and_contradictions_not_at_all(truth: Path, cache: Path, tmp_path: Path) -> None:
    copy = tmp_path / "truth"
    shutil.copytree(truth, copy)
    of_class = [sorted((copy / name).iterdir()) for name in CLASSES]
    shutil.copy(of_class[0][0], copy / CLASSES[0] / "twin.png")
    shutil.copy(of_class[0][1], copy / CLASSES[1] / "contradiction.png")
    (copy / CLASSES[1] / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    found, notes = simulate.gather(copy, CLASSES, Settings(), cache, None)
    assert len(found.refs) == sum(map(len, of_class)) - 1
    assert len(notes) == 2
    assert any("both are left out" in note for note in notes)
    assert any("broken.png" in note for note in notes)


def test_an_unknown_strategy_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="guess"):
        simulate.simulate(
            tmp_path / "nowhere",
            classes=CLASSES,
            settings=Settings(),
            cache=tmp_path / "cache",
            strategies=["guess"],
            seeds=[0],
            plan=plan("guess"),
        )


def test_classes_are_the_preferred_ones_where_they_fit(truth: Path, tmp_path: Path) -> None:
    assert simulate.class_names(truth, [("square", "round")]) == ("square", "round")
    assert simulate.class_names(truth, [("cat", "dog")]) == ("round", "square")
    (tmp_path / "only").mkdir()
    (tmp_path / "only/a.png").touch()
    with pytest.raises(TruthError, match="1 class"):
        simulate.class_names(tmp_path, [])
