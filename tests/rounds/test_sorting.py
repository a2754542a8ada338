"""`labeler sort`: what the model files by itself, what people say of it, and that all of it can be taken back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from labeler import Oracle, workspace
from labeler.domain import Action, Answer, LabelerError, NothingToDo, Progress, Split, UnknownName, WorkspaceBusy
from labeler.record import images, queries
from labeler.record.tables import DecisionRow
from labeler.record.tables import Image as ImageRow
from labeler.rounds import Workspace, exporting, sort_plan, sorting
from labeler.rounds.decisions import new_operation
from labeler.workspace import exclusive
from tests.checks import assert_sound
from tests.workspaces import CLASSES, POOL, TEST

ALL = POOL + TEST
LEFT = POOL - 16  # in the pool of the fixture


@pytest.fixture(scope="module")
def trained(built: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with 16 labels and a model, to be copied."""
    root = tmp_path_factory.mktemp("trained") / "w"
    shutil.copytree(built, root)
    with Workspace.open(root, k=8) as ws:
        for _ in range(2):
            ws.round(annotator=Oracle.from_folder(truth))
    return root


@pytest.fixture
def ws(trained: Path, tmp_path: Path) -> Iterator[Workspace]:
    shutil.copytree(trained, tmp_path / "w")
    with Workspace.open(tmp_path / "w", k=8) as opened:
        yield opened


@pytest.fixture
def half(ws: Workspace) -> float:
    """The threshold that half of the pool reaches."""
    return float(np.median(sort_plan.plan(ws.learner, 0.0).probabilities.max(axis=1)))


def tree(root: Path) -> list[str]:
    return sorted(str(file.relative_to(root)) for file in (root / "pools").rglob("*") if file.is_file())


def rows(ws: Workspace, split: str) -> list[ImageRow]:
    with ws.store.read() as session:
        return list(session.scalars(select(ImageRow).where(ImageRow.split == split).order_by(ImageRow.sha256)))


def answer(ws: Workspace, sha: str, action: Action, label: str | None) -> None:
    assert ws.decide("ann", [Answer(sha, action, label, new_operation())], round=None)[0].stored


def in_force(ws: Workspace, image: ImageRow) -> DecisionRow:
    with ws.store.read() as session:
        return queries.decisions_in_force(session, [image.id])[image.id]


# --------------------------------------------------------------------------------------------------------- sorting


def test_what_the_model_is_sure_of_is_filed_apart_from_the_labels(ws: Workspace, half: float) -> None:
    before = ws.status()
    plan = sort_plan.plan(ws.learner, half)
    done = ws.sort(half, audit=0)
    assert (done["run"], done["state"], done["pool"], done["sorted"]) == (1, "done", LEFT, int(plan.sure.sum()))
    assert 0 < done["sorted"] < LEFT
    assert done["left"] == LEFT - done["sorted"]
    assert sum(done["by_class"].values()) == done["sorted"]
    filed = {
        plan.refs[at].sha256: CLASSES[int(plan.probabilities[at].argmax())] for at in np.flatnonzero(plan.sure).tolist()
    }
    assert {row.sha256: row.label for row in rows(ws, "sorted")} == filed
    for image in rows(ws, "sorted"):
        decision = in_force(ws, image)
        assert (decision.action, decision.sort_run_id, decision.label) == ("sort", 1, image.label)
    after = ws.status()
    assert after["labelled"] == before["labelled"]
    assert after["counts"]["train"] == before["counts"]["train"]
    assert after["counts"]["sorted"] == done["by_class"]
    assert after["sort"]["run"] == 1
    assert not set(filed) & {ref.sha256 for ref in ws.learner.material(Split.UNLABELLED, Split.TRAIN).refs}
    assert not set(filed) & {p.sha256 for p in ws.round(k=LEFT).proposals}, "the rest is the next round's pool"
    assert_sound(ws, ALL)


