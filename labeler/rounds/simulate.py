"""Learning curves on images whose labels are known: many simulated runs, side by side, each kept when it is done.

Runs are processes of their own that share the vectors through a memory-mapped file. What a run gave is put into a file
named after everything that makes it what it is, so that an interrupted or repeated call does only what is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np

from labeler.domain import ImageRef, LabelerError, Progress, TruthError
from labeler.embed import backbones, service
from labeler.pool import layouts
from labeler.pool.disk import replacing, sha256_of
from labeler.pool.names import shown
from labeler.rank import registry
from labeler.rounds import trial
from labeler.rounds.trial import Curve, Photographs, Plan
from labeler.settings import Settings
from labeler.version import __version__

Report = Callable[[Progress], None] | None

_FORMAT = 1  # of a kept run; a change in what a run does makes another number
_FULL = "full-supervision"


@dataclass(frozen=True, slots=True)
class Simulation:
    """What `labeler simulate` measured.

    Attributes:
        classes: names in order. n_test: test images of every run. images: all of them.
        curves: one per strategy and seed, in the order asked for.
        full: test accuracy with every label of the pool, by seed.
        notes: images left out, and why.
    """

    classes: tuple[str, ...]
    images: int
    n_test: int
    plan: Plan
    curves: Sequence[Curve]
    full: dict[int, float]
    notes: Sequence[str]


def simulate(
    truth: Path,
    *,
    classes: tuple[str, ...],
    settings: Settings,
    cache: Path,
    strategies: Sequence[str],
    seeds: Sequence[int],
    plan: Plan,
    jobs: int = 0,
    fresh: bool = False,
    progress: Report = None,
) -> Simulation:
    """Run every strategy with every seed.

    Args:
        truth: a folder with a subfolder per class, or a CSV ``path,label``.
        classes: names in order.
        settings: backbone, threads, and the head's strength.
        cache: folder for vectors and finished runs.
        plan: k, budget, test, audit and examples of every run; a ``test`` of 0 means a fifth of the images.
        jobs: processes; 0 means one per core.
        fresh: do again what is kept.

    Raises:
        UnknownName: a strategy that does not exist. TruthError: the truth holds too little, or contradicts itself.
    """
    for name in strategies:
        if name != "auto":
            registry.get(name)  # an unknown name must not cost the embedding of a pool first
    photographs, notes = gather(truth, classes, settings, cache, progress)
    test = plan.test or max(1, len(photographs.refs) // 5)
    if test >= len(photographs.refs):
        raise LabelerError(
            f"{test} test images leave none of {len(photographs.refs)} to label", "give a smaller --test"
        )
    tested = trial.test_split(photographs, test, seeds[0])
    left = np.bincount(photographs.y[~tested]) - plan.examples
    if (left <= 0).all():
        raise LabelerError(f"{plan.examples} examples of each class leave nothing to ask", "give fewer --examples")
    plan = dataclasses.replace(plan, test=test, C=settings.head_c)
    plans = [dataclasses.replace(plan, strategy=name, seed=seed) for name in strategies for seed in seeds]
    full = [dataclasses.replace(plan, strategy=_FULL, seed=seed) for seed in seeds]
    kept = _Kept(cache / "simulations" / _digest(photographs, plan), fresh)
    runs = _Runs(photographs, jobs or service.thread_count(settings.threads), kept)
    done = runs.complete([*plans, *full], progress)
    return Simulation(
        classes,
        len(photographs.refs),
        int(tested.sum()),
        plan,
        [Curve(**done[each]) for each in plans],
        {each.seed: float(done[each]["accuracy"]) for each in full},
        notes,
    )


def class_names(truth: Path, preferred: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The classes of a truth: the first of the preferred lists that its labels fit, else its own names, sorted.

    Raises:
        TruthError: it names fewer than two classes.
    """
    for names in preferred:
        with contextlib.suppress(TruthError):
            if {label for _, label in layouts.read_truth(truth, names)} == set(names):
                return tuple(names)
    found = layouts.labels_of(truth)
    if len(found) < 2:
        raise TruthError(
            f"{shown(truth)} names {len(found)} class(es)", "give a folder with a subfolder for each class, or a CSV"
        )
    return found


def gather(
    truth: Path, classes: tuple[str, ...], settings: Settings, cache: Path, progress: Report
) -> tuple[Photographs, list[str]]:
    """Every image of a truth once, with its vector; and what was left out.

    Raises:
        TruthError: fewer than two usable images of a class, or nothing to read.
    """
    labels, files, notes = _identified(truth, classes, settings, progress)
    refs = [ImageRef(at, sha, files[sha].as_posix(), labels[sha]) for at, sha in enumerate(sorted(labels))]
    s = settings
    backbone = backbones.resolve(s.backbone, weights=s.weights, vectors=s.vectors, precision=s.precision)
    made = service.embed(
        refs,
        root=Path(os.path.abspath(truth.parent)),
        vectors=cache / "vectors",
        compiled=cache / "compiled",
        backbone=backbone,
        threads=s.threads,
        max_pixels=s.max_pixels,
        progress=progress,
    )
    notes += [f"{ref.path}: {reason}" for ref, reason in made.failed]
    numbers = {name: number for number, name in enumerate(classes)}
    kept = [refs[at] for at in made.kept.tolist()]
    y = np.array([numbers[str(ref.label)] for ref in kept], dtype=np.int64)
    few = [name for name, number in numbers.items() if int((y == number).sum()) < 2]
    if few:
        raise TruthError(f"{shown(truth)} has fewer than two usable images of {few[0]}", "give it more of them")
    parts = tuple((part.dimension, part.weight) for part in backbone.parts)
    return Photographs(kept, made.vectors, y, classes, parts, backbone.key), notes


