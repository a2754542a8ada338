"""The evaluation report: its numbers against evaluate.metrics, what it says, and what it does to a folder."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labeler import faults
from labeler.domain import LabelerError, UnusableImage
from labeler.retrain import report
from labeler.retrain.drawing import Drawing
from labeler.retrain.evaluate import metrics
from labeler.retrain.report import EvaluationReport, bootstrap, check, measure_rows, resampled, worst, write

Float64 = npt.NDArray[np.float64]
TEN = tuple(f"class {i}" for i in range(10))
HISTORY = {"loss": [0.7, 0.5], "accuracy": [0.6, 0.7], "val_loss": [0.7, 0.6], "val_accuracy": [0.6, 0.7]}


def predictions(n: int, classes: int, seed: int = 0) -> tuple[npt.NDArray[np.int64], Float64]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    p = np.exp(rng.normal(size=(n, classes)) + 2 * np.eye(classes)[y])
    return y, p / p.sum(axis=1, keepdims=True)


def picture(row: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (row % 256, 0, 0)).save(out, "JPEG")
    return out.getvalue()


def content(n: int = 60, classes: tuple[str, ...] = ("yes", "no"), **changes: Any) -> EvaluationReport:
    y, p = predictions(n, len(classes))
    y, p = changes.get("y", y), changes.get("probabilities", p)
    made = EvaluationReport(
        title="A title",
        model="v0002",
        kind="head",
        created="2026-01-01 12:00 UTC",
        settings={"head_c": 30.0, "classes": classes},
        seed=3,
        parent=None,
        split="test",
        classes=classes,
        paths=[f"pools/Test/{classes[truth]}/{i:03d}.jpg" for i, truth in enumerate(y)],
        y=y,
        probabilities=p,
        metrics=metrics(y, p, classes=classes, split="test"),
        labelled=25,
        machine="a machine",
        distribution={"Train": dict.fromkeys(classes, 12), "Test": {classes[0]: n}},
        thumbnails=picture,
    )
    return dataclasses.replace(made, **changes)


class Page(HTMLParser):
    """What a browser would find in a page: tags with their attributes, and the text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(file.read_text(encoding="utf-8"))
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real report with a history, drawn once; to be copied."""
    folder = tmp_path_factory.mktemp("report") / "written"
    write(folder, content(history=HISTORY))
    return folder


@pytest.fixture
def earlier(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "earlier"))


@pytest.fixture
def drawn_before(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests about folders: the figures of the report above but its history, not drawn again."""
    figures = {f.stem: Drawing(f.read_bytes(), "a figure") for f in written.glob("*.png") if f.stem != "history"}
    monkeypatch.setattr(report, "_figures", lambda content: figures)


# ----------------------------------------------------------------------------------------------------------- numbers


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 4), st.integers(1, 30), st.integers(0, 9), st.integers(1, 5))
def test_every_resample_as_evaluate_has_it(classes: int, n: int, seed: int, steps: int) -> None:
    """With rounded probabilities, so that there are ties, and with classes that a resample misses."""
    y, p = predictions(n, classes, seed)
    p = (np.ceil(p * steps) + 1) / (np.ceil(p * steps) + 1).sum(axis=1, keepdims=True)
    found = resampled(y, p, np.random.default_rng(seed), resamples=6)
    rows = np.random.default_rng(seed).integers(0, n, (6, n))
    for number, row in enumerate(rows):
        expected = metrics(y[row], p[row], classes=TEN[:classes], split="test")
        for name, values in found.items():
            if expected[name] is None:
                assert np.isnan(values[number]), name
            else:
                assert values[number] == pytest.approx(expected[name], abs=1e-9), name


def test_resamples_do_not_depend_on_the_pieces_they_are_made_in(monkeypatch: pytest.MonkeyPatch) -> None:
    y, p = predictions(50, 3)
    whole = resampled(y, p, np.random.default_rng(0), resamples=40)
    monkeypatch.setattr("labeler.retrain.report._RESAMPLED_AT_ONCE", 50 * 7)
    pieces = resampled(y, p, np.random.default_rng(0), resamples=40)
    assert all(np.allclose(whole[name], pieces[name], equal_nan=True) for name in whole)


