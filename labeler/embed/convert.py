"""Keras model -> LiteRT file, as a program of its own: ``python -m labeler.embed.convert JOB``.

Run as a child by :mod:`labeler.embed.runtime`, so that TensorFlow's half gigabyte and its seconds of import stay out
of the process that labels. JOB is a JSON object with the fields of a :class:`Backbone` and ``out``, a file that does
not exist yet. On failure the last line on stdout is a JSON object with ``what`` and ``remedy``, and the exit code 3.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeler.domain import LabelerError
from labeler.embed import heavy
from labeler.embed.backbones import INT8, Backbone, Part
from labeler.embed.efficientnet_lite import PIXEL_MEAN, PIXEL_SCALE
from labeler.embed.networks import keras_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CALIBRATION_IMAGES = 20


def main(job: str) -> int:
    try:
        fields = json.loads(job)
        out = Path(fields.pop("out"))
        fields["parts"] = tuple(Part(**part) for part in fields["parts"])
        out.write_bytes(convert(Backbone(**fields)))
    except LabelerError as error:
        print(heavy.in_words(error))
        return heavy.FAILED
    return 0


def convert(backbone: Backbone) -> bytes:
    """The LiteRT flatbuffer: uint8 (1, S, S, 3) in; one float32 (1, d) out per part, in the parts' order.

    One image per call: 2, 4 and 8 were no faster (within 5 %), need more memory, and would make the vector of an
    image depend on how a list happens to be cut.
    """
    import tensorflow as tf

    whole = backbone.precision != INT8
    model = keras_model(backbone) if whole else _unscaled(backbone)
    names = [part.name for part in backbone.parts]
    frozen = frozen_graph(model, names, backbone.input_size, tf.uint8 if whole else tf.float32)
    del model
    _forget_keras()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if not whole:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _calibration(backbone.input_size)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.float32
    return bytes(converter.convert())


def _forget_keras() -> None:
    """Free the model before the converter makes its copies: 70 MB less at the peak."""
    import gc

    import keras

    keras.backend.clear_session()
    gc.collect()


def frozen_graph(model: Any, names: Sequence[str], size: int, dtype: Any) -> Any:
    """The forward pass of one image with the weights as constants: LiteRT would look up each variable at run time.

    Args:
        model: from pixels (1, size, size, 3) to a dict of outputs, of which those ``names`` are kept in order.
        dtype: of the pixels.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def forward(pixels: Any) -> list[Any]:
        outputs = model(tf.cast(pixels, tf.float32), training=False)
        return [outputs[name] for name in names]

    signature = [tf.TensorSpec((1, size, size, 3), dtype)]
    return convert_variables_to_constants_v2(tf.function(forward, input_signature=signature).get_concrete_function())


def _unscaled(backbone: Backbone) -> Any:
    """The network behind its scaling of pixels.

    An int8 tensor has a scale and a zero point of its own. Calibrated on scaled pixels from 0 to 255, those of the
    input become exactly 1/128 and 127, the network's own scaling: raw bytes go in, and nothing is rounded twice
    (median cosine to float .9960 instead of .9934).
    """
    import keras

    model = keras_model(backbone)
    return keras.Model(model.get_layer("scale").output, model.output)


def _calibration(size: int) -> Iterator[list[NDArray[np.float32]]]:
    import numpy as np

    images = calibration_images(size)
    images[0, 0, 0], images[0, 0, 1] = 0, 255  # the ends of the range: see _unscaled
    for image in images:
        yield [((image[None].astype(np.float32) - PIXEL_MEAN) / PIXEL_SCALE)]


def calibration_images(size: int, count: int = CALIBRATION_IMAGES) -> NDArray[np.uint8]:
    """Photographs that set the ranges of the int8 form: the same on every machine and for every pool.

    Cut from the two photographs scikit-learn ships. Ranges from the pool itself would make the vectors depend on
    which images happened to lie there at the first run, so that deleting the compiled file would silently change
    every vector; with fixed images the int8 form is as reproducible as the float one. It costs nothing: over 96
    faces the least cosine to float was .931 with these and .928 with photographs of the pool. 20 do as well as 100.

    Returns:
        uint8 (count, size, size, 3), RGB.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    squares = np.empty((count, size, size, 3), np.uint8)
    for row in range(count):
        photograph = photographs[row % len(photographs)]
        side = int(rng.integers(64, min(photograph.size) + 1))
        left, top = (int(rng.integers(0, extent - side + 1)) for extent in photograph.size)
        cut = photograph.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
        squares[row] = np.asarray(cut)[:, :: -1 if rng.random() < 0.5 else 1]
    return squares


if __name__ == "__main__":
    # scikit-learn has the photographs that int8 is calibrated on.
    heavy.spare("matplotlib", *(() if json.loads(sys.argv[1])["precision"] == INT8 else ("sklearn",)))
    sys.exit(main(sys.argv[1]))
