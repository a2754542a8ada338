"""Whole networks: a transfer model is its backbone and its top, and every kind trains from files or squares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from labeler.domain import Progress, SettingError, UnusableImage
from labeler.embed import backbones
from labeler.embed.networks import keras_model
from labeler.rank import logistic
from labeler.rank.head import Head
from labeler.retrain import transfer
from labeler.retrain.scratch import Options
from labeler.retrain.training import Recipe
from labeler.settings import Settings

CLASSES = ("red", "blue")
FAST = Settings(epochs=5, batch=16, input_size=32, dropout=0.2, classes=CLASSES)
Pixels = NDArray[np.uint8]


def coloured(n: int, size: int, classes: int = 2, seed: int = 0) -> tuple[Pixels, NDArray[np.int64]]:
    """Noisy squares, brighter in the channel of their class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    images = rng.integers(0, 120, (n, size, size, 3))
    for row, number in enumerate(y):
        images[row, ..., (0, 2, 1)[number]] += 100
    return images.astype(np.uint8), y


def saved(images: Pixels, folder: Path) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{row:03d}.png" for row in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    return files


def train(kind: Any, pictures: Any, y: Any, **changes: Any) -> transfer.TrainedNetwork:
    given: dict[str, Any] = {"settings": FAST, "classes": CLASSES, "seed": 1}
    return transfer.train_network(kind, pictures, y, **(given | changes))


def head_of(network: transfer.TrainedNetwork, n_classes: int = 2) -> Head:
    """As a model version holds it."""
    return Head(network.kernel, network.bias.astype(np.float64), 1.0, np.arange(n_classes), n_classes)


@pytest.fixture(scope="module")
def lite0() -> backbones.Backbone:
    """The default backbone's multi-depth vector on small squares: quick, and all its parts take part."""
    return backbones.resolve("efficientnet_lite0", input_size=64)


@dataclass(frozen=True)
class Transferred:
    """A transfer model made step by step."""

    images: Pixels
    y: NDArray[np.int64]
    vectors: NDArray[np.floating[Any]]
    top: Any
    network: transfer.TrainedNetwork


@pytest.fixture(scope="module")
def transferred(lite0: backbones.Backbone) -> Transferred:
    images, y = coloured(24, 64)
    vectors = transfer.vectors_of(lambda size: images, lite0, FAST, None)
    recipe = Recipe.from_settings(FAST, learning_rate=transfer.LEARNING_RATES["transfer"], seed=1)
    top, history = transfer.train_top(vectors, y, recipe, Options.from_settings(FAST), n_classes=2)
    return Transferred(images, y, vectors, top, transfer.cut(transfer.network(lite0, top), 64, history))


# ------------------------------------------------------------------------------------------------- from scratch


@pytest.mark.parametrize("kind", ["cnn", "ann"])
def test_a_network_from_scratch_becomes_features_and_a_head(kind: str) -> None:
    images, y = coloured(80, 32)
    network = train(kind, lambda size: images, y)
    assert network.input_size == 32
    assert network.parameters == network.trainable == network.model.count_params() + network.kernel.size + 1
    assert network.kernel.dtype == network.bias.dtype == np.float32
    assert network.bias.shape == (1,)
    features = np.asarray(network.model(images.astype(np.float32), training=False)["features"])
    probabilities = head_of(network).predict_proba(features)
    assert np.mean(probabilities.argmax(axis=1) == y) > 0.95  # the first column is the first class
    assert len(network.history.loss) <= 5


def test_three_classes_give_three_columns() -> None:
    images, y = coloured(90, 32, classes=3)
    network = train("ann", lambda size: images, y, classes=("red", "blue", "green"))
    assert network.kernel.shape == (64, 3)
    features = np.asarray(network.model(images.astype(np.float32), training=False)["features"])
    assert np.mean(head_of(network, 3).predict_proba(features).argmax(axis=1) == y) > 0.9


def test_the_same_seed_gives_the_same_network() -> None:
    images, y = coloured(40, 32)
    settings = FAST.replace(epochs=2)
    found = [train("cnn", lambda size: images, y, seed=seed, settings=settings) for seed in (1, 1, 2)]
    assert np.array_equal(found[0].kernel, found[1].kernel)
    weights = [network.model.get_weights() for network in found]
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not np.array_equal(found[0].kernel, found[2].kernel)


def test_the_size_is_the_settings_or_the_networks_own() -> None:
    asked: list[int] = []
    images, y = coloured(20, 32)

    def squares(size: int) -> Pixels:
        asked.append(size)
        return np.stack([np.asarray(Image.fromarray(image).resize((size, size))) for image in images])

    settings = FAST.replace(epochs=1)
    train("ann", squares, y, settings=settings.replace(input_size=0))
    train("ann", squares, y, settings=settings.replace(input_size=20))
    assert asked == [32, 20]


