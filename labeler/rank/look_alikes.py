"""Finding more of a class of which hardly anything is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from labeler.rank.features import blocks
from labeler.rank.registry import Choice, Pool, register
from labeler.rank.scores import by_id, most_useful, utilities
from labeler.rank.spread import medoids

Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SHORTLIST = 50
# Cosine from which two images are one for the eye: shots of a burst, a copy saved anew. Others of a class stay far
# below, as the recipe takes off what all images have in common.
TWINS = 0.9
_ROWS = 4_096
_SMALLEST_NORM = 1e-12


@register("look-alikes", needs_model=False)
def _look_alikes(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """One half what is most like the rarest class that has a label, the other half for the rest of the pool.

    Where a class is one image in a hundred, variety does not find it; likeness to one example does. Most likely by the
    model, or nearest in angle to its labelled images before there is a model. The other half is chosen as
    ``uncertainty`` would, ``cold-start`` before a model. Without any label it is all ``cold-start``.

    ``weighted-kmeans`` would spread that half over the common class, of which there is so much: of faces of 12 x 12
    pixels with a class of 2 %, 52 labels held 9.9 of that class so, and 13.3 with ``uncertainty`` (means of ten runs).
    """
    if not len(pool.labelled_y):
        return Choice(medoids(pool, k, rng), ("typical",) * k)
    half = (k + 1) // 2
    alike = _most_alike(pool, half)
    if half == k:
        return Choice(alike, ("look-alike",) * k)
    if pool.probabilities is None:
        rest, word = medoids(pool, k - half, rng, without=alike), "typical"
    else:
        uncertain = most_useful(utilities(pool), pool.ids, k)
        rest, word = uncertain[~np.isin(uncertain, alike)][: k - half], "uncertain"
    return Choice(np.concatenate([alike, rest]), ("look-alike",) * half + (word,) * (k - half))


def rarest_class(y: npt.NDArray[np.integer]) -> int:
    """The class with the fewest labels, at least one; of equals the first."""
    seen, counts = np.unique(y, return_counts=True)
    return int(seen[counts.argmin()])


def _most_alike(pool: Pool, wanted: int) -> Indices:
    """The images most like the rarest class; twins of a chosen or labelled one wait until nothing else is left.

    More variety than that costs finds: of a class of one in a hundred, representatives of the shortlist found a third
    as many in the first batch as its head did.
    """
    number = rarest_class(pool.labelled_y)
    candidates = most_useful(_likeness(pool, number), pool.ids, max(10 * wanted, SHORTLIST))
    vectors = _unit(pool.vectors[candidates])
    known = _unit(pool.labelled_vectors[pool.labelled_y == number])
    nearest = (vectors @ known.T).max(axis=1)
    chosen = np.empty(wanted, dtype=np.int64)
    for i in range(wanted):
        late = (nearest >= TWINS).astype(np.int64)
        late[chosen[:i]] = 2
        chosen[i] = late.argmin()
        np.maximum(nearest, vectors @ vectors[chosen[i]], out=nearest)
    return candidates[chosen]


def _likeness(pool: Pool, number: int) -> Float64:
    """How much each image is like a class, float64 (n,): its probability, else the cosine to the nearest example."""
    p = pool.probabilities
    if p is not None and number < p.shape[1] and float(np.ptp(p[:, number])) > 0.0:
        return p[:, number]
    examples = _unit(pool.labelled_vectors[pool.labelled_y == number])
    order = by_id(pool)
    cosine = np.empty(len(pool))
    for rows in blocks(len(order), _ROWS):
        cosine[order[rows]] = (_unit(pool.vectors[order[rows]]) @ examples.T).max(axis=1)
    return cosine


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    scaled: npt.NDArray[np.float32] = vectors / np.maximum(length, _SMALLEST_NORM)[:, None]
    return scaled
