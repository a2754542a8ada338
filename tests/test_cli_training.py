"""`labeler train`, `evaluate`, `compare` and `predict` as a person and a program see them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from labeler import Oracle
from labeler.rounds import Workspace
from tests.test_cli import assert_one_line, document
from tests.test_cli_models import run
from tests.workspaces import CLASSES, POOL, TEST

LABELS = 24
QUICK = {"LABELER_EPOCHS": "1", "LABELER_VIEWS": "1", "LABELER_BATCH": "8"}
TABLE = {"name", "seed", "input_size", "weights", "metrics", "seconds", "parameters", "trainable", "images_per_second"}


@pytest.fixture(scope="module")
def answered(built: Path, compiled: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with 24 labels and a head; tests that write to it copy it."""
    root = tmp_path_factory.mktemp("answered") / "w"
    shutil.copytree(built, root)
    shutil.copytree(compiled, root / "db/cache/compiled", dirs_exist_ok=True)
    with Workspace.open(root) as ws:
        ws.round(k=LABELS, annotator=Oracle.from_folder(truth), refresh="head")
    return root


@pytest.fixture
def root(answered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(answered, tmp_path / "w"))


# ------------------------------------------------------------------------------------------------------------- train


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("childless", "quick")
def test_train_a_network_from_scratch_and_ask_it(root: Path, truth: Path, tmp_path: Path) -> None:
    """It becomes the model in use where the setting says so; its output layer is what predicts."""
    events = tmp_path / "events"
    done = run(root, "train", "--model", "ann", "--tensorboard", events, "--json", "--quiet")
    result = document(done)
    assert (result["kind"], result["labelled"], result["model"]) == ("ann", LABELS, "m0002")
    assert (result["metrics"]["split"], result["metrics"]["n"]) == ("test", TEST)
    assert done.stderr == ""
    assert any("tfevents" in file.name for file in events.rglob("*")), "what was asked for is there"
    shown = document(run(root, "models", "show", "m0002", "--json"))
    assert shown["kind"] == "ann"
    assert shown["file_state"] == "sound"
    settings = root / "labeler.toml"
    settings.write_text(settings.read_text() + 'model = "ann"\n')
    files = sorted(truth.rglob("*.png"))[:6]
    rows = document(run(root, "predict", *files, "--json", "--quiet"))
    assert {row["model"] for row in rows} == {"m0002"}
    assert all(0.0 <= row["probability"] <= 1.0 and row["predicted"] in CLASSES for row in rows)
    assert all((row["probability"] >= 0.5) == (row["predicted"] == CLASSES[0]) for row in rows)


def test_train_says_what_it_did(root: Path) -> None:
    done = run(root, "train")
    assert done.returncode == 0, done.stderr
    assert f"Model m0002 (head) trained on {LABELS} labels." in done.stdout
    assert "accuracy" in done.stdout


