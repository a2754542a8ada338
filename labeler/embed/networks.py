"""A backbone's description -> its Keras model. Used for conversion, for fine-tuning and by tests; never in a round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labeler.domain import WeightsUnavailable
from labeler.embed import efficientnet_lite
from labeler.embed.backbones import IMAGENET, NO_WEIGHTS, Backbone, cut_layer, pixel_mode

RANDOM_SEED = 0
# A download that makes no headway for this long has failed; the default is to wait for ever.
DOWNLOAD_STALL_S = 20.0
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH_MEAN, _TORCH_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CUT = "cut"
_APPLICATIONS = {
    "mobilenet_v2": "MobileNetV2",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "inception_v3": "InceptionV3",
    "densenet121": "DenseNet121",
}


def keras_model(backbone: Backbone) -> Any:
    """Build the network with its weights and its scaling of pixels inside.

    Returns:
        ``keras.Model`` from float32 pixels (B, S, S, 3), RGB in 0..255, to a dict: part name -> float32 (B, d).

    Raises:
        WeightsUnavailable: the weights are not here, cannot be fetched, or do not fit.
    """
    import keras

    if backbone.network:
        return _trained(Path(backbone.weights))
    if backbone.weights == NO_WEIGHTS:
        keras.utils.set_random_seed(RANDOM_SEED)
    model = _efficientnet_lite0(backbone) if backbone.name == "efficientnet_lite0" else _application(backbone)
    return keras.Model(model.inputs, {part.name: model.output[part.name] for part in backbone.parts})


def halves(backbone: Backbone) -> tuple[Any, Any]:
    """The network in two at the layer where fine-tuning begins; the second half shares nothing with another call's.

    Returns:
        Two ``keras.Model``: float32 pixels (B, S, S, 3) to the activations at the cut; those to the dict of parts.

    Raises:
        WeightsUnavailable: as for :func:`keras_model`.
    """
    import keras

    model, name = keras_model(backbone), cut_layer(backbone)
    core = _core(model)
    if core is None:
        activations = model.get_layer(name).output
        return keras.Model(model.input, activations), keras.Model(activations, model.output)
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    activations = core.get_layer(name).output
    lower = keras.Model(core.input, activations)(scaled(pixel_mode(backbone), pixels))
    return keras.Model(pixels, lower), keras.Model(activations, {backbone.parts[-1].name: core.output})


def with_cut(backbone: Backbone) -> Any:
    """:func:`keras_model` with one output more: ``cut``, the activations where fine-tuning begins."""
    import keras

    model, name = keras_model(backbone), cut_layer(backbone)
    core = _core(model)
    if core is None:
        return keras.Model(model.input, {**model.output, CUT: model.get_layer(name).output})
    forked = keras.Model(core.input, {CUT: core.get_layer(name).output, backbone.parts[-1].name: core.output})
    return keras.Model(model.input, forked(scaled(pixel_mode(backbone), model.inputs[0])))


def _core(model: Any) -> Any:
    """The network of keras.applications inside a model; None where the layers stand in the model itself."""
    import keras

    return next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)


def _trained(file: Path) -> Any:
    """A ``.keras`` file, read in safe mode: layers and numbers, no code."""
    import keras

    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # noqa: BLE001  # h5py, Keras and zip each raise their own
        raise WeightsUnavailable(
            f"the network {file} cannot be read: {_short(error)}", "use another model: `labeler models list`"
        ) from None


def _efficientnet_lite0(backbone: Backbone) -> Any:
    size = backbone.input_size
    if backbone.weights == NO_WEIGHTS:
        return efficientnet_lite.build(None, size=size)
    if backbone.weights == IMAGENET:
        file = efficientnet_lite.packaged_weights()
        weights = efficientnet_lite.read_weights(file, efficientnet_lite.WEIGHTS_SHA256)
        return efficientnet_lite.build(weights, size=size)
    file = Path(backbone.weights)
    if file.suffix == ".pth":
        return efficientnet_lite.build(efficientnet_lite.read_weights(file, backbone.digest), size=size)
    model = efficientnet_lite.build(None, size=size)
    _load_file(model, file)
    return model


def _application(backbone: Backbone) -> Any:
    import keras

    size = backbone.input_size
    pixels = keras.Input((size, size, 3), name="pixels")
    build = getattr(keras.applications, _APPLICATIONS[backbone.name])
    core = _downloaded(build, backbone) if backbone.weights == IMAGENET else _empty(build, backbone)
    if backbone.weights not in (IMAGENET, NO_WEIGHTS):
        _load_file(core, Path(backbone.weights))
    return keras.Model(pixels, {backbone.parts[-1].name: core(scaled(pixel_mode(backbone), pixels))})


def scaled(mode: str, pixels: Any) -> Any:
    """One of the three scalings of keras.applications, as a layer, so that the converted graph holds it.

    Args:
        mode: ``tf``, ``caffe`` or ``torch``.
        pixels: float32 (B, S, S, 3), RGB in 0..255.
    """
    from keras.layers import Rescaling

    if mode == "tf":
        return Rescaling(1 / 127.5, -1.0)(pixels)
    if mode == "caffe":
        return Rescaling(1.0, [-mean for mean in _CAFFE_MEAN_BGR])(pixels[..., ::-1])
    scale = [1 / (255 * deviation) for deviation in _TORCH_DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(_TORCH_MEAN, _TORCH_DEVIATION, strict=True)]
    return Rescaling(scale, offset)(pixels)


def _empty(build: Any, backbone: Backbone) -> Any:
    size = backbone.input_size
    return build(include_top=False, weights=None, pooling="avg", input_shape=(size, size, 3))


def _downloaded(build: Any, backbone: Backbone) -> Any:
    import socket

    size = backbone.input_size
    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_STALL_S)
    try:
        return build(include_top=False, weights="imagenet", pooling="avg", input_shape=(size, size, 3))
    except Exception as error:  # noqa: BLE001  # Keras raises a bare Exception when the fetch fails
        raise WeightsUnavailable(
            f"the ImageNet weights of {backbone.name} are not on this machine and could not be downloaded: "
            f"{_short(error)}",
            "give --weights FILE (a Keras no-top weights file), --weights none, or use efficientnet_lite0, whose "
            "weights are installed",
        ) from None
    finally:
        socket.setdefaulttimeout(waited)


def _load_file(model: Any, file: Path) -> None:
    try:
        model.load_weights(file)
    except Exception as error:  # noqa: BLE001  # h5py, Keras and zip each raise their own
        raise WeightsUnavailable(
            f"{file} does not fit {model.name}: {_short(error)}", "give a Keras weights file of this network"
        ) from None


def _short(error: Exception) -> str:
    """The first line of an error, cut: Keras's run to pages."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
