"""A fine-tuned network's output beside the head: the average, its held-out form, and the model file that keeps it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from labeler.domain import LabelerError
from labeler.rank.features import PLAIN, ROOTED, FeatureMap
from labeler.rank.head import Head, QuickModel
from labeler.rank.readout import Readout

DIMENSION = 12
Floats = npt.NDArray[np.float64]


def sha_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def sorted_rows(shas: list[str]) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """``seen`` as a readout holds it, and which image each of its rows is."""
    order = sorted(range(len(shas)), key=lambda at: shas[at])
    return np.array([list(bytes.fromhex(shas[at])) for at in order], dtype=np.uint8), order


def readout_of(held_out: Floats, shas: list[str], **changes: Any) -> Readout:
    """``held_out`` in the order of ``shas``; the logits stand behind ``DIMENSION`` other numbers."""
    seen, order = sorted_rows(shas)
    columns = held_out.shape[1]
    return replace(Readout(DIMENSION, DIMENSION + columns, 1.0, seen, held_out[order]), **changes)


def simplex(n: int, classes: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), size=n)


def test_two_classes_are_the_mean_of_the_head_and_the_sigmoid_of_one_logit() -> None:
    head = np.array([[0.9, 0.1], [0.2, 0.8]])
    raw = np.zeros((2, DIMENSION + 1), np.float32)
    raw[:, -1] = [0.0, np.log(3.0)]
    readout = readout_of(np.zeros((1, 1)), [sha_of(0)])
    np.testing.assert_allclose(readout.blend(head, raw), [[0.7, 0.3], [0.475, 0.525]], atol=1e-6)


def test_several_classes_are_the_mean_of_the_head_and_the_softmax() -> None:
    head = simplex(5, 3)
    logits = np.random.default_rng(1).normal(size=(5, 3))
    raw = np.concatenate([np.ones((5, DIMENSION)), logits], axis=1)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    blended = readout_of(np.zeros((1, 3)), [sha_of(0)]).blend(head, raw)
    np.testing.assert_allclose(blended, 0.5 * head + 0.5 * softmax, atol=1e-9)
    np.testing.assert_allclose(blended.sum(axis=1), 1.0)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_is_the_networks(share: float) -> None:
    head, raw = simplex(4, 2), np.zeros((4, DIMENSION + 1))
    raw[:, -1] = 50.0  # sure of the first class
    blended = readout_of(np.zeros((1, 1)), [sha_of(0)], share=share).blend(head, raw)
    np.testing.assert_allclose(blended, (1 - share) * head + share * np.array([1.0, 0.0]), atol=1e-12)


def test_a_temperature_makes_it_less_sure() -> None:
    raw = np.zeros((1, DIMENSION + 1))
    raw[:, -1] = 4.0
    head = np.array([[0.5, 0.5]])
    said = [readout_of(np.zeros((1, 1)), [sha_of(0)], temperature=t, share=1.0).blend(head, raw)[0, 0] for t in (1, 4)]
    np.testing.assert_allclose(said, [1 / (1 + np.exp(-4)), 1 / (1 + np.exp(-1))])


def test_vectors_of_half_precision_are_read() -> None:
    """The cache on disk keeps float16."""
    raw = np.zeros((3, DIMENSION + 1), np.float16)
    raw[:, -1] = [-1.5, 0.25, 7.0]
    head = simplex(3, 2)
    readout = readout_of(np.zeros((1, 1)), [sha_of(0)])
    blended = readout.blend(head, raw)
    assert blended.dtype == np.float64
    np.testing.assert_allclose(blended, readout.blend(head, raw.astype(np.float64)), atol=1e-12)


# --------------------------------------------------------------------------------------------------------- held out


@pytest.mark.parametrize("columns", [1, 3])
def test_of_an_image_it_was_trained_on_it_says_what_others_said(columns: int) -> None:
    """The network knows its own labels by heart: where it has seen an image, its own logit must not count."""
    n, known = 7, [0, 2, 5]
    rng = np.random.default_rng(0)
    shas = [sha_of(number) for number in range(n)]
    held_out = rng.normal(size=(len(known), columns))
    readout = readout_of(held_out, [shas[at] for at in known])
    raw = rng.normal(size=(n, DIMENSION + columns))
    head = simplex(n, max(columns, 2))
    honest = raw.copy()
    honest[known, DIMENSION:] = held_out
    found = readout.blend_held_out(head, raw, shas)
    np.testing.assert_array_equal(found, readout.blend(head, honest))
    unseen = [at for at in range(n) if at not in known]
    np.testing.assert_array_equal(found[unseen], readout.blend(head, raw)[unseen])
    assert not np.allclose(found[known], readout.blend(head, raw)[known])


def test_the_vectors_it_was_given_stay_as_they_are() -> None:
    raw = np.ones((2, DIMENSION + 1))
    readout = readout_of(np.full((2, 1), -9.0), [sha_of(0), sha_of(1)])
    readout.blend_held_out(simplex(2, 2), raw, [sha_of(0), sha_of(1)])
    np.testing.assert_array_equal(raw, 1.0)


# ---------------------------------------------------------------------------------------------------- in a model


def fitted(classes: int = 2, present: int | None = None, n: int = 60) -> tuple[QuickModel, Floats, list[str]]:
    """A model on vectors whose last columns are a network's logits, which the head passes over (weight 0)."""
    present = present or classes
    columns = 1 if classes == 2 else classes
    rng = np.random.default_rng(3)
    y = np.arange(n) % present
    raw = np.abs(rng.normal(size=(n, DIMENSION))) + 0.4 * np.eye(DIMENSION)[y]
    logits = 3.0 * rng.normal(size=(n, columns))
    raw = np.concatenate([raw, logits], axis=1)
    model = QuickModel.fit(
        raw,
        y,
        parts=[(DIMENSION, 1.0), (columns, 0.0)],
        classes=[f"class {number}" for number in range(classes)],
        backbone_key="tuned",
        C=1.0,
        seed=0,
    )
    shas = [sha_of(number) for number in range(n)]
    held_out = rng.normal(size=(n, columns))
    return model.with_readout(readout_of(held_out, shas, temperature=1.7), raw, shas), raw, shas


