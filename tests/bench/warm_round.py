"""A warm round against the notebook round it replaces: the same photographs, in turn, on one machine.

    python tests/bench/warm_round.py [PHOTOGRAPHS] [--pairs 3]

The notebook round is the loop that trusted `image_dataset_from_directory` and `fit`: predict the pool through the whole
frozen network at 128 x 128, move 100 files, five epochs on what is labelled. Its seconds are its work alone: imports,
building the network and the first fit are left out. Ours are the whole process of `labeler round --oracle`, from the
interpreter's start to its exit, vectors cached: scan, rank, decide, journalled moves, retrain, evaluate.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
DEFAULT_PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "facemask"
CLASSES = ("withMask", "withoutMask")
TEST, LABELLED, K, EPOCHS, SIZE, BATCH = 800, 200, 100, 5, 128, 32

# A small process of its own starts the round: the peak the system counts for a child begins with its parent's size.
MEASURE = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=DEFAULT_PHOTOGRAPHS)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pool, test = split(options.photographs)
        notebook = Notebook(folder / "notebook", pool, test)
        ours = prepare(folder, pool, test, options.photographs)
        pairs = [(round_of_ours(ours, options.photographs), notebook.round()) for _ in range(options.pairs)]
    report(pairs, len(pool))


def split(photographs: Path) -> tuple[list[Path], list[Path]]:
    """A stratified split by seed 0: pool and test."""
    rng = random.Random(0)
    pool: list[Path] = []
    test: list[Path] = []
    files = {name: sorted(file for file in (photographs / name).iterdir() if file.is_file()) for name in CLASSES}
    total = sum(map(len, files.values()))
    for of_class in files.values():
        rng.shuffle(of_class)
        n = round(TEST * len(of_class) / total)
        test += of_class[:n]
        pool += of_class[n:]
    return pool, test


# ------------------------------------------------------------------------------------------------- the notebook round


class Notebook:
    """Frozen network, dense head, Keras's own loader; the labels of what is moved are the true ones."""

    def __init__(self, folder: Path, pool: list[Path], test: list[Path]) -> None:
        import keras

        from labeler.embed import efficientnet_lite

        self.keras = keras
        self.folder = folder
        order = random.Random(1)
        shuffled = order.sample(pool, len(pool))
        for file in shuffled[:LABELLED]:
            self.put(file, folder / "train" / file.parent.name)
        for file in shuffled[LABELLED:]:
            self.put(file, folder / "pool" / file.parent.name)
        for file in test:
            self.put(file, folder / "test" / file.parent.name)
        keras.utils.set_random_seed(0)
        weights = efficientnet_lite.read_weights(efficientnet_lite.packaged_weights())
        base = efficientnet_lite.build(weights, size=SIZE)
        base.trainable = False
        pixels = keras.Input((SIZE, SIZE, 3))
        hidden = keras.layers.Dense(128, activation="relu")(base(pixels, training=False)["head"])
        self.model = keras.Model(pixels, keras.layers.Dense(1, activation="sigmoid")(hidden))
        self.model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        self.model.fit(self.images("train", shuffle=True), epochs=EPOCHS, verbose=0)

    @staticmethod
    def put(file: Path, folder: Path) -> None:
        # Keras goes by the name; the data has one file whose name says nothing, and some of types it cannot read.
        from PIL import Image

        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as image:
            if image.format == "JPEG":
                shutil.copy(file, folder / f"{file.stem}.jpg")
            else:
                image.convert("RGB").save(folder / f"{file.stem}.jpg", quality=95)

    def images(self, split: str, *, shuffle: bool) -> Any:
        import tensorflow as tf

        data = self.keras.utils.image_dataset_from_directory(
            self.folder / split,
            labels="inferred",
            label_mode="binary",
            image_size=(SIZE, SIZE),
            batch_size=BATCH,
            shuffle=shuffle,
            seed=0,
            verbose=False,
        )
        options = tf.data.Options()
        options.autotune.enabled = False  # its thread stalls predict for up to 9 s at the end, which is not work
        paths = getattr(data, "file_paths", None)
        data = data.with_options(options)
        data.file_paths = paths
        return data

    def round(self) -> dict[str, float]:
        """One round; seconds and test accuracy."""
        import numpy as np

        start = time.perf_counter()
        data = self.images("pool", shuffle=False)
        probability = self.model.predict(data, verbose=0)[:, 0]
        for index in np.argsort(np.abs(probability - 0.5))[:K]:
            file = Path(data.file_paths[index])
            shutil.move(file, self.folder / "train" / file.parent.name / file.name)
        self.model.fit(self.images("train", shuffle=True), epochs=EPOCHS, verbose=0)
        seconds = time.perf_counter() - start
        accuracy = self.model.evaluate(self.images("test", shuffle=False), verbose=0)[1]
        return {"seconds": seconds, "accuracy": float(accuracy)}


# ------------------------------------------------------------------------------------------------------- our round


def prepare(folder: Path, pool: list[Path], test: list[Path], photographs: Path) -> Path:
    """A workspace with vectors cached and LABELLED labels on record."""
    source, workspace = folder / "source", folder / "ours"
    for file in pool:
        (source / "pool").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, source / "pool" / file.name)
    for file in test:
        (source / "test" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, source / "test" / file.parent.name / file.name)
    labeler("init", workspace)
    labeler("-w", workspace, "import", source / "pool", "--into", "unlabelled")
    labeler("-w", workspace, "import", source / "test", "--into", "test")
    labeler("-w", workspace, "round", "--k", LABELLED, "--oracle", photographs, "--quiet")
    return workspace


def labeler(*arguments: object) -> str:
    command = [sys.executable, "-m", "labeler", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def round_of_ours(workspace: Path, photographs: Path) -> dict[str, float]:
    """One round as a whole process; seconds, test accuracy, peak memory in MB."""
    command = ["round", "-w", workspace, "--k", K, "--oracle", photographs, "--json", "--quiet"]
    whole = [sys.executable, "-S", "-c", MEASURE, sys.executable, "-m", "labeler", *map(str, command)]
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    seconds, peak_kb = map(float, done.stderr.splitlines()[-1].split())
    return {
        "seconds": seconds,
        "accuracy": document["metrics"]["accuracy"],
        "peak_mb": peak_kb / 1024,
        **document["timing"],
    }


def report(pairs: list[tuple[dict[str, float], dict[str, float]]], pool: int) -> None:
    print(f"warm round, pool of {pool}, k = {K}, {TEST} test images, {len(pairs)} pairs in turn")
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        "versions: " + ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy", "sqlalchemy"))
    )
    for ours, notebook in pairs:
        print(
            f"  labeler, whole process {ours['seconds']:6.2f} s (accuracy {ours['accuracy']:.4f})   "
            f"notebook, work alone {notebook['seconds']:6.2f} s (accuracy {notebook['accuracy']:.4f})   "
            f"ratio {notebook['seconds'] / ours['seconds']:.1f}"
        )
    steps = {name: statistics.median(ours[name] for ours, _ in pairs) for name in pairs[0][0]}
    inside = ", ".join(f"{name} {steps[name]:.2f}" for name in steps if name not in ("seconds", "accuracy", "peak_mb"))
    print(f"median {steps['seconds']:.2f} s, peak memory {steps['peak_mb']:.0f} MB; inside: {inside}")
    print(f"ratio, median of pairs: {statistics.median(n['seconds'] / o['seconds'] for o, n in pairs):.1f}")


if __name__ == "__main__":
    main()
