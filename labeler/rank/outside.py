"""Pool strategies of scikit-activeml under their own names: ``skactiveml:DropQuery``, ``skactiveml:Badge``, ...

The package is an optional extra and is imported only when such a name is asked for. Its strategies get what they ask
for: pool and labelled images as one matrix, a logistic regression of the strength that ours has, or a committee or
mixture model where they want one. Many of them were written for a few thousand rows, so a large pool is tried on small
parts of itself first and refused where the whole would take minutes.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler.domain import LabelerError, UnknownName
from labeler.rank.committee import HEADS, C, bootstrap
from labeler.rank.registry import Choice, Pool, Strategy, register_family
from labeler.rank.scores import by_id, labelled_order, most_useful, utilities

Indices = npt.NDArray[np.int64]

FAMILY = "skactiveml"
MOST_SECONDS = 120.0
TRIAL_SECONDS = 2.0
SMALLEST_TRIAL, LARGEST_TRIAL, TRIAL_BATCH = 8, 4_096, 4
# The largest trials tell most: in small ones fixed costs prevail.
TRIALS_USED = 4
_MODELS = {"clf", "estimator", "ensemble"}
_KNOWN = {"X", "y", "discriminator", *_MODELS}


@register_family(FAMILY)
def _named(name: str) -> Strategy:
    """The strategy of that class name.

    Raises:
        LabelerError: scikit-activeml is not installed.
        UnknownName: it has no such strategy for classes and one annotator; the message lists those it has.
    """
    classes = _classes()
    if name not in classes:
        raise UnknownName(f"unknown strategy '{FAMILY}:{name}'", f"choose from {FAMILY}: {', '.join(classes)}")
    kind = classes[name]
    asked = set(inspect.signature(kind.query).parameters)

    def choose(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
        return _choose(_Task(f"{FAMILY}:{name}", kind, pool, k, int(rng.integers(2**31))))

    return Strategy(f"{FAMILY}:{name}", choose, needs_model=bool(asked & _MODELS))


@functools.cache
def _classes() -> dict[str, type[Any]]:
    """Pool strategies that need nothing beyond what :class:`_Task` can give, by name."""
    try:
        from skactiveml import pool
        from skactiveml.base import SingleAnnotatorPoolQueryStrategy
    except ImportError:
        raise LabelerError("scikit-activeml is not installed", "pip install 'labeler[skactiveml]'") from None
    found = {name: getattr(pool, name) for name in sorted(pool.__all__)}
    return {
        name: kind
        for name, kind in found.items()
        if inspect.isclass(kind) and issubclass(kind, SingleAnnotatorPoolQueryStrategy) and _can_be_asked(kind)
    }


def _can_be_asked(kind: type[Any]) -> bool:
    """Whether it chooses among classes by itself: those for regression, and wrappers of others, want more."""
    made, asked = inspect.signature(kind).parameters, inspect.signature(kind.query).parameters
    wanted = {
        one.name
        for one in (*made.values(), *asked.values())
        if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    }
    return wanted <= {"self", "classes", *_KNOWN} and "query_strategy" not in made


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """One question to one of their strategies, in an order of rows that is always the same."""

    name: str
    kind: type[Any]
    pool: Pool
    k: int
    seed: int

    @property
    def classes(self) -> list[int]:
        """Numbers of all classes; before a first model those up to the highest label, at least two."""
        p = self.pool.probabilities
        count = p.shape[1] if p is not None else max([2, *(self.pool.labelled_y + 1).tolist()])
        return list(range(count))

    def ask(self, rows: Indices, k: int) -> Indices:
        """Positions in ``rows`` that the strategy chooses, each once, those of the batch first to last."""
        order = labelled_order(self.pool)
        X = np.concatenate([self.pool.labelled_vectors[order], self.pool.vectors[rows]])
        y = np.concatenate([self.pool.labelled_y[order].astype(np.float64), np.full(len(rows), np.nan)])
        candidates = np.arange(len(order), len(X))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # about labels that are few, which here they are by design
            chosen = self._built().query(
                X=X, y=y, candidates=candidates, batch_size=k, **self._models(X[: len(order)], y[: len(order)])
            )
        _, first = np.unique(chosen, return_index=True)
        at: Indices = np.asarray(chosen)[np.sort(first)].astype(np.int64) - len(order)
        return at[(at >= 0) & (at < len(rows))]

    def _built(self) -> Any:
        parameters = inspect.signature(self.kind).parameters
        arguments: dict[str, Any] = {"random_state": self.seed}
        if "classes" in parameters:
            arguments["classes"] = self.classes
        if "cluster_algo_dict" in parameters:  # else k-means takes its numbers from numpy's global state
            arguments["cluster_algo_dict"] = {"random_state": self.seed}
        if "prior" in parameters:  # probabilistic active learning counts neighbours; our head counts none for it
            arguments["metric"] = "rbf"
        return self.kind(**arguments)

    def _models(self, X: npt.NDArray[np.floating], y: npt.NDArray[np.float64]) -> dict[str, Any]:
        from skactiveml.classifier import MixtureModelClassifier
        from skactiveml.pool import FourDs

        asked = inspect.signature(self.kind.query).parameters
        given: dict[str, Any] = {name: self._head() for name in ("clf", "estimator", "discriminator") if name in asked}
        if issubclass(self.kind, FourDs):
            given["clf"] = MixtureModelClassifier(classes=self.classes, random_state=self.seed)
        if "ensemble" in asked:
            given |= {"ensemble": self._heads(X, y), "fit_ensemble": False}
        return given

    def _head(self) -> Any:
        from skactiveml.classifier import SklearnClassifier
        from sklearn.linear_model import LogisticRegression

        head = LogisticRegression(C=C, max_iter=1000, random_state=self.seed)
        return SklearnClassifier(head, classes=self.classes, random_state=self.seed)

    def _heads(self, X: npt.NDArray[np.floating], y: npt.NDArray[np.float64]) -> list[Any]:
        """A committee fitted on bootstrap samples: fitted on the same labels, its members would all be one."""
        rng = np.random.default_rng(self.seed)
        if not len(y):
            return [self._head().fit(X, y) for _ in range(HEADS)]
        drawn = [bootstrap(y.astype(np.int64), rng) for _ in range(HEADS)]
        return [self._head().fit(X[rows], y[rows]) for rows in drawn]


def _choose(task: _Task) -> Choice:
    rows = by_id(task.pool)
    try:
        _refuse_what_takes_too_long(task, rows)
        chosen = rows[task.ask(rows, task.k)][: task.k]
    except LabelerError:
        raise
    except Exception as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LabelerError(f"{task.name} cannot rank this pool: {cause}", "choose another strategy") from error
    missing = task.k - len(chosen)
    if not missing:
        return Choice(chosen, ("outside",) * task.k)
    rest = np.setdiff1d(rows, chosen)
    score = np.nan_to_num(utilities(task.pool)[rest])
    filled = rest[most_useful(score, task.pool.ids[rest], missing)]
    return Choice(np.concatenate([chosen, filled]), ("outside",) * len(chosen) + ("uncertain",) * missing)


def _refuse_what_takes_too_long(task: _Task, rows: Indices) -> None:
    if len(rows) <= 2 * SMALLEST_TRIAL:
        return
    expected = _expected_seconds(task, rows)
    if expected > MOST_SECONDS:
        # Chance can slow a trial, never speed it up: only what is slow twice is refused.
        expected = min(expected, _expected_seconds(task, rows))
    if expected > MOST_SECONDS:
        raise LabelerError(
            f"{task.name} would take about {_readable(expected)} to rank {len(rows)} images, "
            f"more than {_readable(MOST_SECONDS)}",
            "choose another strategy, or a smaller pool",
        )


def _expected_seconds(task: _Task, rows: Indices) -> float:
    """What the whole pool would cost, from trials on its first images; 0 when the strategy fails on all of them."""
    batch = min(task.k, TRIAL_BATCH)
    sizes, seconds = _trials(lambda size: task.ask(rows[:size], batch), SMALLEST_TRIAL, len(rows))
    if not sizes:
        return 0.0  # what it says of the whole is what the person should read
    expected = extrapolated(sizes[-TRIALS_USED:], seconds[-TRIALS_USED:], len(rows))
    if task.k > batch and expected <= MOST_SECONDS:
        # One more trial tells how much a larger batch costs: nothing, or as much again for every image of it.
        at = max(0, len(sizes) - 2)
        twice = _timed(lambda size: task.ask(rows[:size], 2 * batch), sizes[at])
        expected *= 1.0 + (task.k / batch - 1.0) * max(0.0, twice / seconds[at] - 1.0)
    return expected


def _trials(run: Callable[[int], object], smallest: int, largest: int) -> tuple[list[int], list[float]]:
    """Seconds for pools of growing size, as long as the next is likely to fit into what TRIAL_SECONDS leaves.

    Sizes at which the strategy fails are left out: some cannot do with a handful of images.
    """
    sizes: list[int] = []
    seconds: list[float] = []
    started, size = time.perf_counter(), smallest
    while size < min(largest, LARGEST_TRIAL):
        with contextlib.suppress(Exception):
            took = _timed(run, size)
            if not sizes and took < 0.25 * TRIAL_SECONDS:  # the first run also loads and warms up
                took = _timed(run, size)
            sizes.append(size)
            seconds.append(took)
        if time.perf_counter() - started + 4 * max(seconds[-1:], default=0.0) >= TRIAL_SECONDS:
            break
        size *= 2
    return sizes, seconds


def _timed(run: Callable[[int], object], size: int) -> float:
    """Seconds of one run, without those in which other programs had the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    run(size)
    return min(time.perf_counter() - wall, max(time.process_time() - cpu, 1e-6))


