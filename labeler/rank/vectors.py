"""Vectors of a pool that need not lie in memory: strategies index what they want to see, and only that is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from labeler.rank.features import FeatureMap
from labeler.rank.threads import in_chunks

FloatArray = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


class Vectors(Protocol):
    """What a strategy may ask of the vectors of a pool; an array float32 (n, D) is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, D)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Indices, /) -> FloatArray:
        """Float32 (len(rows), D), a copy of these rows."""
        ...


def projected(vectors: Vectors, rows: Indices, directions: FloatArray) -> FloatArray:
    """``vectors[rows] @ directions`` in chunks: of vectors that are made on demand none is ever there whole.

    Args:
        rows: int64 (n,).
        directions: (D, d).

    Returns:
        float32 (n, d).

    Raises:
        InvalidScores: a value is NaN or infinite, where the vectors are made on demand.
    """
    while isinstance(vectors, Part):
        rows = vectors.rows[rows]
        vectors = vectors.source
    out = np.empty((len(rows), directions.shape[1]), dtype=np.float32)

    def work(chunk: slice) -> None:
        if isinstance(vectors, Transformed):
            out[chunk] = vectors.features.project(vectors.raw, directions, rows[chunk])
        else:
            np.matmul(vectors[rows[chunk]], directions, out=out[chunk])

    for _ in in_chunks(len(rows), work):
        pass
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some rows of other vectors, in another order, without copying them.

    Attributes:
        source: (N, D).
        rows: int64 (n,) rows of it.
    """

    source: Vectors
    rows: Indices

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), self.source.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Indices, /) -> FloatArray:
        return self.source[self.rows[rows]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        # For strategies of other packages that want the whole as one array.
        return np.asarray(self.source[self.rows], dtype=dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Transformed:
    """Activations seen through a feature recipe: a million images stay a memory-mapped file.

    Attributes:
        raw: (n, D) float16 or float32 activations, maybe memory-mapped.
        features: the fitted recipe.
    """

    raw: npt.NDArray[np.floating]
    features: FeatureMap

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.raw), self.features.dimension)

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, rows: Indices, /) -> FloatArray:
        return self.features.transform(self.raw[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.features.transform(self.raw), dtype=dtype)
