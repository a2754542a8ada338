"""The registry of backbones: what each is called, eats and gives. Light to import: no TensorFlow, no NumPy.

A :class:`Backbone` is a description; :mod:`labeler.embed.networks` builds the Keras model from it and
:mod:`labeler.embed.runtime` the fast one. Its :attr:`Backbone.key` names everything a vector depends on, so vectors
of two different descriptions never share a folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labeler.domain import SettingError, UnknownName, WeightsUnavailable
from labeler.embed.efficientnet_lite import WEIGHTS_SHA256

# What happens between a decoded photograph and the square the network sees (labeler.embed.pixels). Change the
# code there and this number together: old vectors are then left alone and new ones made.
RESIZE = "stretch-bilinear.1"

# Which images set the ranges of the int8 form (labeler.embed.convert); same rule.
CALIBRATION = "c1"

IMAGENET, NO_WEIGHTS = "imagenet", "none"
FLOAT32, INT8 = "float32", "int8"
MULTI_DEPTH, POOLED = "multi-depth", "pooled"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the vector that comes from one layer.

    Attributes:
        name: the layer's name.
        dimension: numbers it contributes.
        weight: by how much the ranking scales it after normalising; the runtime gives raw values.
    """

    name: str
    dimension: int
    weight: float


@dataclass(frozen=True, slots=True)
class Backbone:
    """A frozen network that turns an image into a vector.

    Attributes:
        name: in the registry.
        input_size: S of the (S, S, 3) RGB square it takes.
        parts: stretches of the vector, in order.
        preprocessing: how pixels are scaled, how the square is made, and the version of both.
        weights: ``imagenet``, ``none`` (random by seed 0) or the path of a file.
        precision: ``float32`` or ``int8``.
        digest: what identifies the weights; the SHA-256 of the file where there is one.
        network: whether ``weights`` is a ``.keras`` file that holds the layers too: a network that was trained here.
    """

    name: str
    input_size: int
    parts: tuple[Part, ...]
    preprocessing: str
    weights: str
    precision: str
    digest: str
    network: bool = False

    @property
    def dimension(self) -> int:
        """D of the vector: the parts' dimensions together."""
        return sum(part.dimension for part in self.parts)

    @property
    def key(self) -> str:
        """A name, safe for a folder on every system, that differs whenever the vectors may."""
        parts = "+".join(part.name for part in self.parts)
        precision = f"{INT8}.{CALIBRATION}" if self.precision == INT8 else self.precision
        return f"{self.name}-{self.digest[:16]}-{parts}-{self.preprocessing}-{precision}"


@dataclass(frozen=True, slots=True)
class _Entry:
    input_size: int
    pixels: str  # the scaling of pixels: EfficientNet-Lite's own, or the mode of keras.applications
    pooled: Part
    shallower: tuple[Part, ...] = ()  # before the pooled part in the multi-depth vector
    imagenet: str = "keras-imagenet"  # Keras checks the hash of what it downloads
    cut: str = ""  # the layer after which fine-tuning begins; its output is all that the rest needs
    smallest: int = 32  # side below which nothing is left after the last pooling


# Layers of the multi-depth vector: measured on two sets, +1.05 +/- 0.14 points on the harder one. All count alike:
# against 0.7, 0.7, 1 that brought 0.2 to 0.6 points on degraded faces and cost 0.04 to 0.1 on clean ones.
_REGISTRY: Mapping[str, _Entry] = {
    "efficientnet_lite0": _Entry(
        224,
        "127over128",
        Part("head", 1280, 1.0),
        (Part("block11", 672, 1.0), Part("block15", 1152, 1.0)),
        WEIGHTS_SHA256,
        cut="block10_add",
    ),
    "mobilenet_v2": _Entry(224, "tf", Part("pool", 1280, 1.0), cut="block_12_add"),
    "resnet50": _Entry(224, "caffe", Part("pool", 2048, 1.0), cut="conv4_block6_out"),
    "resnet101": _Entry(224, "caffe", Part("pool", 2048, 1.0), cut="conv4_block23_out"),
    "vgg16": _Entry(224, "caffe", Part("pool", 512, 1.0), cut="block4_pool"),
    "vgg19": _Entry(224, "caffe", Part("pool", 512, 1.0), cut="block4_pool"),
    "inception_v3": _Entry(299, "tf", Part("pool", 2048, 1.0), cut="mixed7", smallest=75),
    "densenet121": _Entry(224, "torch", Part("pool", 1024, 1.0), cut="pool4_pool"),
}
_WITH_INT8 = ("efficientnet_lite0",)


