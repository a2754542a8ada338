"""Several models on the same photographs: trained in turn, tested on the same images, timed at the same work.

The names a comparison knows are those of the backbones (each with the transfer model's top), ``cnn``, ``ann``, and
``head``: this program's own quick model on the default backbone.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from labeler.domain import Progress, UnknownName, WeightsUnavailable
from labeler.embed import backbones
from labeler.embed.backbones import Backbone
from labeler.embed.runtime import open_runtime
from labeler.embed.service import thread_count
from labeler.rank import logistic
from labeler.rank.head import QuickModel
from labeler.retrain.evaluate import metrics
from labeler.retrain.scratch import Options
from labeler.retrain.training import History, Recipe
from labeler.retrain.transfer import LEARNING_RATES, TrainedNetwork, squares_of, train_network, train_top, vectors_of

if TYPE_CHECKING:
    from labeler.settings import Settings

Float64 = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]
Pixels = NDArray[np.uint8]
Report = Callable[[Progress], None] | None

HEAD, CNN, ANN = "head", "cnn", "ann"
LITERT, KERAS = "LiteRT", "Keras"
# Images that the speed is measured on; the median of three passes counts.
TIMED, PASSES = 256, 3
_CHUNK = 8
_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class Contestant:
    """One model, trained once, and how it did.

    Attributes:
        name: a backbone's, ``cnn``, ``ann`` or ``head``.
        weights: what it started from: ``imagenet``, ``none`` or a file.
        input_size: side of its square in pixels.
        seed: of the training.
        metrics: of the test images, from :func:`labeler.retrain.evaluate.metrics`.
        y: (n,) true class numbers of the test images.
        probabilities: float64 (n, C) of the same images.
        seconds: from the training files to the trained model: decoding, vectors and training; the conversion of a
            backbone, once per machine, is left out.
        parameters: numbers in the whole network.
        trainable: those that training changed.
        images_per_second: pixels to probability, all cores, decoding left out.
        history: of the training; None for ``head``, which has no epochs.
        runtime: what the speed was measured in, ``LiteRT`` for a frozen backbone, else ``Keras``.
    """

    name: str
    weights: str
    input_size: int
    seed: int
    metrics: dict[str, Any]
    y: Labels
    probabilities: Float64
    seconds: float
    parameters: int
    trainable: int
    images_per_second: float
    history: History | None
    runtime: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        contestants: in the order asked for, seed after seed.
        failures: the names that could not take part, each with one line saying why and what to do.
    """

    contestants: tuple[Contestant, ...]
    failures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """What every contestant is given."""

    train_files: Sequence[Path]
    train_y: Labels
    test_files: Sequence[Path]
    test_y: Labels
    settings: Settings
    classes: Sequence[str]
    seeds: Sequence[int]
    compiled: Path
    progress: Report = None

    def tested(self, probabilities: Float64) -> dict[str, Any]:
        return metrics(self.test_y, probabilities, classes=self.classes, split="test")


def names() -> tuple[str, ...]:
    """Everything that can take part."""
    return (HEAD, CNN, ANN, *backbones.names())