@pytest.mark.parametrize(("classes", "present"), [(2, 2), (3, 3), (3, 2)])
def test_a_model_says_the_average(classes: int, present: int) -> None:
    model, raw, _ = fitted(classes, present)
    assert model.readout is not None
    alone = replace(model, readout=None).predict_proba(raw)
    np.testing.assert_allclose(model.predict_proba(raw), model.readout.blend(alone, raw), atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(raw).sum(axis=1), 1.0, atol=1e-9)
    vectors = model.features.transform(raw)
    # The lengths divide the products here and the vectors there: the same but for rounding of single precision.
    np.testing.assert_allclose(model.predict_vectors(vectors, raw), model.predict_proba(raw), atol=1e-6)


def test_the_head_passes_the_networks_columns_over() -> None:
    """They have weight 0: what the head says must not depend on them."""
    model, raw, _ = fitted()
    other = raw.copy()
    other[:, DIMENSION:] = 0.0
    head_only = replace(model, readout=None)
    np.testing.assert_array_equal(head_only.predict_proba(raw), head_only.predict_proba(other))


def test_the_held_out_predictions_of_a_model_are_averaged_too() -> None:
    model, raw, shas = fitted()
    plain = QuickModel.fit(
        raw, np.arange(len(raw)) % 2, parts=[(DIMENSION, 1.0), (1, 0.0)], classes=model.classes,
        backbone_key="tuned", C=1.0, seed=0,
    )  # fmt: skip
    assert model.readout is not None
    assert model.head.out_of_fold is not None
    assert plain.head.out_of_fold is not None
    expected = model.readout.blend_held_out(plain.head.out_of_fold, raw, shas)
    np.testing.assert_array_equal(model.head.out_of_fold, expected)
    assert not np.allclose(expected, model.readout.blend(plain.head.out_of_fold, raw)), "its own answers do not count"


