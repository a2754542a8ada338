"""Rounds with an oracle: the same engine as the shell and the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from labeler import Oracle
from labeler.domain import Action, Answer, LabelerError, NothingToDo, Split, TruthError, UnknownName
from labeler.record import images
from labeler.rounds import Workspace
from labeler.rounds.decisions import new_operation
from tests.checks import assert_sound
from tests.workspaces import CLASSES, POOL, TEST

ALL = POOL + TEST


def count(folder: Path) -> int:
    return sum(1 for file in folder.rglob("*") if file.is_file())


def test_a_round_labels_moves_trains_and_evaluates(opened: Workspace, truth: Path) -> None:
    result = opened.round(annotator=Oracle.from_folder(truth))
    assert (result.round, result.state, result.strategy) == (1, "EVALUATED", "cold-start")
    assert [p.rank for p in result.proposals] == list(range(1, 9))
    assert all(p.probability is None and p.predicted is None for p in result.proposals)
    assert sum(result.decisions.values()) == 8
    assert (result.pool, result.labelled) == (POOL - 8, 8)
    assert count(opened.paths.pools / "Unlabelled") == POOL - 8
    for label in CLASSES:
        for file in (opened.paths.pools / "Train" / label).iterdir():
            assert (truth / label / file.name).is_file(), "moved into the class the oracle did not say"
    assert result.metrics is not None
    assert (result.metrics["split"], result.metrics["n"]) == ("test", TEST)
    assert {"scan", "embed", "fit", "rank", "commit", "retrain", "evaluate", "total"} <= set(result.as_json()["timing"])
    assert_sound(opened, ALL)


def test_the_second_round_asks_where_the_model_is_unsure(opened: Workspace, truth: Path) -> None:
    opened.round(annotator=Oracle.from_folder(truth))
    result = opened.round(annotator=Oracle.from_folder(truth), strategy="uncertainty")
    assert result.round == 2
    assert result.strategy == "uncertainty"
    unsure = [p.uncertainty for p in result.proposals]
    assert all(u is not None for u in unsure)
    assert unsure == sorted(unsure, reverse=True, key=float)  # type: ignore[arg-type]
    for proposal in result.proposals:
        assert proposal.probability is not None
        assert proposal.predicted == (CLASSES[0] if proposal.probability >= 0.5 else CLASSES[1])
        assert proposal.uncertainty == pytest.approx(1 - abs(2 * proposal.probability - 1))
    assert result.labelled == 16


def test_the_same_seed_gives_the_same_rounds(fresh: Callable[[], Path], truth: Path) -> None:
    batches = []
    for _ in range(2):
        with Workspace.open(fresh(), k=8, seed=3) as ws:
            rounds = [ws.round(annotator=Oracle.from_folder(truth)) for _ in range(3)]
            batches.append([[(p.sha256, p.probability) for p in r.proposals] for r in rounds])
    assert batches[0] == batches[1]


def test_an_open_round_is_resumed_not_proposed_again(opened: Workspace, truth: Path) -> None:
    first = opened.round()
    assert first.state == "PROPOSED"
    assert first.metrics is None
    again = opened.round(k=3)
    assert [p.sha256 for p in again.proposals] == [p.sha256 for p in first.proposals]
    done = opened.round(annotator=Oracle.from_folder(truth))
    assert (done.round, done.state) == (1, "EVALUATED")


def test_rounds_until_the_pool_is_empty(opened: Workspace, truth: Path) -> None:
    oracle = Oracle.from_folder(truth)
    sizes = [len(opened.round(k=17, annotator=oracle).proposals) for _ in range(3)]
    assert sizes == [17, 17, POOL - 34]
    with pytest.raises(NothingToDo) as error:
        opened.round(annotator=oracle)
    assert error.value.exit_code == 3
    assert_sound(opened, ALL)


def test_skipped_images_come_back_only_when_nothing_else_is_left(opened: Workspace, truth: Path) -> None:
    skipper = Oracle.from_folder(truth, skip_rate=1.0)
    oracle = Oracle.from_folder(truth)
    first = opened.round(annotator=skipper)
    assert first.decisions == {"confirm": 0, "correct": 0, "skip": 8}
    assert first.metrics is None
    rest = opened.round(k=POOL, annotator=oracle)
    assert len(rest.proposals) == POOL - 8
    last = opened.round(k=POOL, annotator=oracle)
    assert {p.sha256 for p in last.proposals} == {p.sha256 for p in first.proposals}


def test_noise_is_seeded_and_of_the_size_asked_for(opened: Workspace, truth: Path) -> None:
    proposals = opened.round(k=POOL).proposals
    wrong = []
    for _ in range(2):
        oracle = Oracle.from_folder(truth, noise=0.3, seed=5)
        answers = oracle.answer(proposals, opened.paths.root, CLASSES)
        wrong.append([answer.label != oracle.label(answer.sha256, Path()) for answer in answers])
    assert wrong[0] == wrong[1]
    assert 0 < sum(wrong[0]) < POOL / 2


def test_a_truth_that_does_not_know_an_image_is_refused_and_loses_nothing(
    opened: Workspace, truth: Path, tmp_path: Path
) -> None:
    partial = tmp_path / "partial"
    (partial / CLASSES[0]).mkdir(parents=True)
    shutil.copy(next((truth / CLASSES[0]).iterdir()), partial / CLASSES[0])
    with pytest.raises(TruthError, match="does not know"):
        opened.round(annotator=Oracle.from_folder(partial))
    assert opened.status()["round"]["undecided"] == 8
    assert opened.round(annotator=Oracle.from_folder(truth)).state == "EVALUATED"


def test_undo_brings_the_file_and_the_label_back(opened: Workspace, truth: Path) -> None:
    batch = opened.round()
    p = batch.proposals[0]
    home = opened.paths.root / p.path
    one, two = CLASSES
    for label in (one, two):
        opened.decide("ann", [Answer(p.sha256, Action.CORRECT, label, new_operation())], round=1)
        assert (opened.paths.pools / "Train" / label / home.name).is_file()
        assert not home.exists()
    opened.undo()
    assert (opened.paths.pools / "Train" / one / home.name).is_file()
    opened.undo()
    assert home.is_file()
    with pytest.raises(NothingToDo):
        opened.undo()
    assert_sound(opened, ALL)


def test_the_same_operation_is_stored_once(opened: Workspace) -> None:
    p = opened.round().proposals[0]
    answer = Answer(p.sha256, Action.CONFIRM, CLASSES[0], "the-same-one")
    receipts = [opened.decide("ann", [answer, answer], round=1) for _ in range(3)]
    assert [[r.stored for r in row] for row in receipts] == [[True, False], [False, False], [False, False]]
    assert opened.status()["round"]["undecided"] == 7


def test_confirming_without_a_suggestion_is_recorded_as_a_correction(opened: Workspace, truth: Path) -> None:
    result = opened.round(annotator=Oracle.from_folder(truth))
    assert result.decisions["confirm"] == 0
    assert result.decisions["correct"] == 8


@pytest.mark.parametrize("label", ["cats", "", "../../etc", None])
def test_an_unknown_class_is_refused(opened: Workspace, label: str | None) -> None:
    p = opened.round().proposals[0]
    with pytest.raises(UnknownName):
        opened.decide("ann", [Answer(p.sha256, Action.CORRECT, label, new_operation())], round=1)
    assert_sound(opened, ALL)


def test_one_bad_answer_stores_nothing_of_its_call(opened: Workspace) -> None:
    p, q = opened.round().proposals[:2]
    good = Answer(p.sha256, Action.CORRECT, CLASSES[0], new_operation())
    bad = Answer(q.sha256, Action.CORRECT, "cats", new_operation())
    with pytest.raises(UnknownName):
        opened.decide("ann", [good, bad], round=1)
    assert opened.status()["round"]["undecided"] == 8


def test_without_a_test_folder_the_accuracy_is_an_estimate_and_called_one(opened: Workspace, truth: Path) -> None:
    shutil.rmtree(opened.paths.pools / "Test")
    result = opened.round(k=16, annotator=Oracle.from_folder(truth))
    assert result.metrics is not None
    assert result.metrics["split"] == "estimate"
    assert result.metrics["estimated"] is True
    assert 0.5 <= result.metrics["accuracy"] <= 1


def test_a_file_added_by_hand_is_noticed_and_one_removed_is_missing(opened: Workspace, truth: Path) -> None:
    removed = sorted((opened.paths.pools / "Unlabelled").iterdir())[0]
    kept = removed.read_bytes()
    removed.unlink()
    shutil.copy(next((truth / CLASSES[0]).iterdir()), opened.paths.pools / "Unlabelled" / "twin.png")
    (opened.paths.pools / "Unlabelled" / "note.txt").write_text("not an image")
    opened.round(k=2)
    status = opened.status()
    assert status["missing"] == 1
    assert status["pool"] == POOL - 1
    assert status["quarantined"] == 2, "the twin and the text are set aside"
    removed.write_bytes(kept)
    opened.round(annotator=Oracle.from_folder(truth))
    opened.round(k=2)
    assert opened.status()["missing"] == 0
    assert_sound(opened, ALL)


def test_a_file_dragged_into_a_class_folder_is_a_label(opened: Workspace) -> None:
    file = sorted((opened.paths.pools / "Unlabelled").iterdir())[0]
    target = opened.paths.pools / "Train" / CLASSES[1] / "dragged.png"
    file.rename(target)
    opened.round(k=1)
    with opened.store.read() as session:
        [row] = images.refs(session, Split.TRAIN)
    assert (row.path, row.label) == (f"pools/Train/{CLASSES[1]}/dragged.png", CLASSES[1])
    assert_sound(opened, ALL)


def test_a_disk_that_is_not_mounted_is_not_a_thousand_deletions(opened: Workspace) -> None:
    opened.paths.pools.rename(opened.paths.root / "unmounted")
    opened.paths.pools.mkdir()
    with pytest.raises(LabelerError, match="mount the disk"):
        opened.round()
    opened.paths.pools.rmdir()
    (opened.paths.root / "unmounted").rename(opened.paths.pools)
    assert len(opened.round().proposals) == 8


def test_labels_that_came_with_the_files_make_a_first_model(opened: Workspace, truth: Path, tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    for label in CLASSES:
        (examples / label).mkdir(parents=True)
        for file in sorted((truth / label).iterdir())[:4]:
            shutil.copy(file, examples / label / f"again-{file.name}")
    result = opened.import_images(examples, into="train")
    assert (result.imported, result.labelled) == (0, 8), "known by their bytes, so labelled and not imported again"
    proposed = opened.round()
    assert proposed.model == "m0001"
    assert all(p.probability is not None for p in proposed.proposals)
    assert_sound(opened, ALL)
