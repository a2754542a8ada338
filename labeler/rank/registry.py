"""The values a strategy works on and gives back, and the table of strategies by name.

A strategy is a function ``(pool, k, rng) -> Choice``. It never sees a path, a database or a model, changes nothing in
the pool, takes every random number from ``rng``, and lets nothing depend on the order of the rows: ties break by image
id, and random numbers are dealt to images in the order of their ids. ``tests/contracts/test_strategies.py`` runs over
every registered name.

Another package adds one by the entry point group ``labeler.strategies``::

    [project.entry-points."labeler.strategies"]
    my-strategy = "my_package.module:my_function"

A name with a colon belongs to a family: the part before it says who knows the part after it, e.g.
``skactiveml:DropQuery``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from labeler.domain import UnknownName
from labeler.rank.vectors import Part, Vectors

ENTRY_POINTS = "labeler.strategies"


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What a strategy may know. Arrays are views: a strategy copies the rows it needs, never the whole.

    Attributes:
        vectors: (n, D) transformed vectors of the unlabelled images: an array float32, or what makes the rows that are
            asked for by ``vectors[rows]``; ``np.asarray`` gives the whole.
        ids: (n,) numpy text array, the images' SHA-256.
        probabilities: (n, C) float64, rows adding up to 1; None before a first model exists.
        labelled_vectors: (m, D) float32, m >= 0.
        labelled_y: (m,) class numbers.
    """

    vectors: Vectors
    ids: npt.NDArray[np.str_]
    probabilities: npt.NDArray[np.float64] | None
    labelled_vectors: npt.NDArray[np.float32]
    labelled_y: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, rows: npt.NDArray[np.int64]) -> Pool:
        """A pool of some of these images, with the same labels; copies no vector, and nothing where it is the whole."""
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self
        p = self.probabilities
        return replace(
            self, vectors=Part(self.vectors, rows), ids=self.ids[rows], probabilities=None if p is None else p[rows]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What a strategy gives back: row numbers in rank order, and for each a short word that says why."""

    indices: npt.NDArray[np.int64]
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """One batch.

    Attributes:
        indices: int64 (min(k, n),) rows of the pool in rank order, each once.
        utilities: float64 (n,) uncertainty of every image of the pool; all NaN before a first model exists.
        strategy: the name it was asked for by.
        why: a short word per chosen image.
    """

    indices: npt.NDArray[np.int64]
    utilities: npt.NDArray[np.float64]
    strategy: str
    why: tuple[str, ...]


StrategyFunction = Callable[[Pool, int, np.random.Generator], Choice]


@dataclass(frozen=True, slots=True)
class Strategy:
    """An entry of the table; ``needs_model`` says whether it can do without probabilities."""

    name: str
    function: StrategyFunction
    needs_model: bool


Family = Callable[[str], Strategy]

_table: dict[str, Strategy] = {}
_families: dict[str, Family] = {}


def register(name: str, *, needs_model: bool = True) -> Callable[[StrategyFunction], StrategyFunction]:
    """Decorator: enter a strategy under a name; a name is given once."""

    def enter(function: StrategyFunction) -> StrategyFunction:
        if name in _table and _table[name].function is not function:
            raise ValueError(f"a strategy named {name!r} exists already")
        _table[name] = Strategy(name, function, needs_model)
        return function

    return enter


def register_family(name: str) -> Callable[[Family], Family]:
    """Decorator: enter a function that makes the strategy for the part of a name after ``name:``."""

    def enter(family: Family) -> Family:
        _families[name] = family
        return family

    return enter


def get(name: str) -> Strategy:
    """The strategy of that name; other packages are searched, and imported, only for a name not built in.

    Raises:
        UnknownName: nobody offers it; the message lists the names there are.
        LabelerError: its package is not installed.
    """
    family, colon, member = name.partition(":")
    if colon and family in _families:
        return _families[family](member)
    if name not in _table:
        _load_entry_point(name)
    if name in _table:
        return _table[name]
    others = "".join(f", {family}:NAME" for family in sorted(_families))
    raise UnknownName(f"unknown strategy {name!r}", f"choose from {', '.join(names())}{others}")


def names() -> tuple[str, ...]:
    """Every name, of this and of other installed packages, sorted; imports none of them."""
    from importlib.metadata import entry_points

    return tuple(sorted({*_table, *(entry.name for entry in entry_points(group=ENTRY_POINTS))}))


def _load_entry_point(name: str) -> None:
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS, name=name):
        function = entry.load()
        # Loading may have run the decorator, which knows more (needs_model) than the entry point.
        if name not in _table:
            register(name)(function)