def test_files_and_squares_are_the_same(tmp_path: Path) -> None:
    images, y = coloured(24, 32)
    files = saved(images, tmp_path / "p")
    settings = FAST.replace(epochs=2)
    seen: list[Progress] = []
    from_files = train("ann", files, y, settings=settings, progress=seen.append)
    from_squares = train("ann", lambda size: images, y, settings=settings)
    assert np.array_equal(from_files.kernel, from_squares.kernel)
    assert {step.what for step in seen} == {"read photographs", "train"}
    assert seen[0] == Progress("read photographs", 24, 24)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    images, y = coloured(20, 32)
    files = saved(images, tmp_path / "p")
    files[3].write_bytes(files[3].read_bytes()[:40])
    with pytest.raises(UnusableImage, match=r"003\.png"):
        train("ann", files, y)
    files[3].unlink()
    with pytest.raises(UnusableImage, match=r"003\.png: cannot be read"):
        train("ann", files, y)


# ----------------------------------------------------------------------------------------------------- transfer


def test_the_whole_network_says_what_the_head_says_of_the_vectors(transferred: Transferred) -> None:
    said = logistic.probabilities(np.asarray(transferred.top(transferred.vectors, training=False)["logits"], float))
    pixels = transferred.images.astype(np.float32)
    features = np.asarray(transferred.network.model(pixels, training=False)["features"])
    assert features.shape == (24, 128)
    assert head_of(transferred.network).predict_proba(features) == pytest.approx(said, abs=1e-4)
    assert np.mean(said.argmax(axis=1) == transferred.y) == 1.0


def test_only_what_stands_on_the_backbone_is_trained(lite0: backbones.Backbone, transferred: Transferred) -> None:
    frozen = keras_model(lite0)
    before = {weight.path: weight.numpy() for weight in frozen.weights}
    after = {weight.path: weight.numpy() for weight in transferred.network.model.weights}
    assert all(np.array_equal(value, after.pop(path)) for path, value in before.items())
    assert [value.shape for value in after.values()] == [(lite0.dimension, 128), (128,)]
    assert transferred.network.parameters == frozen.count_params() + lite0.dimension * 128 + 128 + 128 + 1


def test_the_one_entry_does_the_same_on_vectors_that_are_there(
    lite0: backbones.Backbone, transferred: Transferred
) -> None:
    def never(size: int) -> Pixels:
        raise AssertionError("the pictures were read")

    given = train("transfer", never, transferred.y, backbone=lite0, vectors=transferred.vectors)
    assert np.array_equal(given.kernel, transferred.network.kernel)
    assert given.trainable == lite0.dimension * 128 + 128 + 128 + 1
    assert given.input_size == 64
    with pytest.raises(ValueError, match="backbone"):
        train("transfer", never, transferred.y)


def loaded_again(model: Any, file: Path) -> Any:
    import keras

    model.save(file)
    return keras.saving.load_model(file, compile=False, safe_mode=True)


def test_a_saved_network_is_loaded_in_safe_mode(transferred: Transferred, tmp_path: Path) -> None:
    pixels = transferred.images[:4].astype(np.float32)
    made = transferred.network.model
    loaded = loaded_again(made, tmp_path / "model.keras")
    said, wanted = (np.asarray(model(pixels, training=False)["features"]) for model in (loaded, made))
    assert said == pytest.approx(wanted, abs=1e-5)
    assert wanted.std() > 0


def test_so_is_one_that_swaps_the_channels(tmp_path: Path) -> None:
    backbone = backbones.resolve("vgg16", weights="none", input_size=32)
    images, y = coloured(20, 32)
    network = train("transfer", lambda size: images, y, backbone=backbone, settings=FAST.replace(epochs=1))
    loaded = loaded_again(network.model, tmp_path / "model.keras")
    pixels = images[:2].astype(np.float32)
    said, wanted = (np.asarray(model(pixels, training=False)["features"]) for model in (loaded, network.model))
    assert said == pytest.approx(wanted, abs=1e-5)
    assert wanted.std() > 0


# -------------------------------------------------------------------------------------------- sizes of backbones


def test_another_size_is_another_key() -> None:
    own, named, small = (backbones.resolve("mobilenet_v2", input_size=size) for size in (None, 224, 128))
    assert own == named
    assert (own.input_size, small.input_size) == (224, 128)
    assert own.key != small.key
    assert own.key.count("224") == 0  # vectors made before there was a choice are still found
    for name, least in (("inception_v3", 75), ("vgg16", 32)):
        assert backbones.resolve(name, input_size=least).input_size == least
        with pytest.raises(SettingError, match=f"squares of {least - 1} pixels"):
            backbones.resolve(name, input_size=least - 1)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenet_v2", "vgg16"])
def test_backbones_are_built_at_the_size_asked_for(name: str) -> None:
    backbone = backbones.resolve(name, weights="none", input_size=64, vectors="pooled")
    model = keras_model(backbone)
    (entry,) = model.inputs
    assert entry.shape == (None, 64, 64, 3)
    assert model.output[backbone.parts[-1].name].shape == (None, backbone.dimension)
