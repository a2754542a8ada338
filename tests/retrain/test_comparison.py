"""The comparison of models: means and spreads, who is behind whom, the page, the CSV and the table for the shell."""

from __future__ import annotations

import csv
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from labeler.domain import LabelerError
from labeler.retrain import compare, comparison, report
from labeler.retrain.comparison import behind, models, table, write
from labeler.retrain.evaluate import metrics
from labeler.retrain.training import History
from tests.retrain.test_report import Page


@dataclasses.dataclass(frozen=True)
class Trained:
    """As little as a contestant may be."""

    name: str
    seed: int
    metrics: dict[str, Any]
    y: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    weights: str = "imagenet"
    input_size: int = 224
    seconds: float = 10.0
    parameters: int = 1_234_567
    trainable: int = 1_000
    images_per_second: float = 50.0
    history: History | None = None


CLASSES = ("yes", "no")
HISTORY = History((0.7, 0.6), (0.6, 0.7), (0.8, 0.7), (0.5, 0.6), (0.001, 0.0), best_epoch=2, seconds=3.0)


def trained(name: str, seed: int, skill: float, classes: tuple[str, ...] = CLASSES, **changes: Any) -> Trained:
    """A model that judges the same 200 images with more or less skill."""
    y = np.random.default_rng(0).integers(0, len(classes), 200)
    rng = np.random.default_rng([seed, round(100 * skill)])
    p = np.exp(rng.normal(size=(200, len(classes))) + skill * np.eye(len(classes))[y])
    p /= p.sum(axis=1, keepdims=True)
    return Trained(name, seed, metrics(y, p, classes=classes, split="test"), y, p, **changes)


SEVERAL = [
    *(trained("weak", seed, 1.0, seconds=5.0 + seed, history=HISTORY) for seed in range(3)),
    *(trained("strong", seed, 3.0, parameters=9_876_543) for seed in (2, 0, 1)),
]


def test_seeds_are_put_together_and_the_best_comes_first() -> None:
    strong, weak = models(SEVERAL)
    assert (strong.label, weak.label) == ("strong", "weak")
    assert [run.seed for run in strong.runs] == [0, 1, 2]
    for model, mine in ((strong, SEVERAL[3:]), (weak, SEVERAL[:3])):
        for key in ("accuracy", "precision", "recall", "f1", "roc_auc"):
            values = [one.metrics[key] for one in mine]
            assert model.mean(key) == pytest.approx(statistics.mean(values))
            assert model.sd(key) == pytest.approx(statistics.stdev(values))
    assert weak.mean("seconds") == 6.0
    assert weak.sd("seconds") == 1.0


def test_what_differs_only_in_size_or_weights_is_told_apart() -> None:
    some = [
        trained("a", 0, 1.0),
        trained("a", 0, 1.0, input_size=128),
        trained("b", 0, 1.0),
        trained("b", 0, 1.0, weights="some/folder/mine.keras"),
        trained("c", 0, 1.0),
    ]
    labels = {model.label for model in models(some)}
    assert labels == {"a (224)", "a (128)", "b (imagenet)", "b (mine.keras)", "c"}


def test_the_table_for_the_shell() -> None:
    header, rows = table(SEVERAL)
    assert header[:5] == ["model", "input", "weights", "seeds", "accuracy"]
    assert {len(row) for row in rows} == {len(header)}
    accuracies = [100 * one.metrics["accuracy"] for one in SEVERAL[3:]]
    row = dict(zip(header, rows[0], strict=True))
    assert row["model"] == "strong"
    assert row["accuracy"] == f"{statistics.mean(accuracies):.1f} ± {statistics.stdev(accuracies):.1f}"
    assert row["ROC AUC"].startswith(f"{models(SEVERAL)[0].mean('roc_auc'):.4f} ± ")
    assert row["parameters"] == "9,876,543"
    assert dict(zip(header, rows[1], strict=True))["seconds"] == "6.0 ± 1.0"


def test_one_seed_has_no_spread_and_what_is_undefined_is_a_dash() -> None:
    y = np.zeros(4, dtype=np.int64)
    p = np.tile([0.8, 0.2], (4, 1))
    one = Trained("it", 0, metrics(y, p, classes=CLASSES, split="test"), y, p)
    header, (row,) = table([one])
    cells = dict(zip(header, row, strict=True))
    assert cells["accuracy"] == "100.0"
    assert cells["ROC AUC"] == "-"
    assert table([])[1] == []


