"""Does refreshing the backbone pay? Ten rounds with `refresh = auto` against the same ten with `refresh = head`.

    python tests/bench/refresh_accuracy.py [PHOTOGRAPHS] [--sets hard,clean] [--seeds 3] [--rounds 10] [--k 50]

`hard` is made from the photographs by blur, noise, grey and occlusion, drawn by a seed from each file's name, so that
frozen vectors are weak; `clean` is the photographs themselves. Both sides are the shipped command, from nothing
labelled, on the same split, and share the cache of vectors of the frozen backbone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.rounds_accuracy import CLASSES, DEFAULT_PHOTOGRAPHS, TEST, labeler, split

SIDE = 256
SIDES = ("head", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=DEFAULT_PHOTOGRAPHS)
    parser.add_argument("--sets", default="hard,clean")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--k", type=int, default=50)
    options = parser.parse_args()
    print(f"{TEST} test images, k = {options.k}, {options.rounds} rounds, {options.seeds} seeds")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, tensorflow {version('tensorflow')}")
    for kind in options.sets.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            photographs = options.photographs
            if kind == "hard":
                photographs = Path(scratch) / "hard"
                degrade_all(options.photographs, photographs)
            seeds = range(options.first_seed, options.first_seed + options.seeds)
            ends = [study(Path(scratch), kind, photographs, options, seed) for seed in seeds]
        gains = [100 * (end["auto"] - end["head"]) for end in ends]
        means = {side: statistics.mean(end[side] for end in ends) for side in SIDES}
        told = ", ".join(f"{gain:+.2f}" for gain in gains)
        print(f"{kind}: head {means['head']:.2%}, auto {means['auto']:.2%}, points gained {told}", flush=True)


def study(scratch: Path, kind: str, photographs: Path, options: argparse.Namespace, seed: int) -> Mapping[str, float]:
    source, cache = scratch / f"source{seed}", scratch / "cache"
    split(photographs, source, seed)
    ends: dict[str, float] = {}
    for side in SIDES:
        workspace = scratch / f"w{seed}-{side}"
        labeler("init", workspace)
        labeler("-w", workspace, "import", source / "pool", "--into", "unlabelled")
        labeler("-w", workspace, "import", source / "test", "--into", "test")
        if cache.is_dir():
            shutil.copytree(cache, workspace / "db/cache", dirs_exist_ok=True)
        curve = rounds(workspace, photographs, options, seed, side)
        if not cache.is_dir():
            shutil.copytree(workspace / "db/cache", cache)
        print(f"{kind} seed {seed} {side:5s} " + "  ".join(curve), flush=True)
        ends[side] = float(curve[-1].split(":")[1].split("%")[0]) / 100
        shutil.rmtree(workspace)
    return ends


def rounds(workspace: Path, photographs: Path, options: argparse.Namespace, seed: int, side: str) -> list[str]:
    curve = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        arguments = ("round", "--k", options.k, "--oracle", photographs, "--seed", seed, "--refresh", side, "--json")
        result: dict[str, Any] = json.loads(labeler("-w", workspace, *arguments))
        seconds = time.perf_counter() - start
        note = f" [{seconds:.0f} s, {'; '.join(result['notes'])}]" if result["notes"] else ""
        curve.append(f"{result['labelled']}: {100 * result['metrics']['accuracy']:.2f}%{note}")
    return curve


def degrade_all(source: Path, target: Path) -> None:
    """Make the hard set; the same files give the same pictures on every machine."""
    for name in CLASSES:
        (target / name).mkdir(parents=True)
        for file in sorted(file for file in (source / name).iterdir() if file.is_file()):
            digest = hashlib.sha256(file.name.encode()).hexdigest()
            made = degrade(Image.open(file), np.random.default_rng(int(digest[:12], 16)))
            made.save(target / name / f"{digest[:16]}.jpg", quality=90)


def degrade(photograph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Grey, blurred, three patches of one grey over it, noise: in this order."""
    image = photograph.convert("RGB")
    image.thumbnail((SIDE, SIDE))
    width, height = image.size
    image = ImageOps.grayscale(image).filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 4.0) * max(image.size) / 224))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        w, h = rng.uniform(0.15, 0.4, 2) * (width, height)
        x, y = rng.uniform(0, 1, 2) * (width - w, height - h)
        draw.rectangle([x, y, x + w, y + h], fill=int(rng.integers(0, 256)))
    noisy = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(15, 45), (height, width))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).convert("RGB")


if __name__ == "__main__":
    main()
