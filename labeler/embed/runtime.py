"""Fast CPU inference of a frozen backbone: LiteRT with XNNPACK, one interpreter per thread.

Why LiteRT. EfficientNet-Lite0 on two busy virtual cores of a Xeon with AMX, in turn in one process, two threads each;
processor milliseconds per image (median of 7) and the least cosine to Keras over 48 photographs:

    Keras predict 31.1    tf.function 30.0         (cosine 1)
    LiteRT float32 16.6   ONNX Runtime 16.5   OpenVINO float32 14.9    (1.00000)
    LiteRT float16 12.0   (.99975)    OpenVINO bfloat16 9.5   (.9983)
    LiteRT int8 10.3   OpenVINO int8 10.7 (the same file), 11.4 (its own quantiser)    (.93 to .94)

In float32 the three differ little; LiteRT is a third of OpenVINO's size on disk, starts in 0.04 s, and reads what
TensorFlow itself writes. Its float16 is offered only by an API that holds the interpreter lock while it computes (from
files, on two threads: 71 images/s, float32 by the ordinary one 107) and fills stderr with notices.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from labeler import faults
from labeler.domain import Progress
from labeler.durable import sync_folder
from labeler.embed import heavy
from labeler.embed.backbones import INT8, Backbone
from labeler.embed.efficientnet_lite import PIXEL_MEAN, PIXEL_SCALE
from labeler.embed.turns import alone_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Raise when the form of the compiled file changes; its name carries this.
_FORMAT = 1

_announced = False


class Runtime(Protocol):
    """Turns images into vectors. ``embed`` may be called from as many threads at once as it was opened for."""

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (B, S, S, 3) RGB -> float32 (B, D), raw pooled activations, in order."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


def open_runtime(
    backbone: Backbone, compiled: Path, *, threads: int, progress: Callable[[Progress], None] | None = None
) -> Runtime:
    """The fast form of a backbone, converted first if this machine has not done so yet (once, 10 to 20 s).

    Args:
        backbone: what to run.
        compiled: folder where converted backbones are kept; may be deleted at any time.
        threads: how many threads will call ``embed``.
        progress: told before and after a conversion.

    Raises:
        WeightsUnavailable: the backbone's weights are not here and could not be fetched.
        LabelerError: the conversion failed otherwise.
    """
    file = compiled_file(backbone, compiled)
    if not file.is_file():
        _convert(backbone, file, progress)
    try:
        return _LiteRt(file, backbone, threads)
    except (ValueError, RuntimeError):  # not a flatbuffer, or one of another LiteRT: it is only a cache
        file.unlink(missing_ok=True)
        _convert(backbone, file, progress)
        return _LiteRt(file, backbone, threads)


def compiled_file(backbone: Backbone, compiled: Path) -> Path:
    """Where the converted form of a backbone lies, or will."""
    return compiled / f"{backbone.key}.{_FORMAT}.tflite"


class _LiteRt:
    """A stock of single-threaded interpreters; a calling thread borrows one.

    One interpreter per thread scales better than one interpreter with many threads: no barrier after every layer,
    and the caller's decoding runs beside another caller's inference.
    """

    def __init__(self, file: Path, backbone: Backbone, threads: int) -> None:
        self._file, self._backbone = file, backbone
        self._free: queue.SimpleQueue[_Session | None] = queue.SimpleQueue()
        self._free.put(_Session(file, backbone))  # at once: a bad file must show here
        for _ in range(max(1, threads) - 1):
            self._free.put(None)  # made when first borrowed

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        import numpy as np

        vectors = np.empty((len(images), self._backbone.dimension), np.float32)
        with self._borrowed() as session:
            for image, vector in zip(images, vectors, strict=True):
                session.run(image, vector)
        return vectors

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[_Session]:
        session = self._free.get()
        try:
            session = session or _Session(self._file, self._backbone)
            yield session
        finally:
            self._free.put(session)

    def close(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._free.get_nowait()


class _Session:
    """One interpreter and the memory it works in."""

    def __init__(self, file: Path, backbone: Backbone) -> None:
        self._interpreter = quiet_interpreter(file)
        (entry,) = self._interpreter.get_input_details()
        # LiteRT lists outputs in any order; their names (Identity, Identity_1, ...) keep the order of the function.
        exits = sorted(self._interpreter.get_output_details(), key=lambda e: (len(e["name"]), e["name"]))
        size = backbone.input_size
        if backbone.precision == INT8 and entry["quantization"] != (1 / PIXEL_SCALE, int(PIXEL_MEAN)):
            raise ValueError(f"{file} scales its pixels otherwise")
        wanted = [(1, part.dimension) for part in backbone.parts]
        if tuple(entry["shape"]) != (1, size, size, 3) or [tuple(e["shape"]) for e in exits] != wanted:
            raise ValueError(f"{file} is another network")
        self._entry: int = entry["index"]
        self._exits: list[int] = [e["index"] for e in exits]

    def run(self, image: NDArray[np.uint8], vector: NDArray[np.float32]) -> None:
        """Fill ``vector`` (D,) from ``image`` (S, S, 3)."""
        self._interpreter.set_tensor(self._entry, image[None])
        self._interpreter.invoke()
        start = 0
        for index in self._exits:
            (part,) = self._interpreter.get_tensor(index)
            vector[start : start + len(part)] = part
            start += len(part)


def quiet_interpreter(file: Path) -> Any:
    """A LiteRT interpreter of one thread; the first of a process would announce itself on stderr."""
    from ai_edge_litert.interpreter import Interpreter

    with _silent_stderr():
        interpreter = Interpreter(model_path=str(file), num_threads=1)
        interpreter.allocate_tensors()  # the delegate is made, and announced, here
    return interpreter


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep LiteRT from announcing its first XNNPACK delegate on stderr, for which it has no switch.

    The descriptor is the whole process's, so other threads are silent too, for a few milliseconds: only the first
    interpreter of a process is made under this.
    """
    global _announced
    if _announced:
        yield
        return
    _announced = True
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # a process without stderr: nothing to silence
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# ----------------------------------------------------------------------------------------------------- conversion


def _convert(backbone: Backbone, file: Path, progress: Callable[[Progress], None] | None) -> None:
    """Convert in a child process and put the result in place whole or not at all."""
    what = f"prepare {backbone.name} for this machine (once)"
    if progress:
        progress(Progress(what, 0, 1))
    with alone_in(file.parent):
        if not file.is_file():  # another process may have made it while this one waited
            _convert_alone(backbone, file)
    if progress:
        progress(Progress(what, 1, 1))


def _convert_alone(backbone: Backbone, file: Path) -> None:
    partial = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        _run_converter(backbone, partial)
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        faults.point("runtime.converted")
        partial.replace(file)
        sync_folder(file.parent)
    finally:
        partial.unlink(missing_ok=True)


def _run_converter(backbone: Backbone, out: Path) -> None:
    job: dict[str, Any] = dataclasses.asdict(backbone) | {"out": str(out)}
    heavy.run("labeler.embed.convert", job, f"{backbone.name} could not be prepared")