def names() -> tuple[str, ...]:
    """Every backbone's name, the default first."""
    return tuple(_REGISTRY)


def resolve(
    name: str,
    *,
    weights: str = IMAGENET,
    vectors: str = MULTI_DEPTH,
    precision: str = FLOAT32,
    input_size: int | None = None,
) -> Backbone:
    """The description of a backbone; reads nothing but a weights file, if one is given.

    Args:
        name: one of :func:`names`.
        weights: ``imagenet``, ``none`` or a file.
        vectors: ``multi-depth`` or ``pooled``. Backbones of keras.applications have a pooled vector only: which of
            their inner layers help has not been measured, so both words mean the same for them.
        precision: ``float32`` or ``int8``.
        input_size: side of the square in pixels; None for the network's own. Convolutions take any, but weights
            trained on one size are at their best near it.

    Raises:
        UnknownName: no such backbone.
        SettingError: ``int8`` for a backbone where it has not been measured, or a square too small for the network.
        WeightsUnavailable: the weights file cannot be read.
    """
    if name not in _REGISTRY:
        raise UnknownName(f"there is no backbone {name!r}", f"choose from {', '.join(names())}")
    if precision == INT8 and name not in _WITH_INT8:
        raise SettingError(f"int8 is not offered for {name}", f"use float32, or {', '.join(_WITH_INT8)}")
    entry = _REGISTRY[name]
    parts = (*entry.shallower, entry.pooled) if vectors == MULTI_DEPTH else (entry.pooled,)
    known = {IMAGENET: entry.imagenet, NO_WEIGHTS: "random-seed-0"}
    if weights not in known:
        # The converter is another process: the path must mean the same there.
        weights = os.path.abspath(weights)
    digest = known.get(weights) or _file_digest(Path(weights))
    size = entry.input_size if input_size is None else input_size
    if size < entry.smallest:
        raise SettingError(f"{name} cannot see squares of {size} pixels", f"give at least {entry.smallest}")
    # The network's own size is not named, so that the keys of vectors made before there was a choice still hold.
    preprocessing = f"{entry.pixels}.{RESIZE}" + (f".{size}" if size != entry.input_size else "")
    return Backbone(name, size, parts, preprocessing, weights, precision, digest)


def of_file(
    file: Path,
    *,
    name: str,
    input_size: int,
    parts: Sequence[Part],
    preprocessing: str,
    precision: str,
    digest: str,
) -> Backbone:
    """The description of a network that was trained here and lies in a ``.keras`` file; reads nothing.

    Args:
        file: from float32 pixels (B, S, S, 3), RGB in 0..255, to a dict part name -> float32 (B, d).
        name: of the backbone it grew from, or of its kind.
        input_size: S.
        parts: of the vector, in order.
        preprocessing: see :func:`own_preprocessing`, or that of the backbone it grew from.
        precision: ``float32`` or ``int8``.
        digest: SHA-256 of the file.
    """
    return Backbone(
        name, input_size, tuple(parts), preprocessing, os.path.abspath(file), precision, digest, network=True
    )


def own_preprocessing(input_size: int) -> str:
    """The preprocessing of a network with its scaling of pixels inside."""
    return f"inside.{RESIZE}.{input_size}"


def cut_layer(backbone: Backbone) -> str:
    """The name of the layer after which fine-tuning trains."""
    return _REGISTRY[backbone.name].cut


def pixel_mode(backbone: Backbone) -> str:
    """How the backbone wants its pixels scaled: ``127over128``, or a mode of keras.applications."""
    return _REGISTRY[backbone.name].pixels


def _file_digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsUnavailable(
            f"the weights {file} cannot be read: {error.strerror}", "give imagenet, none, or a weights file"
        ) from None
