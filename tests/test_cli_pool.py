"""`labeler sort` and `labeler review-labels` as a program sees them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from labeler import Oracle, cli
from labeler.rounds import Workspace
from tests.workspaces import POOL

LEFT = POOL - 16


def labeler(*arguments: object) -> Result:
    """The command in this process: starting one for each would take longer than the work."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def document(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def assert_one_line(done: Result, code: int, *words: str) -> None:
    assert (done.exit_code, done.stdout) == (code, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("labeler: ")
    assert all(word in line for word in words), line


@pytest.fixture(scope="module")
def trained(built: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained") / "w"
    shutil.copytree(built, root)
    with Workspace.open(root, k=16) as ws:
        ws.round(annotator=Oracle.from_folder(truth))
    return root


@pytest.fixture
def w(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "w")
    return tmp_path / "w"


def test_sorting_from_the_shell(w: Path, truth: Path) -> None:
    dry = document(labeler("sort", "-w", w, "--above", 0.5, "--dry-run", "--json"))
    assert (dry["run"], dry["dry_run"], dry["sorted"], dry["left"]) == (None, True, LEFT, 0)
    assert set(dry["expected_errors"]) == {"before", "sorted", "left"}
    done = document(labeler("sort", "-w", w, "--above", 0.5, "--audit", 5, "--oracle", truth, "--json"))
    assert (done["run"], done["sorted"], done["by_class"]) == (1, LEFT, dry["by_class"])
    assert done["audit"]["right"] + done["audit"]["wrong"] == 5
    [run] = document(labeler("sort", "-w", w, "--status", "--json"))["runs"]
    assert run["audit"] == done["audit"]
    status = document(labeler("status", "-w", w, "--json"))
    assert sum(status["counts"]["sorted"].values()) == LEFT - 5
    assert status["sort"]["run"] == 1
    back = document(labeler("sort", "-w", w, "--undo", 1, "--json"))
    assert (back["state"], back["undone"]) == ("undone", LEFT - 5)
    assert document(labeler("verify", "-w", w, "--json"))["clean"]


def test_sorting_for_a_person(w: Path) -> None:
    shown = labeler("sort", "-w", w, "--above", 0.5).stdout
    assert f"sorting run 1: {LEFT} of {LEFT} images (round " in shown
    assert shown.count("with 90 % certainty") == 3
    assert f"{LEFT} waiting" in shown
    assert "Next: `labeler serve`" in shown
    assert "sorting run 1" in labeler("status", "-w", w).stdout
    back = labeler("sort", "-w", w, "--undo").stdout
    assert f"taken back: {LEFT} to the pool, 0 decided by people since" in back
    assert "would be sorted" in labeler("sort", "-w", w, "--above", 0.5, "--dry-run").stdout


def test_exit_codes(w: Path) -> None:
    assert_one_line(labeler("sort", "-w", w, "--above", 1, "-q"), 3, "sure of none", "lower --above")
    assert_one_line(labeler("sort", "-w", w, "--undo", "-q"), 3, "no sorting run")
    assert_one_line(labeler("sort", "-w", w, "--undo", 4, "-q"), 1, "no sorting run 4", "--status")
    for wrong in (["--above", "1.2"], ["--undo", "--status"], ["3"], ["--audit", "-1"]):
        assert labeler("sort", "-w", w, *wrong).exit_code == 2


def test_reviewing_labels_from_the_shell(w: Path) -> None:
    found = document(labeler("review-labels", "-w", w, "--top", 5, "--json"))
    assert set(found) == {"model", "labelled", "disputed", "near_duplicates"}
    assert (found["model"], found["labelled"]) == ("m0001", 16)
    shown = labeler("review-labels", "-w", w).stdout
    assert "m0001 disputes" in shown


def test_without_a_model_there_is_one_line(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "w")
    for command in (["sort"], ["review-labels"]):
        assert_one_line(labeler(*command, "-w", tmp_path / "w", "-q"), 1, "no trained model yet", "label images")