def compare(
    chosen: Sequence[str],
    train_files: Sequence[Path],
    train_y: Labels,
    test_files: Sequence[Path],
    test_y: Labels,
    *,
    settings: Settings,
    classes: Sequence[str],
    seeds: Sequence[int],
    compiled: Path,
    progress: Report = None,
) -> Comparison:
    """Train and test models on the same split, one after another. Loads TensorFlow.

    A backbone takes part with the settings' ``weights`` and ``input_size`` (0: its own) and its pooled vector; its
    vectors are made once for all seeds. A seed fixes initial weights, held-out part, order, dropout and views; the
    photographs are the same for all.

    Args:
        chosen: some of :func:`names`; a name given twice counts once.
        train_files, test_files: photographs.
        train_y, test_y: their class numbers.
        settings: recipe, options and augmentation.
        classes: C names.
        seeds: one training each.
        compiled: folder of converted backbones.
        progress: told what each contestant is doing.

    Returns:
        The contestants; and those whose weights are not on this machine, as failures that stop nothing.

    Raises:
        UnknownName: a name that nobody has; nothing has been trained then.
        UnusableImage: a photograph does not decode or is not there.
        NotTrainable: training labels of fewer than two classes, or a training that diverged.
    """
    chosen = list(dict.fromkeys(chosen))
    for name in chosen:
        if name not in names():
            raise UnknownName(f"there is no model {name!r} to compare", f"choose from {', '.join(names())}")
    contestants: list[Contestant] = []
    failures: list[tuple[str, str]] = []
    for name in chosen:
        report = _named(name, progress)
        task = _Task(train_files, train_y, test_files, test_y, settings, classes, seeds, compiled, report)
        try:
            contestants += _contestants(name, task)
        except WeightsUnavailable as error:
            failures.append((name, str(error)))
        _forget()
    return Comparison(tuple(contestants), tuple(failures))


def probabilities_of(network: TrainedNetwork, squares: Pixels) -> Float64:
    """What a trained network says of squares uint8 (n, S, S, 3): float64 (n, C), by Keras."""
    features = network.model.predict(squares, batch_size=_BATCH, verbose=0)["features"]
    return logistic.probabilities((features @ network.kernel + network.bias).astype(np.float64))


# -------------------------------------------------------------------------------------------------- the contestants


def _contestants(name: str, task: _Task) -> Iterator[Contestant]:
    if name == HEAD:
        return _heads(task)
    return _from_scratch(name, task) if name in (CNN, ANN) else _transferred(name, task)


def _from_scratch(name: str, task: _Task) -> Iterator[Contestant]:
    kind = cast(Literal["cnn", "ann"], name)
    held: dict[int, Pixels] = {}
    reading = 0.0

    def train_squares(size: int) -> Pixels:
        nonlocal reading
        if size not in held:
            started = time.perf_counter()
            held[size] = squares_of(task.train_files, size, task.settings, task.progress)
            reading = time.perf_counter() - started
        return held[size]

    test: Pixels | None = None
    for seed in task.seeds:
        network = train_network(
            kind,
            train_squares,
            task.train_y,
            settings=task.settings,
            classes=task.classes,
            seed=seed,
            progress=task.progress,
        )
        test = squares_of(task.test_files, network.input_size, task.settings) if test is None else test
        probabilities = probabilities_of(network, test)
        rate = _rate(partial(probabilities_of, network), test)
        yield Contestant(
            name=name,
            weights=backbones.NO_WEIGHTS,
            input_size=network.input_size,
            seed=seed,
            metrics=task.tested(probabilities),
            y=task.test_y,
            probabilities=probabilities,
            seconds=reading + network.history.seconds,
            parameters=network.parameters,
            trainable=network.trainable,
            images_per_second=rate,
            history=network.history,
            runtime=KERAS,
        )
        _forget()


def _transferred(name: str, task: _Task) -> Iterator[Contestant]:
    settings = task.settings
    backbone = backbones.resolve(
        name, weights=settings.weights, vectors=backbones.POOLED, input_size=settings.input_size or None
    )
    options = Options.from_settings(settings)

    def train(frozen: _Frozen, seed: int) -> _OnFrozen:
        recipe = Recipe.from_settings(settings, learning_rate=LEARNING_RATES["transfer"], seed=seed)
        top, history = train_top(
            frozen.train, task.train_y, recipe, options, n_classes=len(task.classes), progress=task.progress
        )
        logits = top.predict(frozen.test, batch_size=_BATCH, verbose=0)["logits"]
        trainable = sum(int(np.prod(weight.shape)) for weight in top.trainable_weights)
        probabilities = logistic.probabilities(logits.astype(np.float64))
        return _OnFrozen(probabilities, history.seconds, int(top.count_params()), trainable, history)

    return _on_frozen(name, backbone, task, train)