def _identified(
    truth: Path, classes: tuple[str, ...], settings: Settings, progress: Report
) -> tuple[dict[str, str], dict[str, Path], list[str]]:
    """Label and file by SHA-256; twins count once, and not at all where they contradict each other."""
    named = list(layouts.read_truth(truth, classes))
    lost = [text for text, _ in named if isinstance(text, str)]
    if lost:
        raise TruthError(f"{shown(truth)} names {shown(Path(lost[0]))}, which is not there", "correct the path")
    found = [(Path(os.path.abspath(file)), label) for file, label in named]
    labels: dict[str, str] = {}
    files: dict[str, Path] = {}
    notes: list[str] = []
    with ThreadPoolExecutor(service.thread_count(settings.threads)) as threads:
        digests = threads.map(_digest_or_none, (file for file, _ in found))
        for done, ((file, label), sha) in enumerate(zip(found, digests, strict=True), start=1):
            if progress is not None and (done % 100 == 0 or done == len(found)):
                progress(Progress("reading", done, len(found)))
            if sha is None:
                notes.append(f"{shown(file)}: cannot be read")
            elif labels.setdefault(sha, label) != label:
                labels[sha] = ""
                notes.append(f"{shown(file)}: has a twin of another class; both are left out")
            else:
                files.setdefault(sha, file)
    return {sha: label for sha, label in labels.items() if label}, files, notes


def _digest_or_none(file: Path) -> str | None:
    try:
        return sha256_of(file)
    except OSError:
        return None


# ------------------------------------------------------------------------------------------------- the runs


class _Kept:
    """Finished runs on disk; what is damaged or of another make is done again."""

    def __init__(self, folder: Path, fresh: bool) -> None:
        self.folder, self.fresh = folder, fresh

    def read(self, plan: Plan) -> dict[str, Any] | None:
        if self.fresh:
            return None
        try:
            found = json.loads(self._file(plan).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write(self, plan: Plan, result: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._file(plan)) as stream:
            json.dump(result, stream)

    def _file(self, plan: Plan) -> Path:
        name = "".join(c if c.isalnum() or c in "-_" else "+" for c in plan.strategy)
        return self.folder / f"{name}-{plan.seed}.json"


class _Runs:
    """Carries plans out in processes; in this one where one is enough."""

    def __init__(self, photographs: Photographs, jobs: int, kept: _Kept) -> None:
        self._photographs, self._jobs, self._kept = photographs, jobs, kept

    def complete(self, plans: Sequence[Plan], progress: Report) -> dict[Plan, dict[str, Any]]:
        kept = self._kept
        done = {plan: found for plan in plans if (found := kept.read(plan)) is not None}
        missing = [plan for plan in plans if plan not in done]
        for plan, result in self._carried_out(missing):
            kept.write(plan, result)
            done[plan] = result
            if progress is not None:
                progress(Progress("simulated runs", len(done), len(plans)))
        return done

    def _carried_out(self, plans: Sequence[Plan]) -> Iterator[tuple[Plan, dict[str, Any]]]:
        if self._jobs == 1 or len(plans) < 2:
            for plan in plans:
                yield plan, _result(self._photographs, plan)
            return
        file = self._kept.folder / f"raw-{os.getpid()}.npy"  # another call may be at the same runs
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, self._photographs.raw)
        light = dataclasses.replace(self._photographs, raw=np.empty((0, 0), dtype=np.float16))
        others = set(active_children())
        pool = ProcessPoolExecutor(
            min(self._jobs, len(plans)), get_context("spawn"), initializer=_begin, initargs=(light, file)
        )
        try:
            running: dict[Future[dict[str, Any]], Plan] = {pool.submit(_in_child, plan): plan for plan in plans}
            while running:
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield running.pop(future), future.result()
        except BaseException:
            for child in set(active_children()) - others:
                child.terminate()  # what it was doing is lost in any case: nobody shall wait for it
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            file.unlink(missing_ok=True)


_of_child: dict[str, Photographs] = {}


def _begin(photographs: Photographs, raw: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends its children
    _of_child["photographs"] = dataclasses.replace(photographs, raw=np.load(raw, mmap_mode="r"))


def _in_child(plan: Plan) -> dict[str, Any]:
    return _result(_of_child["photographs"], plan)


def _result(photographs: Photographs, plan: Plan) -> dict[str, Any]:
    if plan.strategy == _FULL:
        return {"accuracy": trial.full_supervision(photographs, plan)}
    return dataclasses.asdict(trial.run(photographs, plan))


def _digest(photographs: Photographs, plan: Plan) -> str:
    """Everything a run depends on but strategy and seed."""
    digest = hashlib.sha256()
    for ref, label in zip(photographs.refs, photographs.y.tolist(), strict=True):
        digest.update(f"{ref.sha256}{label}\n".encode())
    described = [_FORMAT, __version__, photographs.classes, photographs.backbone_key, photographs.parts]
    digest.update(json.dumps([*described, dataclasses.asdict(dataclasses.replace(plan, strategy="", seed=0))]).encode())
    return digest.hexdigest()[:16]
