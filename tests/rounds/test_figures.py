"""The figures of the page from real rounds: what the worker measured is what is shown."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from sqlalchemy import select

from labeler import Oracle
from labeler.domain import Action, Split, UnknownName
from labeler.rank.stopping import LABELS_APART
from labeler.record.statistics import Voices
from labeler.record.tables import Annotator, DecisionRow, Evaluation, Image, Note
from labeler.rounds import Workspace, agreement, figures
from labeler.rounds.decisions import new_operation
from tests.workspaces import CLASSES, POOL, TEST


@pytest.fixture(scope="module")
def seasoned(built: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after three rounds of eight; not to be changed."""
    root = tmp_path_factory.mktemp("seasoned") / "w"
    shutil.copytree(built, root)
    with Workspace.open(root, k=8) as opened:
        for _ in range(3):
            opened.round(annotator=Oracle.from_folder(truth))
    return root


def test_figures_are_plain_json_and_those_of_the_evaluations(seasoned: Path) -> None:
    with Workspace.open(seasoned) as opened:
        found = opened.figures()
        with opened.store.read() as session:
            rows = list(session.scalars(select(Evaluation).order_by(Evaluation.id)))
    assert json.loads(json.dumps(found)) == found
    assert found["curve"]["split"] == "test"
    assert [point["labels"] for point in found["curve"]["points"]] == [8, 16, 24]
    assert [point["accuracy"] for point in found["curve"]["points"]] == [row.metrics["accuracy"] for row in rows]
    for point in found["curve"]["points"]:
        assert point["intervals"]["accuracy"][0] < point["accuracy"] <= point["intervals"]["accuracy"][1]
    assert found["confusion"] == {"basis": "test", "n": TEST, "table": rows[-1].metrics["confusion"]}
    assert sum(one["n"] for one in found["reliability"]["bins"]) == TEST
    assert all(one["low"] <= one["accuracy"] <= one["high"] for one in found["reliability"]["bins"])
    assert [row["round"] for row in found["rounds"]] == [3, 2, 1]
    assert found["counts"]["train"].keys() == set(CLASSES)
    assert found["stopping"]["state"] == "unknown"
    assert found["stopping"]["told_in"] == LABELS_APART - 16
    assert 0 <= found["stopping"]["expected_errors"] <= POOL


def test_predictions_of_single_images_are_kept_of_the_newest_model_alone_and_never_printed(seasoned: Path) -> None:
    with Workspace.open(seasoned) as opened:
        with opened.store.read() as session:
            kept = ["predictions" in row.metrics for row in session.scalars(select(Evaluation).order_by(Evaluation.id))]
        assert kept == [False, False, True]
        assert "predictions" not in json.dumps([opened.figures(), opened.overview(), dict(opened.status())])


def test_the_images_behind_the_cells_are_the_test_images(seasoned: Path) -> None:
    with Workspace.open(seasoned) as opened:
        table = opened.figures()["confusion"]["table"]
        cells = {(t, p): opened.figure_cell(t, p) for t in CLASSES for p in CLASSES}
        with opened.store.read() as session:
            labels = {row.id: (row.sha256, row.label) for row in session.scalars(select(Image)) if row.split == "test"}
    for (t, p), cell in cells.items():
        assert cell["total"] == len(cell["images"]) == table[CLASSES.index(t)][CLASSES.index(p)]
        sure = [image["probability"] for image in cell["images"]]
        assert sure == sorted(sure, reverse=True)
        for image in cell["images"]:
            assert labels[image["image_id"]] == (image["sha256"], t)
    shown = [image["image_id"] for cell in cells.values() for image in cell["images"]]
    assert sorted(shown) == sorted(labels)


def test_a_cell_of_an_unknown_class(seasoned: Path) -> None:
    with Workspace.open(seasoned) as opened, pytest.raises(UnknownName, match="triangle"):
        opened.figure_cell("triangle", CLASSES[0])


def test_a_cell_shows_sixty_at_most_the_surest_first(opened: Workspace) -> None:
    with opened.store.write() as session:
        ids = [row.id for row in session.scalars(select(Image).limit(1))]
        opened_row = Evaluation(model_version_id=_version(session), split="test", n=90)
        opened_row.metrics = {"predictions": [[ids[0], 0, 1, 0.5 + at / 200] for at in range(90)]}
        session.add(opened_row)
    found = opened.figure_cell(*CLASSES)
    assert (found["total"], len(found["images"])) == (90, figures.IMAGES)
    assert found["images"][0]["probability"] == 0.5 + 89 / 200


def _version(session: object) -> int:
    from labeler.record.tables import ModelVersion

    row = ModelVersion(
        name="m0001", kind="head", path="", digest="", backbone="", backbone_key="", classes=list(CLASSES),
        settings={}, seed=0, labelled=0, last_decision_id=0,
    )  # fmt: skip
    session.add(row)  # type: ignore[attr-defined]
    session.flush()  # type: ignore[attr-defined]
    return row.id


