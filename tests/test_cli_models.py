"""`labeler models` and `labeler export` as a person and a program see them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labeler import Oracle
from labeler.rounds import Workspace, version_views
from tests.test_cli import assert_one_line, document, here
from tests.workspaces import CLASSES


def run(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process, on a workspace."""
    return here("-w", root, *arguments)


@pytest.fixture(scope="module")
def three(built: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with three versions; tests copy it."""
    folder = tmp_path_factory.mktemp("three") / "w"
    shutil.copytree(built, folder)
    with Workspace.open(folder, k=8) as opened:
        for _ in range(3):
            opened.round(annotator=Oracle.from_folder(truth))
    return folder


@pytest.fixture
def root(three: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three, tmp_path / "w"))


def test_from_the_list_to_the_rollback_and_the_removal(root: Path) -> None:
    rows = document(run(root, "models", "--json"))
    assert [(row["name"], row["parent"], row["labelled"], row["in_use"]) for row in rows] == [
        ("m0001", None, 8, False), ("m0002", "m0001", 16, False), ("m0003", "m0002", 24, True),
    ]  # fmt: skip
    assert rows == document(run(root, "models", "list", "--json")) == document(run(root, "models", "--json", "list"))
    table = run(root, "models").stdout
    assert "in use" in table.splitlines()[-1]
    done = run(root, "models", "use", "m0002")
    assert "m0002 is in use (before: m0003); a new ranking is asked for." in done.stdout
    assert "It stays until somebody labels on" in done.stdout
    assert "24, 8 of them decided after it, where m0002 learned from 16" in done.stdout
    assert document(run(root, "models", "use", "m0001", "--json"))["before"] == "m0002"
    assert_one_line(run(root, "models", "remove", "m0001", "m0002"), 1, "m0001 is in use", "models use NAME")
    assert document(run(root, "models", "remove", "m0002", "--json"))["removed"] == ["m0002"]
    assert "1 more were removed: `labeler models list --all`" in run(root, "models").stdout
    shown = run(root, "models", "list", "--all").stdout
    assert "removed 20" in shown
    assert_one_line(run(root, "models", "use", "m0002"), 1, "m0002 was removed on 20", "models list")
    assert document(run(root, "models", "prune", "--keep", 1, "--json")) == {"removed": [], "freed": 0, "notes": []}


def test_show_tells_everything(root: Path) -> None:
    found = document(run(root, "models", "show", "m0002", "--json"))
    assert (found["ancestors"], found["children"], found["file_state"]) == (["m0001"], ["m0003"], "sound")
    shown = run(root, "models", "show", "m0002").stdout
    learned = f"learned    16 labels: {version_views.ranges(found['decisions'], found['last_decision'])}"
    for words in ("m0002, head", learned, found["digest"], found["backbone_key"], "accuracy", "round 3"):
        assert words in shown
    assert_one_line(run(root, "models", "show", "m0009"), 1, "no model 'm0009'", "models list")


def test_before_the_first_model_nothing_is_listed(fresh: Callable[[], Path], tmp_path: Path) -> None:
    empty = fresh()
    assert "no model yet" in run(empty, "models").stdout
    assert document(run(empty, "models", "list", "--json")) == []
    assert_one_line(run(empty, "export", "-q", tmp_path / "m.keras"), 1, "no trained model yet", "labeler train")


def test_labels_are_taken_out_by_the_ending(root: Path, tmp_path: Path) -> None:
    assert document(run(root, "export", tmp_path / "l.csv", "--json"))["format"] == "csv"
    assert "labels written to" in run(root, "export", tmp_path / "tasks", "--format", "label-studio").stdout
    assert len(json.loads((tmp_path / "tasks").read_text())) > 24
    assert_one_line(run(root, "export", "-q", tmp_path / "l.csv"), 1, "is there already", "--force")
    assert run(root, "export", "-q", "--force", tmp_path / "l.csv").stdout == ""


@pytest.mark.parametrize(
    "arguments", [["m"], ["m.h5"], ["m.keras", "--format", "pickle"], ["l.csv", "--model", "m0001"], []]
)
def test_wrong_usage_is_exit_code_2(root: Path, arguments: list[str]) -> None:
    assert run(root, "export", *arguments).returncode == 2


def test_a_model_goes_out_without_tensorflow_and_says_what_predict_says(
    root: Path, truth: Path, compiled: Path, tmp_path: Path
) -> None:
    """The one export here that is a process of its own, and so is its example: of a version that is not in use."""
    script = """
import sys
from labeler import cli
sys.argv = ["labeler", "-w", sys.argv[1], "export", sys.argv[2], "--model", "m0001", "--json", "--quiet"]
try:
    cli.main()
except SystemExit as end:
    assert end.code == 0, end.code
print(sorted({"tensorflow", "keras", "gradio", "sklearn"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(root), str(tmp_path / "m.tflite")],
        capture_output=True, text=True, timeout=280, check=True,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "[]"
    made = json.loads(done.stdout)
    assert (made["model"], made["file"], made["format"]) == ("m0001", str(tmp_path / "m.tflite"), "litert")
    assert made["classes"] == list(CLASSES)
    assert made["agreement"] < 1e-3
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith("m.")) == [
        "m.classes.txt", "m.example.py", "m.tflite",
    ]  # fmt: skip
    photographs = sorted(truth.rglob("*.png"))[::3]
    program = [sys.executable, made["example"], *map(str, photographs)]
    shown = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=280).stdout
    shutil.copytree(compiled, root / "db/cache/compiled")
    assert run(root, "models", "use", "m0001").returncode == 0
    said = document(run(root, "predict", *photographs, "--json", "--quiet"))
    assert {row["model"] for row in said} == {"m0001"}
    for row, line in zip(said, shown.splitlines(), strict=True):
        name, label, probability = line.split("\t")
        assert (name, label) == (row["path"], row["predicted"])
        assert float(probability) == pytest.approx(row["probabilities"][label], abs=1e-3)
