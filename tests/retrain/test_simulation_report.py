"""The report of a simulation: estimate and stopping rule by hand, what the page says, and what it does to a folder."""

from __future__ import annotations

import dataclasses
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labeler.domain import LabelerError
from labeler.retrain import curves, report, simulation_plots
from labeler.retrain import simulation_report as simulation
from labeler.retrain.drawing import DPI, WIDTH, Drawing
from tests.test_cli_training import assert_self_contained

ROUNDS, K = 15, 10


def curve(strategy: str, seed: int, late: int, **changes: Any) -> dict[str, Any]:
    """Climbs to 99 %, the later the greater ``late``; the estimate is three points too low, its interval five wide."""
    labels = np.arange(1, ROUNDS + 1) * K
    accuracy = np.round(0.99 - 0.4 * np.exp(-labels / (15.0 + late)) - 0.0005 * seed, 4)
    return {
        "strategy": strategy,
        "seed": seed,
        "labels": labels.tolist(),
        "counts": [[n // 2, n - n // 2] for n in labels.tolist()],
        "accuracy": accuracy.tolist(),
        "balanced_accuracy": (accuracy - 0.01).tolist(),
        "roc_auc": [None, *[0.99] * (ROUNDS - 1)],
        "ece": [0.01] * ROUNDS,
        "estimate": [None, *[[a - 0.03, a - 0.04, a + 0.01] for a in accuracy.tolist()[1:]]],
        "seconds": [0.01 * number for number in range(1, ROUNDS + 1)],
        "stop_at": 120,
        **changes,
    }


def document(seeds: int = 3, **changes: Any) -> dict[str, Any]:
    rows = [curve(name, seed, late) for late, name in ((0, "auto"), (15, "random")) for seed in range(seeds)]
    return {
        "k": K,
        "n_test": 800,
        "images": 3991,
        "classes": ["withMask", "withoutMask"],
        "audit": 0.1,
        "examples": 2,
        "settings": {"backbone": "efficientnet_lite0", "head_c": 30.0},
        "curves": rows,
        "full_supervision": [{"seed": seed, "accuracy": 0.99} for seed in range(seeds)],
        "strategies": [],
        "notes": ["/somebody/at/home/withMask/x.png: cannot be read: no such file"],
        **changes,
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real page, drawn once."""
    return simulation.write(tmp_path_factory.mktemp("simulation") / "new" / "report", document())


@pytest.fixture
def drawn_before(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests about words and folders: one figure in the place of all, not drawn again."""
    figure = Drawing((page.parent / "accuracy.png").read_bytes(), "a figure")
    monkeypatch.setattr(simulation_plots, "learning_curves", lambda *_: figure)
    monkeypatch.setattr(simulation_plots, "estimate", lambda *_, **__: figure)


def text_of(page: Path) -> str:
    """What is read on a page, without its tags."""
    body = page.read_text(encoding="utf-8").split("<body>")[1]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


# ------------------------------------------------------------------------------------------------------------ by hand


def test_how_far_the_estimate_was_off_by_hand() -> None:
    rows = [
        {
            "labels": [90, 100, 110],
            "accuracy": [0.50, 0.90, 0.95],
            "estimate": [[0.90, 0.80, 1.00], [0.92, 0.89, 0.95], None],
        },
        {"labels": [100], "accuracy": [0.99], "estimate": [[0.95, 0.94, 0.96]]},
    ]
    found = simulation.trust(rows)
    assert found is not None
    assert found["rounds"] == 2, "neither the one before 100 labels nor the one without an estimate"
    assert found["error"] == pytest.approx((0.02 + 0.04) / 2)
    assert found["bias"] == pytest.approx((0.02 - 0.04) / 2)
    assert found["coverage"] == 0.5
    assert found["width"] == pytest.approx((0.06 + 0.02) / 2)
    earlier = simulation.trust(rows, start=90)
    assert earlier is not None
    assert (earlier["rounds"], earlier["coverage"]) == (3, pytest.approx(1 / 3))


def test_a_bound_that_is_met_holds_the_truth() -> None:
    rows = [{"labels": [100, 200], "accuracy": [0.9, 0.9], "estimate": [[0.95, 0.9, 1.0], [0.85, 0.8, 0.9]]}]
    assert (simulation.trust(rows) or {})["coverage"] == 1.0


@pytest.mark.parametrize(
    "row",
    [
        {"labels": [10, 20], "accuracy": [0.9, 0.9], "estimate": [None, [0.9, 0.8, 1.0]]},
        {"labels": [100], "accuracy": [0.9], "estimate": [None]},
        {"labels": [100], "accuracy": [0.9]},
    ],
)
def test_without_an_estimate_there_is_nothing_to_trust(row: dict[str, Any]) -> None:
    assert simulation.trust([row]) is None


def test_where_the_rule_stopped_by_hand() -> None:
    rows = [
        {"labels": [50, 60, 70], "accuracy": [0.90, 0.95, 0.96], "stop_at": 60},
        {"labels": [50, 60, 70], "accuracy": [0.93, 0.95, 0.91], "stop_at": 50},
        {"labels": [50, 60, 70], "accuracy": [0.90, 0.90, 0.90], "stop_at": None},
        {"labels": [50], "accuracy": [0.90]},
    ]
    found = simulation.stops(rows)
    assert (found["runs"], found["stopped"], found["labels"]) == (4, 2, [50, 55, 60])
    assert found["loss"] == pytest.approx((0.01 - 0.02) / 2)
    assert found["worst"] == pytest.approx(0.01)
    assert simulation.stops(rows[2:]) == {"runs": 2, "stopped": 0, "labels": None, "loss": None, "worst": None}


def test_seconds_are_of_all_rounds() -> None:
    assert simulation.seconds([{"seconds": [1.0, 2.0]}, {"seconds": [9.0]}]) == {"median": 2.0, "most": 9.0}


# ----------------------------------------------------------------------------------------------------------- the page


def test_the_page_needs_nothing_and_names_its_pictures(page: Path) -> None:
    source = page.read_text(encoding="utf-8")
    assert_self_contained(source)
    assert "<script" not in source
    images = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', source)
    names = {"accuracy.png", "balanced-accuracy.png", "estimate-1.png", "estimate-2.png"}
    assert {file.name for file in page.parent.iterdir()} == {"index.html", "metrics.json", *names}
    assert len(images) == len(names)
    described = set()
    for name in names:
        with Image.open(page.parent / name) as picture:
            picture.load()
            described.add(picture.text["Description"])  # type: ignore[attr-defined]  # of a PNG
    assert described == {html.unescape(alt) for _, alt in images}
    anchors, ids = set(re.findall(r'href="#([^"]+)"', source)), set(re.findall(r' id="([^"]+)"', source))
    assert anchors
    assert anchors <= ids


def test_pictures_say_in_words_what_they_show(page: Path) -> None:
    with Image.open(page.parent / "accuracy.png") as picture:
        said = picture.text["Description"]  # type: ignore[attr-defined]
    assert said.startswith(
        "Accuracy on the test images by labels: auto from 78.4 % at 10 labels to 99.0 % at 150; random"
    )
    with Image.open(page.parent / "estimate-2.png") as picture:
        said = picture.text["Description"]  # type: ignore[attr-defined]
    assert said.startswith("random: estimated accuracy with its 90% interval beside the accuracy on the test images")


def test_the_page_says_it_all(page: Path) -> None:
    said = text_of(page)
    numbers = json.loads((page.parent / "metrics.json").read_text())
    auto, random = numbers["strategies"]
    assert (auto["labels_to_target"], random["labels_to_target"]) == (70, 140)
    assert "auto needed 70 labels to come within 0.5 points of what labelling every image would give (99.00 %)" in said
    assert "random: 140 labels." in said
    assert "k = 10, 3 seeds, 800 test images" in said
    for each in (auto, random):
        assert f"{100 * each['area']:.2f}" in said
        assert f"{100 * each['mean'][-1]:.2f}" in said
    assert "120 to 120" in said
    assert "3 of 3" in said
    assert "-3.00" in said, "the bias of the estimate"
    assert "100 %" in said, "how often its interval held the truth"
    for word in ("3,991, of which 800", "withMask, withoutMask", "efficientnet_lite0", "0, 1, 2", "10 %"):
        assert word in said
    assert "withMask/x.png: cannot be read: no such file" in said
    assert "somebody" not in page.read_text(encoding="utf-8"), "the page goes to other people"
    assert "somebody" not in (page.parent / "metrics.json").read_text()


def test_the_numbers_are_those_of_the_curves(page: Path) -> None:
    numbers = json.loads((page.parent / "metrics.json").read_text())
    given = document()
    full = {row["seed"]: row["accuracy"] for row in given["full_supervision"]}
    runs = [
        curves.together(name, [row for row in given["curves"] if row["strategy"] == name], full)
        for name in ("auto", "random")
    ]
    assert numbers["curves"] == given["curves"]
    for each, found in zip(numbers["strategies"], runs, strict=True):
        assert {name: each[name] for name in curves.summary(found)} == curves.summary(found)
        assert each["trust"]["rounds"] == 3 * 6, "three seeds, from 100 to 150 labels"
        assert each["stops"]["labels"] == [120, 120, 120]
    gap, error = curves.paired(*runs)
    assert numbers["strategies"][0]["ahead"] is None
    assert (numbers["strategies"][1]["ahead"], numbers["strategies"][1]["ahead_error"]) == (gap, error)


def test_every_table_has_a_row_for_every_strategy(page: Path) -> None:
    tables = re.findall(r"<table.*?</table>", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(tables) == 6
    for table in tables:
        heads = re.findall(r'<th scope="row">(.*?)</th>', table)
        assert heads in (["auto", "random"], ["0", "1", "2"])
        columns = table.count('<th scope="col"')
        rows = re.findall(r"<tr>(<th scope=\"row\">.*?)</tr>", table, flags=re.DOTALL)
        assert [1 + row.count("<td") for row in rows] == [columns] * len(heads), "no cell without a heading"
        assert "<caption>" in table


@pytest.mark.usefixtures("drawn_before")
def test_one_seed_one_strategy_and_nothing_reached(tmp_path: Path) -> None:
    rows = [curve("auto", 0, 200, stop_at=None)]
    made = document(1, curves=rows, notes=[])
    said = text_of(page := simulation.write(tmp_path / "report", made))
    assert "No strategy came within 0.5 points" in said
    assert "> 150" in said
    assert "interval from" not in said
    assert "Behind" not in said
    assert "Left out" not in said
    assert "0 of 1" in said
    assert json.loads((page.parent / "metrics.json").read_text())["strategies"][0]["area_sd"] is None


@pytest.mark.usefixtures("drawn_before")
def test_the_contract_alone_is_enough(tmp_path: Path) -> None:
    fixed = ("strategy", "seed", "labels", "accuracy", "balanced_accuracy", "roc_auc", "seconds")
    whole = document()
    made = {name: whole[name] for name in ("k", "n_test", "full_supervision")}
    made["curves"] = [{name: row[name] for name in fixed} for row in whole["curves"]]
    page = simulation.write(tmp_path / "report", made)
    assert "nothing to hold it to yet" in text_of(page)
    assert not list(page.parent.glob("estimate*"))


@pytest.mark.usefixtures("drawn_before")
def test_a_name_is_text_and_nothing_else(tmp_path: Path) -> None:
    rows = [curve("<b>a&b", 0, 0), curve("$x$", 0, 5)]
    page = simulation.write(tmp_path / "report", document(1, curves=rows))
    assert "<b>a&b" not in page.read_text(encoding="utf-8")
    assert "<b>a&b" in text_of(page)


@pytest.mark.usefixtures("drawn_before")
def test_of_equal_label_counts_the_better_curve_is_named(tmp_path: Path) -> None:
    better = curve("better", 0, 0)
    better["accuracy"] = [better["accuracy"][0] + 0.1, *better["accuracy"][1:]]
    said = text_of(simulation.write(tmp_path / "report", document(1, curves=[curve("first", 0, 0), better])))
    assert re.search(r"better needed \d+ labels", said)


# ------------------------------------------------------------------------------------------------------- the pictures


def test_the_beginning_is_cut_off_only_where_it_hides_the_rest() -> None:
    labels = np.arange(10, 110, 10)
    steep = np.array([[0.5, 0.97, 0.975, 0.98, 0.98, 0.985, 0.985, 0.99, 0.99, 0.99]])
    low, high = simulation_plots._reach([labels], [steep], 0.98)
    assert 0.96 < low < 0.97
    assert high == 0.99
    flat = np.linspace(0.90, 0.99, 10)[None]
    assert simulation_plots._reach([labels], [flat], None) == (0.90, 0.99)
    level = np.full((2, 10), 1.0)
    low, high = simulation_plots._reach([labels], [level], 0.995)
    assert (high, low) == (1.0, 0.99), "an axis has a height even where nothing changes"


def test_words_at_the_ends_of_lines_do_not_overlap() -> None:
    for one, other in ((99.0, 99.0), (99.01, 99.0), (99.0, 99.01), (90.0, 99.0)):
        first, second = simulation_plots._apart(one, other, (90.0, 100.0))
        assert abs(first - second) >= 0.7 - 1e-9
        assert (first >= second) == (one >= other)
    assert simulation_plots._apart(90.0, 99.0, (90.0, 100.0)) == (90.0, 99.0)


def test_curves_of_one_round_and_one_seed_can_be_drawn() -> None:
    only = np.array([[1.0]])
    runs = curves.Runs("it", np.array([50]), only, only, np.array([1.0]))
    for drawing in (
        simulation_plots.learning_curves([runs], "accuracy", 0.995),
        simulation_plots.estimate("it", runs.labels, only[0], np.array([[0.9, 0.8, 1.0]]), certainty=0.9),
    ):
        with Image.open(io.BytesIO(drawing.png)) as picture:
            assert picture.width == round(WIDTH * DPI)


# --------------------------------------------------------------------------------------------------------- the folder


@pytest.mark.usefixtures("drawn_before")
def test_a_new_report_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    page = simulation.write(tmp_path / "report", document())
    before = {file.name: file.read_bytes() for file in page.parent.iterdir()}
    simulation.write(tmp_path / "report", document())
    assert {file.name: file.read_bytes() for file in page.parent.iterdir()} == before, "the same in, the same out"
    simulation.write(tmp_path / "report", document(1, curves=[curve("auto", 0, 0)]))
    assert "estimate-2.png" in before
    assert not (page.parent / "estimate-2.png").exists()


@pytest.mark.usefixtures("drawn_before")
def test_what_is_no_place_for_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    other = tmp_path / "other"
    report.publish(other, report._MARK.format(kind="comparison"), {"files": []}, {})
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "full", other):
        with pytest.raises(LabelerError, match=folder.name) as refused:
            simulation.check(folder)
        assert refused.value.remedy
        with pytest.raises(LabelerError, match=folder.name):
            simulation.write(folder, document())
    assert (tmp_path / "file").read_text() == "mine"
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["diary.txt"]


@pytest.mark.usefixtures("drawn_before")
def test_a_disk_that_is_full_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "_put", full)
    with pytest.raises(LabelerError, match="No space left on device"):
        simulation.write(tmp_path / "report", document())


def test_runs_are_left_as_they_were() -> None:
    """Drawing changes nothing of what it is given."""
    accuracy = np.linspace(0.5, 1.0, 10)[None]
    runs = curves.Runs("it", np.arange(10, 110, 10), accuracy, accuracy, np.array([1.0]))
    copy = dataclasses.replace(runs, accuracy=accuracy.copy())
    simulation_plots.learning_curves([runs], "accuracy")
    assert (runs.accuracy == copy.accuracy).all()
