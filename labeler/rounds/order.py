"""The pool in an order: what the model says of each candidate, and which a strategy chooses first."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler.domain import ImageRef
from labeler.rank import registry, strategies
from labeler.rank.head import QuickModel
from labeler.rank.strategies import Pool
from labeler.rounds.learning import Learner, Material

Indices = npt.NDArray[np.int64]


class Timing:
    """Seconds by step; the steps of one round add up over the processes that worked on it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def added_to(self, stored: Mapping[str, float]) -> dict[str, float]:
        names = [*stored, *(name for name in self.seconds if name not in stored)]
        return {name: stored.get(name, 0.0) + self.seconds.get(name, 0.0) for name in names}


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Rows of the candidates in the order they are to be asked about, and why each.

    Attributes:
        indices: (k,) positions in the candidates.
        why: one word for each.
        strategy: the one that chose the first of them.
    """

    indices: Indices
    why: Sequence[str]
    strategy: str


class Order:
    """Candidates with what the model says of them; computed once, asked as often as needed.

    Args:
        learner: gives classes and the vector recipe.
        material: pool and training images.
        model: None before a first one.
        rows: (n,) rows of the material that may be chosen.
        seed: of everything random.
    """

    def __init__(
        self, learner: Learner, material: Material, model: QuickModel | None, rows: Indices, seed: int
    ) -> None:
        self._classes = learner.settings.classes
        self._material, self._rows, self._seed = material, rows, seed
        self._has_model = model is not None
        features = model.features if model is not None else learner.feature_map(material)
        raw = material.raw[rows]
        vectors = features.transform(raw)
        labelled = material.labelled
        self._pool = Pool(
            vectors=vectors,
            ids=np.array([material.refs[index].sha256 for index in rows]),
            probabilities=model.predict_vectors(vectors, raw) if model is not None else None,
            labelled_vectors=features.transform(material.raw[labelled]),
            labelled_y=material.y[labelled],
        )

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def uncertainty(self) -> npt.NDArray[np.float64]:
        """(n,), NaN before a first model."""
        p = self._pool.probabilities
        return np.full(len(self), np.nan) if p is None else strategies.uncertainty_of(p)

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """(n,) probability of the class that is suggested, NaN before a first model."""
        p = self._pool.probabilities
        return np.full(len(self), np.nan) if p is None else p.max(axis=1)

    def ref(self, at: int) -> ImageRef:
        ref: ImageRef = self._material.refs[int(self._rows[at])]
        return ref

    def said(self, at: int) -> dict[str, Any]:
        """What the model says of a candidate, in the columns of a proposal."""
        row: dict[str, Any] = {"image_id": self.ref(at).id, "probability": None, "uncertainty": None, "predicted": None}
        p = self._pool.probabilities
        if p is not None:
            row |= said(p[at], self._classes)
            row["uncertainty"] = float(self.uncertainty[at])
        return row

    def choose(self, strategy: str, k: int) -> Chosen:
        """The first k by a strategy; ``auto`` and strategies that need a model before there is one go by the rule."""
        name = self._named(strategy, k)
        selection = strategies.select(name, self._pool, k, seed=self._seed)
        return Chosen(selection.indices, selection.why or ("",) * len(selection.indices), name)

    def long(self, strategy: str, k: int, batches: int, most: int) -> Chosen:
        """An order for several batches: each chosen by the strategy from what the earlier ones left.

        After that many batches the rest follows by uncertainty, or by lot before a first model, up to ``most``.
        """
        first = self.choose(strategy, k)
        indices, why = first.indices, list(first.why)
        for number in range(1, batches):
            left = self._without(indices)
            if not len(left):
                break
            more = strategies.select(first.strategy, self._part(left), k, seed=self._seed + number)
            indices = np.concatenate([indices, left[more.indices]])
            why += more.why or [""] * len(more.indices)
        left = self._without(indices)
        wanted = min(len(left), most - len(indices))
        if wanted > 0:
            rest = strategies.select(
                "uncertainty" if self._has_model else "random", self._part(left), wanted, seed=self._seed
            )
            indices = np.concatenate([indices, left[rest.indices]])
            why += rest.why
        return Chosen(indices, why, first.strategy)

    def _named(self, asked: str, k: int) -> str:
        if asked != "auto" and (self._has_model or not registry.get(asked).needs_model):
            return asked
        labelled = len(self._pool.labelled_y)
        return strategies.default_strategy(k=k, has_model=self._has_model, labelled=labelled)

    def _without(self, indices: Indices) -> Indices:
        return np.setdiff1d(np.arange(len(self)), indices).astype(np.int64)

    def _part(self, rows: Indices) -> Pool:
        pool = self._pool
        p = pool.probabilities
        return replace(
            pool, vectors=pool.vectors[rows], ids=pool.ids[rows], probabilities=None if p is None else p[rows]
        )


def said(probabilities: npt.NDArray[np.float64], classes: Sequence[str]) -> dict[str, Any]:
    """``probability`` and ``predicted`` of one image as the contract defines them."""
    best = int(np.argmax(probabilities))
    column = 0 if len(classes) == 2 else best
    return {"probability": float(probabilities[column]), "predicted": classes[best]}


def candidates(material: Material, skipped: set[int]) -> Indices:
    """Rows of the material that may be proposed; skipped images only when nothing else is left."""
    unlabelled = np.flatnonzero(material.y < 0)
    fresh = np.array([row for row in unlabelled.tolist() if material.refs[row].id not in skipped], dtype=np.int64)
    return fresh if len(fresh) else unlabelled


def derived(seed: int, number: int) -> int:
    """A seed of this round's own, so that two rounds of one workspace do not draw alike."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def pool_hash(refs: Sequence[ImageRef]) -> str:
    """One digest for a set of images in order."""
    digest = hashlib.sha256()
    for ref in refs:
        digest.update(bytes.fromhex(ref.sha256))
    return digest.hexdigest()
