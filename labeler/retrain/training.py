"""The training loop that every network shares: Keras's own `fit`, fed from a source, ended by a held-out part.

Recipe, the same for a network from scratch, a head on frozen features and a few unfrozen blocks: cross-entropy on
logits, rare classes weighted up, a learning rate that rises over the first tenth of the steps and falls along a cosine
to zero (Loshchilov and Hutter, "SGDR", ICLR 2017), and the weights of the epoch with the least loss on images that
were held out. The same seed on the same machine gives the same weights.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from labeler.domain import InvalidScores, NotTrainable, Progress, SettingError

if TYPE_CHECKING:
    from labeler.settings import Settings

Labels = NDArray[np.integer[Any]]
Rows = NDArray[np.int64]
Batch = tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]
Report = Callable[[Progress], None] | None

# With fewer images, or fewer of a class held out, the loss on them says more about their draw than about the network.
SMALLEST_WITH_HOLD_OUT = 20
SMALLEST_HELD_OUT_CLASS = 2
LARGEST_HOLD_OUT = 0.5
MOMENTUM = 0.9


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: times every image is seen, at most.
        batch: images in one step.
        learning_rate: the greatest.
        optimizer: ``adam``, ``adamw``, ``sgd`` (Nesterov momentum 0.9) or ``rmsprop``.
        hold_out: share of the images kept aside to choose the epoch; 0 trains on all of them to the end.
        patience: epochs without a lower held-out loss after which training ends.
        class_weights: whether every class weighs the same, however many images it has.
        seed: of the held-out part, the order and everything random in the layers' training.
        warm_up: share of all steps over which the learning rate rises.
    """

    epochs: int
    batch: int
    learning_rate: float
    optimizer: str
    hold_out: float
    patience: int
    class_weights: bool
    seed: int
    warm_up: float = 0.1

    @classmethod
    def from_settings(cls, settings: Settings, *, learning_rate: float, seed: int) -> Recipe:
        """The settings' recipe; ``learning_rate`` counts where the setting is 0.

        Raises:
            SettingError: more than half of the images would be held out.
        """
        if settings.hold_out > LARGEST_HOLD_OUT:
            raise SettingError(f"hold_out = {settings.hold_out:g} leaves too little to train on", "give at most 0.5")
        return cls(
            epochs=settings.epochs,
            batch=settings.batch,
            learning_rate=settings.learning_rate or learning_rate,
            optimizer=settings.optimizer,
            hold_out=settings.hold_out,
            patience=settings.patience,
            class_weights=settings.class_weights == "on",
            seed=seed,
        )


@dataclass(frozen=True, slots=True)
class History:
    """What happened, one number per epoch that was run.

    Attributes:
        loss, accuracy: on the training images as they were seen (augmented, dropout on); the loss is weighted by class
            and holds the penalties on weights.
        val_loss, val_accuracy: on the held-out images; empty where none were held out.
        learning_rate: at the end of the epoch.
        best_epoch: the epoch, counted from 1, whose weights the network has now.
        seconds: wall time of the whole training.
    """

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]
    learning_rate: tuple[float, ...]
    best_epoch: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


