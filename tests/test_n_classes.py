"""Three classes and ten from the first image to the report, through the real command line."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from labeler.cli import app
from labeler.rounds import Workspace
from tests.checks import assert_sound
from tests.shapes import TEN, THREE, draw_all, label_of

EACH, EACH_TEST = 12, 6
FOUR_DIGITS = 1e-4  # what the network makes of an image depends a little on its neighbours in the batch


def run(*arguments: object) -> Result:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def document(*arguments: object) -> Any:
    """The one JSON document of a command."""
    return json.loads(run(*arguments, "--json", "--quiet").stdout)


@dataclass
class Made:
    """A workspace after three rounds, and what the commands said on the way."""

    classes: tuple[str, ...]
    root: Path
    truth: Path
    rounds: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)  # of the pool, by the model that proposed round 2

    @property
    def k(self) -> int:
        return 2 * len(self.classes)

    @property
    def images(self) -> int:
        return len(self.classes) * (EACH + EACH_TEST)

    def number(self, label: str) -> int:
        return self.classes.index(label)

    def say(self, *arguments: object) -> Any:
        return document("--workspace", self.root, *arguments)


def begin(base: Path, classes: tuple[str, ...], compiled: Path) -> Made:
    """A workspace whose pool's file names do not tell the class."""
    made = Made(classes, base / "w", draw_all(base / "truth", classes, EACH))
    draw_all(base / "test", classes, EACH_TEST, first=1000)
    pool = base / "pool"
    pool.mkdir()
    for number, file in enumerate(sorted(made.truth.glob("*/*.png"))):
        shutil.copy(file, pool / f"{number:04d}.png")
    assert document("init", made.root, "--classes", ",".join(classes))["classes"] == list(classes)
    shutil.copytree(compiled, made.root / "db/cache/compiled")
    assert made.say("import", pool, "--into", "unlabelled")["imported"] == len(classes) * EACH
    assert made.say("import", base / "test", "--into", "test")["labelled"] == len(classes) * EACH_TEST
    return made


