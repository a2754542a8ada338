"""Wrong labels: how many of them the list finds on real photographs, and look-alikes that bear two labels."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from labeler import Oracle, workspace
from labeler.domain import Action, Answer, LabelerError
from labeler.record.tables import Image as ImageRow
from labeler.record.tables import ModelVersion
from labeler.rounds import Workspace, disputes
from labeler.rounds.decisions import new_operation
from labeler.rounds.predicting import required
from tests.workspaces import CLASSES

LABELS = 160
NOISE = 0.05


@pytest.fixture(scope="module")
def noisy(photographs: Path, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """160 real photographs, labelled by an oracle that is wrong about one in twenty."""
    folder = tmp_path_factory.mktemp("photographs")
    for label in ("withMask", "withoutMask"):
        for file in sorted((photographs / label).iterdir())[: LABELS // 2 + 10]:
            shutil.copy(file, folder / f"{label}-{file.name}")
    paths = workspace.create(folder / "w")
    shutil.copytree(compiled, paths.compiled)
    with Workspace.open(paths.root) as ws:
        ws.import_images(folder, into="unlabelled", mode="move")
        ws.round(k=LABELS, annotator=Oracle.from_folder(photographs, noise=NOISE, seed=1), refresh="head")
        yield ws


def test_most_wrong_labels_stand_at_the_top(noisy: Workspace, photographs: Path) -> None:
    truth = Oracle.from_folder(photographs, noisy.settings.classes)
    with noisy.store.read() as session:
        labelled = list(session.scalars(select(ImageRow).where(ImageRow.split == "train")))
    flipped = {r.sha256 for r in labelled if truth.label(r.sha256, noisy.paths.absolute(r.path)) != r.label}
    assert len(labelled) == LABELS
    assert 4 <= len(flipped) <= 18
    found = noisy.review_labels(2 * len(flipped))
    listed = [item["sha256"] for item in found["disputed"]]
    assert len(flipped & set(listed[: len(flipped)])) >= 0.6 * len(flipped)
    assert len(flipped & set(listed)) >= 0.75 * len(flipped)
    for item in found["disputed"]:
        assert item["label"] != item["predicted"]
        assert item["annotator"] == "oracle"
        assert item["round"] == 1
        assert Path(item["path"]).parts[2] == item["label"]
        of_predicted = item["probability"] if item["predicted"] == "withMask" else 1 - item["probability"]
        assert item["label_probability"] == pytest.approx(1 - of_predicted)
    doubt = [item["label_probability"] for item in found["disputed"]]
    assert doubt == sorted(doubt)


def test_the_rows_stand_for_the_images_they_are_of(noisy: Workspace) -> None:
    """Held-out probabilities agree with most labels only where both are in one order."""
    version, model = required(noisy.learner)
    known = disputes.held_out(noisy.learner, version, model)
    assert known is not None
    assert model.head.out_of_fold is not None
    assert (model.head.out_of_fold.argmax(axis=1) == known.y).mean() > 0.8
    assert [ref.sha256 for ref in known.refs] == sorted(ref.sha256 for ref in known.refs)


def test_labels_that_changed_since_are_left_out(opened: Workspace, truth: Path) -> None:
    opened.round(k=12, annotator=Oracle.from_folder(truth))
    with opened.store.read() as session:
        labelled = list(session.scalars(select(ImageRow).where(ImageRow.split == "train")))
        waiting = session.scalars(select(ImageRow).where(ImageRow.split == "unlabelled")).first()
    assert waiting is not None
    before = opened.review_labels(200)
    assert before["labelled"] == 12
    relabelled, skipped, *rest = labelled
    decided = [(relabelled, CLASSES[1 - CLASSES.index(relabelled.label or "")]), (skipped, None), (waiting, CLASSES[0])]
    for image, label in decided:
        action = Action.SKIP if label is None else Action.CORRECT
        opened.decide("ann", [Answer(image.sha256, action, label, new_operation())], round=None)
    found = opened.review_labels(200)
    assert (found["model"], found["labelled"]) == ("m0001", 10)
    kept = {row.sha256 for row in rest}
    assert found["disputed"] == [item for item in before["disputed"] if item["sha256"] in kept]
    opened.train()
    assert opened.review_labels(200)["labelled"] == 12


def test_a_model_that_does_not_name_its_decisions_cannot_dispute(opened: Workspace, truth: Path) -> None:
    opened.round(k=12, annotator=Oracle.from_folder(truth))
    with opened.store.write() as session:
        session.execute(update(ModelVersion).values(settings={}))
    with pytest.raises(LabelerError, match="not known what the model m0001 learned from"):
        opened.review_labels()


def test_look_alikes_with_different_labels(opened: Workspace, truth: Path) -> None:
    opened.round(k=20, annotator=Oracle.from_folder(truth))
    with opened.store.write() as session:
        of = {
            label: list(session.scalars(select(ImageRow).where(ImageRow.split == "train", ImageRow.label == label)))
            for label in CLASSES
        }
        first, same, other = of[CLASSES[0]][0], of[CLASSES[0]][1], of[CLASSES[1]][0]
        for later, earlier in ((same, first), (other, same)):
            session.execute(update(ImageRow).where(ImageRow.id == later.id).values(near_duplicate_of=earlier.id))
        alike = of[CLASSES[1]][1:3]
        change = update(ImageRow).where(ImageRow.id == alike[1].id)
        session.execute(change.values(near_duplicate_of=alike[0].id))
    [group] = opened.review_labels(5)["near_duplicates"]
    assert [item["sha256"] for item in group] == sorted(row.sha256 for row in (first, same, other))
    assert {item["label"] for item in group} == set(CLASSES)
