"""Seconds and memory to rank a large pool, beside plain numpy on the same numbers.

    python tests/bench/rank_speed.py [--n 100000] [--million] [--k 50] [--repeat 5]

The vectors are made up (lumps of 3104 float16 activations in a memory-mapped file, as the cache keeps them), the
model is a real one fitted on 200 of them, the file is in the page cache. ``from activations`` is everything after
loading: feature recipe, probabilities and choice. ``from vectors`` starts from float32 vectors in memory and is left
out where they would not fit. ``choice alone`` starts from probabilities, and so does numpy's argsort. Each figure is
the median of turns that alternate; memory is what the ranking itself allocates at its peak, measured apart. On a
machine that other programs use, processor seconds, of all threads together, are the steadier figure: what others take
does not count in them.
There OPENBLAS_NUM_THREADS=1 helps: threads that wait for one another while others use the cores only turn in circles.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import numpy.typing as npt

from labeler.rank.head import QuickModel
from labeler.rank.strategies import Pool, Selection, default_strategy, select
from labeler.rank.vectors import Transformed, Vectors

PARTS = [(672, 0.7), (1152, 0.7), (1280, 1.0)]
DIMENSIONS = sum(part for part, _ in PARTS)
LABELS, FITTED_ON, LUMPS = 200, 4_000, 40
MADE_ANEW = 4_096
MOST_IN_MEMORY = 200_000
ARGSORT = "numpy argsort of |p - 0.5|"
TARGETS = {100_000: 0.3, 1_000_000: 3.0}

Side = Callable[[], object]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A pool on disk and a model for it."""

    raw: npt.NDArray[np.float16]
    ids: npt.NDArray[np.str_]
    model: QuickModel
    labelled: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    k: int

    def rank(self, vectors: Vectors, probabilities: Float64, strategy: str) -> Selection:
        return select(strategy, Pool(vectors, self.ids, probabilities, self.labelled, self.y), self.k, seed=0)

    def from_activations(self, strategy: str) -> Selection:
        lazily = Transformed(self.raw, self.model.features)
        return self.rank(lazily, self.model.predict_proba(self.raw), strategy)

    def from_vectors(self, vectors: npt.NDArray[np.float32], strategy: str) -> Selection:
        return self.rank(vectors, self.model.head.predict_proba(vectors), strategy)

    def young(self) -> str:
        """What ``auto`` is while there are few labels; with many it is uncertainty."""
        return default_strategy(k=self.k, has_model=True, counts=(40, 40))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--million", action="store_true", help="1,000,000 images: a file of 6.2 GB")
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    n = 1_000_000 if options.million else options.n
    print(f"ranking {n} images of {DIMENSIONS} dimensions, k = {options.k}, median of {options.repeat}")
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    print(f"numpy {np.__version__}, {blas()}, threads: {threads}; load at the start {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as scratch:
        case = make(Path(scratch) / "activations.f16", n, options.k)
        report(n, sides(case, n), options.repeat)


def blas() -> str:
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{built['name']} {built['version']}"


def make(file: Path, n: int, k: int) -> Case:
    """Write the activations, which also brings them into the page cache, and fit a model on the first of them."""
    rng = np.random.default_rng(0)
    raw = np.memmap(file, dtype=np.float16, mode="w+", shape=(n, DIMENSIONS))
    centres = rng.gamma(0.5, 1.0, size=(LUMPS, DIMENSIONS)).astype(np.float32)
    owner = rng.integers(0, LUMPS, size=MADE_ANEW)
    noise = rng.standard_normal((MADE_ANEW, DIMENSIONS), dtype=np.float32)
    block = np.maximum(centres[owner] + 0.7 * noise, 0.0).astype(np.float16)
    for turn, start in enumerate(range(0, n, MADE_ANEW)):
        # Turning the columns makes other images of the same block: drawing billions of numbers would take minutes.
        raw[start : start + MADE_ANEW] = np.roll(block, 7 * turn, axis=1)[: n - start]
    raw.flush()
    y = np.full(min(n, FITTED_ON), -1)
    y[:LABELS] = owner[:LABELS] % 2
    model = QuickModel.fit(raw[: len(y)], y, parts=PARTS, classes=("a", "b"), backbone_key="made-up", C=30.0, seed=0)
    ids = np.sort(np.array([rng.bytes(32).hex() for _ in range(n)]))
    return Case(raw, ids, model, model.features.transform(raw[:LABELS]), y[:LABELS].astype(np.int64), k)


def sides(case: Case, n: int) -> dict[str, Side]:
    p = case.model.predict_proba(case.raw)
    lazily = Transformed(case.raw, case.model.features)
    young = case.young()
    out: dict[str, Side] = {
        ARGSORT: lambda: np.argsort(np.abs(p[:, 0] - 0.5))[: case.k],
        "choice alone, uncertainty": lambda: case.rank(lazily, p, "uncertainty"),
        f"choice alone, auto ({young})": lambda: case.rank(lazily, p, young),
        "probabilities from activations": lambda: case.model.predict_proba(case.raw),
        "from activations, uncertainty": lambda: case.from_activations("uncertainty"),
        f"from activations, auto ({young})": lambda: case.from_activations(young),
    }
    if n > MOST_IN_MEMORY:
        return out
    vectors = case.model.features.transform(case.raw)
    weights, bias = case.model.head.weights, case.model.head.bias

    def plain() -> object:
        return np.argsort(np.abs(1.0 / (1.0 + np.exp(-(vectors @ weights + bias)[:, 0])) - 0.5))[: case.k]

    return out | {
        "numpy from vectors": plain,
        "from vectors, uncertainty": lambda: case.from_vectors(vectors, "uncertainty"),
        f"from vectors, auto ({young})": lambda: case.from_vectors(vectors, young),
    }


def report(n: int, measured: dict[str, Side], repeat: int) -> None:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in measured}
    for side in measured.values():
        side()
    for _ in range(repeat):
        for name, side in measured.items():
            wall, work = time.perf_counter(), time.process_time()
            side()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - work))
    print(f"{'':44} {'seconds':>9} {'least':>9} {'processor':>10} {'x argsort':>10} {'MB':>8}")
    base = statistics.median(work for _, work in seconds[ARGSORT])
    for name, took in seconds.items():
        walls, works = ([turn[at] for turn in took] for at in (0, 1))
        work = statistics.median(works)
        print(
            f"{name:44} {statistics.median(walls):9.4f} {min(walls):9.4f} {work:10.4f} {work / base:10.1f} "
            f"{peak(measured[name]) / 1e6:8.1f}"
        )
    if n in TARGETS:
        print(f"target: from vectors to an order under {TARGETS[n]} s")


def peak(side: Side) -> int:
    """Bytes that one run has allocated at its peak."""
    tracemalloc.start()
    try:
        side()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
