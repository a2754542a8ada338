"""Accuracy by labels of the shipped command, from nothing labelled: `init`, `import`, `round --oracle`, repeated.

    python tests/bench/rounds_accuracy.py [PHOTOGRAPHS] [--seeds 3] [--rounds 6] [--k 50] [--precision float32]

Every step is the command line in a process of its own. After each round the files are counted, each is compared with
the truth, and `labeler verify` must be clean. The vectors are made once and their cache is handed on from seed to seed.
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

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "facemask"
CLASSES = ("withMask", "withoutMask")
TEST = 800


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=DEFAULT_PHOTOGRAPHS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    os.environ["LABELER_PRECISION"] = options.precision
    print(f"{TEST} test images, k = {options.k}, {options.seeds} seeds, {options.precision}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, numpy {version('numpy')}")
    with tempfile.TemporaryDirectory() as scratch:
        curves = [study(Path(scratch), options, seed) for seed in range(options.seeds)]
    labels = [point["labelled"] for point in curves[0]]
    means = [statistics.mean(curve[at]["accuracy"] for curve in curves) for at in range(len(labels))]
    print("mean   " + "  ".join(f"{n}: {mean:.2%}" for n, mean in zip(labels, means, strict=True)))
    warm = statistics.median(point["s"] for curve in curves for point in curve[1:])
    print(f"median seconds of a warm round, whole process: {warm:.2f}")


def study(scratch: Path, options: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    workspace, source = scratch / f"w{seed}", scratch / f"source{seed}"
    split(options.photographs, source, seed)
    labeler("init", workspace)
    labeler("-w", workspace, "import", source / "pool", "--into", "unlabelled")
    labeler("-w", workspace, "import", source / "test", "--into", "test")
    if seed:
        shutil.copytree(scratch / f"w{seed - 1}/db/cache", workspace / "db/cache", dirs_exist_ok=True)
    pool = count(workspace / "pools/Unlabelled")
    points = []
    for number in range(1, options.rounds + 1):
        start = time.perf_counter()
        arguments = ("round", "--k", options.k, "--oracle", options.photographs, "--seed", seed, "--json")
        result = json.loads(labeler("-w", workspace, *arguments))
        seconds = time.perf_counter() - start
        check(workspace, options.photographs, pool, number * options.k)
        points.append({"labelled": result["labelled"], "accuracy": result["metrics"]["accuracy"], "s": seconds})
    print(f"seed {seed} " + "  ".join(f"{p['labelled']}: {p['accuracy']:.2%}" for p in points), flush=True)
    return points


def split(photographs: Path, source: Path, seed: int) -> None:
    rng = random.Random(seed)
    files = {name: sorted(file for file in (photographs / name).iterdir() if file.is_file()) for name in CLASSES}
    total = sum(map(len, files.values()))
    for name, of_class in files.items():
        rng.shuffle(of_class)
        n = round(TEST * len(of_class) / total)
        for file, folder in [(f, f"test/{name}") for f in of_class[:n]] + [(f, "pool") for f in of_class[n:]]:
            (source / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, source / folder / file.name)


def check(workspace: Path, photographs: Path, pool: int, labelled: int) -> None:
    if count(workspace / "pools/Unlabelled") != pool - labelled or count(workspace / "pools/Train") != labelled:
        raise SystemExit("files were not moved as they should")
    for name in CLASSES:
        for file in (workspace / "pools/Train" / name).iterdir():
            if not (photographs / name / file.name).is_file():
                raise SystemExit(f"{file.name} lies in the wrong class")
    labeler("-w", workspace, "verify")


def count(folder: Path) -> int:
    return sum(1 for file in folder.rglob("*") if file.is_file())


def labeler(*arguments: object) -> str:
    command = [sys.executable, "-m", "labeler", *map(str, arguments), "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
