"""The small programs that lie beside an exported model: one file, its format's own runtime, NumPy and Pillow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template


@dataclass(frozen=True, slots=True)
class _Runtime:
    needs: str
    imports: str
    opened: str  # statements after which ``answer(pixels)`` gives float32 (1, C)


_RUNTIMES: Mapping[str, _Runtime] = {
    "keras": _Runtime(
        "keras with one of its backends",
        'os.environ.setdefault("KERAS_BACKEND", "tensorflow")\n\nimport keras',
        'MODEL = keras.saving.load_model(HERE / "$model_file", compile=False)\n\n\n'
        "def answer(pixels):\n"
        "    return keras.ops.convert_to_numpy(MODEL(pixels))",
    ),
    "savedmodel": _Runtime(
        "tensorflow",
        "import tensorflow as tf",
        'MODEL = tf.saved_model.load(str(HERE / "$model_file"))\n\n\n'
        "def answer(pixels):\n"
        '    return MODEL.signatures["serving_default"](image=tf.constant(pixels))["probability"].numpy()',
    ),
    "litert": _Runtime(
        "ai-edge-litert",
        "from ai_edge_litert.interpreter import Interpreter",
        'MODEL = Interpreter(model_path=str(HERE / "$model_file")).get_signature_runner()\n\n\n'
        "def answer(pixels):\n"
        '    return MODEL(image=pixels)["probability"]',
    ),
    "onnx": _Runtime(
        "onnxruntime",
        "import onnxruntime",
        'MODEL = onnxruntime.InferenceSession(str(HERE / "$model_file"), providers=["CPUExecutionProvider"])\n\n\n'
        "def answer(pixels):\n"
        '    return MODEL.run(["probability"], {"image": pixels})[0]',
    ),
}

_PROGRAM = Template('''\
"""Says what the model beside this file makes of photographs: python $example_file PHOTO...

Needs $needs, numpy and pillow. The model takes one RGB picture of any size, uint8 (1, height, width, 3), and gives
the probability of each class, float32 (1, classes), in the order of $classes_file. It resizes and scales the pixels
itself; what it cannot do is decode the file, turn the picture upright and put transparent parts on white.
"""

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

$imports

HERE = Path(__file__).resolve().parent
CLASSES = (HERE / "$classes_file").read_text(encoding="utf-8").splitlines()
SIDE = $side  # of the square the network sees

$opened


def load(file):
    """uint8 (1, height, width, 3), RGB, as labeler decodes it."""
    image = Image.open(file)
    # A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, several times faster. labeler does the same: without
    # this line the probability of such a photograph may differ from labeler's by some thousandths.
    image.draft(None, (SIDE, SIDE))
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    return np.asarray(image.convert("RGB"), np.uint8)[None]


def main():
    if len(sys.argv) < 2:
        sys.exit(f"usage: python {os.path.basename(__file__)} PHOTO...")
    for file in sys.argv[1:]:
        probabilities = answer(load(file))[0]
        best = int(probabilities.argmax())
        print(f"{file}\\t{CLASSES[best]}\\t{probabilities[best]:.6f}")


if __name__ == "__main__":
    main()
''')


def program(form: str, *, model_file: str, classes_file: str, example_file: str, side: int) -> str:
    """The text of the example for one format; the file names are of files in the example's own folder."""
    runtime = _RUNTIMES[form]
    return _PROGRAM.substitute(
        needs=runtime.needs,
        imports=runtime.imports,
        opened=Template(runtime.opened).substitute(model_file=model_file),
        classes_file=classes_file,
        example_file=example_file,
        side=side,
    )
