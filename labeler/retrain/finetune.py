"""Fine-tuning: the top of a backbone trained on the labels, from where the fitted head stands.

The network is cut at the last frozen block. What comes out there is made once, for the photographs as they are and
for some augmented views of them, and only the top is trained on it: everything below the cut would give the same
numbers in every epoch. Batch normalisation stays as ImageNet left it (Kornblith, Shlens and Le, "Do better ImageNet
models transfer better?", CVPR 2019, fine-tune it; with a few hundred images its statistics would be noise).

What the network would say of an image it has not seen is asked of others, each trained alike without a third of the
labels: those answers decide after which epoch to stop, whether the network is used at all, and how sure it may be. Each
begins with a head of its own, fitted without the images it is asked about: begun with the head of all labels, every one
of them would have seen the answers (on 500 labels they were then right 94 % of the time instead of 64).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labeler.domain import Progress
from labeler.embed.backbones import Backbone
from labeler.embed.frozen_half import FrozenHalf
from labeler.embed.networks import CUT, halves, with_cut
from labeler.embed.service import thread_count
from labeler.rank.calibration import stratified_folds
from labeler.rank.features import FeatureMap
from labeler.rank.head import Head
from labeler.rank.readout import PART, average, fitted_temperature
from labeler.retrain.augment import Augmentation, augmented
from labeler.retrain.layers import rooted
from labeler.retrain.quick_top import quick_form
from labeler.retrain.training import History, Recipe, fit
from labeler.retrain.transfer import squares_of

if TYPE_CHECKING:
    from labeler.settings import Settings

Pixels = NDArray[np.uint8]
Report = Callable[[Progress], None] | None

#: Greatest learning rate where the setting is 0. On 500 degraded photographs 1e-4, 3e-4 and 1e-3 gave 88.0, 89.3 and
#: 87.5 % together with the head (one split, 400 test images).
LEARNING_RATE = 3e-4
FOLDS = 3
#: What the cached activations may take; with more images they see fewer views.
CACHE_BYTES = 1 << 30
_FLOOR = 1e-6  # below it the root has no slope that a step could follow
_UNSEEN = 5.0  # by how much a class without a label starts below the others


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A fine-tuned network with what is needed to judge it.

    Attributes:
        network: ``keras.Model`` from float32 pixels (B, S, S, 3), RGB in 0..255, to the backbone's own parts, as they
            were, and ``tuned``: float32 (B, c) logits of the network's new top.
        held_out: float64 (n, c), logits of every training image by networks trained without it.
        head_held_out: float64 (n, C), probabilities of the same images by the heads those networks began as.
        validation: float64 (m, c), logits of the validation images by the network itself.
        history: of its training.
    """

    network: Any
    held_out: NDArray[np.float64]
    head_held_out: NDArray[np.float64]
    validation: NDArray[np.float64]
    history: History


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What comes out at the cut, of several views of each image; the first is the photograph as it is.

    A :class:`~labeler.retrain.training.Source`. Stored as float16: it halves the memory, and what it rounds away is a
    thousandth.
    """

    views: NDArray[np.float16]  # (V, n, h, w, channels)
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def train(self, rows: NDArray[np.int64], epoch: int) -> NDArray[Any]:
        seen: NDArray[Any] = self.views[epoch % len(self.views), self.rows[rows]].astype(np.float32)
        return seen

    def plain(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        seen: NDArray[Any] = self.views[0, self.rows[rows]].astype(np.float32)
        return seen

    def part(self, rows: NDArray[np.int64]) -> Activations:
        """Some of the images."""
        return Activations(self.views, self.rows[rows])


def tune(
    pictures: Callable[[int], Pixels] | Sequence[Path],
    y: NDArray[np.integer[Any]],
    shas: Sequence[str],
    vectors: NDArray[np.float32],
    *,
    backbone: Backbone,
    features: FeatureMap,
    settings: Settings,
    seed: int,
    compiled: Path,
    validation: Callable[[int], Pixels] | Sequence[Path] = (),
    folds: int = FOLDS,
    progress: Report = None,
    tensorboard: Path | None = None,
) -> Tuned:
    """Fine-tune the top of a backbone. Loads TensorFlow: call it in a process that may be heavy.

    Args:
        pictures: n labelled photographs, or what gives their squares (n, S, S, 3).
        y: (n,) class numbers.
        shas: who they are; their augmented views depend on it.
        vectors: (n, D) of them, by the backbone and ``features``: the new top begins as the head fitted on these, so
            before the first step the network says what that head says.
        backbone: where it starts from; one of the registry.
        features: the recipe of the vectors.
        settings: recipe and augmentation.
        seed: of folds, views, order and held-out parts.
        compiled: folder of converted networks.
        validation: photographs to judge it by, never trained on.
        folds: parts into which the labels are dealt for the held-out logits; 0 leaves those at 0.
        progress: told of every step.
        tensorboard: folder for the event files of the final training.

    Raises:
        NotTrainable: labels of one class only, or the training diverged.
        WeightsUnavailable: the backbone's weights are not on this machine.
        LabelerError: a photograph cannot be read.
    """
    n_classes = len(settings.classes)
    lower, upper = halves(backbone)
    top = trainable_top(lower, upper, backbone, features, n_classes)
    quick = quick_form(top)
    frozen = FrozenHalf(lower, backbone, compiled, thread_count(settings.threads))
    squares = squares_of(pictures, backbone.input_size, settings, progress)
    cache = activations(frozen, squares, shas, settings, seed, progress)
    begin = top.get_weights()
    recipe = Recipe.from_settings(settings, learning_rate=LEARNING_RATE, seed=seed)
    fold = stratified_folds(y, folds, seed) if folds else np.zeros(0, np.int64)
    parts = int(fold.max()) + 1 if folds else 0
    report = _Stages(progress, parts + 1)

    def train(rows: NDArray[np.int64], stage: int, after_epoch: Callable[[int], bool], events: Path | None) -> History:
        top.set_weights(begin)
        start_at(top, heads[stage])
        return fit(
            quick,
            cache.part(rows),
            y[rows],
            dataclasses.replace(recipe, hold_out=0.0),
            n_classes=n_classes,
            progress=report.stage(stage),
            tensorboard=events,
            after_epoch=after_epoch,
        )

    sides = [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(parts)]
    everything = np.arange(len(y))
    heads = [
        Head.fit(vectors[rows], y[rows], n_classes=n_classes, C=settings.head_c, seed=seed)
        for rows in [*(inside for inside, _ in sides), everything]
    ]
    said = np.zeros((recipe.epochs, len(y), top.output_shape[-1]))
    beside = np.zeros((len(y), n_classes))
    for number, (inside, outside) in enumerate(sides):
        beside[outside] = heads[number].predict_proba(vectors[outside])

        def listen(epoch: int, outside: NDArray[np.int64] = outside) -> bool:
            said[epoch - 1, outside] = _logits(top, cache.part(outside))
            return False

        train(inside, number, listen, None)
    best = best_epoch(said, beside, y) if parts else recipe.epochs
    history = train(everything, parts, lambda epoch: epoch >= best, tensorboard)
    judged = squares_of(validation, backbone.input_size, settings, progress)
    return Tuned(
        network=assembled(backbone, top),
        held_out=said[best - 1],
        head_held_out=beside,
        validation=_logits(top, _plain(frozen, judged)),
        history=history,
    )


def best_epoch(said: NDArray[np.float64], head: NDArray[np.float64], y: NDArray[np.integer[Any]]) -> int:
    """The epoch, from 1, after which networks and heads together were the least surprised by what they had not seen.

    Early stopping with every label held back once. A held-back part of the usual size, 30 images of 200, chose the
    first epoch of any training: it takes more images than that to tell a better network from a surer one. Each epoch's
    logits are brought to their own temperature first, as they will be in use.

    Args:
        said: (epochs, n, c) logits; head: (n, C) probabilities; y: (n,) class numbers.
    """
    rows = np.arange(len(y))
    losses = []
    for logits in said:
        together = average(head, logits, fitted_temperature(logits, y))
        losses.append(-np.log(np.maximum(together[rows, y], 1e-6)).mean())
    return int(np.argmin(losses)) + 1


def trainable_top(lower: Any, upper: Any, backbone: Backbone, features: FeatureMap, n_classes: int) -> Any:
    """The second half with an output on it: activations at the cut to logits (B, c); see :func:`start_at`."""
    import keras

    lower.trainable = False
    for layer in upper.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    vectors = [
        rooted(upper.output[part.name], features.mean[start:stop], weight, floor=_FLOOR)
        for part, (start, stop, weight) in zip(backbone.parts, features.parts, strict=True)
    ]
    joined = keras.layers.Concatenate()(vectors) if len(vectors) > 1 else vectors[0]
    logits = keras.layers.Dense(1 if n_classes == 2 else n_classes, name=PART)(joined)
    return keras.Model(upper.input, logits)


def start_at(top: Any, head: Head) -> None:
    """Make a head the output layer: the network then says what the head says.

    The temperature is folded in, so it is as sure as the head. One that has seen only some of the classes gets
    weights 0 and a low bias for the others.
    """
    kernel = (head.weights / head.temperature).astype(np.float32)
    bias = (head.bias / head.temperature).astype(np.float32)
    if head.n_classes > 2:
        if kernel.shape[1] == 1:  # two classes of several: the logit of the first against 0
            kernel, bias = np.column_stack([kernel[:, 0], 0 * kernel[:, 0]]), np.array([bias[0], 0.0], np.float32)
        all_kernel = np.zeros((len(kernel), head.n_classes), np.float32)
        all_bias = np.full(head.n_classes, min(0.0, float(bias.min())) - _UNSEEN, np.float32)
        all_kernel[:, head.present], all_bias[head.present] = kernel, bias
        kernel, bias = all_kernel, all_bias
    top.get_layer(PART).set_weights([kernel, bias])


def activations(
    lower: FrozenHalf, squares: Pixels, shas: Sequence[str], settings: Settings, seed: int, progress: Report = None
) -> Activations:
    """Run every view of the photographs through the frozen half, once."""
    one_view = len(squares) * int(np.prod(lower.shape)) * np.dtype(np.float16).itemsize
    count = max(1, min(settings.views, settings.epochs, CACHE_BYTES // max(1, one_view)))
    views = np.empty((count, len(squares), *lower.shape), np.float16)
    augmentation = Augmentation.from_settings(settings)
    threads = thread_count(settings.threads)
    for view in range(count):
        seen = squares if view == 0 else augmented(squares, shas, augmentation, seed, view, threads=threads)
        lower.run(seen, views[view])
        if progress:
            progress(Progress("frozen layers", view + 1, count))
    return Activations(views, np.arange(len(squares)))


def _plain(lower: FrozenHalf, squares: Pixels) -> Activations:
    views = np.empty((1, len(squares), *lower.shape), np.float16)
    lower.run(squares, views[0])
    return Activations(views, np.arange(len(squares)))


def _logits(top: Any, images: Activations) -> NDArray[np.float64]:
    rows = np.arange(len(images))
    said = [top.predict_on_batch(images.plain(rows[at : at + 64])) for at in range(0, len(rows), 64)]
    return np.concatenate([np.zeros((0, top.output_shape[-1])), *said]).astype(np.float64)


def assembled(backbone: Backbone, top: Any) -> Any:
    """The whole network: the backbone as it was, with the tuned top as a second branch at the cut.

    The old parts stay, so that heads go on being fitted on vectors that have seen no label; the branch shares all
    that lies below the cut.
    """
    import keras

    whole = with_cut(backbone)
    branch = keras.Model(top.input, top.output, name=PART)
    parts = {part.name: whole.output[part.name] for part in backbone.parts}
    return keras.Model(whole.input, {**parts, PART: branch(whole.output[CUT])})


class _Stages:
    """Progress of several trainings, one after the other, as one."""

    def __init__(self, progress: Report, count: int) -> None:
        self.progress, self.count = progress, count

    def stage(self, number: int) -> Report:
        if self.progress is None:
            return None
        progress, count = self.progress, self.count

        def report(step: Progress) -> None:
            total = max(1, step.total or 1)
            progress(Progress("fine-tune", number * total + min(step.done, total), count * total))

        return report
