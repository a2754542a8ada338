"""`labeler simulate` as a person and a program see it: the document, every option, what is refused, what is kept."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labeler import cli, workspace
from labeler.rounds import figures
from tests.test_cli import assert_one_line, document, labeler
from tests.test_cli_models import run
from tests.test_cli_training import assert_self_contained
from tests.workspaces import CLASSES, POOL, TEST

IMAGES = POOL + TEST
K, ROUNDS, SEEDS, HELD_BACK = 8, 3, 2, 16
FEW = ("--k", K, "--rounds", 1, "--seeds", 1, "--strategies", "auto", "--test", HELD_BACK, "--jobs", 1)
QUIET_JSON = ("--json", "--quiet")


@dataclass(frozen=True)
class Made:
    """A workspace in which a simulation ran, and what it printed."""

    root: Path
    done: subprocess.CompletedProcess[str]
    document: dict[str, Any]


def options(*more: object) -> tuple[object, ...]:
    strategies = ("--strategies", "auto,random")
    return ("--k", K, "--rounds", ROUNDS, "--seeds", SEEDS, *strategies, "--test", HELD_BACK, *more, *QUIET_JSON)


@pytest.fixture(scope="module")
def made(built: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two strategies, two seeds, in this process; tests that write copy the workspace."""
    root = tmp_path_factory.mktemp("simulated") / "w"
    shutil.copytree(built, root)
    done = run(root, "simulate", truth, *options("--jobs", 1))
    return Made(root, done, document(done))


@pytest.fixture
def root(made: Made, tmp_path: Path) -> Path:
    """A copy with the finished runs in it."""
    return Path(shutil.copytree(made.root, tmp_path / "w"))


def kept(root: Path) -> dict[str, int]:
    """When each finished run was written, by the name of its file."""
    return {file.name: file.stat().st_mtime_ns for file in (root / "db/cache/simulations").glob("*/*.json")}


def without_seconds(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "curves": [{**curve, "seconds": None} for curve in found["curves"]]}


# ------------------------------------------------------------------------------------------------------ the document


def test_the_document_is_that_of_the_contract(made: Made) -> None:
    found = made.document
    assert (found["k"], found["n_test"], found["images"]) == (K, HELD_BACK, IMAGES)
    assert found["classes"] == list(CLASSES)
    assert [(c["strategy"], c["seed"]) for c in found["curves"]] == [
        (name, seed) for name in ("auto", "random") for seed in range(SEEDS)
    ]
    fixed = {"strategy", "seed", "labels", "accuracy", "balanced_accuracy", "roc_auc", "seconds"}
    for curve in found["curves"]:
        assert set(curve) >= fixed
        assert curve["labels"] == [K * number for number in range(1, ROUNDS + 1)]
        assert all(len(curve[name]) == ROUNDS for name in fixed - {"strategy", "seed"})
        assert all(round(value * HELD_BACK, 6) % 1 == 0 for value in curve["accuracy"]), "of so many test images"
        assert all(seconds > 0 for seconds in curve["seconds"])
        assert [sum(counts) for counts in curve["counts"]] == curve["labels"]
    assert [row["seed"] for row in found["full_supervision"]] == list(range(SEEDS))
    assert all(0.5 < row["accuracy"] <= 1 for row in found["full_supervision"])
    assert [row["strategy"] for row in found["strategies"]] == ["auto", "random"]
    assert made.done.stderr == ""
    assert made.done.stdout.count("\n") == 1


def test_the_seeds_of_a_workspace_begin_where_its_setting_says(root: Path, truth: Path, made: Made) -> None:
    found = document(run(root, "simulate", truth, *options("--jobs", 1, "--seed", 1)))
    assert [row["seed"] for row in found["full_supervision"]] == [1, 2]
    again = {(c["strategy"], c["seed"]): c for c in found["curves"]}
    first = {(c["strategy"], c["seed"]): c for c in made.document["curves"]}
    assert again["auto", 1] == first["auto", 1], "seed 1 was there: taken as it was kept"
    assert (
        again["auto", 2]["accuracy"] != first["auto", 1]["accuracy"]
        or again["auto", 2]["counts"] != (first["auto", 1]["counts"])
    ), "another split, other images"