class Source(Protocol):
    """Where batches come from. Called from another thread than the caller of :func:`fit`, one call at a time."""

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def train(self, rows: Rows, epoch: int) -> NDArray[Any]:
        """The images ``rows`` as training sees them in this epoch (from 0): float32 or uint8 (B, ...)."""
        ...

    def plain(self, rows: Rows) -> NDArray[Any]:
        """The same images without augmentation."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ArraySource:
    """An array in memory, without augmentation: cached features, for example."""

    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def train(self, rows: Rows, epoch: int) -> NDArray[Any]:
        return self.values[rows]

    def plain(self, rows: Rows) -> NDArray[Any]:
        return self.values[rows]


def fit(
    model: Any,
    source: Source,
    y: Labels,
    recipe: Recipe,
    *,
    n_classes: int,
    progress: Report = None,
    tensorboard: Path | None = None,
    after_epoch: Callable[[int], bool] | None = None,
) -> History:
    """Train a network in place; layers with ``trainable = False`` (batch normalisation too) stay as they are.

    A network that this function trained before is trained as if it were the first time, from the weights it has now
    (only a dropout layer goes on with its random numbers); the seconds of tracing its graph are saved.

    Fewer than 20 images, or fewer than two of a class held out: nothing is held out and all epochs are run.

    Args:
        model: ``keras.Model`` from a batch of the source to logits (B, c), built under the same seed. c = 1 for two
            classes: the logit of the first; else c = ``n_classes``.
        source: the images.
        y: (n,) class numbers.
        recipe: how.
        n_classes: C.
        progress: told after every step.
        after_epoch: told the number of every epoch, from 1, when it is over; training ends where it returns True.
        tensorboard: folder that gets an event file with the loss, accuracy and learning rate of every epoch.

    Returns:
        The history; the model has the weights of ``best_epoch``.

    Raises:
        NotTrainable: labels of fewer than two classes, or the loss or a weight is no longer a number.
        InvalidScores: shapes do not fit together.
    """
    import keras

    _check(model, source, y, n_classes)
    keras.utils.set_random_seed(recipe.seed)
    training, held_out = split(y, recipe.hold_out, recipe.seed)
    feed = _Feed.of(source, y, training, recipe, binary=model.output_shape[-1] == 1)
    _compile(model, recipe)
    rates: list[float] = []
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=recipe.patience, restore_best_weights=True)
    callbacks = [_observer(model, feed, rates, recipe, progress), keras.callbacks.TerminateOnNaN()]
    if after_epoch is not None:
        callbacks.append(_stopper(model, after_epoch))
    started = time.perf_counter()
    record = model.fit(
        _dataset(feed.steps, feed.training),
        epochs=recipe.epochs,
        verbose=0,
        shuffle=False,  # the feed has an order of its own, by seed and epoch
        callbacks=[*callbacks, stopping] if len(held_out) else callbacks,
        validation_data=_dataset(-(-len(held_out) // recipe.batch), feed.plain(held_out)) if len(held_out) else None,
    ).history
    seconds = time.perf_counter() - started
    history = _history(record, rates, stopping.best_epoch + 1 if len(held_out) else len(rates), seconds)
    if not _finite(history, model):
        raise NotTrainable("the training diverged: it gave no numbers", "set a lower learning_rate")
    if tensorboard is not None:
        write_events(history, tensorboard)
    return history


def split(y: Labels, hold_out: float, seed: int) -> tuple[Rows, Rows]:
    """Rows to train on and rows held out, both ascending; the share is taken from every class.

    Nothing is held out of fewer than 20 images, or where a class would have fewer than two there.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x5717]))
    chosen: list[Rows] = []
    for number in np.unique(y):
        of_class = rng.permutation(np.flatnonzero(y == number))
        chosen.append(of_class[: round(hold_out * len(of_class))])
    everything = np.arange(len(y))
    if len(y) < SMALLEST_WITH_HOLD_OUT or min(map(len, chosen)) < SMALLEST_HELD_OUT_CLASS:
        return everything, everything[:0]
    held_out = np.sort(np.concatenate(chosen))
    return np.setdiff1d(everything, held_out), held_out


def weights_of_classes(y: Labels, n_classes: int) -> NDArray[np.float32]:
    """(C,) weights by which every class present counts the same and the mean over the images is 1; 0 if absent."""
    counts = np.bincount(y, minlength=n_classes)
    present = np.count_nonzero(counts)
    return np.where(counts > 0, len(y) / (present * np.maximum(counts, 1)), 0.0).astype(np.float32)


def targets_of(y: Labels, *, binary: bool) -> NDArray[np.float32] | NDArray[np.int64]:
    """What the loss compares with: (n, 1) float32, 1 for the first class; or (n,) class numbers."""
    return (y[:, None] == 0).astype(np.float32) if binary else y.astype(np.int64)


def write_events(history: History, folder: Path) -> None:
    """Write the history as TensorBoard's events.

    By TensorFlow's own writer: the callback of Keras asks for the package ``tensorboard``, which only a person who
    looks at the curves needs.
    """
    import tensorflow as tf

    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class=1
    )
    sides = {
        "train": {"loss": history.loss, "accuracy": history.accuracy, "learning_rate": history.learning_rate},
        "validation": {"loss": history.val_loss, "accuracy": history.val_accuracy},
    }
    for side, curves in sides.items():
        if not any(curves.values()):
            continue
        writer = tf.summary.create_file_writer(str(folder / side))
        with writer.as_default():
            for name, values in curves.items():
                for epoch, value in enumerate(values, start=1):
                    tf.summary.write(f"epoch_{name}", tf.constant(value, tf.float32), epoch, metadata)
        writer.close()


# ------------------------------------------------------------------------------------------------------- the parts


def _check(model: Any, source: Source, y: Labels, n_classes: int) -> None:
    columns = model.output_shape[-1]
    if columns != n_classes and (columns, n_classes) != (1, 2):
        raise InvalidScores(f"a network with {columns} outputs for {n_classes} classes", "check the classes setting")
    if y.shape != (len(source),):
        raise InvalidScores(f"{len(source)} images with labels of shape {y.shape}", "one label per image")
    if len(np.unique(y)) < 2:
        seen = "no labels" if len(y) == 0 else "labels of one class only"
        raise NotTrainable(f"nothing can be trained from {seen}", "label images of at least two classes")
    if y.min() < 0 or y.max() >= n_classes:
        raise InvalidScores(f"a label lies outside the {n_classes} classes", "check the classes setting")


