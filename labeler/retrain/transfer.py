"""Whole networks that rank: the transfer models of the sources, and the one entry that trains any kind.

A transfer model is a frozen backbone, a dense layer of 128 with ReLU, and the output. Only what stands on the backbone
is trained, so its vectors are made once by the fast runtime and the training runs on them: the photographs pass the
backbone once instead of once per epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from labeler.domain import Progress, UnusableImage
from labeler.embed.backbones import Backbone
from labeler.retrain import scratch
from labeler.retrain.augment import Augmentation, AugmentedImages
from labeler.retrain.scratch import Options
from labeler.retrain.training import ArraySource, History, Recipe, Source, fit

if TYPE_CHECKING:
    from labeler.settings import Settings

Kind = Literal["cnn", "ann", "transfer"]
Pixels = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]
Report = Callable[[Progress], None] | None

UNITS = 128
# Greatest learning rates where the setting is 0.
LEARNING_RATES: dict[str, float] = {"cnn": 1e-3, "ann": 1e-3, "transfer": 1e-3}
_LOAD_EVERY = 32


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A network cut before its output, and the output as numbers: what a model version is made of.

    Attributes:
        model: ``keras.Model`` from float32 pixels (B, S, S, 3), RGB in 0..255, to ``{"features": float32 (B, d)}``.
        kernel: float32 (d, c); c = 1 for two classes, whose logit is that of the first.
        bias: float32 (c,).
        input_size: S.
        history: of the training.
        parameters: numbers in the whole network, output included.
        trainable: those that training changed.
    """

    model: Any
    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    input_size: int
    history: History
    parameters: int
    trainable: int


def train_network(
    kind: Kind,
    pictures: Callable[[int], Pixels] | Sequence[Path],
    y: Labels,
    *,
    settings: Settings,
    classes: Sequence[str],
    seed: int,
    backbone: Backbone | None = None,
    vectors: NDArray[np.floating[Any]] | None = None,
    compiled: Path | None = None,
    shas: Sequence[str] | None = None,
    progress: Report = None,
    tensorboard: Path | None = None,
) -> TrainedNetwork:
    """Train one network on labelled photographs. Loads TensorFlow: call it in a process that may be heavy.

    Args:
        kind: ``cnn`` and ``ann`` see augmented views, another in every epoch; ``transfer`` trains on the vectors of
            the photographs as they are.
        pictures: files, or what gives all squares (n, S, S, 3) for a side S.
        y: (n,) class numbers.
        settings: recipe, options and augmentation.
        classes: C names.
        seed: of initial weights, order, held-out part, dropout and views.
        backbone: what ``transfer`` stands on; all its parts count.
        vectors: (n, D) raw activations of that backbone, if they are there already; then ``pictures`` is not read.
        compiled: where converted backbones are kept. Without it vectors are made by Keras itself, half as fast.
        shas: what tells the images apart for augmentation; their places in the list by default.
        progress: told while reading, embedding and training.
        tensorboard: see :func:`labeler.retrain.training.fit`.

    Raises:
        NotTrainable: labels of fewer than two classes.
        SettingError: a setting does not fit the network.
        UnusableImage: a file does not decode or is not there.
        WeightsUnavailable: the backbone's weights are not on this machine.
    """
    options = Options.from_settings(settings)
    recipe = Recipe.from_settings(settings, learning_rate=LEARNING_RATES[kind], seed=seed)
    n_classes = len(classes)
    if kind == "transfer":
        if backbone is None:
            raise ValueError("a transfer model stands on a backbone")
        if vectors is None:
            vectors = vectors_of(pictures, backbone, settings, compiled, progress)
        top, history = train_top(
            vectors, y, recipe, options, n_classes=n_classes, progress=progress, tensorboard=tensorboard
        )
        return cut(network(backbone, top), backbone.input_size, history, trainable=_count(top.trainable_weights))
    build = scratch.cnn if kind == "cnn" else scratch.ann
    size = settings.input_size or (scratch.CNN_SIZE if kind == "cnn" else scratch.ANN_SIZE)
    model = build(n_classes, options, size=size, seed=seed)
    squares = squares_of(pictures, size, settings, progress)
    names = [str(row) for row in range(len(squares))] if shas is None else shas
    source: Source = AugmentedImages(squares, names, Augmentation.from_settings(settings), seed)
    history = fit(logits_of(model), source, y, recipe, n_classes=n_classes, progress=progress, tensorboard=tensorboard)
    return cut(model, size, history)