def test_intervals_hold_the_value_and_are_the_same_again() -> None:
    y, p = predictions(200, 2)
    found = metrics(y, p, classes=("a", "b"), split="test")
    intervals = bootstrap(y, p, found)
    assert set(intervals) == {"accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "ece"}
    for name, bounds in intervals.items():
        assert bounds is not None, name
        assert bounds[0] <= found[name] <= bounds[1]
        assert bounds[0] < bounds[1]
    assert intervals == bootstrap(y, p, found)


def test_the_interval_of_accuracy_is_as_wide_as_theory_says() -> None:
    y, p = predictions(2_000, 2)
    found = metrics(y, p, classes=("a", "b"), split="test")
    bounds = bootstrap(y, p, found)["accuracy"]
    assert bounds is not None
    a = found["accuracy"]
    assert bounds[1] - bounds[0] == pytest.approx(2 * 1.96 * (a * (1 - a) / 2_000) ** 0.5, rel=0.08)


def test_no_interval_where_every_resample_agrees() -> None:
    y = np.array([0, 1] * 10)
    p = np.where(y[:, None] == [0, 1], 0.9, 0.1)
    found = metrics(y, p, classes=("a", "b"), split="test")
    intervals = bootstrap(y, p, found)
    assert intervals["accuracy"] is None
    row = measure_rows(found, intervals, ("a", "b"))[0]
    assert row["value"] == 1.0
    assert row["low"] is None
    assert "every resample gave the same value" in row["why"]


@pytest.mark.parametrize(
    ("truth", "said", "dashes"),
    [
        ([0, 0, 0], [0, 0, 1], {"roc_auc", "balanced_accuracy"}),
        ([1, 1, 1], [0, 1, 1], {"roc_auc", "balanced_accuracy", "recall", "f1"}),
        ([0, 1, 1], [1, 1, 1], {"precision"}),
        ([1, 1], [1, 1], {"roc_auc", "balanced_accuracy", "precision", "recall", "f1"}),
    ],
)
def test_what_is_undefined_is_a_dash_with_a_reason(truth: list[int], said: list[int], dashes: set[str]) -> None:
    y, p = np.array(truth), np.where(np.array(said)[:, None] == [0, 1], 0.8, 0.2)
    found = metrics(y, p, classes=("yes", "no"), split="test")
    rows = measure_rows(found, bootstrap(y, p, found), ("yes", "no"))
    assert {row["key"] for row in rows if row["value"] is None} == dashes
    assert all(row["why"].startswith("undefined: ") for row in rows if row["value"] is None)


def test_the_worst_mistakes_come_first() -> None:
    y = np.zeros(40, dtype=np.int64)
    sure = np.linspace(0.51, 0.99, 40)
    p = np.stack([1 - sure, sure], axis=1)
    p[5] = [0.9, 0.1]
    rows = worst(content(40, y=y, probabilities=p))
    assert len(rows) == 24
    assert rows == list(range(39, 15, -1))
    tied = worst(content(10, y=np.zeros(10, dtype=np.int64), probabilities=np.tile([0.2, 0.8], (10, 1))))
    assert sorted(tied) == list(range(10))
    assert tied != list(range(10)), "by the hash of the path, not by place"


# ---------------------------------------------------------------------------------------------------------- the page


def test_the_page_needs_nothing_and_says_it_all(tmp_path: Path) -> None:
    made = content(history=HISTORY, learning_curve=[(10, 0.8, 0.7, 0.9)], groups=["beard", "hat"] * 30)
    file = write(tmp_path / "new" / "report", made)
    assert file == tmp_path / "new" / "report" / "index.html"
    page = Page(file)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all((image["src"] or "").startswith("data:image/") and image["alt"] for image in page.all("img"))
    assert all((link["href"] or "").startswith("#") for link in page.all("a"))
    ids = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert {link["href"] for link in page.all("a")} <= ids
    right = round(made.metrics["accuracy"] * 60)
    low, high = made.metrics["intervals"]["accuracy"]
    assert f"It named {right} of 60 test images correctly." in page.words
    assert f"between {100 * low:.1f} and {100 * high:.1f} of every 100" in page.words
    for said in ("A title", "v0002", "beard", "head_c", "30.0", "a machine", "yes, no", "ROC AUC", "2,000 bootstrap"):
        assert said in page.words
    for kind, tag in (("Table", "table"), ("Figure", "figure")):
        numbers = [int(n) for n in re.findall(rf"{kind} (\d+)\.", page.words)]
        assert numbers == list(range(1, len(page.all(tag)) + 1)), kind
    wrong = 60 - right
    assert len([i for i in page.all("img") if (i["src"] or "").startswith("data:image/jpeg")]) == min(wrong, 24)


def test_pngs_and_numbers_lie_beside_it(tmp_path: Path) -> None:
    made = content(history=HISTORY, learning_curve=[(10, 0.8, 0.7, 0.9)])
    write(tmp_path, made)
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    names = {"confusion", "distribution", "history", "learning-curve", "precision-recall", "reliability", "roc"}
    assert {file.name for file in tmp_path.iterdir()} == {"index.html", "metrics.json", *(f"{n}.png" for n in names)}
    page = (tmp_path / "index.html").read_text()
    for name in numbers["files"]:
        data = (tmp_path / name).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
        assert base64.b64encode(data).decode() in page, name
    assert numbers["metrics"]["accuracy"] == made.metrics["accuracy"]
    assert numbers["bootstrap"]["accuracy"][0] < made.metrics["accuracy"]
    assert [row["support"] for row in numbers["per_class"]] == [int((made.y == c).sum()) for c in (0, 1)]
    assert numbers["kind"] == "evaluation"
    assert numbers["parent"] is None


@pytest.mark.parametrize("classes", [("a", "b", "c"), TEN])
def test_more_classes(tmp_path: Path, classes: tuple[str, ...]) -> None:
    made = content(150, classes)
    page = Page(write(tmp_path, made))
    assert f"means over the {len(classes)} classes" in page.words
    assert all(name in page.words for name in classes)
    roc = next(image["alt"] or "" for image in page.all("img") if "ROC" in (image["alt"] or ""))
    assert all(name in roc for name in classes)
    averages = json.loads((tmp_path / "metrics.json").read_text())["averages"]
    for key in ("precision", "recall", "f1"):
        assert averages[0][key] == pytest.approx(made.metrics[key])
    assert averages[1]["recall"] == pytest.approx(made.metrics["accuracy"])


@pytest.mark.parametrize(("truth", "first"), [([0], 0.9), ([1], 0.9), ([0, 0, 0], 0.6), ([1, 1], 0.2)])
def test_one_class_or_one_image(tmp_path: Path, truth: list[int], first: float) -> None:
    y = np.array(truth)
    page = Page(write(tmp_path, content(len(y), y=y, probabilities=np.tile([first, 1 - first], (len(y), 1)))))
    assert "No curves: the images are all of one class." in page.words
    assert "undefined: every image here is" in page.words
    assert not (tmp_path / "roc.png").exists()
    assert not (tmp_path / "precision-recall.png").exists()
    json.loads((tmp_path / "metrics.json").read_text())


def test_without_mistakes_and_without_extras(tmp_path: Path) -> None:
    y = np.array([0, 1] * 20)
    p = np.where(y[:, None] == [0, 1], 0.9, 0.1)
    bare = content(40, y=y, probabilities=p, thumbnails=None, distribution={}, settings={})
    page = Page(write(tmp_path, bare))
    assert "None: every image was named correctly." in page.words
    assert "Hard groups" not in page.words
    assert "No training history" in page.words


@pytest.mark.usefixtures("drawn_before")
def test_names_are_text(tmp_path: Path) -> None:
    trap = "<script>alert(1)</script>"
    made = content(title=trap, model=trap, machine=trap, parent=trap, settings={trap: trap}, groups=[trap] * 60)
    made = dataclasses.replace(made, paths=[f"{trap}\udcff\n{i}" for i in range(60)])
    page = Page(write(tmp_path, made))
    assert page.all("script") == []
    assert trap in page.words
    assert r"\xff\x0a" in page.words


@pytest.mark.usefixtures("drawn_before")
def test_a_picture_that_is_gone_is_left_out(tmp_path: Path) -> None:
    def gone(row: int) -> bytes:
        raise FileNotFoundError(2, "gone") if row % 2 else UnusableImage("x.jpg", "broken")

    page = Page(write(tmp_path, content(thumbnails=gone)))
    assert "no picture" in page.words


@pytest.mark.usefixtures("drawn_before")
def test_a_bug_in_the_pictures_is_not_hidden(tmp_path: Path) -> None:
    def broken(row: int) -> bytes:
        raise KeyError(row)

    with pytest.raises(KeyError):
        write(tmp_path, content(thumbnails=broken))
    assert list(tmp_path.iterdir()) == []


def test_the_same_content_gives_the_same_page(tmp_path: Path, written: Path) -> None:
    again = write(tmp_path, content(history=HISTORY))
    assert again.read_bytes() == (written / "index.html").read_bytes()


def test_lengths_must_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="59 paths, 60 labels"):
        write(tmp_path, dataclasses.replace(content(), paths=["a"] * 59))


