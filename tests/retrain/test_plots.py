"""The curves against scikit-learn; the figures as files that open, say what they show and touch nothing global."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics as reference

from labeler.retrain import plots
from labeler.retrain.drawing import COLOURS, DPI, LINES, WIDTH, Curve, Drawing
from labeler.retrain.evaluate import metrics
from labeler.retrain.plots import Run

Scores = tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]
TEN = tuple(f"class {i}" for i in range(10))


@st.composite
def scores(draw: st.DrawFn) -> Scores:
    """Truths and scores with ties."""
    n = draw(st.integers(2, 40))
    positive = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    values = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    return np.array(positive), np.array(values) / 6


def run(n: int, classes: int, seed: int = 0, skill: float = 2.0) -> Run:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + skill * np.eye(classes)[y]
    p = np.exp(logits)
    return y, p / p.sum(axis=1, keepdims=True)


@settings(deadline=None)
@given(scores())
def test_roc_points_as_scikit_learn(case: Scores) -> None:
    positive, values = case
    assume(positive.any() and not positive.all())
    x, y = plots.roc_points(positive, values)
    expected_x, expected_y, _ = reference.roc_curve(positive, values, drop_intermediate=False)
    assert x == pytest.approx(expected_x)
    assert y == pytest.approx(expected_y)


@settings(deadline=None)
@given(scores())
def test_precision_and_recall_as_scikit_learn(case: Scores) -> None:
    positive, values = case
    assume(positive.any())
    recall, precision, area = plots.recall_points(positive, values)
    expected_precision, expected_recall, _ = reference.precision_recall_curve(positive, values)
    # scikit-learn begins at the other end and adds the point (0, 1)
    assert recall == pytest.approx(expected_recall[:-1][::-1])
    assert precision == pytest.approx(expected_precision[:-1][::-1])
    assert area == pytest.approx(reference.average_precision_score(positive, values))


def test_a_curve_of_one_run_is_exact() -> None:
    y, p = run(200, 2)
    curve = plots.roc_curve("it", [(y, p)], [0])
    assert curve is not None
    assert curve.value == pytest.approx(reference.roc_auc_score(y == 0, p[:, 0]))
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.value)
    assert curve.spread is None
    assert curve.sd is None


def test_a_curve_of_seeds_is_their_mean_with_a_band() -> None:
    runs = [run(400, 2, seed) for seed in range(4)]
    curve = plots.roc_curve("it", runs, [0])
    assert curve is not None
    areas = [reference.roc_auc_score(y == 0, p[:, 0]) for y, p in runs]
    assert curve.value == pytest.approx(np.mean(areas))
    assert curve.sd == pytest.approx(np.std(areas, ddof=1))
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.value, abs=0.005)
    assert curve.spread is not None
    assert curve.spread.max() > 0
    assert curve.spread[-1] == 0
    recall = plots.recall_curve("it", runs, [0])
    assert recall is not None
    averages = [reference.average_precision_score(y == 0, p[:, 0]) for y, p in runs]
    assert recall.value == pytest.approx(np.mean(averages))
    assert np.trapezoid(recall.y, recall.x) == pytest.approx(recall.value, abs=0.01)


def test_the_mean_over_classes() -> None:
    y, p = run(300, 3)
    curve = plots.roc_curve("it", [(y, p)], range(3))
    assert curve is not None
    assert curve.value == pytest.approx(reference.roc_auc_score(y, p, multi_class="ovr"))
    assert curve.sd is None
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.value, abs=0.005)


def test_no_curve_where_there_is_one_class() -> None:
    y, p = np.zeros(5, dtype=np.int64), np.full((5, 2), 0.5)
    assert plots.roc_curve("it", [(y, p)], [0]) is None
    assert plots.recall_curve("it", [(y, p)], [1]) is None
    alone = plots.recall_curve("it", [(y, p)], [0])
    assert alone is not None
    assert alone.value == 1.0


def curves(n: int, classes: int = 2, skill: float = 2.0) -> list[Curve]:
    found = [plots.roc_curve(f"model {i}", [run(100, classes, i, skill)], [0]) for i in range(n)]
    return [curve for curve in found if curve is not None]


def reliability(classes: int) -> Drawing:
    y, p = run(300, classes)
    return plots.reliability(metrics(y, p, classes=TEN[:classes], split="test")["reliability"], classes)


HISTORY = {
    "loss": [0.7, 0.5, 0.4],
    "accuracy": [0.6, 0.7, 0.8],
    "val_loss": [0.7, 0.6, 0.65],
    "val_accuracy": [0.6, 0.7, 0.7],
    "best_epoch": 2,
}
NO_HOLD_OUT = HISTORY | {"val_loss": [], "val_accuracy": [], "best_epoch": 0}
TABLE_10 = np.diag(range(10, 110, 10)).tolist()

FIGURES: dict[str, tuple[Callable[[], Drawing], str]] = {
    "roc": (lambda: plots.roc(curves(1)), "model 0 0."),
    "roc-many": (lambda: plots.roc(curves(10)), "model 9 0."),
    "roc-good": (lambda: plots.roc(curves(3, skill=5.0)), "model 1 1.000"),
    "recall": (lambda: plots.precision_recall(curves(2), 0.5), "Average precision: model 0"),
    "recall-good": (lambda: plots.precision_recall(curves(2, skill=5.0)), "Average precision: model 0"),
    "confusion": (lambda: plots.confusion([[40, 3], [0, 57]], ("a", "b")), "97 of 100 right. 3 a taken for b."),
    "confusion-10": (lambda: plots.confusion(TABLE_10, TEN), "550 of 550 right."),
    "confusion-empty-row": (lambda: plots.confusion([[0, 0], [1, 0]], ("a", "b")), "0 of 1 right. 1 b taken for a."),
    "reliability": (lambda: reliability(2), "right by how sure it was. 0."),
    "reliability-10": (lambda: reliability(10), "images"),
    "reliability-1": (lambda: plots.reliability([{"n": 1, "hits": 0, "confidence": 1, "accuracy": 0}], 2), "1 images"),
    "history": (lambda: plots.history(HISTORY), "3 epochs: training loss 0.700 to 0.400. The weights of epoch 2"),
    "history-no-hold-out": (lambda: plots.history(NO_HOLD_OUT), "0.400."),
    "history-1": (lambda: plots.history({"loss": [0.5], "accuracy": [0.5]}), "1 epochs"),
    "distribution": (lambda: plots.distribution({"Train": {"a": 5}, "Test": {}}, ("a", "b")), "Train: 5 a, 0 b; Test"),
    "distribution-10": (lambda: plots.distribution({"Train": dict.fromkeys(TEN, 3)}, TEN), "3 class 9"),
    "bars": (lambda: plots.bars(["x", "y"], [[90.0, 92.0], [80.0]], "accuracy", unit="%"), "x 91.0 ± 1.4 %; y 80.0 %"),
    "bars-zero": (lambda: plots.bars(["x"], [[0.0]], "accuracy"), "x 0.00"),
    "dots": (lambda: plots.bars(["x"], [[90.0, 92.0]], "accuracy", unit="%", from_zero=False), "91.0 ± 1.4 %"),
    "dots-equal": (lambda: plots.bars(["x"], [[90.0, 90.0]], "accuracy", from_zero=False), "90.0 ± 0.0"),
    "curve": (lambda: plots.learning_curve([(10, 0.8, 0.7, 0.9), (20, 0.9, 0.8, 0.95)]), "80.0 % at 10 labels to 90.0"),
    "curve-1": (lambda: plots.learning_curve([(10, 0.8, 0.7, 0.9)]), "80.0 %"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_opens_and_is_described(name: str) -> None:
    draw, said = FIGURES[name]
    drawing = draw()
    assert said in drawing.alt
    with Image.open(io.BytesIO(drawing.png)) as image:
        assert image.format == "PNG"
        assert image.width == round(WIDTH * DPI)
        assert image.info["Description"] == drawing.alt
        grey = np.asarray(image.convert("L"))
    assert (grey < 128).mean() > 0.002, "hardly any ink"
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    assert (edge > 200).mean() > 0.98, "something is cut off at the edge"


def test_the_same_values_give_the_same_file() -> None:
    first, again = (plots.roc(curves(2)).png for _ in range(2))
    assert first == again
    assert plots.roc(curves(3)).png != first


def test_a_name_is_never_read_as_a_formula() -> None:
    """Unbalanced, these would end the drawing with an error; balanced, they would vanish from it."""
    names = (r"$\frac{1}$", "a_$")
    drawing = plots.confusion([[3, 1], [0, 2]], names)
    assert names[0] in drawing.alt
    plots.bars(names, [[1.0], [2.0]], r"$\bad$")
    plots.roc([curve for curve in [plots.roc_curve(r"$\frac{", [run(50, 2)], [0])] if curve])


def test_curves_are_told_apart_without_colour() -> None:
    pairs = {(COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]) for i in range(20)}
    assert len(pairs) == 20
    assert all(LINES[i % len(LINES)] != LINES[(i + 1) % len(LINES)] for i in range(20))


def test_nothing_global_is_touched() -> None:
    """In a process of its own: pyplot is never imported, and no default of Matplotlib is changed."""
    code = (
        "import sys, matplotlib\n"
        "from labeler.retrain import plots\n"
        "def now():  # to read 'backend' would import pyplot\n"
        "    return {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"
        "before = now()\n"
        "plots.confusion([[1, 2], [3, 4]], ('a', 'b'))\n"
        "plots.distribution({'Train': {'a': 1}}, ('a', 'b'))\n"
        "assert now() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_is_light() -> None:
    code = "import sys\nfrom labeler.retrain import comparison, groups, plots, report\n"
    code += "loaded = {'matplotlib', 'jinja2', 'tensorflow', 'keras', 'sklearn'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", f"{code}assert not loaded, loaded"], check=True)
