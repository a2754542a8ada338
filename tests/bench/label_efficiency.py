"""How many labels it takes: ours against random order, plain uncertainty, modAL and scikit-activeml, on equal terms.

    python tests/bench/label_efficiency.py [PHOTOGRAPHS] [--sets mask,hard,minority] [--splits 10] [--budget 500]

Wants the packages of `pip install 'labeler[peers]'`; a peer that is not installed is left out, and said so. Every side
is run twice: on the 1280 pooled features, and on our multi-depth vectors, both through our recipe (root, mean, length).
All share splits, head (logistic regression, C = 30) and test images. Ours and `kmeans start` are runs of
`labeler simulate`; the peers run as :mod:`tests.bench.label_peers` says.

Sets: `mask`, the photographs; `hard`, the same degraded (`refresh_accuracy.degrade_all`); `minority`, the photographs
with 2 % of withMask, one example of each class given to every side, a fifth of them for testing. Everything is drawn by
seed.

Labels to target: those asked for until the mean over splits first reaches full supervision minus 0.5 points, once of
the pooled vectors (one target for all) and once of the side's own; with the 80 % interval over splits drawn with
replacement. Area: mean accuracy over the curve; `ours - it`: paired over splits, with its standard error. `both by 50`:
splits in which the first 50 labels asked for hold both classes, examples given not counted. The splits re-use the same
images: the intervals cover the luck of the split and of the start, no other photographs.

Finished runs are kept in --cache, by images, plan, version of this package and of the peers. Code that changed without
its version is not noticed: give --fresh.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does, before numpy comes

import argparse
import dataclasses
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from labeler.cli_simulate import user_cache
from labeler.domain import Progress
from labeler.retrain import curves
from labeler.rounds import simulate, trial
from labeler.rounds.trial import Photographs, Plan
from labeler.settings import Settings
from tests.bench import label_peers
from tests.bench.refresh_accuracy import degrade_all
from tests.bench.rounds_accuracy import CLASSES, DEFAULT_PHOTOGRAPHS, TEST

POOLED, MULTI = "pooled", "multi-depth"
VECTORS = (POOLED, MULTI)
OURS, FULL = "auto", "full supervision"
#: Runs of `labeler simulate`, by what the table calls them.
TRIALS = {"labeler auto": OURS, "random order": "random", "uncertainty + kmeans start": "uncertainty"}
MARKS = (20, 40, 60, 80, 100, 150, 200, 300, 500)
MINORITY, MINORITY_SEED = 0.02, 0
WITHIN = 50  # labels asked for, within which a rare class is to be found
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Job:
    """One run: a side on one kind of vectors with the seed of its plan."""

    side: str
    vectors: str
    plan: Plan


def main() -> None:
    options = parsed()
    start = time.perf_counter()
    print(f"k = {options.k}, {options.splits} splits, {options.budget} labels, {options.jobs} processes")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}")
    sides = [*TRIALS, *(name for name in label_peers.PEERS if label_peers.installed(name))]
    print(", ".join(f"{name} {version(name)}" for name in sorted({label_peers.PEERS[s][0] for s in sides[3:]})))
    for name in label_peers.PEERS:
        if name not in sides:
            print(f"left out: {name}, {label_peers.PEERS[name][0]} is not installed")
    if options.sides:
        sides = [side for side in sides if side in options.sides.split(",")]
    found = {kind: study(kind, sides, options) for kind in options.sets.split(",")}
    print(f"{time.perf_counter() - start:.0f} s, runs that were kept from before not counted")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=DEFAULT_PHOTOGRAPHS)
    parser.add_argument("--sets", default="mask,hard,minority")
    parser.add_argument("--sides", default="", help="only these, by their names in the table")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=500)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cache", type=Path, default=user_cache())
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--json", type=Path, help="write every figure there")
    return parser.parse_args()


# ----------------------------------------------------------------------------------------------------------- the sets


def photographs_of(kind: str, options: argparse.Namespace) -> Photographs:
    """Images of a set with their multi-depth vectors."""
    truth = options.photographs
    if kind == "hard":
        truth = options.cache / "label-efficiency" / "hard"
        if not truth.is_dir():
            partial = truth.with_name(f"hard-{os.getpid()}")
            degrade_all(options.photographs, partial)
            partial.rename(truth)
    found, notes = simulate.gather(truth, CLASSES, Settings(), options.cache, _Lines())
    for note in notes:
        print(f"left out: {note}")
    return minority(found) if kind == "minority" else found


def minority(photographs: Photographs) -> Photographs:
    """All of the second class, and of the first as many as make 2 % of the whole; drawn by seed."""
    rare, common = (np.flatnonzero(photographs.y == number) for number in (0, 1))
    wanted = round(MINORITY / (1 - MINORITY) * len(common))
    kept = np.sort([*np.random.default_rng(MINORITY_SEED).choice(rare, wanted, replace=False), *common])
    refs = [photographs.refs[row] for row in kept.tolist()]
    return dataclasses.replace(photographs, refs=refs, raw=photographs.raw[kept], y=photographs.y[kept])


def seen_through(photographs: Photographs, vectors: str) -> Photographs:
    """The same images with all parts of the vector, or the last one alone."""
    if vectors == MULTI:
        return photographs
    *_, (dimension, _) = photographs.parts
    raw = photographs.raw[:, -dimension:]
    key = f"{photographs.backbone_key}-{POOLED}"
    return dataclasses.replace(photographs, raw=raw, parts=((dimension, 1.0),), backbone_key=key)


class _Lines:
    """Progress of the embedding, a line every thousand images."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, step: Progress) -> None:
        if step.done - self._said >= 1_000 or step.done < self._said:
            self._said = step.done
            print(f"{step.what} {step.done} of {step.total}", flush=True)


