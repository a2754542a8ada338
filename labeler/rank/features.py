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
from labeler.rank.threads import in_chunks

FloatArray = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# 64 rows of 3104 float32 numbers are 0.8 MB: what one block is worked on in stays in the processor's cache.
BLOCK_ROWS = 64
_HALF_INFINITY = 0x7C00
_OFFSETS = np.float32(2.0**112)
_UNIT_OF_BITS = 2.0**-56  # what the root of 1 is where the offsets are left out
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
        raw = _checked(raw, start)
        if len(raw) == 0:
            raise InvalidScores("no vectors to fit the feature recipe on", "put images into the pool first")
        total = np.zeros(start, dtype=np.float64)
        for part in in_chunks(len(raw), lambda rows: _sum_of_roots(raw[rows])):
            total += part
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
        raw = _checked(raw, self.dimension)
        out = np.empty((len(raw), self.dimension), dtype=np.float32)

        def work(chunk: slice) -> None:
            for rows in blocks(chunk.stop, start=chunk.start):
                self._transform_block(raw[rows], out[rows])

        for _ in in_chunks(len(raw), work):
            pass
        return out

    def project(
        self, raw: npt.NDArray[np.floating], weights: FloatArray, rows: slice | npt.NDArray[np.int64] = slice(None)
    ) -> Float64:
        """What ``transform(raw[rows]) @ weights`` is, without ever holding more vectors than a block.

        A part's length divides its product, which is a few numbers a row, and not its hundreds of columns.

        Args:
            raw: (N, D) float16 or float32, may be memory-mapped; not modified. Works on one thread: who has many rows
                deals them out, see :func:`labeler.rank.threads.in_chunks`.
            weights: (D, c).
            rows: n of them.

        Returns:
            float64 (n, c).

        Raises:
            InvalidScores: the shape does not fit, or a value is NaN or infinite.
        """
        raw = _checked(raw, self.dimension)
        if isinstance(rows, slice):
            raw = raw[rows]
        n = len(raw) if isinstance(rows, slice) else len(rows)
        out = np.zeros((n, weights.shape[1]), dtype=np.float64)
        space = np.empty((min(n, BLOCK_ROWS), self.dimension), dtype=np.float32)
        gathered = np.empty(space.shape, raw.dtype)
        for here in blocks(n):
            block, copied = space[: here.stop - here.start], gathered[: here.stop - here.start]
            # Rows one by one go into the same memory every time: fresh memory would cost as much as the arithmetic.
            seen = raw[here] if isinstance(rows, slice) else np.take(raw, rows[here], 0, out=copied, mode="clip")
            unit = self._centre(seen, block)
            for start, stop, weight in self.parts:
                part = block[:, start:stop]
                # One product of each row with itself: what einsum gives, three times as fast. The unit cancels out.
                scale = self._scale(np.vecdot(part, part), weight, unit)
                out[here] += (part @ weights[start:stop]).astype(np.float64) * scale[:, None]
        return out

    def _transform_block(self, raw: npt.NDArray[np.floating], out: FloatArray) -> None:
        if self.recipe == PLAIN:
            out[:] = raw
            return
        _root(raw, out)
        out -= self.mean
        for start, stop, weight in self.parts:
            part = out[:, start:stop]
            part *= self._scale(np.einsum("ij,ij->i", part, part), weight)[:, None]

    def _centre(self, raw: npt.NDArray[np.floating], out: FloatArray) -> float:
        """Steps 1 and 2 of the recipe, in whatever unit costs least; what one is in that unit."""
        if self.recipe == PLAIN:
            out[:] = raw
            return 1.0
        if not _plain_halves(raw):
            _root(raw, out)
            out -= self.mean
            return 1.0
        _move_bits(raw, out)
        np.sqrt(out, out=out)
        out -= self._mean_of_bits
        return _UNIT_OF_BITS

    def _scale(self, squared: FloatArray, weight: float, unit: float = 1.0) -> FloatArray:
        """Steps 3 and 4: what the rows of a part are to be multiplied by, from their squared lengths; float32 (n,)."""
        if self.recipe == PLAIN:
            return np.ones(len(squared), dtype=np.float32)
        norm = np.sqrt(squared)
        if not np.isfinite(norm).all():
            raise InvalidScores(
                "the backbone's vectors hold NaN or infinity", "remove db/cache/vectors and embed again"
            )
        return np.divide(weight, np.maximum(norm, np.float32(_SMALLEST_NORM * unit)), dtype=np.float32)

    @property
    def _mean_of_bits(self) -> FloatArray:
        return self.mean * np.float32(_UNIT_OF_BITS)


def _bounds(parts: Sequence[tuple[int, float]]) -> tuple[tuple[int, int, float], ...]:
    bounds, start = [], 0
    for dimension, weight in parts:
        bounds.append((start, start + int(dimension), float(weight)))
        start += int(dimension)
    return tuple(bounds)


def blocks(n: int, rows: int = BLOCK_ROWS, *, start: int = 0) -> Iterator[slice]:
    """Consecutive slices that cover ``range(start, n)``."""
    for first in range(start, n, rows):
        yield slice(first, min(first + rows, n))


def _sum_of_roots(raw: npt.NDArray[np.floating]) -> Float64:
    """The rooted activations of all rows, added up: float64 (D,)."""
    total = np.zeros(raw.shape[1], dtype=np.float64)
    space = np.empty((min(len(raw), BLOCK_ROWS), raw.shape[1]), dtype=np.float32)
    for rows in blocks(len(raw)):
        block = space[: rows.stop - rows.start]
        _root(raw[rows], block)
        total += block.sum(axis=0, dtype=np.float64)
    return total


def _root(raw: npt.NDArray[np.floating], out: FloatArray) -> None:
    """The root of what is not negative, written to ``out`` (n, D)."""
    if _plain_halves(raw):
        _move_bits(raw, out)
        out *= _OFFSETS
    else:
        # NaN must survive the clipping to be noticed: np.maximum hands it on, np.fmax would hide it.
        np.maximum(raw, 0, out=out, dtype=np.float32)
    np.sqrt(out, out=out)


def _plain_halves(raw: npt.NDArray[np.floating]) -> bool:
    """Whether these are float16 without a sign, infinity or NaN: what averages of ReLU are."""
    return raw.dtype == np.float16 and int(raw.view(np.uint16).max(initial=0)) < _HALF_INFINITY


def _move_bits(raw: npt.NDArray[np.floating], out: FloatArray) -> None:
    """Non-negative float16 numbers in float32, divided by 2^112: exactly, and ten times as fast as numpy converts them.

    Exponent and fraction are moved to where float32 has them; what is left is the difference of the two exponents'
    offsets, a power of two.
    """
    moved = out.view(np.int32)
    moved[:] = raw.view(np.uint16)
    np.left_shift(moved, 13, out=moved)


def _checked(raw: npt.NDArray[np.floating], dimension: int) -> npt.NDArray[np.floating]:
    if raw.ndim != 2 or raw.shape[1] != dimension:
        raise InvalidScores(
            f"vectors of shape {raw.shape} where (N, {dimension}) was expected",
            "the vectors were made by another backbone or layer choice: embed again",
        )
    return np.asarray(raw)  # of a memory-mapped array a plain view, which is cut into blocks without its overhead
