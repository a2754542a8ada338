"""Several models on one split: each trained, tested on the same images, or said why it was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from labeler.domain import Progress, UnknownName, UnusableImage
from labeler.embed import backbones
from labeler.retrain import compare
from labeler.retrain.compare import Comparison, Contestant
from labeler.retrain.evaluate import metrics
from labeler.settings import Settings

CLASSES = ("red", "blue")
Split = tuple[list[Path], NDArray[np.int64]]


def photographs_of(folder: Path, n: int, seed: int) -> Split:
    """Noisy squares of 40 pixels, brighter in the channel of their class."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    y = np.arange(n) % 2
    files = [folder / f"{row}.png" for row in range(n)]
    for file, number in zip(files, y, strict=True):
        image = rng.integers(0, 120, (40, 40, 3))
        image[..., 2 * number] += 100
        Image.fromarray(image.astype(np.uint8)).save(file)
    return files, y


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, Split]:
    folder = tmp_path_factory.mktemp("splits")
    return photographs_of(folder / "train", 48, 0), photographs_of(folder / "test", 20, 1)


def run(
    chosen: list[str], splits: tuple[Split, Split], folder: Path, settings: Settings, seeds: tuple[int, ...] = (0,)
) -> tuple[Comparison, list[Progress]]:
    (train_files, train_y), (test_files, test_y) = splits
    seen: list[Progress] = []
    found = compare.compare(
        chosen,
        train_files,
        train_y,
        test_files,
        test_y,
        settings=settings,
        classes=CLASSES,
        seeds=seeds,
        compiled=folder,
        progress=seen.append,
    )
    return found, seen


def check(one: Contestant, test_y: NDArray[np.int64], least: float = 1.0) -> None:
    assert one.probabilities.shape == (20, 2)
    assert one.probabilities.dtype == np.float64
    assert one.probabilities.sum(axis=1) == pytest.approx(1.0)
    assert np.array_equal(one.y, test_y)
    assert one.metrics == metrics(test_y, one.probabilities, classes=CLASSES, split="test")
    assert one.metrics["accuracy"] >= least
    assert one.seconds > 0
    assert one.images_per_second > 0


def test_the_quick_model_takes_part(splits: tuple[Split, Split], compiled: Path) -> None:
    found, _ = run(["head"], splits, compiled, Settings(classes=CLASSES))
    (head,) = found.contestants
    check(head, splits[1][1])
    assert (head.name, head.weights, head.input_size, head.runtime) == ("head", "imagenet", 224, "LiteRT")
    assert head.history is None
    assert head.trainable == 672 + 1152 + 1280 + 1
    # Tan and Le's count without the ImageNet layer, 4.7 million with it.
    assert head.parameters - head.trainable == 3_413_024


@pytest.mark.usefixtures("childless")
def test_a_backbone_is_trained_once_per_seed(splits: tuple[Split, Split], tmp_path: Path) -> None:
    settings = Settings(
        epochs=8, batch=8, dropout=0.0, learning_rate=0.01, weights="none", input_size=32, classes=CLASSES
    )
    found, seen = run(["vgg16"], splits, tmp_path, settings, seeds=(0, 1))
    assert [(one.name, one.seed) for one in found.contestants] == [("vgg16", 0), ("vgg16", 1)]
    for one in found.contestants:
        check(one, splits[1][1], least=0.8)  # random weights see colours, not much else
        assert (one.weights, one.input_size, one.runtime) == ("none", 32, "LiteRT")
        assert one.history is not None
        assert one.trainable == 512 * 128 + 128 + 128 + 1
        assert one.parameters - one.trainable == 14_714_688  # of VGG16's convolutions (Simonyan and Zisserman)
    first, second = found.contestants
    assert not np.array_equal(first.probabilities, second.probabilities)
    assert {step.what for step in seen} >= {"vgg16: train", "vgg16: embed images"}


def test_networks_from_scratch_and_one_whose_weights_are_missing(splits: tuple[Split, Split], tmp_path: Path) -> None:
    missing = tmp_path / "none.weights.h5"
    settings = Settings(epochs=12, batch=8, dropout=0.1, input_size=32, weights=str(missing), classes=CLASSES)
    found, _ = run(["ann", "vgg16", "cnn", "ann"], splits, tmp_path, settings)
    assert [one.name for one in found.contestants] == ["ann", "cnn"]
    ((name, reason),) = found.failures
    assert name == "vgg16"
    assert "none.weights.h5" in reason
    assert "\n" not in reason
    for one in found.contestants:
        check(one, splits[1][1])
        assert (one.weights, one.input_size, one.runtime) == ("none", 32, "Keras")
        assert one.parameters == one.trainable
        assert one.history is not None


def test_an_unknown_name_is_refused_before_any_work(splits: tuple[Split, Split], tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'alexnet'"):
        run(["ann", "alexnet"], splits, tmp_path, Settings())
    assert set(compare.names()) == {"head", "cnn", "ann", *backbones.names()}


def test_a_photograph_that_does_not_decode_is_named(splits: tuple[Split, Split], tmp_path: Path) -> None:
    (train_files, train_y), test = splits
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(UnusableImage, match=r"bad\.jpg"):
        run(["ann"], (([*train_files[1:], bad], train_y), test), tmp_path, Settings(epochs=1, classes=CLASSES))