def test_the_errors_to_expect_are_told_before_and_after(ws: Workspace, half: float) -> None:
    expected = ws.sort(half, dry_run=True)["expected_errors"]
    assert expected["before"]["images"] == LEFT
    assert expected["sorted"]["images"] + expected["left"]["images"] == LEFT
    for found in expected.values():
        assert 0 <= found["low"] <= found["expected"] <= found["high"] <= found["images"]
    whole = expected["sorted"]["expected"] + expected["left"]["expected"]
    assert expected["before"]["expected"] == pytest.approx(whole)
    each = [expected[name]["expected"] / expected[name]["images"] for name in ("sorted", "left")]
    assert each[0] < each[1], "those it is sure of are the better half"


def dump(root: Path) -> list[str]:
    connection = sqlite3.connect(root / "db/labeler.db")
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def test_a_dry_run_writes_nothing(ws: Workspace, half: float) -> None:
    before = dump(ws.paths.root), tree(ws.paths.root)
    said = ws.sort(half, dry_run=True)
    assert (dump(ws.paths.root), tree(ws.paths.root)) == before
    done = ws.sort(half, audit=0)
    assert {key: done[key] for key in said if key not in ("run", "dry_run")} == {
        key: said[key] for key in said if key not in ("run", "dry_run")
    }


def test_where_nothing_is_sure_enough_nothing_happens(ws: Workspace) -> None:
    for dry_run in (True, False):
        with pytest.raises(NothingToDo, match="sure of none of the 24") as error:
            ws.sort(1.0, dry_run=dry_run)
        assert error.value.exit_code == 3
    assert ws.sort_runs() == []
    ws.sort(0.0)
    with pytest.raises(NothingToDo, match="pool is empty"):
        ws.sort(0.0)


def test_without_a_model_it_says_so(opened: Workspace) -> None:
    with pytest.raises(LabelerError, match="no trained model yet"):
        opened.sort()


def test_large_runs_go_in_steps(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "STEP", 5)
    monkeypatch.setattr(sort_plan, "_PART", 7)
    seen: list[Progress] = []
    ws.progress = seen.append
    assert ws.sort(0.0, audit=3)["sorted"] == LEFT
    assert [(p.done, p.total) for p in seen if p.what == "sorting"] == [(n, LEFT) for n in (5, 10, 15, 20, 24)]
    assert_sound(ws, ALL)
    assert ws.unsort()["undone"] == LEFT
    assert [p.done for p in seen if p.what == "taking back"] == [5, 10, 15, 20, 24]
    assert_sound(ws, ALL)


def test_one_run_at_a_time(ws: Workspace) -> None:
    with exclusive(ws.paths, "sort"), pytest.raises(WorkspaceBusy):
        ws.sort(0.0)
    assert ws.sort_runs() == []


# ------------------------------------------------------------------------------------------------- left to people


def test_what_is_with_people_is_left_to_them(ws: Workspace) -> None:
    proposed = ws.round(k=6)
    skipped, *others = [p.sha256 for p in proposed.proposals]
    ws.decide("ann", [Answer(skipped, Action.SKIP, None, new_operation())], round=proposed.round)
    assert ws.sort(0.0)["sorted"] == LEFT - 6
    for sha in others:
        ws.decide("ann", [Answer(sha, Action.CORRECT, CLASSES[0], new_operation())], round=proposed.round)
    with pytest.raises(NothingToDo):  # what is left was skipped
        ws.sort(0.0)
    assert [row.sha256 for row in rows(ws, "unlabelled")] == [skipped]
    assert_sound(ws, ALL)


