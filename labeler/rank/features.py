"""From a backbone's pooled activations to the vectors that the head and the strategies work on.

The recipe, part by part (a part is one pooled layer of one forward pass):

1. ``sqrt(max(x, 0))``: root (Hellinger) normalisation. Pooled activations are heavy-tailed counts of "how much of
   this pattern is there"; the root keeps a few loud channels from deciding every distance. RootSIFT (Arandjelovic and
   Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012) is the same step.
2. subtract the mean over the pool: without it every vector points the same way and cosines are all near one
   (Jegou and Chum, "Negative evidences and co-occurrences in image retrieval", ECCV 2012).
3. L2-normalise, so that parts with different numbers of channels and scales count alike.
4. multiply by the part's weight and concatenate.

With EfficientNet-Lite0 the parts are block 11's and block 15's expansion and the final features, all of weight 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labeler.domain import InvalidScores

FloatArray = npt.NDArray[np.float32]

# 64 rows of 3104 float32 numbers are 0.8 MB: the temporaries of one block stay in the processor's cache.
BLOCK_ROWS = 64
_HALF_INFINITY = 0x7C00
_OFFSETS = np.float32(2.0**112)
ROOTED, PLAIN = "rooted", "plain"
# Below this length a vector is rounding error around zero; dividing by it would blow noise up to unit length.
_SMALLEST_NORM = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMap:
    """The fitted recipe: what must be kept to turn new images into the same kind of vectors.

    Attributes:
        mean: float32 (D,), mean of ``sqrt(max(x, 0))`` over the images it was fitted on.
        parts: (start, stop, weight) of each part, in order, together covering 0..D.
        recipe: ``rooted``, the steps above; or ``plain``, the activations as they are, for a network whose own
            output layer is the head.
    """

    mean: FloatArray
    parts: tuple[tuple[int, int, float], ...]
    recipe: str = ROOTED

    @classmethod
    def plain(cls, parts: Sequence[tuple[int, float]]) -> FeatureMap:
        """The map that changes nothing."""
        bounds = _bounds(parts)
        return cls(np.zeros(bounds[-1][1], dtype=np.float32), bounds, PLAIN)

    @classmethod
    def fit(cls, raw: npt.NDArray[np.floating], parts: Sequence[tuple[int, float]]) -> FeatureMap:
        """Fit the mean on activations; labels play no part, so the whole pool may and should be given.

        Args:
            raw: (N, D) float16 or float32 pooled activations, N >= 1; may be memory-mapped, is read in blocks.
            parts: (dimension, weight) of each part in order, e.g. ``[(672, .7), (1152, .7), (1280, 1.0)]``.

        Raises:
            InvalidScores: the shape does not fit the parts, there is no row, or a value is NaN or infinite.
        """
        bounds = _bounds(parts)
        start = bounds[-1][1]
        _check(raw, start)
        if len(raw) == 0:
            raise InvalidScores("no vectors to fit the feature recipe on", "put images into the pool first")
        total = np.zeros(start, dtype=np.float64)
        for rows in blocks(len(raw)):
            total += _rooted(raw[rows]).sum(axis=0, dtype=np.float64)
        mean = (total / len(raw)).astype(np.float32)
        if not np.isfinite(mean).all():
            raise InvalidScores(
                "the backbone's vectors hold NaN or infinity", "remove db/cache/vectors and embed again"
            )
        mean.setflags(write=False)
        return cls(mean, bounds)

    @property
    def dimension(self) -> int:
        """D, of raw and transformed vectors alike."""
        return len(self.mean)

    def transform(self, raw: npt.NDArray[np.floating]) -> FloatArray:
        """Turn pooled activations into vectors; reads and works in blocks, writes one array.

        Args:
            raw: (N, D) float16 or float32, may be memory-mapped; not modified.

        Returns:
            float32 (N, D), C-contiguous. A part without any deviation from the mean becomes zeros.

        Raises:
            InvalidScores: the shape does not fit, or a value is NaN or infinite.
        """
        _check(raw, self.dimension)
        out = np.empty((len(raw), self.dimension), dtype=np.float32)
        for rows in blocks(len(raw)):
            self._transform_block(raw[rows], out[rows])
        return out

    def iterate(self, raw: npt.NDArray[np.floating]) -> Iterator[tuple[slice, FloatArray]]:
        """Like :meth:`transform`, block after block: (rows, float32 (n, D)); for pools that exceed the memory.

        The array is re-used by the next block: a caller who keeps it must copy it.
        """
        _check(raw, self.dimension)
        out = np.empty((min(len(raw), BLOCK_ROWS), self.dimension), dtype=np.float32)
        for rows in blocks(len(raw)):
            block = out[: rows.stop - rows.start]
            self._transform_block(raw[rows], block)
            yield rows, block

    def _transform_block(self, raw: npt.NDArray[np.floating], out: FloatArray) -> None:
        if self.recipe == PLAIN:
            out[:] = raw
            return
        out[:] = _rooted(raw)
        out -= self.mean
        for start, stop, weight in self.parts:
            part = out[:, start:stop]
            norm = np.sqrt(np.einsum("ij,ij->i", part, part))
            if not np.isfinite(norm).all():
                raise InvalidScores(
                    "the backbone's vectors hold NaN or infinity", "remove db/cache/vectors and embed again"
                )
            part *= (weight / np.maximum(norm, _SMALLEST_NORM))[:, None]


def _bounds(parts: Sequence[tuple[int, float]]) -> tuple[tuple[int, int, float], ...]:
    bounds, start = [], 0
    for dimension, weight in parts:
        bounds.append((start, start + int(dimension), float(weight)))
        start += int(dimension)
    return tuple(bounds)


def blocks(n: int, rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Consecutive slices that cover ``range(n)``."""
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))


def _rooted(raw: npt.NDArray[np.floating]) -> FloatArray:
    if raw.dtype == np.float16:
        bits = raw.view(np.uint16)
        if int(bits.max(initial=0)) < _HALF_INFINITY:  # no sign, no NaN: what averages of ReLU are
            return np.sqrt(_widened(bits))
    # NaN must survive the clipping to be noticed: np.maximum hands it on, np.fmax would hide it.
    rooted: FloatArray = np.maximum(raw, 0, dtype=np.float32)
    np.sqrt(rooted, out=rooted)
    return rooted


def _widened(bits: npt.NDArray[np.uint16]) -> FloatArray:
    """Non-negative float16 numbers, as bits, in float32: exactly, and four times as fast as numpy converts them.

    Exponent and fraction are moved to where float32 has them; what is left is the difference of the two exponents'
    offsets, a power of two.
    """
    moved = bits.astype(np.int32)
    np.left_shift(moved, 13, out=moved)
    wide: FloatArray = moved.view(np.float32)
    wide *= _OFFSETS
    return wide


def _check(raw: npt.NDArray[np.floating], dimension: int) -> None:
    if raw.ndim != 2 or raw.shape[1] != dimension:
        raise InvalidScores(
            f"vectors of shape {raw.shape} where (N, {dimension}) was expected",
            "the vectors were made by another backbone or layer choice: embed again",
        )