# ----------------------------------------------------------------------------------------------------------- the runs


def study(kind: str, sides: Sequence[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    photographs = photographs_of(kind, options)
    n = len(photographs.refs)
    given = 1 if kind == "minority" else 0
    test = TEST if n >= 4 * TEST else n // 5
    plan = Plan("", 0, options.k, options.budget + given * len(CLASSES), test, examples=given)
    seeds = range(options.first_seed, options.first_seed + options.splits)
    jobs = [
        Job(side, vectors, dataclasses.replace(plan, strategy=TRIALS.get(side, side), seed=seed))
        for seed in seeds
        for vectors in VECTORS
        for side in (FULL, *sides)
    ]
    counts = np.bincount(photographs.y, minlength=2).tolist()
    print(f"\n{kind}: {n} images, {counts} of {CLASSES}, {test} for testing, {given} example(s) of each class given")
    done = completed(kind, photographs, jobs, options)
    full = {v: {job.plan.seed: done[job]["accuracy"] for job in jobs if job.side == FULL and job.vectors == v}
            for v in VECTORS}  # fmt: skip
    curves_of = {
        (side, v): [done[job] for job in jobs if (job.side, job.vectors) == (side, v)]
        for side in sides
        for v in VECTORS
    }
    for vectors, values in full.items():
        print(f"full supervision, {vectors}: {100 * np.mean(list(values.values())):.2f} %")
    rows = [figures(side, v, curves_of[side, v], full, given * len(CLASSES)) for side, v in curves_of]
    against_ours(rows, curves_of, full)
    print_table(rows, options.budget)
    print_ratios(rows)
    return rows


def completed(
    kind: str, photographs: Photographs, jobs: Sequence[Job], options: argparse.Namespace
) -> dict[Job, dict[str, Any]]:
    """The result of every job, kept ones first; a line for each that is done now."""
    kept = {v: _kept(seen_through(photographs, v), jobs[0].plan, options) for v in VECTORS}
    done = {job: found for job in jobs if (found := kept[job.vectors].read(_named(job))) is not None}
    missing = [job for job in jobs if job not in done]
    print(f"{len(done)} of {len(jobs)} runs were there already", flush=True)
    for job, result, seconds in carried_out(photographs, missing, kept[MULTI].folder, options.jobs):
        kept[job.vectors].write(_named(job), result)
        done[job] = result
        end = f"{100 * result['accuracy']:.2f} %" if job.side == FULL else f"{100 * result['accuracy'][-1]:.2f} %"
        name = f"{kind} {job.side}, {job.vectors}, seed {job.plan.seed}"
        print(f"[{len(done)}/{len(jobs)}] {name}: {end}, {seconds:.1f} s", flush=True)
    return done


def _kept(photographs: Photographs, plan: Plan, options: argparse.Namespace) -> Any:
    """Finished runs of these images and this plan, of these versions of the peers."""
    versions = [FORMAT, version("scikit-learn"), *map(label_peers.installed, label_peers.PEERS)]
    name = f"{simulate._digest(photographs, plan)}-{'-'.join(map(str, versions))}"
    return simulate._Kept(options.cache / "label-efficiency" / name, options.fresh)


def _named(job: Job) -> Plan:
    return dataclasses.replace(job.plan, strategy=job.side)


def carried_out(
    photographs: Photographs, jobs: Sequence[Job], folder: Path, processes: int
) -> Iterator[tuple[Job, dict[str, Any], float]]:
    if not jobs:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"raw-{os.getpid()}.npy"
    np.save(file, photographs.raw)
    light = dataclasses.replace(photographs, raw=np.empty((0, 0), dtype=np.float16))
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin, initargs=(light, file))
    try:
        for future in as_completed([pool.submit(_in_child, job) for job in jobs]):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        file.unlink(missing_ok=True)


_of_child: dict[str, Photographs] = {}


def _begin(light: Photographs, raw: Path) -> None:
    whole = dataclasses.replace(light, raw=np.load(raw, mmap_mode="r"))
    _of_child.update({vectors: seen_through(whole, vectors) for vectors in VECTORS})


def _in_child(job: Job) -> tuple[Job, dict[str, Any], float]:
    photographs, start = _of_child[job.vectors], time.perf_counter()
    result: dict[str, Any]
    if job.side == FULL:
        result = {"accuracy": trial.full_supervision(photographs, job.plan)}
    else:
        runs: Callable[[Photographs, Plan], trial.Curve] = trial.run if job.side in TRIALS else label_peers.run
        result = dataclasses.asdict(runs(photographs, job.plan))
    return job, result, time.perf_counter() - start


# ---------------------------------------------------------------------------------------------------------- the table


def figures(
    side: str, vectors: str, rows: Sequence[dict[str, Any]], full: dict[str, dict[int, float]], given: int
) -> dict[str, Any]:
    """One line of the table; labels are those asked for, without the examples."""
    asked = [{**row, "labels": [n - given for n in row["labels"]]} for row in rows]
    common = curves.summary(curves.together(side, asked, full[POOLED]))
    own = curves.summary(curves.together(side, asked, full[vectors]))
    rare = [
        max((min(c) for n, c in zip(r["labels"], r["counts"], strict=True) if n <= WITHIN), default=0) for r in asked
    ]
    return {
        "side": side,
        "vectors": vectors,
        "labels": common["labels"],
        "mean": common["mean"],
        "balanced_mean": common["balanced_mean"],
        "area": common["area"],
        "target": common["target"],
        "to_target": common["labels_to_target"],
        "to_target_interval": common["labels_to_target_interval"],
        "to_own_target": own["labels_to_target"],
        "to_own_target_interval": own["labels_to_target_interval"],
        "found": sum(count > given // len(CLASSES) for count in rare),
        "splits": len(rows),
        "seconds": float(np.median([s for row in rows for s in row["seconds"]])),
    }


def against_ours(
    rows: Sequence[dict[str, Any]],
    curves_of: dict[tuple[str, str], list[dict[str, Any]]],
    full: dict[str, dict[int, float]],
) -> None:
    """Add the paired difference of areas, ours on our vectors minus each."""
    ours = curves_of.get(("labeler auto", MULTI))
    if ours is None:
        return
    first = curves.together("ours", ours, full[POOLED])
    for row in rows:
        other = curves.together(row["side"], curves_of[row["side"], row["vectors"]], full[POOLED])
        row["ahead"], row["ahead_error"] = curves.paired(first, other)


def print_table(rows: Sequence[dict[str, Any]], budget: int) -> None:
    marks = [mark for mark in MARKS if any(mark in row["labels"] for row in rows)]
    heads = ["side", "vectors", "labels to target", "to own target", *map(str, marks), "balanced", "area"]
    heads += ["ours - it", f"both by {WITHIN}", "s/round"]
    lines = [heads]
    for row in rows:
        at = [f"{100 * row['mean'][row['labels'].index(m)]:.2f}" if m in row["labels"] else "-" for m in marks]
        ahead = f"{100 * row['ahead']:+.2f}" if "ahead" in row else "-"
        ahead += f" ± {100 * row['ahead_error']:.2f}" if "ahead" in row and row["splits"] > 1 else ""
        lines.append(
            [
                row["side"],
                row["vectors"],
                told(row["to_target"], row["to_target_interval"], budget),
                told(row["to_own_target"], row["to_own_target_interval"], budget),
                *at,
                f"{100 * row['balanced_mean'][-1]:.2f}",
                f"{100 * row['area']:.2f}",
                ahead,
                f"{row['found']} of {row['splits']}",
                f"{row['seconds']:.3f}",
            ]
        )
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    print(f"target {100 * rows[0]['target']:.2f} %; balanced accuracy at the end of the curve")
    for line in lines:
        cells = [
            cell.ljust(w) if at < 2 else cell.rjust(w) for at, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), flush=True)


def print_ratios(rows: Sequence[dict[str, Any]]) -> None:
    """Labels to the common target: ours over plain uncertainty on the pooled vectors, and over the best peer."""
    reached = {(row["side"], row["vectors"]): row["to_target"] or np.inf for row in rows}
    ours = reached.get(("labeler auto", MULTI))
    peers = {name: labels for name, labels in reached.items() if name[0] in label_peers.PEERS}
    if ours is None or not peers:
        return
    best = min(peers, key=lambda name: peers[name])
    for name in dict.fromkeys([("plain uncertainty", POOLED), best]):
        if name in peers and np.isfinite([ours, peers[name]]).all():
            print(f"ours / {', '.join(name)}: {ours} / {peers[name]} labels = {ours / peers[name]:.2f}")
        elif name in peers:
            print(f"ours / {', '.join(name)}: not told, a target was not reached")


def told(labels: int | None, interval: Sequence[int | None], budget: int) -> str:
    at, low, high = (f"> {budget}" if value is None else str(value) for value in (labels, *interval))
    return at if at == low == high else f"{at} [{low}-{high}]"


if __name__ == "__main__":
    main()