def test_whoever_decides_between_plan_and_step_comes_first(ws: Workspace) -> None:
    made = sort_plan.plan(ws.learner, 0.0)
    run = sort_plan.write_down(ws.learner, made, above=0.0, audit=LEFT, seed=0)
    answer(ws, made.refs[0].sha256, Action.CORRECT, CLASSES[1])
    answer(ws, made.refs[1].sha256, Action.SKIP, None)
    assert ws.verify()["differences"] == [
        {"kind": "unfinished-sort", "path": "db/labeler.db", "detail": "sorting run 1 was cut off"}
    ]
    ws.resume()
    [done] = ws.sort_runs()
    assert (done["run"], done["state"], done["passed_over"], done["sorted"]) == (run, "done", 2, LEFT - 2)
    assert done["audit"]["waiting"] == LEFT - 2, "the lot is drawn from what was sorted"
    assert_sound(ws, ALL)


# ------------------------------------------------------------------------------------------------------------ undo


def test_a_run_is_taken_back_as_a_whole(ws: Workspace, half: float) -> None:
    before = tree(ws.paths.root)
    first = ws.sort(half)
    second = ws.sort(0.0)
    assert first["sorted"] + second["sorted"] == LEFT
    assert ws.unsort()["run"] == 2
    assert len(rows(ws, "sorted")) == first["sorted"]
    done = ws.unsort()
    assert (done["run"], done["state"], done["undone"]) == (1, "undone", first["sorted"])
    assert tree(ws.paths.root) == before
    assert_sound(ws, ALL)
    with pytest.raises(NothingToDo, match="no sorting run"):
        ws.unsort()
    with pytest.raises(NothingToDo, match="taken back already"):
        ws.unsort(1)
    with pytest.raises(UnknownName, match="no sorting run 7"):
        ws.unsort(7)
    assert ws.sort(half)["sorted"] == first["sorted"], "and it can be sorted again"
    assert_sound(ws, ALL)


def test_what_people_decided_since_stays(ws: Workspace) -> None:
    ws.sort(0.0, audit=0)
    right, wrong, unsure, *rest = rows(ws, "sorted")
    answer(ws, right.sha256, Action.CONFIRM, right.label)
    answer(ws, wrong.sha256, Action.CORRECT, other(wrong.label))
    answer(ws, unsure.sha256, Action.SKIP, None)
    assert [in_force(ws, row).action for row in (right, wrong, unsure)] == ["confirm", "correct", "skip"]
    assert_sound(ws, ALL)
    done = ws.unsort()
    assert (done["undone"], done["sorted"] - done["undone"]) == (len(rest), 3)
    with ws.store.read() as session:
        where = {row.sha256: row.path for row in images.every(session)}
    assert where[right.sha256].startswith(f"pools/Train/{right.label}/")
    assert where[wrong.sha256].startswith(f"pools/Train/{other(wrong.label)}/")
    assert where[unsure.sha256].startswith("pools/Unlabelled/")
    assert_sound(ws, ALL)


def test_a_person_who_takes_an_answer_back_gives_the_image_back_to_the_model(ws: Workspace) -> None:
    ws.sort(0.0, audit=0)
    image, *_ = rows(ws, "sorted")
    answer(ws, image.sha256, Action.CORRECT, other(image.label))
    [taken_back] = ws.undo()
    assert (taken_back["action"], taken_back["now"]) == ("correct", image.label)
    assert image.sha256 in {row.sha256 for row in rows(ws, "sorted")}
    assert_sound(ws, ALL)
    receipt = ws.decide("ann", [Answer(image.sha256, Action.UNDO, None, new_operation())], round=None)[0]
    assert not receipt.stored, "the model's own decision is taken back with its run only"


def test_after_the_run_is_undone_there_is_nothing_to_give_it_back_to(ws: Workspace) -> None:
    ws.sort(0.0, audit=0)
    image, *_ = rows(ws, "sorted")
    answer(ws, image.sha256, Action.CONFIRM, image.label)
    ws.unsort()
    [taken_back] = ws.undo()
    assert taken_back["now"] is None
    assert len(rows(ws, "unlabelled")) == LEFT
    assert_sound(ws, ALL)


def other(label: str | None) -> str:
    return CLASSES[1 - CLASSES.index(label or "")]


# ----------------------------------------------------------------------------------------------------------- audit


