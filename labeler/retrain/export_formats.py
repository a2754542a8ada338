"""Writing a model in each format and trying it, as a program: ``python -m labeler.retrain.export_formats JOB``.

JOB is a JSON object with the fields of a :class:`Backbone`, the model's file and digest, a format, and ``out``, where
nothing lies yet. The last line on stdout is a JSON object: ``agreement``; or ``what`` and ``remedy``, with exit code 3.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeler.domain import LabelerError
from labeler.embed import heavy
from labeler.embed.backbones import Backbone, Part
from labeler.embed.networks import keras_model
from labeler.rank.head import QuickModel
from labeler.retrain import export_graph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Format -> ending of its file; a SavedModel is a folder.
FORMATS: Mapping[str, str] = {"keras": ".keras", "savedmodel": "", "litert": ".tflite", "onnx": ".onnx"}
#: By how much a probability may differ from what the program itself says of the same pixels.
TOLERANCE = 1e-3
_ONNX_OPSET = 17


def main(job: str) -> int:
    try:
        fields = json.loads(job)
        described = fields["backbone"]
        described["parts"] = tuple(Part(**part) for part in described["parts"])
        backbone = Backbone(**described)
        model = QuickModel.load(Path(fields["model"]), fields["digest"])
        form, out = fields["format"], Path(fields["out"])
        if form == "onnx":
            _onnx_converter()  # says at once what is missing
        write(export_graph.whole(backbone, model), form, out)
        agreement = tried(out, form, backbone, model)
    except LabelerError as error:
        print(heavy.in_words(error))
        return heavy.FAILED
    print(json.dumps({"agreement": agreement}))
    return 0


def write(network: Any, form: str, out: Path) -> None:
    """Write a network made by :func:`labeler.retrain.export_graph.whole` in one format.

    Raises:
        LabelerError: the package for ONNX is not installed.
    """
    if form == "keras":
        network.save(out)
    elif form == "savedmodel":
        _save(network, out)
    elif form == "litert":
        _litert(network, out)
    else:
        convert = _onnx_converter()
        convert(_function(network), opset=_ONNX_OPSET, input_signature=_signature(), output_path=str(out))


def _signature() -> list[Any]:
    import tensorflow as tf

    return [tf.TensorSpec((1, None, None, 3), tf.uint8, name=export_graph.INPUT)]


def _function(network: Any) -> Any:
    import tensorflow as tf

    def serve(image: Any) -> dict[str, Any]:
        return {export_graph.OUTPUT: network(tf.cast(image, tf.float32), training=False)}

    return tf.function(serve, input_signature=_signature())


def _save(network: Any, out: Path) -> None:
    """Not by Keras's ``ExportArchive``: it wrote every weight twice, 29 MB instead of 15."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    module.serve = _function(network)
    tf.saved_model.save(module, str(out), signatures=module.serve.get_concrete_function())


def _litert(network: Any, out: Path) -> None:
    """By way of a SavedModel: only so does the file keep the names of its input and output."""
    import tensorflow as tf

    folder = out.with_name("for-litert")
    _save(network, folder)
    out.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())
    shutil.rmtree(folder)


def _onnx_converter() -> Callable[..., Any]:
    try:
        from tf2onnx.convert import from_function
    except ImportError as error:
        raise LabelerError(
            f"ONNX needs a package that is not installed: {error.name}", "pip install 'labeler[onnx]'"
        ) from None
    return from_function  # type: ignore[no-any-return]


def tried(out: Path, form: str, backbone: Backbone, model: QuickModel) -> float | None:
    """The greatest difference to the program's own way from pixels to probabilities, on two photographs.

    Raises:
        LabelerError: it is larger than :data:`TOLERANCE`.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    runner = opened(out, form)
    if runner is None:
        return None
    photographs = [load_sample_images().images[0], load_sample_images().images[1][100:231, 200:397]]
    size = (backbone.input_size, backbone.input_size)
    squares = [Image.fromarray(photograph).resize(size, Image.Resampling.BILINEAR) for photograph in photographs]
    activations = keras_model(backbone)(np.stack([np.asarray(s, np.float32) for s in squares]))
    raw = np.concatenate([np.asarray(activations[part.name]) for part in backbone.parts], axis=1)
    said = np.concatenate([runner(photograph[None]) for photograph in photographs])
    difference = float(np.abs(said - model.predict_proba(raw)).max())
    if not difference <= TOLERANCE:
        raise LabelerError(
            f"the {form} file disagrees with the model by {difference:.4f}", "choose another format, report this"
        )
    return difference


def opened(file: Path, form: str) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None:
    """An exported model ready to run: uint8 (1, H, W, 3) -> float32 (1, C); None where its runtime is missing."""
    import numpy as np

    if form == "keras":
        import keras
        import tensorflow as tf

        network = keras.saving.load_model(file, compile=False, safe_mode=True)
        run = tf.function(lambda image: network(tf.cast(image, tf.float32)), input_signature=_signature())
        return lambda image: np.asarray(run(image))
    if form == "savedmodel":
        import tensorflow as tf

        module = tf.saved_model.load(str(file))
        return lambda image: np.asarray(
            module.signatures["serving_default"](image=tf.constant(image))[export_graph.OUTPUT]
        )
    if form == "litert":
        from ai_edge_litert.interpreter import Interpreter

        runner = Interpreter(model_path=str(file)).get_signature_runner()
        return lambda image: np.asarray(runner(image=image)[export_graph.OUTPUT])
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda image: np.asarray(session.run([export_graph.OUTPUT], {export_graph.INPUT: image})[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
