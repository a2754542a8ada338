"""The trained half of a backbone in a form that a processor steps through faster, on the same weights.

TensorFlow's ready-made step spends most of its time where nothing is learned: it normalises by constants in separate
passes over the activations, and its gradient of a depthwise kernel takes ten times as long as the convolution itself.
Here the constants of a frozen batch normalisation go into the kernel before it, the products of 1x1 convolutions are
taken as matrices, and the gradient of a depthwise kernel is read off one product per channel. Where the processor
multiplies bfloat16 in hardware, activations and products are of that type, and weights, losses and steps stay float32
(Micikevicius et al., "Mixed precision training", ICLR 2018; Kalamkar et al., "A study of BFLOAT16 for deep learning
training", 2019).

Only the graph differs: the layers that hold the weights are those of the network it is made from, which learns as this
one is trained and is saved as the ordinary layers it consists of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BFLOAT16, FLOAT32 = "bfloat16", "float32"
_CPU = Path("/proc/cpuinfo")
_IN_HARDWARE = {"amx_bf16", "avx512_bf16"}
#: Positions in a channel up to which the gradient of its kernel by way of a matrix is the faster one (7 x 7 and less).
LARGEST_MATRIX = 64


def quick_form(top: Any, dtype: str | None = None) -> Any:
    """A network with the weights of another that says the same and is trained faster.

    Args:
        top: ``keras.Model`` of layers, from activations (B, h, w, c) on; its batch normalisation frozen.
        dtype: of activations and products, ``float32`` or ``bfloat16``; None for what this processor does best.

    Returns:
        ``keras.Model`` with the inputs and outputs of ``top``, and its very variables; ``top`` itself where none of
        its layers has a faster form. The others are called as they are. Made to be trained, not to be saved.
    """
    import keras

    number = dtype or fastest_dtype()
    plan = _plan(top)
    if not plan.fused:
        return top

    def call(layer: Any, *values: Any, **options: Any) -> Any:
        if layer.name in plan.absorbed:
            return values[0]
        if (fused := plan.fused.get(layer.name)) is not None:
            return _fused_layer(fused, number)(values[0])
        if isinstance(layer, keras.layers.GlobalAveragePooling2D):
            return _step(layer.name, _pooled)(values[0])
        if isinstance(layer, keras.layers.Add):
            return _step(layer.name, _sum)(values[0])
        return layer(*(_as_float32(value, layer.name) for value in values), **options)

    return keras.models.clone_model(top, clone_function=lambda layer: layer, call_function=call)


def fastest_dtype() -> str:
    """``bfloat16`` where the processor multiplies it in hardware, else ``float32``."""
    try:
        words = set(_CPU.read_text().split())
    except OSError:
        return FLOAT32
    return BFLOAT16 if words & _IN_HARDWARE else FLOAT32


# -------------------------------------------------------------------------------------------------------- the plan


@dataclass(frozen=True, slots=True, eq=False)
class _Fused:
    """A convolution with the frozen normalisation and the ReLU6 that follow it."""

    convolution: Any
    normalisation: Any
    capped: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    fused: dict[str, _Fused]  # by the name of the convolution
    absorbed: set[str]  # layers that are done by the one before them


def _plan(top: Any) -> _Plan:
    import keras

    layers = keras.layers
    single = [layer for layer in top.layers if not isinstance(layer.input, (list, tuple, dict))]
    readers = Counter(id(value) for layer in top.layers for value in keras.tree.flatten(layer.input))
    after = {id(layer.input): layer for layer in single if not isinstance(layer, layers.InputLayer)}
    plan = _Plan({}, set())
    for layer in single:
        if not _fits(layer) or readers[id(layer.output)] != 1:
            continue
        normalisation = after.get(id(layer.output))
        if not isinstance(normalisation, layers.BatchNormalization) or normalisation.trainable:
            continue
        plan.absorbed.add(normalisation.name)
        capped = after.get(id(normalisation.output)) if readers[id(normalisation.output)] == 1 else None
        if not (isinstance(capped, layers.ReLU) and _is_relu6(capped)):
            capped = None
        if capped is not None:
            plan.absorbed.add(capped.name)
        plan.fused[layer.name] = _Fused(layer, normalisation, capped is not None)
    return plan


def _fits(layer: Any) -> bool:
    import keras

    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    if not depthwise and type(layer) is not keras.layers.Conv2D:
        return False
    bare = not layer.use_bias and layer.activation is keras.activations.linear and layer.data_format == "channels_last"
    if depthwise:
        square = len(set(layer.strides)) == 1 and tuple(layer.dilation_rate) == (1, 1)
        return bare and square and layer.depth_multiplier == 1
    return bare and layer.groups == 1 and tuple(layer.kernel_size) == tuple(layer.strides) == (1, 1)


def _is_relu6(layer: Any) -> bool:
    slope, threshold = float(layer.negative_slope), float(layer.threshold)
    return layer.max_value is not None and (float(layer.max_value), slope, threshold) == (6.0, 0.0, 0.0)


# ------------------------------------------------------------------------------------------------------- the layers


def _as_float32(value: Any, wanted_by: str) -> Any:
    import keras
    import tensorflow as tf

    if all(getattr(tensor, "dtype", None) != BFLOAT16 for tensor in keras.tree.flatten(value)):
        return value
    cast = _step(f"{wanted_by}_in", lambda given: keras.tree.map_structure(lambda x: tf.cast(x, FLOAT32), given))
    return cast(value)


def _step(name: str, does: Callable[[Any], Any]) -> Any:
    """A layer without weights; by a name of its own, for those Keras gives may be taken in the network copied."""
    import keras

    class Step(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__(name=f"quick_{name}", autocast=False)

        def call(self, x: Any) -> Any:
            return does(x)

    return Step()


def _fused_layer(fused: _Fused, dtype: str) -> Any:
    import keras
    import tensorflow as tf

    depthwise = isinstance(fused.convolution, keras.layers.DepthwiseConv2D)

    class Fused(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            # Without autocast: the values that come in are of the type that the products are to have.
            super().__init__(name=f"quick_{fused.convolution.name}", autocast=False)
            self.convolution, self.normalisation = fused.convolution, fused.normalisation

        def call(self, x: Any) -> Any:
            norm = self.normalisation
            scale = tf.math.rsqrt(norm.moving_variance + norm.epsilon)
            scale = scale * norm.gamma if norm.scale else scale
            bias = -norm.moving_mean * scale + (norm.beta if norm.center else 0.0)
            of_outputs = scale[:, None] if depthwise else scale
            kernel = tf.cast(tf.convert_to_tensor(self.convolution.kernel) * of_outputs, dtype)
            x, bias = tf.cast(x, dtype), tf.cast(bias, dtype)
            if depthwise:
                stride, padding = self.convolution.strides[0], self.convolution.padding.upper()
                return _depthwise(x, kernel, bias, stride, padding, fused.capped)
            return _pointwise(x, kernel, bias, fused.capped)

    return Fused()


# ---------------------------------------------------------------------------------------------------- the operations


def _finish(value: Any, bias: Any, capped: bool) -> tuple[Any, Callable[[Any], Any]]:
    """Bias and ReLU6, in the order in which TensorFlow makes one operation of them; and the way back."""
    import tensorflow as tf

    y = tf.nn.bias_add(value, bias)
    if not capped:
        return y, lambda dy: dy
    y = tf.nn.relu6(y)
    return y, lambda dy: tf.raw_ops.Relu6Grad(gradients=dy, features=y)


def _pointwise(x: Any, kernel: Any, bias: Any, capped: bool) -> Any:
    """1x1 convolution of (B, h, w, c) by (1, 1, c, d), bias (d,) a constant."""
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolved(x: Any, kernel: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
        y, back = _finish(tf.nn.conv2d(x, kernel, 1, "VALID"), bias, capped)

        def gradient(dy: Any) -> tuple[Any, Any]:
            into, out = kernel.shape[2], kernel.shape[3]
            rows = tf.reshape(back(dy), [-1, out])
            dx = tf.reshape(tf.matmul(rows, kernel[0, 0], transpose_b=True), tf.shape(x))
            return dx, tf.matmul(tf.reshape(x, [-1, into]), rows, transpose_a=True)[None, None]

        return y, gradient

    return convolved(x, kernel)


def _depthwise(x: Any, kernel: Any, bias: Any, stride: int, padding: str, capped: bool) -> Any:
    """Depthwise convolution of (B, h, w, c) by (k, l, c, 1), bias (c,) a constant."""
    import tensorflow as tf

    options = {"strides": [1, stride, stride, 1], "padding": padding}

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolved(x: Any, kernel: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
        y, back = _finish(tf.nn.depthwise_conv2d(x, kernel, **options), bias, capped)

        def gradient(dy: Any) -> tuple[Any, Any]:
            dy = back(dy)
            dx = _input_gradient(x, dy, kernel, stride, padding)
            if dy.shape[1] * dy.shape[2] <= LARGEST_MATRIX:
                return dx, _kernel_gradient(x, dy, kernel.shape, stride, padding)
            dk = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=tf.cast(x, FLOAT32),
                filter_sizes=kernel.shape,
                out_backprop=tf.cast(dy, FLOAT32),
                **options,
            )
            return dx, tf.cast(dk, kernel.dtype)

        return y, gradient

    return convolved(x, kernel)


def _input_gradient(x: Any, dy: Any, kernel: Any, stride: int, padding: str) -> Any:
    """Gradient of the input: the same convolution again, by the kernel turned round, where the grid stays as it is.

    Elsewhere TensorFlow's own, in float32: in bfloat16 it takes thirty times as long.
    """
    import tensorflow as tf

    odd = kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    if stride == 1 and padding == "SAME" and odd:
        return tf.nn.depthwise_conv2d(dy, kernel[::-1, ::-1], [1, 1, 1, 1], padding)
    dx = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.shape(x),
        filter=tf.cast(kernel, FLOAT32),
        out_backprop=tf.cast(dy, FLOAT32),
        strides=[1, stride, stride, 1],
        padding=padding,
    )
    return tf.cast(dx, x.dtype)


def _kernel_gradient(x: Any, dy: Any, kernel: tuple[int, ...], stride: int, padding: str) -> Any:
    """Gradient of a depthwise kernel: per channel, every position of x times every position of dy, summed over the
    images, is one product of matrices; the places of the kernel are sums of its entries."""
    import tensorflow as tf

    inside, outside = (x.shape[1], x.shape[2]), (dy.shape[1], dy.shape[2])
    places = places_of_pairs(inside, outside, (kernel[0], kernel[1]), stride, padding)

    def channel_first(value: Any) -> Any:
        return tf.transpose(tf.reshape(value, [-1, value.shape[1] * value.shape[2], value.shape[3]]), [2, 0, 1])

    pairs = tf.matmul(channel_first(x), channel_first(dy), transpose_a=True)
    sums = tf.matmul(tf.reshape(pairs, [kernel[2], -1]), tf.constant(places, x.dtype))
    return tf.reshape(tf.transpose(sums), kernel)


def places_of_pairs(
    inside: tuple[int, int], outside: tuple[int, int], kernel: tuple[int, int], stride: int, padding: str
) -> NDArray[np.float32]:
    """Which place of the kernel a position of the input and one of the output meet at.

    Returns:
        (h w H W, k l) of 0 and 1: rows the pairs of an input position (h, w) and an output position (H, W).
    """
    meets = []
    for size, out, width in zip(inside, outside, kernel, strict=True):
        before = max((out - 1) * stride + width - size, 0) // 2 if padding == "SAME" else 0
        place = np.arange(size)[:, None] - stride * np.arange(out)[None, :] + before
        meets.append((place[..., None] == np.arange(width)).astype(np.float32))
    met: NDArray[np.float32] = np.einsum("hHk,wWl->hwHWkl", *meets).reshape(-1, kernel[0] * kernel[1])
    return met


def _sum(given: Any) -> Any:
    """The sum of tensors of one shape; in float32 where their types differ."""
    import tensorflow as tf

    same = len({x.dtype for x in given}) == 1
    return tf.add_n(given if same else [tf.cast(x, tf.float32) for x in given])


def _pooled(x: Any) -> Any:
    """Mean over the positions of (B, h, w, c), in float32."""
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def mean(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        def gradient(dy: Any) -> Any:
            share = tf.cast(dy / (x.shape[1] * x.shape[2]), x.dtype)
            return tf.broadcast_to(share[:, None, None], tf.shape(x))

        return tf.reduce_mean(tf.cast(x, tf.float32), [1, 2]), gradient

    return mean(x)