# --------------------------------------------------------------------------------------------------------- the folder


@pytest.mark.usefixtures("drawn_before")
def test_an_earlier_report_is_replaced_and_its_figures_go(earlier: Path) -> None:
    notes, own = earlier / "notes.txt", earlier / "history-of-mine.png"
    notes.write_text("mine")
    own.write_bytes(b"mine")
    assert (earlier / "history.png").exists()
    write(earlier, content(title="The next"))
    assert "The next" in (earlier / "index.html").read_text()
    assert not (earlier / "history.png").exists()
    assert notes.read_text() == "mine"
    assert own.read_bytes() == b"mine"


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>my home page</title>")
    with pytest.raises(LabelerError, match="is not empty and holds no earlier evaluation report") as caught:
        write(tmp_path, content())
    assert str(tmp_path) in caught.value.what
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    assert "my home page" in (tmp_path / "index.html").read_text()


def test_a_comparison_does_not_replace_an_evaluation(earlier: Path) -> None:
    check(earlier, "evaluation")
    with pytest.raises(LabelerError, match="holds no earlier comparison report"):
        check(earlier, "comparison")


def test_what_an_operating_system_leaves_there_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "desktop.ini").touch()
    check(tmp_path, "evaluation")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text("mine")
    for place in (file, file / "below"):
        with pytest.raises(LabelerError, match="cannot be used"):
            write(place, content())
    assert file.read_text() == "mine"