@pytest.fixture(scope="module", params=[THREE, TEN], ids=["three", "ten"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Made:
    classes: tuple[str, ...] = request.param
    made = begin(tmp_path_factory.mktemp(f"classes{len(classes)}"), classes, compiled)
    for number in range(3):
        if number == 1:
            made.asked = made.say("predict", *sorted((made.root / "pools/Unlabelled").iterdir()))
        made.rounds.append(made.say("round", "--k", made.k, "--oracle", made.truth))
    return made


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Made:
    """For a test that changes something."""
    return copy_of(made, tmp_path)


def copy_of(made: Made, folder: Path) -> Made:
    shutil.copytree(made.root, folder / "w")
    return Made(made.classes, folder / "w", made.truth, made.rounds, made.asked)


def truths(made: Made, rows: Sequence[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([made.number(label_of(Path(row["path"]))) for row in rows])


# -------------------------------------------------------------------------------------------------------- the loop


def test_rounds_learn_from_a_cold_start(made: Made) -> None:
    first, second = made.rounds[:2]
    asked = [one["strategy"] for one in made.rounds]
    # In between the rule goes by what the first batch happened to hold: few labels ask for variety once more, a class
    # that the model expects to be rare asks for doubt.
    assert (asked[0], asked[2]) == ("cold-start", "weighted-kmeans")
    assert asked[1] in ("cold-start", "uncertainty", "weighted-kmeans")
    assert all(p["probability"] is p["predicted"] is p["uncertainty"] is None for p in first["proposals"])
    assert first["decisions"] == {"confirm": 0, "correct": made.k, "skip": 0}
    assert second["decisions"]["confirm"] + second["decisions"]["correct"] == made.k
    assert [one["labelled"] for one in made.rounds] == [made.k, 2 * made.k, 3 * made.k]
    accuracies = [one["metrics"]["accuracy"] for one in made.rounds]
    assert accuracies[2] >= max(0.75, accuracies[0]), accuracies
    files = Counter(file.parent.name for file in (made.root / "pools/Train").glob("*/*.png"))
    assert sum(files.values()) == 3 * made.k
    assert set(files) <= set(made.classes)


def test_a_proposal_says_what_the_contract_says(made: Made) -> None:
    """The probability of the predicted class, and how near the second is; for all classes the same as `predict`."""
    asked = {Path(row["path"]).name: row for row in made.asked}
    for proposal in made.rounds[1]["proposals"]:
        row = asked[Path(proposal["path"]).name]
        shares = row["probabilities"]
        assert list(shares) == list(made.classes)
        assert sum(shares.values()) == pytest.approx(1)
        best, second = sorted(shares.values(), reverse=True)[:2]
        assert row["probability"] == best == shares[row["predicted"]]
        assert row["uncertainty"] == pytest.approx(1 - (best - second))
        assert proposal["predicted"] == row["predicted"]
        assert proposal["probability"] == pytest.approx(best, abs=FOUR_DIGITS)
        assert proposal["uncertainty"] == pytest.approx(1 - (best - second), abs=2 * FOUR_DIGITS)
    sure = [proposal["uncertainty"] for proposal in made.rounds[2]["proposals"]]
    assert sure == sorted(sure, reverse=True)


def test_metrics_are_those_of_scikit_learn(made: Made) -> None:
    from sklearn import metrics as theirs

    found = made.say("evaluate")["metrics"]
    rows = made.say("predict", made.root / "pools/Test")
    y = truths(made, rows)
    p = np.array([[row["probabilities"][name] for name in made.classes] for row in rows])
    said = p.argmax(axis=1)
    assert found["n"] == len(y) == len(made.classes) * EACH_TEST
    assert found["confusion"] == theirs.confusion_matrix(y, said).tolist()
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(y, said))
    assert found["balanced_accuracy"] == pytest.approx(theirs.balanced_accuracy_score(y, said))
    mean = theirs.precision_recall_fscore_support(y, said, average="macro", zero_division=0)[:3]
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx(mean)
    assert found["roc_auc"] == pytest.approx(theirs.roc_auc_score(y, p, multi_class="ovr"), abs=1e-3)
    low, high = found["intervals"]["f1"]
    assert low <= found["f1"] <= high


def test_evaluate_prints_a_table_that_fits_a_terminal(made: Made) -> None:
    lines = run("-w", made.root, "evaluate", "-q").stdout.splitlines()
    table = lines[next(at for at, line in enumerate(lines) if line.startswith("truth")) :]
    assert len(table) == len(made.classes) + 1, "a row for each class, no name broken into two lines"
    assert all(name in line for name, line in zip(made.classes, table[1:], strict=True))


def test_the_report_names_every_class(made: Made, tmp_path: Path) -> None:
    made.say("evaluate", "--report", tmp_path / "report")
    page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert all(name in page for name in made.classes)
    pictures = {file.name for file in (tmp_path / "report").glob("*.png")}
    assert pictures >= {"confusion.png", "roc.png", "precision-recall.png", "reliability.png", "distribution.png"}


def test_status_and_models_count_every_class(made: Made) -> None:
    status = made.say("status")
    assert status["classes"] == list(made.classes)
    assert status["counts"]["test"] == dict.fromkeys(made.classes, EACH_TEST)
    assert sum(status["counts"]["train"].values()) == 3 * made.k
    versions = made.say("models", "list")
    assert [row["labelled"] for row in versions] == [made.k, 2 * made.k, 3 * made.k]
    shown = made.say("models", "show", versions[-1]["name"])
    assert shown["classes"] == list(made.classes)
    assert made.say("verify")["clean"]


def test_labels_come_out_and_go_in_again(made: Made, tmp_path: Path) -> None:
    labels = len(made.classes) * EACH_TEST + 3 * made.k
    for form in ("csv", "jsonl"):
        assert made.say("export", tmp_path / f"labels.{form}")["labels"] == labels
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    again = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["path"], row["label"]) for row in rows] == [(row["path"], row["label"]) for row in again]
    assert {row["label"] for row in rows} == set(made.classes)
    shares = [float(row["probability"]) for row in rows if row["probability"]]
    assert len(shares) == 2 * made.k
    assert min(shares) >= 1 / len(made.classes), "it is that of the predicted class"
    document("init", tmp_path / "other", "--classes", ",".join(made.classes))
    for file in (made.root / "pools").rglob("*.png"):
        target = tmp_path / file.relative_to(made.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    assert document("import", tmp_path / "labels.csv", "-w", tmp_path / "other")["labelled"] == labels


def test_undo_takes_back_a_label_of_any_class(copied: Made) -> None:
    before = copied.say("status")["counts"]
    taken = copied.say("undo", 3)["undone"]
    after = copied.say("status")["counts"]
    assert sum(after["unlabelled"].values()) == sum(before["unlabelled"].values()) + 3
    lost = Counter(before["train"])
    lost.subtract(after["train"])
    assert +lost == Counter(one["label"] for one in taken)
    with Workspace.open(copied.root) as opened:
        assert_sound(opened, copied.images)
    assert copied.say("round", "--k", copied.k, "--oracle", copied.truth)["labelled"] == 4 * copied.k - 3


# ------------------------------------------------------------------------------------- a class nobody has seen yet


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Made:
    """Three classes, of which the last has test images and others to find, but no label."""
    base = tmp_path_factory.mktemp("unseen")
    made = Made(THREE, base / "w", draw_all(base / "truth", THREE, EACH))
    draw_all(base / "test", THREE, EACH_TEST, first=1000)
    draw_all(base / "labelled", THREE[:2], 6, first=2000)
    document("init", made.root, "--classes", ",".join(THREE))
    shutil.copytree(compiled, made.root / "db/cache/compiled")
    for name, split in (("labelled", "train"), ("test", "test")):
        made.say("import", base / name, "--into", split)
    made.say("import", made.truth / THREE[2], "--into", "unlabelled")
    made.say("train")
    return made


def test_a_class_without_a_label_has_probability_zero(unseen: Made) -> None:
    for row in unseen.say("predict", unseen.root / "pools/Test"):
        first, second, none = (row["probabilities"][name] for name in THREE)
        assert none == 0
        assert row["probability"] == max(first, second), "of the predicted class: the workspace has three"
        assert row["uncertainty"] == pytest.approx(1 - abs(first - second))
    metrics = unseen.say("evaluate")["metrics"]
    assert [line[2] for line in metrics["confusion"]] == [0, 0, 0]
    assert sum(metrics["confusion"][2]) == EACH_TEST
    assert metrics["recall"] == pytest.approx(metrics["balanced_accuracy"])
    assert metrics["balanced_accuracy"] <= 2 / 3


def test_it_is_learned_with_its_first_label(unseen: Made, tmp_path: Path) -> None:
    made = copy_of(unseen, tmp_path)
    proposed = made.say("round", "--k", 4)["proposals"]
    assert {row["predicted"] for row in proposed} <= set(THREE[:2])
    found = made.say("round", "--k", 4, "--oracle", made.truth)
    assert found["decisions"] == {"confirm": 0, "correct": 4, "skip": 0}
    assert sum(line[2] for line in found["metrics"]["confusion"]) > 0
    made.say("undo", 4)
    made.say("train")
    assert [line[2] for line in made.say("evaluate")["metrics"]["confusion"]] == [0, 0, 0]


# ------------------------------------------------------------------------------------------------ networks that train


ONLY_THREE = pytest.mark.parametrize("made", [THREE], indirect=True, ids=["three"])


def assert_all_classes(made: Made, model: str) -> None:
    rows = made.say("predict", made.root / "pools/Test")
    p = np.array([[row["probabilities"][name] for name in THREE] for row in rows])
    assert {row["model"] for row in rows} == {model}
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert (p > 0).all(), "every class has a share of its own"
    assert [row["predicted"] for row in rows] == [THREE[at] for at in p.argmax(axis=1)]
    table = made.say("evaluate")["metrics"]["confusion"]
    expected = np.zeros((3, 3), dtype=int)
    np.add.at(expected, (truths(made, rows), p.argmax(axis=1)), 1)
    assert table == expected.tolist()


@ONLY_THREE
@pytest.mark.usefixtures("childless")
def test_a_network_from_scratch_ranks_a_round(copied: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELER_EPOCHS", "2")
    monkeypatch.setenv("LABELER_MODEL", "ann")
    made = copied
    found = made.say("round", "--k", 4, "--oracle", made.truth)
    newest = made.say("models", "list")[-1]
    assert (newest["kind"], newest["labelled"], newest["in_use"]) == ("ann", 3 * made.k + 4, True)
    assert found["model"] == newest["name"]
    assert_all_classes(made, newest["name"])
    proposed = made.say("round", "--k", 4)["proposals"]
    asked = {row["path"]: row for row in made.say("predict", *[made.root / row["path"] for row in proposed])}
    for row in proposed:
        assert row["probability"] == pytest.approx(asked[str(made.root / row["path"])]["probability"], abs=FOUR_DIGITS)


@ONLY_THREE
@pytest.mark.usefixtures("childless")
def test_fine_tuning_knows_three_classes(copied: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it wins or not: the challenger is kept, can be taken into use, and says something of every class."""
    monkeypatch.setenv("LABELER_EPOCHS", "1")
    monkeypatch.setenv("LABELER_VIEWS", "1")
    made = copied
    made.say("train", "--refresh", "finetune")
    [tuned] = [row for row in made.say("models", "list") if row["kind"] == "finetune"]
    if not tuned["in_use"]:
        assert made.say("models", "use", tuned["name"])["model"] == tuned["name"]
    assert_all_classes(made, tuned["name"])