def test_without_a_test_set_the_labelled_images_are_shown_held_out(opened: Workspace, truth: Path) -> None:
    _without_test_images(opened)
    for _ in range(2):
        opened.round(annotator=Oracle.from_folder(truth))
    found = opened.figures()
    assert found["curve"]["split"] == "estimate"
    assert found["curve"]["points"][-1]["intervals"] is None
    assert found["confusion"]["basis"] == "held out"
    assert np.sum(found["confusion"]["table"]) == found["confusion"]["n"] == 16
    cells = [opened.figure_cell(t, p) for t in CLASSES for p in CLASSES]
    with opened.store.read() as session:
        labels = {row.id: row.label for row in session.scalars(select(Image).where(Image.split == "train"))}
    assert {image["image_id"]: image["label"] for cell in cells for image in cell["images"]} == labels


def _without_test_images(opened: Workspace) -> None:
    with opened.store.write() as session:
        for image in session.scalars(select(Image).where(Image.split == Split.TEST.value)):
            image.missing = True
    for file in (opened.paths.pools / "Test").rglob("*.png"):
        file.unlink()


def test_a_label_changed_since_the_training_is_not_mistaken_for_another(opened: Workspace, truth: Path) -> None:
    """Held-out predictions belong to labels in an order; where one is gone, nothing is shown rather than the wrong."""
    _without_test_images(opened)
    opened.round(annotator=Oracle.from_folder(truth))
    opened.undo(1)
    opened.evaluate()
    assert opened.figures()["confusion"] is None


def test_a_new_workspace_has_empty_figures(opened: Workspace) -> None:
    found = opened.figures()
    assert found["model"] is found["confusion"] is found["reliability"] is found["uncertainty"] is None
    assert found["curve"] == {"split": None, "points": [], "random": None}
    assert (found["stopping"]["state"], found["stopping"]["reason"]) == ("unknown", "none")
    assert opened.team("local", everyone=True)["people"] == []
    assert opened.agreement("local", everyone=True) is None
    assert opened.flagged() == []


def test_models_fifty_labels_apart_are_compared(opened: Workspace, truth: Path) -> None:
    """By hand on record: the first model counts as one of 50 labels fewer."""
    from labeler.record.tables import ModelVersion

    opened.round(annotator=Oracle.from_folder(truth))
    with opened.store.write() as session:
        session.scalars(select(ModelVersion)).one().labelled = 8 - LABELS_APART
    opened.round(annotator=Oracle.from_folder(truth))
    said = opened.figures()["stopping"]
    with opened.store.read() as session:
        seen = list(session.scalars(select(Evaluation).order_by(Evaluation.id)))[-1].metrics["pool"]
    assert seen["compared_with"] == 8 - LABELS_APART
    assert seen["sample"] == seen["pool"] == POOL - 16
    assert 0 <= seen["agreement"] <= 1
    assert said["agreement"] == seen["agreement"]
    assert said["state"] == "go on"


def test_the_reference_is_drawn_when_it_is_there_and_left_out_when_it_is_broken(opened: Workspace) -> None:
    file = opened.paths.db / figures.REFERENCE
    curves = [
        {"strategy": "random", "labels": [10, 20], "accuracy": [0.8, 0.9]},
        {"strategy": "random", "labels": [10, 20], "accuracy": [0.6, 0.9]},
        {"strategy": "uncertainty", "labels": [10], "accuracy": [1.0]},
    ]
    file.write_text(json.dumps({"curves": curves}))
    assert opened.figures()["curve"]["random"] == [
        {"labels": 10, "accuracy": pytest.approx(0.7)},
        {"labels": 20, "accuracy": pytest.approx(0.9)},
    ]
    for broken in ("", "[]", '{"curves": [{"strategy": "random", "labels": [1], "accuracy": []}]}', '{"curves": [1]}'):
        file.write_text(broken)
        assert opened.figures()["curve"]["random"] is None


# --------------------------------------------------------------------------------------------------------- people


def answer(opened: Workspace, who: str, labels: dict[int, str | None], ms: int = 1000, opinion: bool = False) -> None:
    """One person's answers on record, as decisions or opinions."""
    with opened.store.write() as session:
        person = session.scalar(select(Annotator).where(Annotator.name == who))
        if person is None:
            person = Annotator(name=who, kind="person")
            session.add(person)
            session.flush()
        for image, label in labels.items():
            action = Action.SKIP if label is None else Action.CONFIRM
            row = DecisionRow(op_id=new_operation(), image_id=image, annotator_id=person.id, action=action.value)
            row.label, row.elapsed_ms, row.opinion = label, ms, opinion
            session.add(row)