@pytest.mark.usefixtures("drawn_before")
@pytest.mark.parametrize("files", [["../mine.png", "index.html"], ["ABSOLUTE"], "nonsense", None, [1, {"a": 2}]])
def test_numbers_of_another_cannot_make_it_delete(earlier: Path, files: Any) -> None:
    """metrics.json is a file like any other: who edits it must not be able to point outside."""
    mine = earlier.parent / "mine.png"
    mine.write_bytes(b"mine")
    names = [str(mine)] if files == ["ABSOLUTE"] else files
    (earlier / "metrics.json").write_text(json.dumps({"files": names}))
    page = write(earlier, content())
    assert mine.exists()
    assert page.exists()


@pytest.mark.usefixtures("drawn_before")
def test_a_disk_that_is_full_leaves_the_old_page(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = earlier / "index.html"
    before = page.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabelerError, match="cannot be written: No space left on device"):
        write(earlier, content(title="The next"))
    assert page.read_bytes() == before
    assert not hidden(earlier)


def hidden(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.name.startswith(".")]


KILLED = """
import sys
from pathlib import Path
from labeler.retrain import report
folder, page = Path(sys.argv[1]), Path(sys.argv[2]).read_text()
report.check(folder, report.KIND)
report.publish(folder, page, {"files": ["roc.png", "confusion.png"]}, {"roc.png": b"new", "confusion.png": b"new"})
"""


@pytest.mark.parametrize("place", ["report.written:1", "report.page", "report.written:2", "report.written:3", "none"])
@pytest.mark.parametrize("had_one", [True, False])
def test_killed_anywhere_the_page_is_a_whole_one(written: Path, tmp_path: Path, place: str, had_one: bool) -> None:
    """Process and disk are real; killed after the first file is written but not named, after the page, and so on."""
    folder, wanted = tmp_path / "report", tmp_path / "next.html"
    old = (written / "index.html").read_text()
    wanted.write_text(old.replace("A title", "The next"))
    if had_one:
        shutil.copytree(written, folder)
    command = [sys.executable, "-c", KILLED, str(folder), str(wanted)]
    ended = subprocess.run(command, env=os.environ | {faults.ENVIRONMENT_NAME: place}, check=False)
    assert ended.returncode == (0 if place == "none" else faults.EXIT_CODE)
    page = folder / "index.html"
    if place == "report.written:1":
        assert page.exists() == had_one
        assert not had_one or page.read_text() == old
    else:
        assert page.read_text() == wanted.read_text()
    subprocess.run(command, check=True)
    assert page.read_text() == wanted.read_text()
    assert json.loads((folder / "metrics.json").read_text())["files"] == ["roc.png", "confusion.png"]
    assert {file.name for file in folder.glob("*.png")} == {"roc.png", "confusion.png"}
    assert (folder / "roc.png").read_bytes() == b"new"
    assert not hidden(folder)