def _heads(task: _Task) -> Iterator[Contestant]:
    settings = task.settings
    backbone = backbones.resolve(
        settings.backbone, weights=settings.weights, vectors=settings.vectors, precision=settings.precision
    )

    def train(frozen: _Frozen, seed: int) -> _OnFrozen:
        started = time.perf_counter()
        model = QuickModel.fit(
            frozen.train,
            task.train_y,
            parts=[(part.dimension, part.weight) for part in backbone.parts],
            classes=task.classes,
            backbone_key=backbone.key,
            C=settings.head_c,
            seed=seed,
        )
        seconds = time.perf_counter() - started
        trained = model.head.weights.size + model.head.bias.size
        return _OnFrozen(model.predict_proba(frozen.test), seconds, trained, trained, None)

    return _on_frozen(HEAD, backbone, task, train)


@dataclass(frozen=True, slots=True, eq=False)
class _OnFrozen:
    """What was trained on a frozen backbone; the numbers are those of the part behind the backbone."""

    probabilities: Float64
    seconds: float
    parameters: int
    trainable: int
    history: History | None


def _on_frozen(
    name: str, backbone: Backbone, task: _Task, train: Callable[[_Frozen, int], _OnFrozen]
) -> Iterator[Contestant]:
    frozen = _Frozen.of(backbone, task)
    for seed in task.seeds:
        trained = train(frozen, seed)
        yield Contestant(
            name=name,
            weights=backbone.weights,
            input_size=backbone.input_size,
            seed=seed,
            metrics=task.tested(trained.probabilities),
            y=task.test_y,
            probabilities=trained.probabilities,
            seconds=frozen.seconds + trained.seconds,
            parameters=frozen.parameters + trained.parameters,
            trainable=trained.trainable,
            images_per_second=frozen.images_per_second,
            history=trained.history,
            runtime=LITERT,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Frozen:
    """What a frozen backbone gives, the same for every seed."""

    train: NDArray[np.floating[Any]]
    test: NDArray[np.floating[Any]]
    seconds: float
    parameters: int
    images_per_second: float

    @classmethod
    def of(cls, backbone: Backbone, task: _Task) -> _Frozen:
        from labeler.embed.networks import keras_model

        threads = thread_count(task.settings.threads)
        runtime = open_runtime(backbone, task.compiled, threads=threads, progress=task.progress)
        parameters = int(keras_model(backbone).count_params())
        _forget()
        squares = squares_of(task.test_files[:TIMED], backbone.input_size, task.settings)
        chunks = range(0, len(squares), _CHUNK)

        def embed(images: Pixels) -> None:
            with ThreadPoolExecutor(threads) as executor:
                list(executor.map(lambda start: runtime.embed(images[start : start + _CHUNK]), chunks))

        rate = _rate(embed, squares)
        runtime.close()
        started = time.perf_counter()
        train = vectors_of(task.train_files, backbone, task.settings, task.compiled, task.progress)
        seconds = time.perf_counter() - started
        test = vectors_of(task.test_files, backbone, task.settings, task.compiled, task.progress)
        return cls(train, test, seconds, parameters, rate)


def _rate(work: Callable[[Pixels], object], squares: Pixels) -> float:
    """Images per second, the median of three passes; the first call, which allocates, is not counted."""
    some = squares[:TIMED]
    work(some[:_BATCH])
    seconds = []
    for _ in range(PASSES):
        started = time.perf_counter()
        work(some)
        seconds.append(time.perf_counter() - started)
    return len(some) / statistics.median(seconds)


def _named(name: str, progress: Report) -> Report:
    if progress is None:
        return None
    tell = progress
    return lambda step: tell(Progress(f"{name}: {step.what}", step.done, step.total))


def _forget() -> None:
    """Give the memory of finished networks back before the next one is built."""
    import keras

    keras.backend.clear_session()
    gc.collect()
