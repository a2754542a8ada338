"""The frozen half of a backbone below the fine-tuning cut, in the fast runtime.

Every augmented view of every labelled photograph passes it once, and that is what fine-tuning spends most of its time
on when Keras does it: 30 ms of processor per image, LiteRT takes 11.
"""

from __future__ import annotations

import queue
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeler.durable import sync_file
from labeler.embed.backbones import Backbone, cut_layer
from labeler.embed.convert import frozen_graph
from labeler.embed.runtime import quiet_interpreter
from labeler.embed.turns import alone_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FORMAT = 1


class FrozenHalf:
    """Runs photographs up to the cut; opened with the Keras half, which is converted once and kept.

    Args:
        lower: ``keras.Model`` from float32 pixels (B, S, S, 3) to activations, first of ``networks.halves``.
        backbone: whose half it is.
        compiled: folder where converted networks are kept.
        threads: that run at once.
    """

    def __init__(self, lower: Any, backbone: Backbone, compiled: Path, threads: int) -> None:
        file = compiled / f"{backbone.key}-below-{cut_layer(backbone)}.{_FORMAT}.tflite"
        if not file.is_file():
            _convert(lower, backbone, file)
        self.shape: tuple[int, ...] = tuple(lower.output_shape[1:])
        self._threads = max(1, threads)
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self._threads):
            self._free.put(quiet_interpreter(file))

    def run(self, squares: NDArray[np.uint8], out: NDArray[np.floating]) -> None:
        """Fill ``out`` (n, h, w, c) from uint8 ``squares`` (n, S, S, 3)."""

        def one(row: int) -> None:
            interpreter = self._free.get()
            try:
                interpreter.set_tensor(interpreter.get_input_details()[0]["index"], squares[row][None])
                interpreter.invoke()
                out[row] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
            finally:
                self._free.put(interpreter)

        with ThreadPoolExecutor(self._threads, "frozen") as executor:
            for _ in executor.map(one, range(len(squares))):
                pass


def _convert(lower: Any, backbone: Backbone, file: Path) -> None:
    import keras
    import tensorflow as tf

    named = keras.Model(lower.input, {"cut": lower.output})
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [frozen_graph(named, ["cut"], backbone.input_size, tf.uint8)]
    )
    content = bytes(converter.convert())
    with alone_in(file.parent):
        partial = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
        try:
            partial.write_bytes(content)
            sync_file(partial)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