@pytest.mark.parametrize(
    ("changed", "labels"),
    [
        (("--rounds", 2), [8, 16]),
        (("--rounds", 9, "--budget", 12), [8, 12]),
        (("--rounds", 1, "--budget", 12), [8]),
        (("--k", 5, "--rounds", 2), [5, 10]),
        (("--examples", 2), [12]),
        (("--rounds", 9, "--test", 40), [8, 16, 20]),
    ],
)
def test_rounds_and_budget_say_where_a_curve_ends(
    root: Path, truth: Path, changed: tuple[object, ...], labels: list[int]
) -> None:
    [curve] = document(run(root, "simulate", truth, *FEW, *changed, *QUIET_JSON))["curves"]
    assert curve["labels"] == labels


def test_a_budget_alone_is_not_cut_at_ten_rounds(root: Path, truth: Path) -> None:
    given = ("--k", 3, "--budget", 36, "--seeds", 1, "--strategies", "random", "--test", HELD_BACK, "--jobs", 1)
    [curve] = document(run(root, "simulate", truth, *given, *QUIET_JSON))["curves"]
    assert len(curve["labels"]) == 12


def simulate(root: Path, truth: Path, *changed: object) -> dict[str, Any]:
    found: dict[str, Any] = document(run(root, "simulate", truth, *FEW, *changed, *QUIET_JSON))
    return found


@pytest.mark.parametrize("order", [CLASSES, CLASSES[::-1]])
def test_counts_stand_in_the_order_of_the_classes(
    order: tuple[str, ...], root: Path, truth: Path, tmp_path: Path
) -> None:
    """Of the first class there are ten images, of the other three."""
    for name, count in zip(CLASSES, (10, 3), strict=True):
        for file in sorted((truth / name).glob("*.png"))[:count]:
            (tmp_path / "few" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "few" / name)
    found = simulate(root, tmp_path / "few", "--classes", ",".join(order), "--test", 3)
    [counts] = found["curves"][0]["counts"]
    assert found["classes"] == list(order)
    assert counts[order.index(CLASSES[0])] > counts[order.index(CLASSES[1])]


def test_every_option_does_what_it_says(root: Path, truth: Path) -> None:
    simulated = functools.partial(simulate, root, truth)
    plain = simulated()
    assert simulated("--test", 10)["n_test"] == 10
    assert plain["classes"] == list(CLASSES)
    assert [c["strategy"] for c in simulated("--strategies", "margin, margin,diverse")["curves"]] == [
        "margin",
        "diverse",
    ]
    exampled = simulated("--examples", 3)["curves"][0]
    assert exampled["labels"] == [6 + K]
    assert min(exampled["counts"][0]) >= 3
    audited = simulated("--audit", "50%", "--rounds", 3)
    assert audited["audit"] == 0.5
    unaudited = simulated("--rounds", 3)
    assert audited["curves"][0]["counts"] != unaudited["curves"][0]["counts"] or (
        audited["curves"][0]["accuracy"] != unaudited["curves"][0]["accuracy"]
    )


def test_a_fifth_is_for_testing_where_nothing_is_said(root: Path, truth: Path) -> None:
    given = ("--k", K, "--rounds", 1, "--seeds", 1, "--strategies", "random", "--jobs", 1)
    assert document(run(root, "simulate", truth, *given, *QUIET_JSON))["n_test"] == IMAGES // 5


def test_a_csv_is_as_good_as_folders(root: Path, truth: Path, tmp_path: Path, made: Made) -> None:
    rows = [f"{file},{file.parent.name}" for file in sorted(truth.rglob("*.png"))]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    before = kept(root)
    found = document(run(root, "simulate", table, *options("--jobs", 1)))
    assert found["curves"] == made.document["curves"]
    assert kept(root) == before, "the same images and labels: nothing was run again"


# ------------------------------------------------------------------------------------------------------- for a person


