"""Cold vectors from files: our pipeline against the plain Keras ways, same files, same size, one process, in turn.

    python tests/bench/cold_vectors.py [PHOTOGRAPHS] [--n 256] [--rounds 5]

Plain Keras ways, each with the pixels decoded ahead on threads while the network runs: ``Model.predict`` on blocks,
``tf.function`` on batches of 32, and ``tf.data`` (its own decoder and resize) into ``Model.predict``. All make the
same multi-depth vector. Every side runs once before it is timed; the order alternates; the ratio is the median over
rounds of (ours / the best Keras way of that round), so that a busy spell hits both. On a shared machine the ratio of
processor time is the steadier figure: what other programs take does not count in it.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from numpy.typing import NDArray

from labeler.embed import backbones, service
from labeler.embed.networks import keras_model
from labeler.embed.pixels import load_square
from labeler.embed.runtime import open_runtime

MAX_PIXELS = 100_000_000
KERAS_BATCH, BLOCK = 32, 128
Vectors = NDArray[np.floating[Any]]
DEFAULT_PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data" / "facemask"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=DEFAULT_PHOTOGRAPHS)
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = sorted(file for file in options.photographs.glob("*/*") if file.is_file())
    random.Random(0).shuffle(files)
    files = files[: options.n]
    cores = service.thread_count(0)
    with tempfile.TemporaryDirectory() as scratch:
        sides = {**keras_sides(files, cores), **our_sides(files, Path(scratch))}
        seconds, vectors = measure(sides, options.rounds)
    report(files, cores, options.rounds, seconds, vectors)


def keras_sides(files: Sequence[Path], cores: int) -> dict[str, Callable[[], Vectors]]:
    """The plain ways, in float32, each as fast as a careful user would write it."""
    import keras
    import tensorflow as tf

    backbone = backbones.resolve("efficientnet_lite0")
    parts = keras_model(backbone)
    joined = keras.ops.concatenate([parts.output[part.name] for part in backbone.parts], axis=-1)
    model = keras.Model(parts.input, joined)
    size = backbone.input_size
    compiled = tf.function(
        lambda pixels: model(tf.cast(pixels, tf.float32), training=False),
        input_signature=[tf.TensorSpec((None, size, size, 3), tf.uint8)],
    )

    def predict() -> Vectors:
        made = (model.predict(block, batch_size=KERAS_BATCH, verbose=0) for block in decoded(files, BLOCK, size, cores))
        return np.concatenate(list(made))

    def graph() -> Vectors:
        return np.concatenate([compiled(block).numpy() for block in decoded(files, KERAS_BATCH, size, cores)])

    def read(name: Any) -> Any:
        image = tf.io.decode_image(tf.io.read_file(name), channels=3, expand_animations=False)
        return tf.ensure_shape(tf.image.resize(image, (size, size)), (size, size, 3))

    # TensorFlow has no WebP decoder: this side alone leaves such files out, and is credited for them.
    readable = [str(file) for file in files if file.read_bytes()[8:12] != b"WEBP"]

    def pipeline() -> Vectors:
        dataset = tf.data.Dataset.from_tensor_slices(readable).map(read, tf.data.AUTOTUNE).batch(KERAS_BATCH)
        return np.asarray(model.predict(dataset.prefetch(tf.data.AUTOTUNE), verbose=0))

    return {"threads + Model.predict": predict, "threads + tf.function": graph, "tf.data + Model.predict": pipeline}


def decoded(files: Sequence[Path], block: int, size: int, cores: int) -> Iterator[NDArray[np.uint8]]:
    """Blocks of squares in order, the next blocks being decoded meanwhile."""
    with ThreadPoolExecutor(cores) as executor:
        squares = executor.map(lambda file: load_square(file, size, MAX_PIXELS), files)
        held: list[NDArray[np.uint8]] = []
        for square in squares:
            held.append(square)
            if len(held) == block:
                yield np.stack(held)
                held.clear()
        if held:
            yield np.stack(held)


def our_sides(files: Sequence[Path], scratch: Path) -> dict[str, Callable[[], Vectors]]:
    """The product's own path, opening its runtime included; converting (once per machine) is done before."""
    sides: dict[str, Callable[[], Vectors]] = {}
    for precision in (backbones.FLOAT32, backbones.INT8):
        backbone = backbones.resolve("efficientnet_lite0", precision=precision)
        open_runtime(backbone, scratch, threads=1).close()

        def run(backbone: backbones.Backbone = backbone) -> Vectors:
            made, failed = service.embed_files(
                files, compiled=scratch, backbone=backbone, threads=0, max_pixels=MAX_PIXELS
            )
            if failed:
                raise SystemExit(f"cannot read {failed[0]}")
            return made

        sides[f"labeler {precision}"] = run
    return sides


def measure(
    sides: dict[str, Callable[[], Vectors]], rounds: int
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, Vectors]]:
    """Wall and processor seconds of every round, and the vectors."""
    vectors = {name: side() for name, side in sides.items()}  # first calls trace, allocate and fill the page cache
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            start, busy = time.perf_counter(), time.process_time()
            sides[name]()
            seconds[name].append((time.perf_counter() - start, time.process_time() - busy))
    return seconds, vectors


def report(
    files: Sequence[Path],
    cores: int,
    rounds: int,
    seconds: dict[str, list[tuple[float, float]]],
    vectors: dict[str, Vectors],
) -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "ai-edge-litert", "pillow"))
    print(f"{processor()}, {cores} cores, Python {platform.python_version()}, {packages}")
    print(f"{len(files)} files, {rounds} rounds, load {os.getloadavg()[0]:.1f} (ours included)")
    keras = [name for name in seconds if not name.startswith("labeler")]
    reference = vectors["threads + tf.function"].astype(np.float64)
    print(f"{'':26s}{'images/s':>9s}{'best':>7s}{'ratio':>8s}{'CPU ms':>9s}{'ratio':>8s}  cosine, least / median")
    for name, times in seconds.items():
        wall, busy = ([pair[which] for pair in times] for which in (0, 1))
        rate, fastest = len(files) / statistics.median(wall), len(files) / min(wall)
        each = 1000 * statistics.median(busy) / len(files)
        ratios = [
            statistics.median(min(seconds[k][r][which] for k in keras) / times[r][which] for r in range(rounds))
            for which in (0, 1)
        ]
        print(
            f"{name:26s}{rate:9.0f}{fastest:7.0f}{ratios[0]:7.2f}x{each:9.2f}{ratios[1]:7.2f}x  "
            f"{similarity(vectors[name], reference)}"
        )


def similarity(made: Vectors, reference: NDArray[np.float64]) -> str:
    if made.shape != reference.shape:
        return "(other decoder)"
    both = made.astype(np.float64)
    cosine = (both * reference).sum(1) / np.linalg.norm(both, axis=1) / np.linalg.norm(reference, axis=1)
    return f"{cosine.min():.5f} / {np.median(cosine):.5f}"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