def test_a_lot_is_put_before_a_person(ws: Workspace) -> None:
    done = ws.sort(0.0, audit=6, seed=3)
    assert done["audit"] == {"right": 0, "wrong": 0, "unsure": 0, "waiting": 6, "errors": None, "share": None}
    batch = ws.batch("ann", "sorted")
    assert (batch.mode, batch.round, batch.to_check, len(batch.items)) == ("sorted", None, 6, 6)
    assert {(item.action, item.label) for item in batch.items} == {(None, None)}
    for item in batch.items:
        assert item.predicted == (CLASSES[0] if (item.probability or 0) >= 0.5 else CLASSES[1])
    right, wrong, unsure = batch.items[:3]
    answer(ws, right.sha256, Action.CONFIRM, right.predicted)
    answer(ws, wrong.sha256, Action.CORRECT, other(wrong.predicted))
    answer(ws, unsure.sha256, Action.SKIP, None)
    [run] = ws.sort_runs()
    audit = run["audit"]
    assert [audit[name] for name in ("right", "wrong", "unsure", "waiting")] == [1, 1, 1, 3]
    assert audit["errors"]["expected"] == LEFT / 2
    assert 1 <= audit["errors"]["low"] < LEFT / 2 < audit["errors"]["high"] <= LEFT - 1
    assert ws.batch("ann").to_check == 3
    assert [item.sha256 for item in ws.batch("ben", "sorted").items] == [item.sha256 for item in batch.items[3:]]
    assert ws.status()["sort"]["audit"] == audit
    ws.unsort()
    assert ws.batch("ann", "sorted").items == ()
    assert_sound(ws, ALL)


