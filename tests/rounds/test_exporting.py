"""What is taken out of a workspace: the labels, the predictions; the model by `tests/test_cli_models.py`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from labeler import Oracle, workspace
from labeler.domain import LabelerError, NothingToDo
from labeler.record import labels
from labeler.rounds import Workspace, exporting
from tests.workspaces import CLASSES, TEST


def rounds(opened: Workspace, truth: Path, count: int) -> None:
    for _ in range(count):
        opened.round(annotator=Oracle.from_folder(truth))


def test_without_a_model_there_is_nothing_to_export(opened: Workspace, tmp_path: Path) -> None:
    with pytest.raises(LabelerError, match="no trained model yet"):
        exporting.export_model(opened.store, opened.paths, opened.settings, tmp_path / "m.keras", form="keras")


def taken_out(opened: Workspace, out: Path, form: str) -> dict[str, Any]:
    return exporting.export_labels(opened.store, opened.settings.classes, out, form=form)


def test_labels_as_csv_and_as_lines_of_json(opened: Workspace, truth: Path, tmp_path: Path) -> None:
    rounds(opened, truth, 2)
    assert taken_out(opened, tmp_path / "l.csv", "csv")["labels"] == 16 + TEST
    taken_out(opened, tmp_path / "l.jsonl", "jsonl")
    with (tmp_path / "l.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    lines = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(table) == len(lines) == 16 + TEST
    assert [row["sha256"] for row in table] == sorted(row["sha256"] for row in table)
    for cells, row in zip(table, lines, strict=True):
        assert tuple(cells) == tuple(row) == exporting.COLUMNS
        assert (cells["path"], cells["label"]) == (row["path"], row["label"])
        assert (opened.paths.root / row["path"]).is_file()
        assert Path(row["path"]).parent.name == row["label"]
        assert (truth / row["label"] / Path(row["path"]).name).is_file()
    by_round = {number: [row for row in lines if row["round"] == number] for number in (None, 1, 2)}
    assert [len(rows) for rows in by_round.values()] == [TEST, 8, 8]
    assert {row["annotator"] for row in by_round[None]} == {"files"}
    assert {row["probability"] for row in by_round[1]} == {None}, "no model yet"
    assert {(row["annotator"], row["model"]) for row in by_round[2]} == {("oracle", "m0001")}
    assert all(0 <= row["probability"] <= 1 and row["predicted"] in CLASSES for row in by_round[2])


def test_where_nothing_is_labelled_there_is_nothing_to_take_out(tmp_path: Path) -> None:
    root = workspace.create(tmp_path / "w", CLASSES).root
    with Workspace.open(root) as opened, pytest.raises(NothingToDo, match="nothing is labelled yet"):
        taken_out(opened, tmp_path / "l.csv", "csv")
    assert not (tmp_path / "l.csv").exists()


def test_labels_as_label_studio_imports_them(opened: Workspace, truth: Path, tmp_path: Path) -> None:
    rounds(opened, truth, 2)
    taken_out(opened, tmp_path / "l.json", "label-studio")
    tasks = json.loads((tmp_path / "l.json").read_text(encoding="utf-8"))
    assert len(tasks) == 16 + TEST
    predicted = [task for task in tasks if "predictions" in task]
    assert len(predicted) == 8
    for task in tasks:
        [annotation] = task["annotations"]
        [result] = annotation["result"]
        assert (result["from_name"], result["to_name"], result["type"]) == ("choice", "image", "choices")
        assert result["value"]["choices"][0] in CLASSES
        assert task["data"]["image"] == f"/data/local-files/?d={task['data']['path']}"
    for task in predicted:
        [prediction] = task["predictions"]
        assert prediction["model_version"] == "m0001"
        assert 0.5 <= prediction["score"] <= 1


def test_a_score_is_of_the_predicted_class_however_many_there_are() -> None:
    def score(probability: float, classes: tuple[str, ...]) -> float:
        row = labels.Labelled(
            "pools/Train/b/x y.png",
            "0" * 64,
            "train",
            "b",
            False,
            "anna",
            None,
            1,
            probability,
            0.4,
            "b",
            "m0001",
            1500,
        )
        task = exporting.task(row, classes)
        assert task["data"]["image"] == "/data/local-files/?d=pools/Train/b/x%20y.png"
        assert task["annotations"][0]["lead_time"] == 1.5
        return float(task["predictions"][0]["score"])

    assert score(0.2, ("a", "b")) == pytest.approx(0.8)
    assert score(0.4, ("a", "b", "c")) == pytest.approx(0.4)


def test_a_file_that_is_there_stays_without_force(opened: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "l.csv"
    out.write_text("mine")
    with pytest.raises(LabelerError, match=r"l\.csv is there already"):
        taken_out(opened, out, "csv")
    assert out.read_text() == "mine"
    exporting.export_labels(opened.store, CLASSES, out, form="csv", force=True)
    assert out.read_text().startswith("path,label")
    with pytest.raises(LabelerError, match="cannot be written"):
        taken_out(opened, tmp_path / "nowhere/l.jsonl", "jsonl")
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_images_that_are_missing_keep_their_labels(opened: Workspace, tmp_path: Path) -> None:
    with opened.store.write() as session:
        from labeler.record import images

        images.set_missing(session, [row.id for row in images.every(session) if row.split == "test"][:3], True)
    done = taken_out(opened, tmp_path / "l.jsonl", "jsonl")
    assert done["labels"] == TEST
    assert "3 of the images are missing" in done["notes"][0]
    lines = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text().splitlines()]
    assert sum(row["missing"] for row in lines) == 3


PREDICTED: list[dict[str, Any]] = [
    {
        "path": "=cmd.png", "predicted": "b", "probability": 0.25, "uncertainty": 0.5,
        "probabilities": {"a": 0.25, "b": 0.75}, "model": "m0001",
    },
    {"path": "bad\udcff.png", "predicted": None, "probability": None, "error": "empty file"},
]  # fmt: skip


def test_predictions_as_a_table(tmp_path: Path) -> None:
    header, rows = exporting.prediction_table(PREDICTED, ("a", "b"))
    assert header == ["path", "predicted", "probability", "uncertainty", "p(a)", "p(b)", "error"]
    assert rows == [
        ["=cmd.png", "b", "0.250000", "0.500000", "0.250000", "0.750000", ""],
        ["bad\udcff.png", "", "", "", "", "", "empty file"],
    ]
    exporting.write_predictions(tmp_path / "p.csv", PREDICTED, ("a", "b"))
    text = (tmp_path / "p.csv").read_text(encoding="utf-8")
    assert text.splitlines()[1].startswith("'=cmd.png,b,"), "no spreadsheet runs it"
    exporting.write_predictions(tmp_path / "p.json", PREDICTED, ("a", "b"))
    assert json.loads((tmp_path / "p.json").read_text(encoding="utf-8")) == PREDICTED


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.KERAS", "keras"), ("a.tflite", "litert"), ("a.onnx", "onnx"), ("a.csv", "csv"), ("a.jsonl", "jsonl"),
     ("a.json", "label-studio"), ("a", None), ("a.h5", None)],
)  # fmt: skip
def test_the_ending_names_the_format(name: str, form: str | None) -> None:
    assert exporting.form_of(Path(name)) == form
