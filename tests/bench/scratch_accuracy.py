"""Accuracy of the networks of the sources on real photographs: the CNN and the ANN from scratch, and transfer models.

    python tests/bench/scratch_accuracy.py [PHOTOGRAPHS] [--models cnn,ann,efficientnet_lite0,head] [--test 800]
        [--seeds 1] [--epochs N] [--json FILE]

The split is stratified by seed 0: 800 photographs for the test, all others for training. Everything else is the
default of the settings. The process ends with 1 when the CNN stays below 88 % or the transfer model on the default
backbone below 97 %.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from numpy.typing import NDArray

from labeler.domain import Progress
from labeler.embed.service import thread_count
from labeler.retrain.compare import Comparison, Contestant, compare
from labeler.settings import Settings

DEFAULT_PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data" / "facemask"
CLASSES = ("withMask", "withoutMask")
LEAST = {"cnn": 0.88, "efficientnet_lite0": 0.97}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=DEFAULT_PHOTOGRAPHS)
    parser.add_argument("--models", default="efficientnet_lite0,head,ann,cnn")
    parser.add_argument("--test", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=Settings().epochs)
    parser.add_argument("--json", type=Path, help="also write every contestant's history and metrics there")
    options = parser.parse_args()
    settings = Settings(epochs=options.epochs)
    files, y = labelled(options.photographs)
    train, test = split(y, options.test)
    print(f"{processor()}, {thread_count(0)} cores, Python {platform.python_version()}, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "ai-edge-litert", "numpy")))
    print(f"{len(train)} training photographs, {len(test)} test, {settings.epochs} epochs at most, ", end="")
    print(f"{options.seeds} seed(s), load {os.getloadavg()[0]:.1f} at the start", flush=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        outcome = compare(
            options.models.split(","),
            [files[row] for row in train],
            y[train],
            [files[row] for row in test],
            y[test],
            settings=settings,
            classes=CLASSES,
            seeds=range(options.seeds),
            compiled=Path(scratch),
            progress=tell,
        )
    print(f"\r{'':70}\r{time.perf_counter() - started:.0f} s in all, load {os.getloadavg()[0]:.1f} at the end")
    if options.json:
        options.json.write_text(json.dumps([as_json(one) for one in outcome.contestants], indent=1), encoding="utf-8")
    return report(outcome)


def labelled(folder: Path) -> tuple[list[Path], NDArray[np.int64]]:
    of_class = [sorted(file for file in (folder / name).iterdir() if file.is_file()) for name in CLASSES]
    files = [file for files in of_class for file in files]
    return files, np.repeat(np.arange(len(CLASSES)), [len(files) for files in of_class])


def split(y: NDArray[np.int64], n_test: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and to test on; the test has the share of every class that the whole has."""
    rng = np.random.default_rng(0)
    test = [
        rng.permutation(np.flatnonzero(y == number))[: round(n_test * float(np.mean(y == number)))]
        for number in range(len(CLASSES))
    ]
    chosen = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(len(y)), chosen), chosen


def tell(step: Progress) -> None:
    if sys.stderr.isatty():
        print(f"\r{step.what} {step.done}/{step.total}{'':20}", end="", file=sys.stderr)


def report(outcome: Comparison) -> int:
    print(
        f"{'model':20s}{'size':>5s}{'test':>8s}{'+/-':>7s}{'ROC AUC':>9s}{'s':>7s}{'parameters':>12s}{'trained':>11s}"
        f"{'images/s':>10s}  epoch kept, of"
    )
    good = True
    for name in dict.fromkeys(one.name for one in outcome.contestants):
        of_name = [one for one in outcome.contestants if one.name == name]
        accuracies = [one.metrics["accuracy"] for one in of_name]
        mean = statistics.mean(accuracies)
        first = of_name[0]
        kept = [f"{one.history.best_epoch}/{len(one.history.loss)}" if one.history else "-" for one in of_name]
        print(
            f"{name:20s}{first.input_size:5d}{mean:8.2%}{statistics.pstdev(accuracies):7.2%}"
            f"{statistics.mean(one.metrics['roc_auc'] for one in of_name):9.4f}"
            f"{statistics.median(one.seconds for one in of_name):7.1f}{first.parameters:12,d}{first.trainable:11,d}"
            f"{statistics.median(one.images_per_second for one in of_name):10.0f}  {', '.join(kept)} ({first.runtime})"
        )
        good &= mean >= LEAST.get(name, 0.0)
    for name, reason in outcome.failures:
        print(f"{name}: {reason}")
    print("every model reaches its figure" if good else "a model stays below its figure")
    return 0 if good else 1


def as_json(one: Contestant) -> dict[str, Any]:
    history = one.history.as_json() if one.history else None
    return {"name": one.name, "seed": one.seed, "metrics": one.metrics, "seconds": one.seconds, "history": history}


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    sys.exit(main())