def train_top(
    vectors: NDArray[np.floating[Any]],
    y: Labels,
    recipe: Recipe,
    options: Options,
    *,
    n_classes: int,
    progress: Report = None,
    tensorboard: Path | None = None,
) -> tuple[Any, History]:
    """What stands on the backbone, trained on its vectors.

    Args:
        vectors: (n, D) raw activations.
        y: (n,) class numbers.

    Returns:
        ``keras.Model`` from float32 (B, D) to ``features`` (B, 128) and ``logits`` (B, c); and the history.
    """
    import keras

    entry = keras.Input((vectors.shape[1],), name="vectors")
    outputs = scratch.head(entry, n_classes, UNITS, options, "glorot_uniform", recipe.seed)
    top = keras.Model(entry, outputs, name="top")
    source = ArraySource(vectors)
    history = fit(logits_of(top), source, y, recipe, n_classes=n_classes, progress=progress, tensorboard=tensorboard)
    return top, history


def network(backbone: Backbone, top: Any) -> Any:
    """Pixels to features and logits: the frozen backbone with its parts joined, then ``top``."""
    import keras

    from labeler.embed.networks import keras_model

    frozen = keras_model(backbone)
    frozen.trainable = False
    parts = [frozen.output[part.name] for part in backbone.parts]
    x = keras.layers.Concatenate(name="vector")(parts) if len(parts) > 1 else parts[0]
    # Layer by layer, not as a nested model: `cut` takes the output off, and a nested model would keep it.
    _, *hidden, output = top.layers
    for layer in hidden:
        x = layer(x)
    return keras.Model(frozen.inputs[0], {"features": x, "logits": output(x)}, name=backbone.name)


def logits_of(model: Any) -> Any:
    """The same layers, with the logits as the only output: what the training loop takes."""
    import keras

    return keras.Model(model.input, model.output["logits"])


def cut(model: Any, size: int, history: History, *, trainable: int | None = None) -> TrainedNetwork:
    """Split a trained network into its features and its output layer.

    Args:
        model: pixels to ``features`` and ``logits``.
        size: of its square.
        history: of its training.
        trainable: numbers that training changed, where the layers cannot tell.
    """
    import keras

    output = model.get_layer("logits")
    kernel, bias = (np.asarray(weight, np.float32) for weight in output.get_weights())
    return TrainedNetwork(
        model=keras.Model(model.input, {"features": model.output["features"]}, name=model.name),
        kernel=kernel,
        bias=bias,
        input_size=size,
        history=history,
        parameters=int(model.count_params()),
        trainable=_count(model.trainable_weights) if trainable is None else trainable,
    )


def vectors_of(
    pictures: Callable[[int], Pixels] | Sequence[Path],
    backbone: Backbone,
    settings: Settings,
    compiled: Path | None,
    progress: Report = None,
) -> NDArray[np.floating[Any]]:
    """Raw activations (n, D) of every picture: by the fast runtime for files, by Keras otherwise."""
    if not callable(pictures) and compiled is not None:
        from labeler.embed.service import embed_files

        vectors, failed = embed_files(
            pictures,
            compiled=compiled,
            backbone=backbone,
            threads=settings.threads,
            max_pixels=settings.max_pixels,
            progress=progress,
        )
        if failed:
            raise UnusableImage(str(failed[0][0]), failed[0][1])
        return vectors
    from labeler.embed.networks import keras_model

    squares = squares_of(pictures, backbone.input_size, settings, progress)
    outputs = keras_model(backbone).predict(squares, batch_size=settings.batch, verbose=0)
    return np.concatenate([outputs[part.name] for part in backbone.parts], axis=1)


def squares_of(
    pictures: Callable[[int], Pixels] | Sequence[Path], size: int, settings: Settings, progress: Report = None
) -> Pixels:
    """All photographs as squares, decoded on threads: uint8 (n, size, size, 3).

    Raises:
        UnusableImage: a file does not decode or is not there.
    """
    if callable(pictures):
        return pictures(size)
    from labeler.embed.pixels import load_square
    from labeler.embed.service import thread_count

    squares = np.empty((len(pictures), size, size, 3), np.uint8)

    def load(row: int) -> None:
        squares[row] = load_square(pictures[row], size, settings.max_pixels)

    with ThreadPoolExecutor(thread_count(settings.threads), "squares") as executor:
        for done, _ in enumerate(executor.map(load, range(len(pictures))), start=1):
            if progress and (done % _LOAD_EVERY == 0 or done == len(pictures)):
                progress(Progress("read photographs", done, len(pictures)))
    return squares


def _count(weights: Sequence[Any]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)