def test_how_far_behind_is_paired_by_image() -> None:
    none, distance = behind(models(SEVERAL))
    assert none is None
    assert distance is not None
    strong, weak = models(SEVERAL)
    assert distance[0] == pytest.approx((strong.mean("accuracy") or 0) - (weak.mean("accuracy") or 0))
    assert 0 < distance[1] < distance[0] < distance[2]
    assert behind(models(SEVERAL)) == [none, distance]
    # Two models that make the same mistakes differ by nothing, with nothing of the images' own spread left.
    twin = dataclasses.replace(SEVERAL[0], name="twin")
    assert behind(models([SEVERAL[0], twin])) == [None, (0.0, 0.0, 0.0)]


def test_nothing_to_pair_where_images_or_seeds_differ() -> None:
    first = trained("a", 0, 3.0)
    other = trained("b", 1, 1.0)
    assert behind(models([first, other])) == [None, None]
    turned = dataclasses.replace(trained("c", 0, 1.0), y=1 - first.y)
    assert behind(models([first, turned])) == [None, None]
    assert behind([]) == []


def test_the_page_the_figures_the_numbers_and_the_csv(tmp_path: Path) -> None:
    file = write(tmp_path / "report", SEVERAL, [("vgg16", "no <weights> here")], CLASSES)
    page = Page(file)
    assert "strong was the most accurate of 2 models" in page.words
    assert "no <weights> here" in page.words
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    images = page.all("img")
    assert all((image["src"] or "").startswith("data:image/png") and image["alt"] for image in images)
    assert sum("Confusion matrix" in (image["alt"] or "") for image in images) == 2
    assert sum("Loss and accuracy over 2 epochs" in (image["alt"] or "") for image in images) == 1
    numbers = json.loads((file.parent / "metrics.json").read_text())
    assert {p.name for p in file.parent.glob("*.png")} == set(numbers["files"])
    assert len(images) == len(numbers["files"])
    assert numbers["failures"] == [["vgg16", "no <weights> here"]]
    assert np.sum(numbers["models"][0]["confusion"]) == 600
    with (file.parent / "comparison.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["strong", "weak"]
    assert float(rows[1]["seconds_mean"]) == 6.0
    assert float(rows[1]["seconds_sd"]) == 1.0
    assert float(rows[0]["accuracy_mean"]) == pytest.approx(numbers["models"][0]["accuracy"]["mean"], rel=1e-5)
    comparison.check(file.parent)
    with pytest.raises(LabelerError, match="holds no earlier evaluation report"):
        report.check(file.parent, report.KIND)


@pytest.mark.parametrize("n", [3, 10])
def test_more_classes(tmp_path: Path, n: int) -> None:
    classes = tuple(f"class {i}" for i in range(n))
    some = [trained("a", 0, 2.0, classes), trained("b", 0, 3.0, classes)]
    page = Page(write(tmp_path, some, [], classes))
    roc = next(image["alt"] or "" for image in page.all("img") if "ROC" in (image["alt"] or ""))
    assert f"a {some[0].metrics['roc_auc']:.3f}" in roc
    assert "means over the classes" in page.words


def test_failures_alone(tmp_path: Path) -> None:
    page = Page(write(tmp_path, [], [("vgg16", "no weights")], CLASSES))
    assert "vgg16" in page.words
    assert page.all("img") == []


def test_one_class_only(tmp_path: Path) -> None:
    y = np.zeros(4, dtype=np.int64)
    p = np.tile([0.8, 0.2], (4, 1))
    one = Trained("it", 0, metrics(y, p, classes=CLASSES, split="test"), y, p)
    page = Page(write(tmp_path, [one], [], CLASSES))
    assert "No curves: the images are all of one class." in page.words


def test_a_foreign_folder_is_refused_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(LabelerError, match="holds no earlier comparison report"):
        comparison.check(tmp_path)
    with pytest.raises(LabelerError, match="holds no earlier comparison report"):
        write(tmp_path, SEVERAL, [], CLASSES)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_contestants_of_a_real_comparison_will_do() -> None:
    """mypy holds the types together; this, that every name the report reads is a field there."""
    wanted = {name for name in vars(comparison.Contestant) if not name.startswith("_")}
    assert wanted <= {field.name for field in dataclasses.fields(compare.Contestant)}


def accepts(one: compare.Contestant) -> comparison.Contestant:
    return one
