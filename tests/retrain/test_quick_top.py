"""The faster form says the same and learns the same, on the very weights of the network it is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labeler.retrain import quick_top
from labeler.retrain.quick_top import BFLOAT16, FLOAT32, fastest_dtype, places_of_pairs, quick_form
from labeler.retrain.training import ArraySource, Recipe, fit

Floats = NDArray[np.floating[Any]]
RECIPE = Recipe(1, 8, 1e-3, "adam", 0.0, 3, class_weights=True, seed=1)


def network(side: int = 7, kernel: int = 5, stride: int = 1, padding: str = "same", *, frozen: bool = True) -> Any:
    """A block as in the backbones: expand, depthwise, project, add; two pooled outputs and a dense one on them."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    rng = np.random.default_rng(4)

    def normalised(x: Any, name: str) -> Any:
        made = layers.BatchNormalization(epsilon=1e-3, name=name, trainable=not frozen)
        y = made(x)
        c = x.shape[-1]
        low, high = [0.5, -0.5, -0.5, 0.5], [2.0, 0.5, 0.5, 2.0]  # gamma, beta, mean, variance
        made.set_weights([rng.uniform(a, b, c).astype(np.float32) for a, b in zip(low, high, strict=True)])
        return y

    entry = keras.Input((side, side, 6))
    x = layers.Conv2D(12, 1, use_bias=False, name="expand")(entry)
    expanded = layers.ReLU(6.0, name="expand_relu")(normalised(x, "expand_bn"))
    x = layers.DepthwiseConv2D(kernel, stride, padding, use_bias=False, name="depthwise")(expanded)
    x = layers.ReLU(6.0, name="depthwise_relu")(normalised(x, "depthwise_bn"))
    x = normalised(layers.Conv2D(6, 1, use_bias=False, name="project")(x), "project_bn")
    if x.shape == entry.shape:
        x = layers.Add(name="block_add")([entry, x])
    x = layers.Conv2D(5, 3, activation="relu", name="other")(x)
    pooled = [layers.GlobalAveragePooling2D(name=f"pool{at}")(value) for at, value in enumerate((expanded, x))]
    return keras.Model(entry, layers.Dense(1, name="logit")(keras.ops.sqrt(layers.Concatenate()(pooled) ** 2 + 1.0)))


def pictures(side: int = 7, n: int = 24) -> Floats:
    return np.random.default_rng(5).normal(size=(n, side, side, 6)).astype(np.float32)


def gradients(model: Any, of: Any, x: Floats) -> list[Floats]:
    """Of a sum over the outputs in which every image counts differently."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        said = model(x, training=True)
        loss = tf.reduce_sum(said * tf.constant(np.linspace(-1, 1, len(x), dtype=np.float32)[:, None]))
    return [np.asarray(value) for value in tape.gradient(loss, of.trainable_weights)]


def apart(found: Floats, expected: Floats) -> float:
    """Relative distance of two arrays."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


SHAPES = [
    (7, 5, 1, "same"),
    (8, 5, 2, "same"),
    (7, 3, 2, "valid"),
    (6, 3, 1, "valid"),
    (12, 3, 1, "same"),
    (7, 4, 1, "same"),
]


@pytest.mark.parametrize(("side", "kernel", "stride", "padding"), SHAPES)
def test_it_says_and_learns_what_the_network_does(side: int, kernel: int, stride: int, padding: str) -> None:
    top = network(side, kernel, stride, padding)
    quick, x = quick_form(top, FLOAT32), pictures(side)
    said = np.asarray(top(x, training=False))
    np.testing.assert_allclose(quick(x, training=False), said, rtol=1e-4, atol=1e-4)
    pairs = list(zip(gradients(quick, top, x), gradients(top, top, x), strict=True))
    assert len(pairs) == 7
    for found, expected in pairs:
        assert np.linalg.norm(expected) > 0
        assert apart(found, expected) < 1e-4


def test_half_as_many_bits_give_nearly_the_same() -> None:
    top = network()
    quick, x = quick_form(top, BFLOAT16), pictures()
    said = np.asarray(quick(x, training=False))
    assert said.dtype == np.float32
    assert 0.0 < apart(said, np.asarray(top(x, training=False))) < 0.02
    found, expected = (np.concatenate([g.ravel() for g in gradients(model, top, x)]) for model in (quick, top))
    assert found.dtype == np.float32
    assert apart(found, expected) < 0.15


def test_training_it_trains_the_network() -> None:
    """Step for step as the network itself would be, and what was frozen stays."""
    x, y = pictures(), np.arange(24) % 2
    ends = []
    for quickly in (False, True):
        top = network()
        before = {weight.path: np.asarray(weight) for weight in top.weights}
        fit(quick_form(top, FLOAT32) if quickly else top, ArraySource(x), y, RECIPE, n_classes=2)
        ends.append(top)
    for weight, other in zip(ends[1].weights, ends[0].weights, strict=True):
        moved = np.abs(np.asarray(other) - before[weight.path]).max()
        assert (moved > 0) == ("_bn" not in weight.path)
        assert np.abs(np.asarray(weight) - np.asarray(other)).max() <= 0.02 * moved


def test_the_network_is_saved_as_ordinary_layers(tmp_path: Path) -> None:
    import keras

    top = network()
    quick_form(top)
    top.save(tmp_path / "top.keras")
    back = keras.saving.load_model(tmp_path / "top.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(back(pictures()), top(pictures()))


def test_normalisation_that_is_trained_is_left_alone() -> None:
    top = network(frozen=False)
    quick, x = quick_form(top, FLOAT32), pictures()
    names = {layer.name for layer in quick.layers}
    assert {"expand_bn", "depthwise_bn", "project_bn"} <= names
    np.testing.assert_allclose(quick(x, training=False), top(x, training=False), rtol=1e-4, atol=1e-4)
    assert len(quick.trainable_weights) == len(top.trainable_weights)


def test_a_network_without_such_layers_stays_what_it_is() -> None:
    import keras

    entry = keras.Input((5, 5, 2))
    x = keras.layers.Conv2D(3, 1, use_bias=False, activation="tanh")(entry)
    x = keras.layers.BatchNormalization(trainable=False)(x)
    top = keras.Model(entry, keras.layers.GlobalAveragePooling2D()(x))
    assert quick_form(top) is top


def test_a_pair_of_positions_meets_at_one_place() -> None:
    places = places_of_pairs((3, 4), (3, 2), (3, 1), 1, "VALID").reshape(3, 4, 3, 2, 3, 1)
    assert places[2, 1, 1, 1].tolist() == [[0], [1], [0]]
    assert places[2, 0, 1, 1].sum() == 0, "out of the kernel's reach"
    assert places.sum() == (3 + 2 + 1) * 2


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags : sse2 avx512_bf16 fma", BFLOAT16), ("flags : sse2 avx2 fma", FLOAT32), (None, FLOAT32)],
)
def test_the_processor_says_what_it_multiplies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str | None, expected: str
) -> None:
    file = tmp_path / "cpuinfo"
    if flags:
        file.write_text(flags)
    monkeypatch.setattr(quick_top, "_CPU", file)
    assert fastest_dtype() == expected