def _compile(model: Any, recipe: Recipe) -> None:
    """Loss and a fresh optimiser. The learning rate is set from outside, step by step: part of the graph, the rule
    would have to be traced anew for every number of images."""
    import keras

    if model.compiled and model.optimizer.name == recipe.optimizer:
        rate = model.optimizer.learning_rate
        for variable in model.optimizer.variables:
            if variable is not rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))
        return
    binary = model.output_shape[-1] == 1
    losses, metrics = keras.losses, keras.metrics
    model.compile(
        optimizer=_optimizer(recipe.optimizer, recipe.learning_rate),
        loss=losses.BinaryCrossentropy(True) if binary else losses.SparseCategoricalCrossentropy(True),
        metrics=[
            metrics.BinaryAccuracy("accuracy", threshold=0.0)
            if binary
            else metrics.SparseCategoricalAccuracy("accuracy")
        ],
        jit_compile=False,  # Keras would choose XLA, whose convolutions took 9 times as long on a CPU (89 and 10 ms)
    )


def rate_at(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate of a step, from 0, of ``steps``: a rise over the first tenth, then a cosine down to 0."""
    warm = max(1, round(recipe.warm_up * steps))
    if step < warm:
        start = 1.0 / warm  # not 0: the first step would be wasted
        return recipe.learning_rate * (start + (1.0 - start) * step / warm)
    done = min(1.0, (step - warm) / max(1, steps - warm))
    return recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def _optimizer(name: str, rate: float) -> Any:
    from keras import optimizers

    if name == "sgd":
        return optimizers.SGD(rate, momentum=MOMENTUM, nesterov=True, name=name)
    known = {"adam": optimizers.Adam, "adamw": optimizers.AdamW, "rmsprop": optimizers.RMSprop}
    return known[name](rate, name=name)


@dataclass(slots=True, eq=False)
class _Feed:
    """Batches of (images, targets, weights): those of training in a new order every epoch."""

    source: Source
    targets: NDArray[Any]
    weights: NDArray[np.float32]
    rows: Rows
    batch: int
    seed: int
    epoch: int = 0
    order: Rows = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(cls, source: Source, y: Labels, rows: Rows, recipe: Recipe, *, binary: bool) -> _Feed:
        n_classes = int(y.max()) + 1
        of_class = weights_of_classes(y[rows], n_classes) if recipe.class_weights else np.ones(n_classes, np.float32)
        feed = cls(source, targets_of(y, binary=binary), of_class[y], rows, recipe.batch, recipe.seed)
        feed.start(0)
        return feed

    @property
    def steps(self) -> int:
        return -(-len(self.rows) // self.batch)

    def start(self, epoch: int) -> None:
        self.epoch = epoch
        self.order = np.random.default_rng(np.random.SeedSequence([self.seed, epoch])).permutation(self.rows)

    def training(self, index: int) -> Batch:
        rows = self.order[index * self.batch : (index + 1) * self.batch]
        return self.source.train(rows, self.epoch), self.targets[rows], self.weights[rows]

    def plain(self, of: Rows) -> Callable[[int], Batch]:
        def batch(index: int) -> Batch:
            rows = of[index * self.batch : (index + 1) * self.batch]
            return self.source.plain(rows), self.targets[rows], self.weights[rows]

        return batch


def _dataset(length: int, batch: Callable[[int], Batch]) -> Any:
    import keras

    class Dataset(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
        def __len__(self) -> int:
            return length

        def __getitem__(self, index: int) -> Batch:
            return batch(index)

    return Dataset()


def _observer(model: Any, feed: _Feed, rates: list[float], recipe: Recipe, progress: Report) -> Any:
    """Tells the feed which epoch it is, sets and notes the learning rate, reports the steps."""
    import keras

    total = recipe.epochs * feed.steps

    def begin(batch: int, logs: Any) -> None:
        model.optimizer.learning_rate = rate_at(recipe, feed.epoch * feed.steps + batch, total)

    def step(batch: int, logs: Any) -> None:
        if progress:
            progress(Progress("train", feed.epoch * feed.steps + batch + 1, total))

    def end(epoch: int, logs: Any) -> None:
        rates.append(rate_at(recipe, (epoch + 1) * feed.steps, total))

    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: feed.start(epoch),
        on_train_batch_begin=begin,
        on_train_batch_end=step,
        on_epoch_end=end,
    )


def _stopper(model: Any, after_epoch: Callable[[int], bool]) -> Any:
    import keras

    def end(epoch: int, logs: Any) -> None:
        model.stop_training = model.stop_training or after_epoch(epoch + 1)

    return keras.callbacks.LambdaCallback(on_epoch_end=end)


def _finite(history: History, model: Any) -> bool:
    """Whether all went well. The loss alone does not tell: TensorFlow's ReLU makes 0 of NaN."""
    losses = [*history.loss, *history.val_loss]
    return bool(np.isfinite(losses).all()) and all(np.isfinite(weight).all() for weight in model.get_weights())


def _history(record: dict[str, list[float]], rates: list[float], best_epoch: int, seconds: float) -> History:
    def curve(name: str) -> tuple[float, ...]:
        return tuple(float(value) for value in record.get(name, ()))

    return History(
        loss=curve("loss"),
        accuracy=curve("accuracy"),
        val_loss=curve("val_loss"),
        val_accuracy=curve("val_accuracy"),
        learning_rate=tuple(rates),
        best_epoch=best_epoch,
        seconds=seconds,
    )
