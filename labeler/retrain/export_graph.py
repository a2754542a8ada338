"""One network from a photograph of any size to class probabilities, of Keras's own layers and operations only.

What :func:`labeler.embed.pixels.load_square`, a backbone, :class:`FeatureMap` and :class:`Head` do one after the other,
as a single ``keras.Model``. No Lambda and no class of ours is in it: the ``.keras`` file loads in safe mode on a
machine that has never heard of this program, and the converters to LiteRT and ONNX find nothing they do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labeler.domain import LabelerError
from labeler.embed.backbones import Backbone
from labeler.embed.networks import keras_model
from labeler.rank.features import PLAIN
from labeler.rank.head import QuickModel
from labeler.retrain.layers import rooted

if TYPE_CHECKING:
    pass

INPUT, OUTPUT = "image", "probability"
_HALF = 2048.0  # Pillow works with 22 bits: two halves of 11


def whole(backbone: Backbone, model: QuickModel) -> Any:
    """The network of a model version.

    Returns:
        ``keras.Model`` from RGB pixels (B, H, W, 3), 0..255, to float32 (B, C): the probability of each class in the
        order of ``model.classes``, rows adding up to 1. All images of a batch have one size.

    Raises:
        LabelerError: the model was made for another backbone.
        WeightsUnavailable: the backbone's weights are not here.
    """
    import keras

    pixels = keras.Input((None, None, 3), name=INPUT)
    return keras.Model(pixels, _answers(resized(pixels, backbone.input_size), backbone, model), name="labeler")


def classifier(backbone: Backbone, model: QuickModel) -> Any:
    """As :func:`whole`, for squares (B, S, S, 3) that are resized already: what a batch of photographs is fed to."""
    import keras

    squares = keras.Input((backbone.input_size, backbone.input_size, 3), name=INPUT)
    return keras.Model(squares, _answers(squares, backbone, model), name="labeler")


def _answers(squares: Any, backbone: Backbone, model: QuickModel) -> Any:
    if model.backbone_key != backbone.key or model.features.dimension != backbone.dimension:
        raise LabelerError(
            f"the model was made for {model.backbone_key}, not for {backbone.key}", "check backbone and weights"
        )
    activations = keras_model(backbone)(squares)
    parts = [activations[part.name] for part in backbone.parts]
    return _blended(_probabilities(_vectors(parts, model), model), parts, model)


def resized(pixels: Any, size: int) -> Any:
    """Stretch to a square as Pillow's BILINEAR does: a triangle filter that widens when shrinking.

    Pillow computes each output row as a weighted sum of input rows, first along the width, then along the height, in
    fixed point with 22 bits, and rounds after each (``Resample.c``). Both sums are done here as products with matrices
    that are made from the picture's size while the network runs, in float32 but exactly: see :func:`_rounded`. With
    sums rounded otherwise less than 1 % of the pixels differ by 1, and that alone moved a probability by 0.003.

    Keras's own ``Resizing`` layer does not do: it rounds nothing, and LiteRT has no operation for its antialiasing.

    Args:
        pixels: float32 (B, H, W, 3), whole numbers 0..255.
        size: S.

    Returns:
        float32 (B, S, S, 3), whole numbers: Pillow's pixels. Some differ by 1 beyond 4,096 pixels along a side, where
        the weights are no longer exact, and in pictures over a hundred times as high as wide, for which Pillow from
        12.3 on begins with the height.
    """
    from keras import ops

    planes = ops.transpose(pixels, (0, 3, 1, 2))
    plane = ops.take(ops.take(planes, 0, axis=0), 0, axis=0)
    coarse, fine = _triangle(ops.take(plane, 0, axis=0), size)
    narrow = _rounded(ops.matmul(planes, ops.transpose(coarse)), ops.matmul(planes, ops.transpose(fine)))
    coarse, fine = _triangle(ops.take(plane, 0, axis=1), size)
    square = _rounded(ops.matmul(coarse, narrow), ops.matmul(fine, narrow))
    return ops.transpose(square, (0, 2, 3, 1))


def _triangle(line: Any, size: int) -> tuple[Any, Any]:
    """The weights with which n pixels of a line become ``size``, in units of 2**-11 and of 2**-22.

    A weight is t / T with whole numbers t and T = sum of t along a row, so nothing is lost before it is cut to 22
    bits, in two halves of a long division.

    Only the length of ``line`` (n,) counts. It is found by counting ones: asking for the shape would make LiteRT give
    up its fast path for all that follows, because the memory could not be laid out before the run.

    Returns:
        float32 (size, n) each, whole numbers; the second from -1024 to 1024.
    """
    import numpy as np
    from keras import ops

    ones = ops.maximum(ops.minimum(line, 1.0), 1.0)
    length = ops.sum(ones)
    places = ops.expand_dims((2.0 * ops.cumsum(ones) - 1.0) * float(size), 0)
    odd = (2 * np.arange(size) + 1).astype(np.float32)
    distance = ops.abs(places - ops.expand_dims(ops.multiply(length, odd), 1))
    weights = ops.maximum(2.0 * ops.maximum(length, float(size)) - distance, 0.0)
    total = ops.sum(weights, axis=1, keepdims=True)
    coarse = ops.floor(weights * _HALF / total + 0.5)
    fine = ops.floor((weights * _HALF - coarse * total) * _HALF / total + 0.5)
    return coarse, fine


def _rounded(coarse: Any, fine: Any) -> Any:
    """(coarse * 2**11 + fine) / 2**22, halves up, where float32 could not hold the sum.

    Both are whole numbers below 2**24, which float32 holds exactly in whatever order they were summed.
    """
    from keras import ops

    return ops.floor((coarse + ops.floor(fine / _HALF) + _HALF / 2) / _HALF)


def _vectors(activations: list[Any], model: QuickModel) -> Any:
    """What :class:`FeatureMap` makes of the activations (B, d) of each part: float32 (B, D)."""
    from keras import layers

    if model.features.recipe != PLAIN:
        parts = zip(activations, model.features.parts, strict=True)
        activations = [rooted(part, model.features.mean[start:stop], weight) for part, (start, stop, weight) in parts]
    return layers.Concatenate(name="vector")(activations) if len(activations) > 1 else activations[0]


def _probabilities(vectors: Any, model: QuickModel) -> Any:
    """What :class:`Head` makes of vectors (B, D): float32 (B, C)."""
    import numpy as np
    from keras import layers

    head = model.head
    dense = layers.Dense(head.weights.shape[1], name="logits")
    logits = dense(vectors)
    dense.set_weights([head.weights / np.float32(head.temperature), head.bias / head.temperature])
    seen = _as_probabilities(logits)
    if len(head.present) == head.n_classes:
        return seen
    places = np.zeros((len(head.present), head.n_classes), np.float32)
    places[np.arange(len(head.present)), head.present] = 1.0
    spread = layers.Dense(head.n_classes, use_bias=False, name="every_class")
    out = spread(seen)
    spread.set_weights([places])
    return out


def _as_probabilities(logits: Any) -> Any:
    """:func:`labeler.rank.logistic.probabilities`: one logit is that of the first of two classes."""
    from keras import layers, ops

    if logits.shape[-1] > 1:
        return layers.Softmax()(logits)
    first = ops.sigmoid(logits)
    return layers.Concatenate()([first, 1.0 - first])


def _blended(head: Any, parts: list[Any], model: QuickModel) -> Any:
    """The head's probabilities averaged with a fine-tuned network's own output (:class:`Readout`), if it has one."""
    readout = model.readout
    if readout is None:
        return head
    starts = [start for start, _, _ in model.features.parts]
    logits = parts[starts.index(readout.start)]
    return head * (1.0 - readout.share) + _as_probabilities(logits / readout.temperature) * readout.share
