"""Which images to put before a person next: the choice by name, the rule behind ``auto``, and the plain rankings.

The other strategies stand in files of their own: ``spread`` (cold-start, weighted-kmeans), ``coverage`` (diverse,
typical), ``committee``, ``look_alikes`` and ``outside`` (scikit-activeml).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from labeler.domain import InvalidScores, LabelerError

# The files that enter their strategies into the table are imported for that alone.
from labeler.rank import committee, coverage, look_alikes, outside, registry, spread  # noqa: F401
from labeler.rank.registry import Choice, Pool, Selection, names, register
from labeler.rank.scores import by_id, entropy_of, most_useful, uncertainty_of, utilities

__all__ = [
    "Choice",
    "Pool",
    "Selection",
    "default_strategy",
    "most_useful",
    "names",
    "register",
    "select",
    "uncertainty_of",
]

EXAMPLES = 10
#: A class is rare that has less than so much of an even share: 15 % of two classes, 3 % of ten.
RARE_LABELS, RARE_SHARE = 5, 0.3
ALIKE_AT_MOST = 3
DIVERSE_LABELS, DIVERSE_BATCHES = 60, 3


def select(name: str, pool: Pool, k: int, *, seed: int) -> Selection:
    """Choose the next min(k, n) images.

    The same images, probabilities, labels, k and seed give the same choice, in whatever order the rows come.

    Args:
        name: a strategy, see :func:`names`; ``skactiveml:NAME`` for one of scikit-activeml.
        pool: the images to choose from; not modified.
        k: images wanted, >= 1.
        seed: of everything random in the strategy.

    Raises:
        UnknownName: there is no such strategy.
        InvalidScores: shapes do not fit, a probability is NaN, infinite or outside [0, 1], the strategy needs a model
            where there is none, or (a strategy of another package) what it chose breaks the contract.
        LabelerError: k < 1; or a strategy of another package is not installed, would take minutes, or fails.
    """
    strategy = registry.get(name)
    if k < 1:
        raise LabelerError(f"k = {k}: a round needs at least one image", "give k >= 1")
    _check_pool(pool)
    if pool.probabilities is None and strategy.needs_model:
        raise InvalidScores(f"strategy {name} needs a trained model", "choose cold-start or random")
    uncertain = utilities(pool)
    wanted = min(k, len(pool))
    if wanted == 0:
        return Selection(np.empty(0, dtype=np.int64), uncertain, name, ())
    choice = strategy.function(pool, wanted, np.random.default_rng(seed))
    _check_choice(name, choice, wanted, len(pool))
    return Selection(choice.indices.astype(np.int64), uncertain, name, choice.why)


def default_strategy(
    *,
    k: int,
    has_model: bool,
    counts: Sequence[int] | npt.NDArray[np.integer],
    expected: Sequence[float] | npt.NDArray[np.floating] | None = None,
) -> str:
    """The rule behind ``strategy = auto``.

    - No label: ``cold-start``.
    - Labels of one class: ``look-alikes`` while they are at most 3, for then they are examples that a person gave;
      else ``cold-start``, which goes on looking for the other class.
    - Fewer than 10 labels: ``cold-start``, with the labelled images as centres. A model of a few examples is sure of
      the wrong things.
    - A class with fewer than 5 labels that are less than 15 % of all (of C classes: 0.3 / C): ``look-alikes``.
    - A class that the model expects in less than 15 % of the pool: ``uncertainty``. Variety would spread the questions
      over the common class; what the model doubts is mostly the rare one.
    - Below max(60, 3 k) labels: ``weighted-kmeans``. A young model ranks images alike first, and a batch of them
      teaches little more than one.
    - From then on ``uncertainty``: spreading the questions over images the model has settled costs more than it
      brings, the more so the harder the task.

    Args:
        k: images of the batch; the larger, the longer the head of a plain ranking repeats itself.
        has_model: whether there are probabilities.
        counts: labels of each class so far.
        expected: mean probability of each class over the pool, where known.
    """
    seen = [number for number, count in enumerate(counts) if count > 0]
    labels = [int(counts[number]) for number in seen]
    labelled = sum(labels)
    if len(seen) == 1:
        return "look-alikes" if labelled <= ALIKE_AT_MOST else "cold-start"
    if labelled < EXAMPLES:
        return "cold-start"
    rare = RARE_SHARE / len(seen)
    if min(labels) < RARE_LABELS and min(labels) < rare * labelled:
        return "look-alikes"
    if not has_model:
        return "cold-start"
    if expected is not None and min(expected[number] for number in seen) < rare:
        return "uncertainty"
    return "weighted-kmeans" if labelled < max(DIVERSE_LABELS, DIVERSE_BATCHES * k) else "uncertainty"


@register("uncertainty")
def _uncertainty(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """The k images closest to even odds (Lewis and Gale, 1994; for more than two classes the smallest margin)."""
    return Choice(most_useful(utilities(pool), pool.ids, k), ("uncertain",) * k)


@register("margin")
def _margin(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """The k images whose two most likely classes lie closest together (Scheffer, Decomain and Wrobel, 2001).

    This is what ``uncertainty`` means here for any number of classes; the name is the literature's.
    """
    return Choice(most_useful(utilities(pool), pool.ids, k), ("margin",) * k)


@register("entropy")
def _entropy(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """The k images whose probabilities are spread most evenly over all classes (Shannon entropy; Settles, 2009)."""
    p, score = pool.probabilities, utilities(pool)
    # Of two classes entropy is a function of the margin, and rounding would only blur it around even odds.
    if p is not None and p.shape[1] > 2:
        score = entropy_of(p)
    return Choice(most_useful(score, pool.ids, k), ("entropy",) * k)


@register("random", needs_model=False)
def _random(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """k images by lot: the baseline, and the only choice whose labels may be counted as a fair sample."""
    return Choice(by_id(pool)[rng.choice(len(pool), size=k, replace=False)], ("random",) * k)


def _check_pool(pool: Pool) -> None:
    n = len(pool.ids)
    if pool.ids.ndim != 1 or len(pool.vectors.shape) != 2 or len(pool.vectors) != n:
        raise InvalidScores(f"{len(pool.vectors)} vectors for {n} images", "embed the pool again")
    if pool.probabilities is not None and len(pool.probabilities) != n:
        raise InvalidScores(f"{len(pool.probabilities)} probabilities for {n} images", "train again")
    labelled = pool.labelled_vectors
    if labelled.ndim != 2 or len(labelled) != len(pool.labelled_y) or labelled.shape[1] != pool.vectors.shape[1]:
        raise InvalidScores(
            f"labelled vectors of shape {labelled.shape} beside {len(pool.labelled_y)} labels and a pool of "
            f"{pool.vectors.shape[1]} dimensions",
            "embed the labelled images again",
        )


def _check_choice(name: str, choice: Choice, wanted: int, n: int) -> None:
    indices = choice.indices
    fits = indices.shape == (wanted,) and len(choice.why) == wanted and len(np.unique(indices)) == wanted
    if not fits or int(indices.min()) < 0 or int(indices.max()) >= n:
        raise InvalidScores(f"strategy {name} did not choose {wanted} different images of {n}", "use another strategy")