def test_the_augmentation_is_shown_and_nothing_is_trained(root: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    shown = document(run(root, "train", "--show-augmentation", sheet, "--json", "--quiet"))
    assert shown == {"file": str(sheet), "images": 6, "views": 4}
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
        width, height = picture.size
    assert width > 4 * 50
    assert height > 6 * 50
    first = sheet.read_bytes()
    run(root, "train", "--show-augmentation", sheet)
    assert sheet.read_bytes() == first, "the same seed draws the same views"
    run(root, "train", "--show-augmentation", sheet, "--seed", 7)
    assert sheet.read_bytes() != first
    assert len(document(run(root, "models", "--json"))) == 1
    assert f"4 views of 6 photographs in {sheet}" in run(root, "train", "--show-augmentation", sheet).stdout


def test_what_cannot_be_trained_is_one_line(root: Path, fresh: Callable[[], Path], tmp_path: Path) -> None:
    untouched = fresh()
    assert_one_line(run(untouched, "train"), 1, "nothing is labelled yet", "label images of a second class")
    assert_one_line(run(root, "train", "--model", "forest"), 1, "forest", "head, cnn, ann, transfer")
    assert_one_line(run(root, "train", "--refresh", "sometimes"), 1, "sometimes", "auto, head, finetune")
    assert_one_line(run(root, "train", "--backbone", "alexnet"), 1, "alexnet", "efficientnet_lite0")
    assert_one_line(run(root, "train", "--weights", tmp_path / "none.h5"), 1, "none.h5", "weights file")
    nowhere = tmp_path / "no" / "sheet.png"
    assert_one_line(run(root, "train", "--show-augmentation", nowhere), 1, "sheet.png", ".png or .jpg")
    assert_one_line(run(root, "train", "--show-augmentation", tmp_path / "sheet.doc"), 1, "sheet.doc", ".png or .jpg")
    assert len(document(run(root, "models", "--json"))) == 1, "nothing of that left a model"


# ---------------------------------------------------------------------------------------------------------- evaluate


def test_evaluate_writes_one_page_that_needs_nothing_else(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    result = document(run(root, "evaluate", "--report", folder, "--json", "--quiet"))
    assert result["model"] == "m0001"
    assert result["metrics"]["n"] == TEST
    assert set(result["metrics"]) >= {"accuracy", "precision", "recall", "f1", "roc_auc", "ece", "confusion"}
    page = Path(result["report"])
    assert page.parent == folder
    html = page.read_text(encoding="utf-8")
    assert_self_contained(html)
    assert "data:image/" in html
    for word in (*CLASSES, "m0001", "accuracy"):
        assert word in html
    pictures = list(folder.rglob("*.png"))
    assert len(pictures) >= 5
    for file in pictures:
        with Image.open(file) as picture:
            picture.verify()
    assert str(root) not in html, "the page goes to other people"
    again = run(root, "evaluate", "--report", folder)
    assert again.returncode == 0, again.stderr
    assert f"Report: {page}" in again.stdout
    assert "truth \\ predicted" in again.stdout


def assert_self_contained(html: str) -> None:
    """Nothing is fetched when somebody opens it: every source is in the page."""
    for attribute, value in re.findall(r"""\b(src|href|srcset|action)\s*=\s*["']([^"']*)["']""", html):
        assert value.startswith(("data:", "#")), f"{attribute}={value[:80]}"
    assert not re.search(r"url\(\s*['\"]?(?!data:|#)", html)
    assert "@import" not in html
    assert not re.search(r"<(script|iframe|object|embed)\b[^>]*\bsrc", html)


def test_what_cannot_be_evaluated_is_one_line(root: Path, fresh: Callable[[], Path], tmp_path: Path) -> None:
    assert_one_line(run(fresh(), "evaluate"), 1, "no trained model yet", "labeler train")
    report = tmp_path / "report"
    assert_one_line(
        run(root, "evaluate", "--split", "validation", "--report", report),
        1, "a report needs labelled images, and validation has none", "pools/Validation",
    )  # fmt: skip
    assert not report.exists()
    report.mkdir()
    (report / "diary.txt").write_text("mine")
    assert_one_line(run(root, "evaluate", "--report", report), 1, str(report))
    assert [file.name for file in report.iterdir()] == ["diary.txt"], "nothing of a person's is written over"
    wrong = run(root, "evaluate", "--split", "holiday")
    assert wrong.returncode == 2
    assert_one_line(
        run(root, "evaluate", "--report", tmp_path / "new", "--groups", tmp_path / "none.csv"), 1, "none.csv"
    )


# ----------------------------------------------------------------------------------------------------------- compare


@pytest.mark.usefixtures("quick")
def test_compare_trains_each_and_prints_one_table(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "comparison"
    done = run(root, "compare", "--backbones", "head, ann", "--seeds", 1, "--report", folder, "--json", "--quiet")
    result = document(done)
    assert [row["name"] for row in result["models"]] == ["head", "ann"]
    assert result["failures"] == []
    for row in result["models"]:
        assert set(row) >= TABLE
        assert row["metrics"]["n"] == TEST
        assert sum(map(sum, row["metrics"]["confusion"])) == TEST
        assert row["seconds"] > 0
        assert row["images_per_second"] > 0
    ann = result["models"][1]
    assert ann["parameters"] == ann["trainable"] == 32 * 32 * 3 * 128 + 128 + 128 * 64 + 64 + 64 + 1
    assert_self_contained(Path(result["report"]).read_text(encoding="utf-8"))
    with Workspace.open(root) as ws:
        assert ws.status()["model"]["name"] == "m0001", "a comparison changes nothing"


def test_what_cannot_be_compared_is_one_line(root: Path, fresh: Callable[[], Path]) -> None:
    assert_one_line(run(root, "compare", "--backbones", "head,alexnet"), 1, "alexnet")
    assert_one_line(run(root, "compare", "--backbones", " , "), 1, "no model to compare was named", "head")
    assert_one_line(run(fresh(), "compare", "--backbones", "head"), 1, "no labels of two classes", "import")


# ----------------------------------------------------------------------------------------------------------- predict


def test_predict_writes_a_table_or_a_document(root: Path, truth: Path, tmp_path: Path) -> None:
    bad = tmp_path / "broken.png"
    bad.write_bytes(b"no picture")
    given = [*sorted(truth.rglob("*.png"))[:5], bad]
    rows = document(run(root, "predict", *given, "--json", "--quiet", "--out", tmp_path / "rows.csv"))
    assert [row["path"] for row in rows] == [str(file) for file in given]
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert [row["path"] for row in table] == [row["path"] for row in rows]
    for line, row in zip(table[:5], rows[:5], strict=True):
        assert line["predicted"] == row["predicted"]
        assert float(line["probability"]) == pytest.approx(row["probability"], abs=1e-6)
    assert not table[5]["predicted"]
    assert rows[5]["error"]
    done = run(root, "predict", *given, "--out", tmp_path / "rows.json")
    assert f"6 rows in {tmp_path / 'rows.json'}" in done.stdout
    kept: Any = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert kept == rows


def test_predict_takes_a_folder(root: Path, truth: Path, tmp_path: Path) -> None:
    rows = document(run(root, "predict", truth, "--json", "--quiet"))
    assert len(rows) == POOL + TEST
    assert len({row["path"] for row in rows}) == len(rows)


def test_what_cannot_be_predicted_is_one_line(
    root: Path, fresh: Callable[[], Path], truth: Path, tmp_path: Path
) -> None:
    assert_one_line(run(root, "predict", tmp_path / "none.jpg"), 1, "none.jpg does not exist", "check the path")
    assert_one_line(run(fresh(), "predict", truth), 1, "no trained model yet")
    one = next(truth.rglob("*.png"))
    assert_one_line(run(root, "predict", one, "--out", tmp_path / "no" / "rows.csv"), 1, "rows.csv")


def test_the_help_of_every_command_names_its_options() -> None:
    wanted = {
        "train": ("--model", "--refresh", "--tensorboard", "--show-augmentation"),
        "evaluate": ("--report", "--groups", "--split"),
        "compare": ("--backbones", "--seeds", "--size", "--report"),
        "predict": ("--out",),
    }
    for command, options in wanted.items():
        shown: subprocess.CompletedProcess[str] = run(Path(), command, "--help")
        assert shown.returncode == 0
        assert all(option in shown.stdout for option in options), command
