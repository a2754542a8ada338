"""Fine-tuning on cached activations against training the same layers through the whole network.

    python tests/bench/finetune_speed.py [PHOTOGRAPHS] [--images 500] [--epochs 10] [--test 800] [--repeats 1]

Both sides start from the same head, see the same four augmented views in the same order, take the same steps with the
same optimiser, and end with the network after the last epoch. The cached side pays for its cache: every view passes
the frozen half once, conversion of that half not counted (done once per machine). In turn, in one process.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from labeler.embed import backbones, service
from labeler.embed.frozen_half import FrozenHalf
from labeler.embed.networks import halves
from labeler.rank.head import QuickModel
from labeler.retrain import finetune
from labeler.retrain.augment import Augmentation, augmented
from labeler.retrain.quick_top import quick_form
from labeler.retrain.training import Recipe, fit
from labeler.retrain.transfer import squares_of
from labeler.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "facemask"
CLASSES = ("withMask", "withoutMask")


@dataclass(frozen=True, eq=False)
class Pictures:
    """A source of whole pictures: view `epoch` of each, as the cached side sees it."""

    views: list[np.ndarray[Any, Any]]

    def __len__(self) -> int:
        return len(self.views[0])

    def train(self, rows: np.ndarray[Any, Any], epoch: int) -> np.ndarray[Any, Any]:
        seen: np.ndarray[Any, Any] = self.views[epoch % len(self.views)][rows].astype(np.float32)
        return seen

    def plain(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seen: np.ndarray[Any, Any] = self.views[0][rows].astype(np.float32)
        return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=PHOTOGRAPHS)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--test", type=int, default=800)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the cached side; else this processor's")
    options = parser.parse_args()
    print(f"{options.images} images x {options.epochs} epochs, {options.test} test images, {options.repeats} repeats")
    names = ("tensorflow", "keras", "ai-edge-litert")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {packages}")
    with tempfile.TemporaryDirectory() as compiled:
        bench(options, Path(compiled))


def bench(options: argparse.Namespace, compiled: Path) -> None:
    settings = Settings().replace(epochs=options.epochs, hold_out=0.0)
    files = [file for name in CLASSES for file in sorted((options.photographs / name).iterdir()) if file.is_file()]
    chosen = np.random.default_rng(0).permutation(len(files))[: options.images + options.test]
    files = [files[at] for at in chosen]
    y = np.array([CLASSES.index(file.parent.name) for file in files])
    backbone = backbones.resolve("efficientnet_lite0")
    raw, _ = service.embed_files(files, compiled=compiled, backbone=backbone, threads=0, max_pixels=10**8)
    labels = np.where(np.arange(len(y)) < options.images, y, -1)
    parts = [(part.dimension, part.weight) for part in backbone.parts]
    quick = QuickModel.fit(
        raw, labels, parts=parts, classes=CLASSES, backbone_key=backbone.key, C=settings.head_c, seed=0
    )
    squares = squares_of(files, backbone.input_size, settings)
    FrozenHalf(halves(backbone)[0], backbone, compiled, 2)
    results: dict[str, list[tuple[float, float, float]]] = {"cached": [], "whole": []}
    for _ in range(options.repeats):
        for side in results:
            seconds, work, share = run(side, quick, backbone, squares, y, options, settings, compiled)
            results[side].append((seconds, work, share))
            print(f"  {side}: {seconds:.1f} s, {work:.1f} s of processor, test accuracy {share:.2%}", flush=True)
    middle = {
        side: [statistics.median(column) for column in zip(*found, strict=True)] for side, found in results.items()
    }
    wall, processor = (middle["whole"][at] / middle["cached"][at] for at in (0, 1))
    gap = 100 * (middle["cached"][2] - middle["whole"][2])
    print(f"ratio {wall:.2f}, of processor time {processor:.2f}, accuracy {gap:+.2f} points")


def run(
    side: str,
    quick: QuickModel,
    backbone: backbones.Backbone,
    squares: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
    options: argparse.Namespace,
    settings: Settings,
    compiled: Path,
) -> tuple[float, float, float]:
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    n = options.images
    shas = [f"{at:064x}" for at in range(n)]
    lower, upper = halves(backbone)
    top = finetune.trainable_top(lower, upper, backbone, quick.features, len(CLASSES))
    finetune.start_at(top, quick.head)
    recipe = dataclasses.replace(Recipe.from_settings(settings, learning_rate=finetune.LEARNING_RATE, seed=0))
    start, worked = time.perf_counter(), time.process_time()
    if side == "cached":
        half = FrozenHalf(lower, backbone, compiled, service.thread_count(0))
        cache = finetune.activations(half, squares[:n], shas, settings, 0)
        fit(quick_form(top, options.dtype), cache, y[:n], recipe, n_classes=2)
    else:
        augmentation = Augmentation.from_settings(settings)
        views = [squares[:n]]
        views += [augmented(squares[:n], shas, augmentation, 0, view, threads=2) for view in range(1, settings.views)]
        whole = keras.Model(lower.input, top(lower.output))
        fit(whole, Pictures(views), y[:n], recipe, n_classes=2)
    seconds, work = time.perf_counter() - start, time.process_time() - worked
    half = FrozenHalf(lower, backbone, compiled, service.thread_count(0))
    logits = finetune._logits(top, finetune._plain(half, squares[n:]))
    return seconds, work, float(((logits[:, 0] > 0) == (y[n:] == 0)).mean())


if __name__ == "__main__":
    main()