def test_it_says_it_in_tables(root: Path, truth: Path, tmp_path: Path) -> None:
    done = run(root, "simulate", truth, *options("--jobs", 1, "--report", tmp_path / "report")[:-2])
    assert done.returncode == 0, done.stderr
    assert "Accuracy on the test images, mean over seeds, by labels" in done.stdout
    assert "Target: full supervision minus 0.5 points" in done.stdout
    assert f"Report: {tmp_path / 'report' / 'index.html'}" in done.stdout
    for name in ("auto", "random"):
        assert sum(line.startswith(name) for line in done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_a_report_is_one_page_that_needs_nothing_else(root: Path, truth: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    found = document(run(root, "simulate", truth, *options("--jobs", 1, "--report", folder)))
    assert found["report"] == str(folder / "index.html")
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert_self_contained(html)
    for word in ("auto", "random", *CLASSES, "efficientnet_lite0"):
        assert word in html
    assert str(truth) not in html, "the page goes to other people"
    assert str(root) not in html
    assert {"accuracy.png", "balanced-accuracy.png"} <= {file.name for file in folder.iterdir()}
    again = document(run(root, "simulate", truth, *options("--jobs", 1, "--report", folder)))
    assert again == found, "an earlier report is written over"


def test_the_model_tab_draws_the_reference(root: Path, truth: Path) -> None:
    paths = workspace.find(root)
    assert figures.reference(paths) is None
    found = document(run(root, "simulate", truth, *options("--jobs", 1, "--reference")))
    drawn = figures.reference(paths)
    assert drawn is not None
    random = [curve for curve in found["curves"] if curve["strategy"] == "random"]
    assert [point["labels"] for point in drawn] == random[0]["labels"]
    for at, point in enumerate(drawn):
        assert point["accuracy"] == pytest.approx(sum(curve["accuracy"][at] for curve in random) / SEEDS)


def test_it_needs_no_workspace(
    built: Path, truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Made
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LABELER_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(built / "db/cache/vectors", tmp_path / "cache/labeler/vectors")
    asked = ["simulate", str(truth), *map(str, options("--jobs", 1))]
    result = CliRunner().invoke(cli.app, asked)
    assert result.exit_code == 0, result.stderr
    assert without_seconds(json.loads(result.stdout)) == without_seconds(made.document)
    assert len(list((tmp_path / "cache/labeler/simulations").glob("*/*.json"))) == 3 * SEEDS
    assert {entry.name for entry in tmp_path.iterdir()} == {"cache"}, "the current folder stays as it was"
    refused = CliRunner().invoke(cli.app, [*asked, "--reference"])
    assert_one_line(
        subprocess.CompletedProcess([], refused.exit_code, refused.stdout, refused.stderr), 1, "--reference", "-w DIR"
    )


# --------------------------------------------------------------------------------------------------- what is refused


def test_what_cannot_be_simulated_is_one_line(fresh: Callable[[], Path], truth: Path, tmp_path: Path) -> None:
    root, empty, one = fresh(), tmp_path / "empty", tmp_path / "one"
    empty.mkdir()
    shutil.copytree(truth / CLASSES[0], one / CLASSES[0])

    def refused(source: Path, *given: object) -> subprocess.CompletedProcess[str]:
        return run(root, "simulate", source, *FEW, *given, *QUIET_JSON)

    assert_one_line(refused(truth, "--strategies", "auto,guess"), 1, "guess", "uncertainty")
    assert_one_line(refused(truth, "--strategies", " , "), 1, "no strategy was named", "auto,random")
    assert_one_line(refused(tmp_path / "nowhere"), 1, "nowhere", "does not exist")
    assert_one_line(refused(empty), 1, "empty")
    assert_one_line(refused(one), 1, "1 class")
    assert_one_line(refused(one, "--classes", ",".join(CLASSES)), 1, f"fewer than two usable images of {CLASSES[1]}")
    assert_one_line(refused(truth, "--classes", "cat,dog"), 1, "unknown class", "cat, dog")
    assert_one_line(refused(truth, "--test", IMAGES), 1, f"{IMAGES} test images leave none", "smaller --test")
    assert_one_line(refused(truth, "--examples", IMAGES), 1, f"{IMAGES} examples", "fewer --examples")
    assert_one_line(refused(truth, "--reference"), 1, "--reference", "random")
    assert refused(truth, "--audit", "200%").returncode == 2
    assert refused(truth, "--k", 0).returncode == 2
    assert not (root / "db/cache/simulations").exists(), "nothing of that was run"


def test_a_csv_with_a_path_that_leads_nowhere_is_one_line(
    fresh: Callable[[], Path], truth: Path, tmp_path: Path
) -> None:
    rows = [f"{file},{file.parent.name}" for file in sorted(truth.rglob("*.png"))]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label", *rows, "gone.png,round"]), encoding="utf-8")
    assert_one_line(run(fresh(), "simulate", table, *FEW, *QUIET_JSON), 1, "gone.png, which is not there")


def test_a_folder_of_somebody_else_is_no_place_for_a_report(
    fresh: Callable[[], Path], truth: Path, tmp_path: Path
) -> None:
    root, diary = fresh(), tmp_path / "diary"
    diary.mkdir()
    (diary / "monday.txt").write_text("mine")
    for place, word in ((diary, "not empty"), (diary / "monday.txt", "cannot be used")):
        assert_one_line(run(root, "simulate", truth, *FEW, "--report", place, *QUIET_JSON), 1, str(place), word)
    assert [file.name for file in diary.iterdir()] == ["monday.txt"]
    assert not (root / "db/cache/simulations").exists(), "said before the work, not after it"


# ------------------------------------------------------------------------------------------------------- what is kept


def test_what_is_finished_is_not_run_again(root: Path, truth: Path, made: Made) -> None:
    before = kept(root)
    assert len(before) == 3 * SEEDS  # auto, random, full supervision
    assert document(run(root, "simulate", truth, *options("--jobs", 1))) == made.document
    assert kept(root) == before
    [lost] = (root / "db/cache/simulations").glob("*/auto-1.json")
    lost.write_text(lost.read_text()[:50])
    again = document(run(root, "simulate", truth, *options("--jobs", 1)))
    assert without_seconds(again) == without_seconds(made.document), "a damaged one is made anew, and is the same"
    after = kept(root)
    assert {name for name in after if after[name] != before[name]} == {"auto-1.json"}
    assert document(run(root, "simulate", truth, *options("--jobs", 1, "--fresh")))
    assert all(stamp != after[name] for name, stamp in kept(root).items())


def test_two_processes_find_what_one_finds(root: Path, truth: Path, made: Made) -> None:
    done = labeler("simulate", truth, "-w", root, *options("--jobs", 2, "--fresh"))
    assert without_seconds(document(done)) == without_seconds(made.document)
    assert done.stderr == ""
    assert not list((root / "db/cache/simulations").glob("*/*.npy")), "the vectors lent to the processes are gone"


def test_an_interrupted_run_is_taken_up_where_it_was(fresh: Callable[[], Path], truth: Path, made: Made) -> None:
    root = fresh()
    given = [*options("--jobs", 2, "--seeds", 100)]
    command = [sys.executable, "-m", "labeler", "simulate", str(truth), "-w", str(root), *map(str, given)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        patience = time.monotonic() + 60
        while len(kept(root)) < 4 and process.poll() is None:
            assert time.monotonic() < patience, "nothing was finished in a minute"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert_one_line(subprocess.CompletedProcess([], process.returncode, out, err), 130, "interrupted")
    before = kept(root)
    assert 4 <= len(before) < 300
    assert not list((root / "db/cache/simulations").glob("*/*.npy"))
    found = document(run(root, "simulate", truth, *options("--jobs", 1)))
    assert without_seconds(found) == without_seconds(made.document)
    after = kept(root)
    assert {name: after[name] for name in before} == before, "what was finished was not run again"
    assert "auto-0.json" in before