def extrapolated(sizes: Sequence[int], seconds: Sequence[float], n: int) -> float:
    """Seconds for n images: ``fixed + factor x size ^ power``, fitted to trials in relative terms, power 1 to 3.

    Args:
        sizes: of the trials, ascending; seconds: what each took. A single trial is taken to grow by the square.
    """
    if len(sizes) == 1:
        return seconds[0] * (n / sizes[0]) ** 2
    size, took = np.array(sizes, dtype=np.float64), np.array(seconds)
    best, expected = np.inf, 0.0
    for power in np.linspace(1.0, 3.0, 41):
        grown = (size / size[-1]) ** power
        fixed, factor = _non_negative(grown, took)
        misfit = float(np.square((fixed + factor * grown) / took - 1.0).sum())
        if misfit < best:
            best, expected = misfit, fixed + factor * float(n / size[-1]) ** power
    return expected


def _non_negative(grown: npt.NDArray[np.float64], took: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Least squares of relative errors for ``fixed + factor x grown``, neither below zero."""
    rows = np.column_stack([1.0 / took, grown / took])
    fixed, factor = np.linalg.lstsq(rows, np.ones(len(took)), rcond=None)[0].tolist()
    if fixed >= 0.0 and factor >= 0.0:
        return fixed, factor
    alone = rows.sum(axis=0) / np.square(rows).sum(axis=0)
    return (0.0, float(alone[1])) if fixed < 0.0 else (float(alone[0]), 0.0)


def _readable(seconds: float) -> str:
    for unit, size, least in (("days", 86_400, 172_800), ("hours", 3_600, 7_200), ("minutes", 60, 600)):
        if seconds >= least:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
