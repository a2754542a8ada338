"""The CNN and the ANN: their sizes are the sources', their numbers those of the formula, their options take effect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labeler.domain import SettingError
from labeler.retrain.scratch import Options, ann, cnn
from labeler.settings import Settings


def pixels(n: int, size: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3)).astype(np.float32)


def trainable(model: Any) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_the_cnn_has_the_tutorials_parameters() -> None:
    model = cnn(2)
    assert trainable(model) == model.count_params() == 6_446_369
    shapes = [layer.kernel.shape for layer in model.layers if hasattr(layer, "kernel")]
    assert shapes == [(3, 3, 3, 16), (3, 3, 16, 32), (3, 3, 32, 64), (28 * 28 * 64, 128), (128, 1)]
    assert [tuple(layer.output.shape[1:3]) for layer in model.layers if layer.name.startswith("pool")] == [
        (112, 112),
        (56, 56),
        (28, 28),
    ]


def test_the_ann_has_the_dissertations_layers() -> None:
    model = ann(2)
    assert model.input_shape == (None, 32, 32, 3)
    shapes = [layer.kernel.shape for layer in model.layers if hasattr(layer, "kernel")]
    assert shapes == [(3072, 128), (128, 64), (64, 1)]
    assert trainable(model) == 3072 * 128 + 128 + 128 * 64 + 64 + 64 + 1


def test_the_ann_computes_what_its_weights_say_from_raw_pixels() -> None:
    model = ann(2, seed=4)
    images = pixels(5, 32)
    found = model(images, training=False)
    x = images.reshape(5, -1).astype(np.float64) / 255
    for name in ("hidden_dense", "features_dense"):
        kernel, bias = model.get_layer(name).get_weights()
        x = np.maximum(x @ kernel + bias, 0)
    assert np.asarray(found["features"]) == pytest.approx(x, rel=1e-3, abs=1e-4)
    kernel, bias = model.get_layer("logits").get_weights()
    assert np.asarray(found["logits"]) == pytest.approx(x @ kernel + bias, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("build", [cnn, ann])
@pytest.mark.parametrize(("classes", "columns"), [(2, 1), (3, 3), (10, 10)])
def test_one_logit_for_two_classes_else_one_each(build: Any, classes: int, columns: int) -> None:
    model = build(classes, size=16)
    found = model(pixels(2, 16), training=False)
    assert set(found) == {"features", "logits"}
    assert found["logits"].shape == (2, columns)
    assert found["features"].shape == (2, model.get_layer("logits").kernel.shape[0])


def test_the_seed_fixes_the_initial_weights() -> None:
    first, second, other = (ann(2, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])
    weights = cnn(2, size=16, seed=1).get_weights()
    assert not np.array_equal(weights[0].ravel()[:100], weights[2].ravel()[:100])  # every layer draws its own


def spread(model: Any, layer: str) -> float:
    return float(model.get_layer(layer).get_weights()[0].std())


def test_initialisers() -> None:
    he = np.sqrt(2 / 3072)
    assert spread(ann(2), "hidden_dense") == pytest.approx(he, rel=0.03)
    assert spread(ann(2, Options("lecun_normal")), "hidden_dense") == pytest.approx(np.sqrt(1 / 3072), rel=0.03)
    glorot = np.sqrt(2 / (9 * 32 + 9 * 64))
    assert spread(cnn(2, size=16), "conv3") == pytest.approx(glorot, rel=0.03)
    assert spread(cnn(2, Options("he_uniform"), size=16), "conv3") == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.03)


def test_penalties_on_the_dense_layers() -> None:
    model = ann(2, Options(l1=0.01, l2=0.1))
    kernels = [layer.get_weights()[0].astype(np.float64) for layer in model.layers if hasattr(layer, "kernel")]
    wanted = sum(0.01 * np.abs(kernel).sum() + 0.1 * (kernel**2).sum() for kernel in kernels)
    assert sum(float(loss) for loss in model.losses) == pytest.approx(wanted, rel=1e-4)
    assert len(cnn(2, Options(l2=0.1), size=16).losses) == 2  # not on the convolutions
    assert not ann(2).losses


@pytest.mark.parametrize("build", [cnn, ann])
def test_dropout_and_normalisation(build: Any) -> None:
    plain = build(2, Options(dropout=0.0), size=16)
    kinds = [type(layer).__name__ for layer in plain.layers]
    assert "Dropout" not in kinds
    assert "BatchNormalization" not in kinds
    full = build(2, Options(dropout=0.4, batch_norm=True), size=16)
    kinds = [type(layer).__name__ for layer in full.layers]
    assert full.get_layer("dropout").rate == 0.4
    assert kinds.count("BatchNormalization") == kinds.count("ReLU")
    images = pixels(8, 16)
    assert np.array_equal(full(images, training=False)["logits"], full(images, training=False)["logits"])
    assert not np.array_equal(full(images, training=True)["logits"], full(images, training=True)["logits"])


def test_options_from_settings() -> None:
    options = Options.from_settings(Settings(initializer="he_normal", l1=0.1, l2=0.2, dropout=0.3, batch_norm="on"))
    assert options == Options("he_normal", 0.1, 0.2, 0.3, batch_norm=True)
    with pytest.raises(SettingError, match="dropout = 1 drops everything"):
        Options.from_settings(Settings(dropout=1.0))


@pytest.mark.parametrize("build", [cnn, ann])
def test_too_small_a_square_is_refused(build: Any) -> None:
    with pytest.raises(SettingError, match="input_size = 7"):
        build(2, size=7)
