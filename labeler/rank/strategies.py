"""Which images to put before a person next: scores as pure functions, and the strategies that choose by them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from labeler.domain import InvalidScores, LabelerError
from labeler.rank import registry
from labeler.rank.clusters import principal_components, representatives
from labeler.rank.registry import Choice, Pool, Selection, names, register

__all__ = ["Choice", "Pool", "Selection", "default_strategy", "names", "register", "select", "uncertainty_of"]

Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

PCA_DIMENSIONS = 64
COLD_START_SAMPLE = 10_000
CANDIDATES, CANDIDATES_PER_CHOICE = 5_000, 50
LABELLED_ANCHORS = 512
DIVERSE_LABELS, DIVERSE_BATCHES = 100, 3


def select(name: str, pool: Pool, k: int, *, seed: int) -> Selection:
    """Choose the next min(k, n) images.

    The same images, probabilities, k and seed give the same choice, in whatever order the rows come.

    Args:
        name: a strategy, see :func:`names`.
        pool: the images to choose from; not modified.
        k: images wanted, >= 1.
        seed: of everything random in the strategy.

    Raises:
        UnknownName: there is no such strategy.
        InvalidScores: shapes do not fit, a probability is NaN, infinite or outside [0, 1], the strategy needs a model
            where there is none, or (a strategy of another package) what it chose breaks the contract.
        LabelerError: k < 1.
    """
    strategy = registry.get(name)
    if k < 1:
        raise LabelerError(f"k = {k}: a round needs at least one image", "give k >= 1")
    _check_pool(pool)
    if pool.probabilities is None and strategy.needs_model:
        raise InvalidScores(f"strategy {name} needs a trained model", "choose cold-start or random")
    utilities = _utilities(pool)
    wanted = min(k, len(pool))
    if wanted == 0:
        return Selection(np.empty(0, dtype=np.int64), utilities, name, ())
    choice = strategy.function(pool, wanted, np.random.default_rng(seed))
    _check_choice(name, choice, wanted, len(pool))
    return Selection(choice.indices.astype(np.int64), utilities, name, choice.why)


def uncertainty_of(probabilities: npt.NDArray[np.floating]) -> Float64:
    """Uncertainty in [0, 1]: 1 - |2p - 1| for two classes, 1 - (p1 - p2), the margin, for more.

    The two agree for two classes, as p1 - p2 = |2p - 1| there.

    Args:
        probabilities: (n, C), C >= 2, rows adding up to 1.

    Returns:
        float64 (n,).

    Raises:
        InvalidScores: wrong shape, or a value that is NaN, infinite or outside [0, 1].
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2:
        raise InvalidScores(f"probabilities of shape {p.shape} where (images, classes) was expected", "train again")
    # Written so that NaN fails: every comparison with NaN is false.
    if p.size and not (float(p.min()) >= 0.0 and float(p.max()) <= 1.0 + 1e-9):
        raise InvalidScores("the model's probabilities hold NaN or values outside 0..1", "train again")
    if p.shape[1] == 2:
        return np.clip(1.0 - np.abs(p[:, 0] - p[:, 1]), 0.0, 1.0)
    top_two = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:]
    return np.clip(1.0 - (top_two[:, 1] - top_two[:, 0]), 0.0, 1.0)


def default_strategy(*, k: int, has_model: bool, labelled: int) -> str:
    """The rule behind ``strategy = auto``.

    Before a first model exists: ``cold-start``. Below max(100, 3 k) labels ``weighted-kmeans``: a young model ranks
    look-alikes first, and a batch of them teaches little more than one. From then on ``uncertainty``: spreading the
    questions over images the model has settled costs more than it brings, the more so the harder the task.

    Args:
        k: images of the batch; the larger, the longer the head of a plain ranking repeats itself.
        has_model: whether there are probabilities.
        labelled: labels so far.
    """
    if not has_model:
        return "cold-start"
    return "weighted-kmeans" if labelled < max(DIVERSE_LABELS, DIVERSE_BATCHES * k) else "uncertainty"


@register("uncertainty")
def _uncertainty(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """The k images closest to even odds (Lewis and Gale, 1994; for more than two classes the smallest margin)."""
    return Choice(most_useful(_utilities(pool), pool.ids, k), ("uncertain",) * k)


@register("random", needs_model=False)
def _random(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """k images by lot: the baseline, and the only choice whose labels may be counted as a fair sample."""
    return Choice(_by_id(pool)[rng.choice(len(pool), size=k, replace=False)], ("random",) * k)


@register("cold-start", needs_model=False)
def _cold_start(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """Images that stand for all, without a model: medoids of k-means on the pool's principal components.

    Typical images of large clusters come first. Images labelled already (all of one class, or there would be a model)
    are centres that stay put, so that asking again goes where nothing was asked. A pool of more than 10,000 images is
    represented by that many of them, drawn by lot.
    """
    rows = _by_id(pool)
    size = max(COLD_START_SAMPLE, CANDIDATES_PER_CHOICE * k)
    if len(rows) > size:
        rows = rows[np.sort(rng.choice(len(rows), size=size, replace=False))]
    points, anchors = principal_components(
        pool.vectors[rows], PCA_DIMENSIONS, rng, also=pool.labelled_vectors[:LABELLED_ANCHORS]
    )
    return Choice(rows[representatives(points, k, rng, fixed=anchors)], ("typical",) * k)


@register("weighted-kmeans")
def _weighted_k_means(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """Uncertain and unlike each other: the image nearest to each centre of k-means weighted by uncertainty.

    Zhdanov, "Diverse mini-batch active learning" (2019): only the max(5000, 50 k) most uncertain images are clustered,
    so the cost hardly grows with the pool. The chosen are ranked by uncertainty.
    """
    utilities = _utilities(pool)
    candidates = most_useful(utilities, pool.ids, max(CANDIDATES, CANDIDATES_PER_CHOICE * k))
    points, _ = principal_components(pool.vectors[candidates], PCA_DIMENSIONS, rng)
    chosen = candidates[representatives(points, k, rng, weights=utilities[candidates])]
    return Choice(chosen[np.lexsort((pool.ids[chosen], -utilities[chosen]))], ("diverse",) * k)


def most_useful(utilities: Float64, ids: npt.NDArray[np.str_], k: int) -> Indices:
    """Rows of the k greatest utilities, greatest first, ties by id; sorts only those, not the whole pool."""
    n = len(utilities)
    if k < n:
        least = np.partition(utilities, n - k)[n - k]
        rows = np.flatnonzero(utilities >= least)
    else:
        rows = np.arange(n)
    return rows[np.lexsort((ids[rows], -utilities[rows]))][:k].astype(np.int64)


def _utilities(pool: Pool) -> Float64:
    return np.full(len(pool), np.nan) if pool.probabilities is None else uncertainty_of(pool.probabilities)


def _by_id(pool: Pool) -> Indices:
    return np.argsort(pool.ids, kind="stable").astype(np.int64)


def _check_pool(pool: Pool) -> None:
    n = len(pool.ids)
    if pool.ids.ndim != 1 or pool.vectors.ndim != 2 or len(pool.vectors) != n:
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