def test_who_labelled_what_and_how_fast(opened: Workspace) -> None:
    a, b = CLASSES
    answer(opened, "anna", {1: a, 2: a, 3: b}, ms=1000)
    answer(opened, "anna", {4: None}, ms=5000)
    answer(opened, "anna", {1: b}, ms=2000)  # second thoughts: the last word counts, the time was spent all the same
    answer(opened, "ben", {5: b}, ms=500)
    found = opened.team("ben", everyone=True)
    anna, ben = found["people"]
    assert (anna["name"], anna["labels"], anna["by_class"], anna["me"]) == ("anna", 3, {a: 1, b: 2}, False)
    assert (anna["confirm"], anna["skip"], anna["correct"]) == (0.75, 0.25, 0.0)
    assert (anna["median_ms"], anna["p90_ms"]) == (1000, 5000)
    assert anna["per_minute"] == pytest.approx(60 / 2)
    assert (ben["labels"], ben["me"], ben["median_ms"]) == (1, True, 500)
    assert found["total"] == {"people": 2, "labels": 4}


def test_who_is_no_administrator_sees_no_one_else(opened: Workspace) -> None:
    a, b = CLASSES
    answer(opened, "anna", {1: a, 2: b, 3: a})
    answer(opened, "ben", {1: a, 2: b, 3: b}, opinion=True)
    mine = opened.team("ben", everyone=False)
    assert [person["name"] for person in mine["people"]] == ["ben"]
    assert mine["total"] == {"people": 2, "labels": 6}
    found = opened.agreement("ben", everyone=False)
    assert found is not None
    assert [person["name"] for person in found["people"]] == ["ben"]
    assert found["pairs"] == []
    assert "anna" not in json.dumps([mine, found])


def test_an_undone_answer_does_not_count_and_the_one_before_does_again(opened: Workspace) -> None:
    a, b = CLASSES
    answer(opened, "anna", {1: a})
    answer(opened, "anna", {1: b})
    with opened.store.write() as session:
        last = session.scalars(select(DecisionRow).order_by(DecisionRow.id.desc())).first()
        assert last is not None
        undo = DecisionRow(op_id=new_operation(), image_id=1, annotator_id=last.annotator_id, action="undo")
        undo.supersedes = last.id
        session.add(undo)
    assert opened.team("anna", everyone=True)["people"][0]["by_class"] == {a: 1}


def test_agreement_is_computed_apart_and_again_only_after_another_decision(
    opened: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = CLASSES
    ids = list(range(1, 13))
    answer(opened, "anna", {image: a if image % 2 else b for image in ids})
    answer(opened, "ben", {image: a if image % 3 else b for image in ids}, opinion=True)
    started: list[int] = []
    apart = agreement._apart

    def counted(voices: Voices) -> dict[str, Any]:
        started.append(1)
        return apart(voices)

    monkeypatch.setattr(agreement, "_apart", counted)
    before = set(sys.modules)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(opened.agreement("anna", everyone=True))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 1
    assert found[0] == found[1] == found[2]
    assert not {name for name in set(sys.modules) - before if name.startswith("nltk")}
    pair = found[0]["pairs"][0]  # type: ignore[index]
    said = [a if image % 2 else b for image in ids], [a if image % 3 else b for image in ids]
    assert pair["kappa"] == pytest.approx(cohen_kappa_score(*said))
    assert (pair["a"], pair["b"], pair["images"]) == ("anna", "ben", 12)
    answer(opened, "ben", {20: a})
    opened.agreement("anna", everyone=True)
    assert len(started) == 2


def test_krippendorffs_own_example() -> None:
    """Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), section B: nominal, two observers: 0.692."""
    first, second = list("aabbdcccedda"), list("babbbccceddd")
    answers = [(who, image, label) for who, said in (("x", first), ("y", second)) for image, label in enumerate(said)]
    found = agreement.coefficients(answers, {})
    assert found["alpha"] == pytest.approx(0.692, abs=0.0005)
    assert found["images"] == 12
    assert found["people"][0] == {"name": "x", "images": 0, "agreement": None, "kappa": None}


def test_no_coefficient_where_everybody_says_one_thing() -> None:
    found = agreement.coefficients([("x", 1, "a"), ("y", 1, "a"), ("x", 2, "a"), ("y", 2, "a")], {1: "a", 2: "a"})
    assert found["alpha"] is None
    assert found["pairs"] == [{"a": "x", "b": "y", "images": 2, "agreement": 1.0, "kappa": None}]


def test_marked_images_newest_first(opened: Workspace) -> None:
    answer(opened, "anna", {1: CLASSES[0]})
    with opened.store.write() as session:
        anna = session.scalars(select(Annotator).where(Annotator.name == "anna")).one()
        for image, text in ((1, "blurred"), (2, "")):
            session.add(Note(op_id=new_operation(), image_id=image, annotator_id=anna.id, text=text))
    found = opened.flagged()
    assert [(mark["image_id"], mark["note"], mark["annotator"]) for mark in found] == [
        (2, "", "anna"),
        (1, "blurred", "anna"),
    ]
