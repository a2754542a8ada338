"""The head and its file."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

from labeler import faults
from labeler.domain import InvalidScores, LabelerError, NotTrainable
from labeler.rank.features import FeatureMap
from labeler.rank.head import Head, QuickModel


def labelled(
    n: int, classes: int = 2, dimension: int = 100, seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    X = rng.normal(size=(n, dimension)) + 0.5 * np.random.default_rng(99).normal(size=(classes, dimension))[y]
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), y


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("n", [30, 160])
def test_is_scikit_learns_logistic_regression_with_a_temperature(n: int, classes: int) -> None:
    X, y = labelled(n, classes)
    new, _ = labelled(400, classes, seed=1)
    head = Head.fit(X, y, n_classes=classes, C=30.0, seed=0)
    reference = LogisticRegression(C=30.0, tol=1e-10, max_iter=100_000).fit(X.astype(np.float64), y)
    logits = reference.decision_function(new.astype(np.float64)) / head.temperature
    softened = np.column_stack([-logits / 2, logits / 2]) if classes == 2 else logits
    expected = np.exp(softened) / np.exp(softened).sum(axis=1, keepdims=True)
    found = head.predict_proba(new)
    assert found.dtype == np.float64
    assert found.shape == (400, classes)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)


def test_out_of_fold_probabilities_come_from_heads_that_had_not_seen_the_label() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 500)).astype(np.float32)
    y = rng.integers(0, 2, size=200)
    head = Head.fit(X, y, n_classes=2, C=30.0, seed=0)
    assert head.out_of_fold is not None
    assert head.out_of_fold.shape == (200, 2)
    # Labels by lot: the head knows its own labels by heart, and an honest look says it knows nothing.
    assert (head.predict_proba(X).argmax(axis=1) == y).mean() > 0.95
    assert 0.3 < (head.out_of_fold.argmax(axis=1) == y).mean() < 0.7
    assert head.out_of_fold.max(axis=1).mean() < 0.7


def test_a_class_not_yet_seen_has_a_column_of_zeros() -> None:
    X, y = labelled(30)
    head = Head.fit(X, np.where(y == 1, 2, 0), n_classes=4, C=30.0, seed=0)
    p = head.predict_proba(X)
    assert p.shape == (30, 4)
    assert (p[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    two = Head.fit(X, y, n_classes=2, C=30.0, seed=0)
    np.testing.assert_array_equal(p[:, [0, 2]], two.predict_proba(X))


@pytest.mark.parametrize("y", [[0, 1], [0, 0, 0, 1], [2, 1, 0]])
def test_very_few_labels(y: list[int]) -> None:
    X, _ = labelled(len(y))
    head = Head.fit(X, np.array(y), n_classes=3, C=30.0, seed=0)
    assert head.temperature == 1.0
    assert head.out_of_fold is None
    assert head.predict_proba(X).argmax(axis=1).tolist() == y


def test_the_same_vector_with_both_labels() -> None:
    X, _ = labelled(1)
    head = Head.fit(np.repeat(X, 4, axis=0), np.array([0, 1, 0, 1]), n_classes=2, C=30.0, seed=0)
    np.testing.assert_allclose(head.predict_proba(X), 0.5, atol=1e-6)


def test_more_labels_than_dimensions() -> None:
    X, y = labelled(150, dimension=20)
    reference = LogisticRegression(C=30.0, tol=1e-10, max_iter=100_000).fit(X.astype(np.float64), y)
    head = Head.fit(X, y, n_classes=2, C=30.0, seed=0)
    np.testing.assert_allclose(-head.weights[:, 0], reference.coef_[0], atol=1e-3)


def test_same_seed_same_head() -> None:
    X, y = labelled(60)
    first, again = (Head.fit(X, y, n_classes=2, C=30.0, seed=5) for _ in range(2))
    assert first.weights.tobytes() == again.weights.tobytes()
    assert first.temperature == again.temperature


@pytest.mark.parametrize("y", [[], [1], [1, 1, 1]])
def test_one_class_cannot_be_trained(y: list[int]) -> None:
    X, _ = labelled(max(len(y), 1))
    with pytest.raises(NotTrainable, match="at least two classes"):
        Head.fit(X[: len(y)], np.array(y, dtype=np.int64), n_classes=2, C=30.0, seed=0)


def test_wrong_input_is_refused() -> None:
    X, y = labelled(20)
    broken = X.copy()
    broken[3, 3] = np.nan
    for vectors, labels in ((X[:-1], y), (X[0], y[:1]), (broken, y), (X, y + 5), (X, y - 1)):
        with pytest.raises(InvalidScores):
            Head.fit(vectors, labels, n_classes=2, C=30.0, seed=0)
    head = Head.fit(X, y, n_classes=2, C=30.0, seed=0)
    for vectors in (broken, X[:, :-1], X[0]):
        with pytest.raises(InvalidScores):
            head.predict_proba(vectors)


def test_a_head_without_held_out_probabilities_is_read_back_without(tmp_path: Path) -> None:
    X, y = labelled(2)
    features = FeatureMap.fit(np.abs(X), [(100, 1.0)])
    QuickModel(features, Head.fit(X, y, n_classes=2, C=30.0, seed=0), ("a", "b"), "k").save(tmp_path / "m.npz")
    assert QuickModel.load(tmp_path / "m.npz").head.out_of_fold is None


def test_the_pool_decides_which_labels_count_for_the_temperature() -> None:
    """Clear-cut images make up the pool, and those asked about were the doubtful ones."""
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, size=1000)
    noise = rng.normal(size=(1000, 40)) * 0.3
    doubtful = rng.uniform(size=1000) < 0.05
    noise[:, 0] += np.where(doubtful, 0.1, 2.0) * np.where(side == 0, 1, -1)
    X = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    asked = np.concatenate([np.flatnonzero(doubtful)[:40], np.flatnonzero(~doubtful)[:20]])
    rest = np.setdiff1d(np.arange(1000), asked)
    as_they_are = Head.fit(X[asked], side[asked], n_classes=2, C=30.0, seed=0)
    for_the_pool = Head.fit(X[asked], side[asked], n_classes=2, C=30.0, seed=0, pool=X[rest])
    assert for_the_pool.weights.tobytes() == as_they_are.weights.tobytes()

    def surprise(head: Head) -> float:
        return -float(np.log(head.predict_proba(X[rest])[np.arange(len(rest)), side[rest]]).mean())

    assert surprise(for_the_pool) < surprise(as_they_are)


def test_quick_model_is_recipe_and_head_in_one() -> None:
    rng = np.random.default_rng(0)
    raw = np.maximum(rng.normal(size=(3000, 30)), 0).astype(np.float16)
    y = np.full(3000, -1)
    y[:60] = np.arange(60) % 2
    parts = [(10, 0.7), (20, 1.0)]
    model = QuickModel.fit(raw, y, parts=parts, classes=("a", "b"), backbone_key="k", C=30.0, seed=0)
    features = FeatureMap.fit(raw, parts)
    np.testing.assert_array_equal(model.features.mean, features.mean)
    head = Head.fit(features.transform(raw[:60]), y[:60], n_classes=2, C=30.0, seed=0)
    np.testing.assert_array_equal(model.head.weights, head.weights)
    assert model.head.temperature != head.temperature
    assert (model.classes, model.backbone_key) == (("a", "b"), "k")
    with pytest.raises(NotTrainable):
        QuickModel.fit(raw, np.full(3000, -1), parts=parts, classes=("a", "b"), backbone_key="k", C=30.0, seed=0)
    used_up = QuickModel.fit(raw[:60], y[:60], parts=parts, classes=("a", "b"), backbone_key="k", C=30.0, seed=0)
    assert used_up.predict_proba(raw[:60]).shape == (60, 2)


# ------------------------------------------------------------------------------------------------------- files


def quick_model(classes: tuple[str, ...] = ("withMask", "withoutMask")) -> tuple[QuickModel, npt.NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    raw = np.maximum(rng.normal(size=(60, 30)), 0).astype(np.float32)
    raw[::2, :4] += 1
    features = FeatureMap.fit(raw, [(10, 0.7), (20, 1.0)])
    head = Head.fit(features.transform(raw), np.arange(60) % 2, n_classes=len(classes), C=30.0, seed=0)
    return QuickModel(features, head, classes, "efficientnet_lite0/abc"), raw


@pytest.mark.parametrize("classes", [("withMask", "withoutMask"), ("ja", "nein", "weiß nicht")])
def test_round_trip(tmp_path: Path, classes: tuple[str, ...]) -> None:
    model, raw = quick_model(classes)
    file = tmp_path / "models" / "0001.npz"
    digest = model.save(file)
    read = QuickModel.load(file, digest)
    assert read.predict_proba(raw).tobytes() == model.predict_proba(raw).tobytes()
    assert read.head.out_of_fold is not None
    np.testing.assert_array_equal(read.head.out_of_fold, model.head.out_of_fold)
    assert (read.classes, read.backbone_key, read.features.parts) == (classes, model.backbone_key, model.features.parts)
    np.testing.assert_allclose(
        read.predict_proba(raw), read.head.predict_proba(read.features.transform(raw)), atol=1e-6
    )
    assert model.save(tmp_path / "again.npz") == digest
    assert [f.name for f in file.parent.iterdir()] == ["0001.npz"]


def test_the_file_holds_no_pickle(tmp_path: Path) -> None:
    quick_model()[0].save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays.files} <= {"f", "i", "u"}


def test_damaged_and_foreign_files_are_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "m.npz"
    quick_model()[0].save(file)
    whole = file.read_bytes()
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, weights=np.zeros(3))
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, meta=np.array([{"format": 1}], dtype=object))
    damaged = [b"", whole[:10], whole[: len(whole) // 2], whole[:-1], b"not a model at all", foreign.read_bytes()]
    damaged += [pickled.read_bytes(), whole.replace(b'"format": 1', b'"format": 9')]
    for content in damaged:
        file.write_bytes(content)
        with pytest.raises(LabelerError, match=r"m\.npz.*labeler train"):
            QuickModel.load(file)
    with pytest.raises(LabelerError, match=r"cannot read.*none\.npz"):
        QuickModel.load(tmp_path / "none.npz")


def test_any_cut_and_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "m.npz"
    digest = quick_model()[0].save(file)
    whole = file.read_bytes()
    for place in range(0, len(whole), 97):
        file.write_bytes(whole[:place])
        with pytest.raises(LabelerError):
            QuickModel.load(file)
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(LabelerError, match="was changed"):
            QuickModel.load(file, digest)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "m.npz").mkdir()
    with pytest.raises(LabelerError, match="cannot write the model"):
        quick_model()[0].save(tmp_path / "m.npz")
    assert [f.name for f in tmp_path.iterdir()] == ["m.npz"]


@pytest.mark.parametrize(("point", "old"), [("rank.model_written", True), ("rank.model_renamed", False)])
def test_a_kill_leaves_the_old_model_or_the_new_one(tmp_path: Path, point: str, old: bool) -> None:
    file = tmp_path / "m.npz"
    model, _ = quick_model()
    old_digest = model.save(file)
    newer = QuickModel(model.features, model.head, model.classes, "another")
    new_digest = newer.save(tmp_path / "newer.npz")
    script = (
        "import dataclasses, sys; from pathlib import Path; from labeler.rank.head import QuickModel\n"
        "QuickModel.load(Path(sys.argv[1])).save(Path(sys.argv[2]))"
    )
    environment = {**os.environ, faults.ENVIRONMENT_NAME: point}
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path / "newer.npz"), str(file)], env=environment)
    assert ran.returncode == faults.EXIT_CODE
    QuickModel.load(file, old_digest if old else new_digest)


def test_no_heavy_import_is_needed() -> None:
    """A warm round lives from this: training, ranking and evaluating in numpy alone."""
    script = (
        "import sys, numpy as np\n"
        "from labeler.rank.head import Head\n"
        "from labeler.rank.strategies import Pool, select, names\n"
        "from labeler.retrain.evaluate import metrics\n"
        "X = np.random.default_rng(0).normal(size=(80, 20)).astype(np.float32)\n"
        "y = np.arange(40) % 2\n"
        "head = Head.fit(X[:40], y, n_classes=2, C=30.0, seed=0)\n"
        "p = head.predict_proba(X[40:])\n"
        "ids = np.array([f'{i:02d}' for i in range(40)])\n"
        "[select(name, Pool(X[40:], ids, p, X[:40], y), 20, seed=0) for name in names()]\n"
        "metrics(y, p, classes=('a', 'b'), split='test')\n"
        "print([m for m in ('sklearn', 'scipy', 'tensorflow', 'keras', 'pandas') if m in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("classes", [2, 3])
def test_some_rows_of_many_are_told_what_they_are_told_among_all(classes: int) -> None:
    X, y = labelled(300, classes)
    raw = np.abs(X).astype(np.float16)
    names = ("a", "b", "c")[:classes]
    model = QuickModel.fit(raw, y, parts=[(60, 1.0), (40, 0.5)], classes=names, backbone_key="x", C=3.0, seed=0)
    whole = model.predict_proba(raw)
    rows = np.random.default_rng(0).permutation(300)[:190]
    np.testing.assert_allclose(model.predict_proba(raw, rows), whole[rows], atol=1e-6)
    np.testing.assert_allclose(whole, model.predict_vectors(model.features.transform(raw), raw), atol=1e-6)
    assert model.predict_proba(raw, rows[:0]).shape == (0, classes)


def test_memory_for_a_large_pool_is_bounded_by_blocks(tmp_path: Path) -> None:
    """Half precision on disk, 25 MB; as vectors it would be 50 MB."""
    raw = np.memmap(tmp_path / "raw", dtype=np.float16, mode="w+", shape=(25_000, 500))
    raw[:] = np.abs(np.random.default_rng(0).normal(size=(1_000, 500))).astype(np.float16).repeat(25, axis=0)
    y = np.full(len(raw), -1)
    y[:60] = np.arange(60) % 2
    model = QuickModel.fit(raw[:500], y[:500], parts=[(500, 1.0)], classes=("a", "b"), backbone_key="x", C=3.0, seed=0)
    tracemalloc.start()
    try:
        model.predict_proba(raw)
        model.predict_proba(raw, np.arange(0, len(raw), 2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6e6