# ------------------------------------------------------------------------------------------------------ the file


@pytest.mark.parametrize(("classes", "present"), [(2, 2), (3, 2)])
def test_a_file_brings_the_same_model_back(tmp_path: Path, classes: int, present: int) -> None:
    model, raw, shas = fitted(classes, present)
    digest = model.save(tmp_path / "m.npz")
    back = QuickModel.load(tmp_path / "m.npz", digest)
    np.testing.assert_array_equal(back.predict_proba(raw), model.predict_proba(raw))
    assert back.encoded() == model.encoded()
    assert (back.readout is None, model.readout is None) == (False, False)
    assert back.readout is not None
    assert model.readout is not None
    for name in ("start", "stop", "temperature", "share"):
        assert getattr(back.readout, name) == getattr(model.readout, name)
    head = simplex(len(shas), classes)
    np.testing.assert_array_equal(
        back.readout.blend_held_out(head, raw, shas), model.readout.blend_held_out(head, raw, shas)
    )
    assert model.head.out_of_fold is not None
    np.testing.assert_array_equal(back.head.out_of_fold, model.head.out_of_fold)


def test_a_model_without_a_readout_has_none_when_it_comes_back(tmp_path: Path) -> None:
    model, raw, _ = fitted()
    alone = replace(model, readout=None)
    back = QuickModel.load(tmp_path / "m.npz", alone.save(tmp_path / "m.npz"))
    assert back.readout is None
    np.testing.assert_array_equal(back.predict_proba(raw), alone.predict_proba(raw))


def test_the_recipe_comes_back(tmp_path: Path) -> None:
    """A network's own output layer is a head on the activations as they are, negative ones too."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(6, DIMENSION)).astype(np.float32)
    head = Head(rng.normal(size=(DIMENSION, 1)).astype(np.float32), np.array([0.3]), 1.0, np.arange(2), 2)
    model = QuickModel(FeatureMap.plain([(DIMENSION, 1.0)]), head, ("a", "b"), "cnn")
    back = QuickModel.load(tmp_path / "m.npz", model.save(tmp_path / "m.npz"))
    assert back.features.recipe == PLAIN
    logits = (raw @ head.weights).astype(np.float64) + 0.3
    np.testing.assert_allclose(back.predict_proba(raw)[:, :1], 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert back.head.out_of_fold is None


def rewritten(file: Path, drop: tuple[str, ...] = (), **arrays: Any) -> None:
    """The file with keys of its meta text dropped and arrays exchanged."""
    with np.load(file) as stored:
        kept = {name: stored[name] for name in stored.files}
    meta = {name: value for name, value in json.loads(kept["meta"].tobytes()).items() if name not in drop}
    kept["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    np.savez(file, **{**kept, **arrays})


def test_a_file_of_the_version_before_is_read(tmp_path: Path) -> None:
    """It names neither a recipe nor a readout: it was a head on rooted vectors."""
    model, raw, _ = fitted()
    alone = replace(model, readout=None)
    file = tmp_path / "m.npz"
    alone.save(file)
    rewritten(file, drop=("recipe", "readout"))
    with np.load(file) as stored:
        assert not {"recipe", "readout"} & set(json.loads(stored["meta"].tobytes()))
    back = QuickModel.load(file)
    assert (back.features.recipe, back.readout) == (ROOTED, None)
    np.testing.assert_array_equal(back.predict_proba(raw), alone.predict_proba(raw))


@pytest.mark.parametrize(
    "wrong",
    [
        {"readout_seen": np.zeros((3, 32), np.uint8)},
        {"readout_held_out": np.zeros((60, 2))},
        {"readout_seen": np.zeros((60, 20), np.uint8)},
    ],
)
def test_a_readout_whose_arrays_do_not_belong_together_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    model, _, _ = fitted()
    file = tmp_path / "m.npz"
    model.save(file)
    rewritten(file, **wrong)
    with pytest.raises(LabelerError, match=r"m\.npz is no model of this program, or is damaged"):
        QuickModel.load(file)
