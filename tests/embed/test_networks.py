from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labeler.domain import WeightsUnavailable
from labeler.embed import backbones
from labeler.embed.networks import keras_model


@pytest.mark.parametrize(
    ("mode", "module"), [("tf", "mobilenet_v2"), ("caffe", "resnet"), ("torch", "densenet"), ("caffe", "vgg16")]
)
def test_pixels_are_scaled_as_keras_applications_does(mode: str, module: str) -> None:
    import keras

    from labeler.embed.networks import scaled

    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
    entry = keras.Input((4, 4, 3))
    ours = keras.Model(entry, scaled(mode, entry)).predict(pixels, verbose=0)
    theirs = getattr(keras.applications, module).preprocess_input(pixels.copy())
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5)


def test_each_entry_scales_as_its_keras_module() -> None:
    modes = {
        "mobilenet_v2": "tf",
        "resnet50": "caffe",
        "resnet101": "caffe",
        "vgg16": "caffe",
        "vgg19": "caffe",
        "inception_v3": "tf",
        "densenet121": "torch",
    }
    for name, mode in modes.items():
        assert backbones.pixel_mode(backbones.resolve(name)) == mode


def test_random_weights_are_the_same_every_time() -> None:
    backbone = backbones.resolve("mobilenet_v2", weights="none")
    first, second = keras_model(backbone), keras_model(backbone)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert {name: tuple(t.shape[1:]) for name, t in first.output.items()} == {"pool": (1280,)}


def test_a_weights_file_is_loaded(tmp_path: Path, keras_lite0: Any) -> None:
    file = tmp_path / "tuned.weights.h5"
    keras_lite0.save_weights(file)
    model = keras_model(backbones.resolve("efficientnet_lite0", weights=str(file)))
    kept = keras_lite0.get_layer("block7_expand_conv").get_weights()[0]
    np.testing.assert_array_equal(model.get_layer("block7_expand_conv").get_weights()[0], kept)


@pytest.mark.parametrize("name", ["own.pth", "own.weights.h5", "own.h5"])
@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "mobilenet_v2"])
def test_a_file_that_does_not_fit_is_one_clear_line(tmp_path: Path, name: str, backbone: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"no weights at all")
    with pytest.raises(WeightsUnavailable, match=r"own\.") as caught:
        keras_model(backbones.resolve(backbone, weights=str(file)))
    assert "\n" not in str(caught.value)