def test_the_lot_is_seeded(trained: Path, tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((1, 1, 2)):
        shutil.copytree(trained, tmp_path / str(number))
        with Workspace.open(tmp_path / str(number)) as ws:
            ws.sort(0.0, audit=8, seed=seed)
            drawn.append([item.sha256 for item in ws.batch("ann", "sorted").items])
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_model_s_word_is_kept_back_where_it_shall_not_lead(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "w")
    with Workspace.open(tmp_path / "w", suggestion="hide") as ws:
        ws.sort(0.0, audit=4)
        assert {(i.predicted, i.label, i.probability) for i in ws.batch("ann", "sorted").items} == {(None, None, None)}


def test_an_oracle_answers_the_lot_at_once(ws: Workspace, truth: Path) -> None:
    done = ws.sort(0.0, Oracle.from_folder(truth), audit=LEFT + 10)
    audit = done["audit"]
    assert audit["right"] + audit["wrong"] == LEFT
    wrong = [row for row in rows(ws, "train") if in_force(ws, row).action == "correct"][:99]
    with ws.store.read() as session:
        machine = queries.annotator(session, "machine").id
        sorted_as = {
            row.image_id: row.label
            for row in session.scalars(select(DecisionRow).where(DecisionRow.annotator_id == machine))
        }
    errors = sum(row.id in sorted_as and sorted_as[row.id] != row.label for row in wrong)
    assert audit["wrong"] == errors
    assert audit["errors"] == {"expected": errors, "low": errors, "high": errors}, "all of it was looked at"
    assert rows(ws, "sorted") == []
    assert_sound(ws, ALL)


# ------------------------------------------------------------------------------------------------- files by hand


def test_what_people_do_to_the_folder_by_hand(ws: Workspace) -> None:
    ws.sort(0.0, audit=0)
    confirmed, corrected, back, *rest = rows(ws, "sorted")
    move(ws, confirmed, f"Train/{confirmed.label}")
    move(ws, corrected, f"Sorted/{other(corrected.label)}")
    move(ws, back, "Unlabelled")
    ws.verify(repair=True)
    with ws.store.read() as session:
        now = {row.sha256: (row.split, row.label) for row in images.every(session)}
    assert now[confirmed.sha256] == ("train", confirmed.label)
    assert now[corrected.sha256] == ("train", other(corrected.label))
    assert now[back.sha256] == ("unlabelled", None)
    assert {in_force(ws, row).action for row in (confirmed, corrected, back)} == {"import"}
    assert len(rows(ws, "sorted")) == len(rest)
    assert_sound(ws, ALL)


def move(ws: Workspace, image: ImageRow, folder: str) -> None:
    target = ws.paths.pools / folder
    target.mkdir(parents=True, exist_ok=True)
    file = ws.paths.absolute(image.path)
    file.rename(target / file.name)


def test_a_file_that_no_run_put_there_goes_to_the_pool(ws: Workspace) -> None:
    """As after a restored record, which knows nothing of a later run."""
    image, *_ = rows(ws, "unlabelled")
    move(ws, image, f"Sorted/{CLASSES[0]}")
    ws.verify(repair=True)
    [found] = [row for row in rows(ws, "unlabelled") if row.sha256 == image.sha256]
    assert found.path.startswith("pools/Unlabelled/")
    assert_sound(ws, ALL)


def test_a_labelled_copy_that_is_imported_is_a_label(ws: Workspace, truth: Path) -> None:
    ws.sort(0.0, audit=0)
    result = ws.import_images(truth, into="train")
    assert (result.imported, result.labelled) == (0, LEFT)
    assert rows(ws, "sorted") == []
    assert len(rows(ws, "train")) == POOL
    assert_sound(ws, ALL)


def test_a_mixed_up_split_is_found_and_healed(ws: Workspace) -> None:
    ws.sort(0.0, audit=0)
    image, *_ = rows(ws, "sorted")
    with ws.store.write() as session:
        session.execute(update(ImageRow).where(ImageRow.id == image.id).values(split="train"))
    kinds = {found["kind"] for found in ws.verify()["differences"]}
    assert kinds == {"wrong-split", "wrong-folder"}
    assert ws.verify(repair=True)["clean"]
    assert_sound(ws, ALL)


# ---------------------------------------------------------------------------------------------------- the database


def test_labels_of_the_model_are_told_from_labels_of_people(ws: Workspace, tmp_path: Path) -> None:
    ws.sort(0.0, audit=0)
    exporting.export_labels(ws.store, CLASSES, tmp_path / "l.jsonl", form="jsonl")
    lines = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text(encoding="utf-8").splitlines()]
    by_machine = [line for line in lines if line["annotator"] == "machine"]
    assert len(by_machine) == LEFT
    for line in lines:
        assert (line["split"] == "sorted") == (line["annotator"] == "machine")
    for line in by_machine:
        assert (line["predicted"], line["model"]) == (line["label"], "m0002")
        assert line["label"] == (CLASSES[0] if line["probability"] >= 0.5 else CLASSES[1])
    exporting.export_labels(ws.store, CLASSES, tmp_path / "l.json", form="label-studio")
    tasks: list[dict[str, Any]] = json.loads((tmp_path / "l.json").read_text(encoding="utf-8"))
    assert {(task["data"]["split"] == "sorted", len(task["annotations"])) for task in tasks} == {(True, 0), (False, 1)}
    assert all("predictions" in task for task in tasks if task["data"]["split"] == "sorted")
    exporting.export_labels(ws.store, CLASSES, ws.paths.root / "l.csv", form="csv")
    workspace.create(tmp_path / "again", CLASSES)
    with Workspace.open(tmp_path / "again") as again:
        taken = again.import_images(ws.paths.root / "l.csv")
        assert (taken.imported, taken.labelled) == (ALL, ALL - LEFT), "a guess comes in without its label"


def test_a_round_follows_a_run(ws: Workspace, truth: Path, half: float) -> None:
    ws.sort(half, audit=0)
    result = ws.round(k=4, annotator=Oracle.from_folder(truth))
    assert result.state == "EVALUATED"
    assert result.labelled == 20
    assert_sound(ws, ALL)
