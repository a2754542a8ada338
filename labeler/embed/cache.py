"""Vectors on disk, found by the content hash of their image.

A folder holds shards. A shard is written once, under a temporary name, fsynced, and renamed into place: it is there
whole or not at all, and two processes that append at once simply leave two shards. One file:

    64 bytes    header: magic, rows n, dimension D, dtype, CRC-32 of the keys, CRC-32 of the vectors, of the header
    n x 32      keys: SHA-256 of each image
    padding     to a multiple of 64
    n x D       vectors, little-endian, memory-mapped when read

A shard whose header, size or keys do not fit is damaged: it is removed, and its images are embedded again. Nothing
here is precious; everything here can be made again from the images.
"""

from __future__ import annotations

import contextlib
import os
import struct
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from labeler import faults
from labeler.domain import InvalidScores, LabelerError
from labeler.durable import sync_folder
from labeler.embed.turns import alone_in

SUFFIX = ".vectors"
# More small shards than this are put together; a shard of at least MERGED_ROWS rows is left alone.
MANY_SHARDS = 16
MERGED_ROWS = 16_384

_HEADER = struct.Struct("<8sQI4sII")
_HEADER_SIZE = 64
_MAGIC = b"LBLVEC01"
_KEY = 32
_ALIGNMENT = 64
_BLOCK_ROWS = 512

Floats = NDArray[np.float16] | NDArray[np.float32]


class MissingVector(LabelerError):
    """A vector was asked for that is not in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shard:
    file: Path
    keys: NDArray[np.bytes_]  # S32 (n,)
    vectors: NDArray[Any]  # (n, D), memory-mapped, read-only
    checksum: int


class VectorCache:
    """The vectors of one backbone. One object per thread; any number of processes per folder.

    Args:
        folder: made when the first vectors come.
        dimension: D.
        dtype: float16 or float32, as stored and as given back. A shard of another kind is not this cache's and is
            treated as damaged.
    """

    def __init__(self, folder: Path, dimension: int, dtype: DTypeLike = np.float16) -> None:
        self.folder, self.dimension = folder, dimension
        self.dtype: np.dtype[Any] = np.dtype(dtype).newbyteorder("<")
        if self.dtype.char not in "ef":
            raise ValueError(f"{self.dtype} is not float16 or float32")
        self._shards: list[_Shard] = [shard for file in self._files() if (shard := self._opened(file))]
        self._index()

    def __len__(self) -> int:
        """Different images with a vector."""
        return len(self._sorted)

    def missing(self, shas: Sequence[str]) -> list[int]:
        """Positions in ``shas`` (hex digests) that have no vector, ascending."""
        found, _ = self._find(_keys(shas))
        return [int(position) for position in np.flatnonzero(~found)]

    def gather(self, shas: Sequence[str]) -> Floats:
        """The vectors (N, D) of N images, in the order asked, in the cache's dtype; a copy.

        Raises:
            MissingVector: one of them has no vector.
        """
        found, places = self._find(_keys(shas))
        if not found.all():
            sha = shas[int(np.argmin(found))]
            raise MissingVector(f"image {sha[:12]} has no vector yet", "embed the pool again")
        out: NDArray[Any] = np.empty((len(shas), self.dimension), self.dtype)
        shard_of, row_of = self._shard_of[places], self._row_of[places]
        for number in np.unique(shard_of):
            wanted = np.flatnonzero(shard_of == number)
            # Ascending rows: the file is then read once, forwards.
            wanted = wanted[np.argsort(row_of[wanted], kind="stable")]
            for start in range(0, len(wanted), _BLOCK_ROWS):
                block = wanted[start : start + _BLOCK_ROWS]
                out[block] = self._shards[int(number)].vectors[row_of[block]]
        return out

    def append(self, shas: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
        """Store vectors (N, D) of N images durably, as one shard.

        Raises:
            InvalidScores: a value is NaN, infinite or too large for the dtype; nothing is stored.
        """
        if vectors.shape != (len(shas), self.dimension):
            raise ValueError(f"vectors of shape {vectors.shape} for {len(shas)} images of dimension {self.dimension}")
        if len(shas) == 0:
            return
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(vectors, self.dtype)
        if not np.isfinite(stored).all():
            raise InvalidScores(
                "the backbone gave a vector with NaN, infinity or a number beyond the cache's range",
                "check its weights",
            )
        try:
            self._shards.append(self._write(_keys(shas), [stored]))
        except OSError as error:
            raise LabelerError(
                f"vectors cannot be written to {self.folder}: {error.strerror}",
                "free space there; what is finished is kept, run the command again",
            ) from None
        self._index()

    def compact(self) -> None:
        """Put small shards together when there are many: opening costs time per file.

        A kill in between leaves some vectors twice, which is harmless. Other processes that have the old shards open
        keep reading them: a file that is mapped lives on after its name has gone.
        """
        small = [shard for shard in self._shards if len(shard.keys) < MERGED_ROWS]
        if len(small) <= MANY_SHARDS:
            return
        for group in _groups(small):
            if len(group) < 2:
                continue
            if any(zlib.crc32(_raw(shard.vectors)) != shard.checksum for shard in group):
                continue  # do not give damaged numbers a fresh checksum; `shard_problem` names them
            keys = np.concatenate([shard.keys for shard in group])
            self._shards.append(self._write(keys, [shard.vectors for shard in group]))
            for shard in group:
                _remove(shard.file)
                faults.point("cache.shard-unlinked")
                self._shards.remove(shard)
        self._index()

    # ------------------------------------------------------------------------------------------------- finding

    def _index(self) -> None:
        """One sorted table of all keys; where each lies is in two arrays beside it."""
        keys = np.concatenate([np.empty(0, f"S{_KEY}"), *(shard.keys for shard in self._shards)])
        counts = [len(shard.keys) for shard in self._shards]
        shard_of = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        row_of = np.concatenate([np.empty(0, np.int64), *(np.arange(count) for count in counts)])
        # An image that is in two shards counts once; both vectors come from the same bytes and the same network.
        self._sorted, first = np.unique(keys, return_index=True)
        self._shard_of, self._row_of = shard_of[first], row_of[first]

    def _find(self, keys: NDArray[np.bytes_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which keys are there, and their places in the sorted table (meaningless where they are not)."""
        if len(self._sorted) == 0:
            return np.zeros(len(keys), bool), np.zeros(len(keys), np.int64)
        places = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return self._sorted[places] == keys, places

    # -------------------------------------------------------------------------------------------------- shards

    def _files(self) -> Iterator[Path]:
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return
        for name in names:
            if name.endswith(SUFFIX):
                yield self.folder / name

    def _opened(self, file: Path) -> _Shard | None:
        """The shard in ``file``; None, and the file removed, when it is damaged."""
        try:
            return self._read(file)
        except FileNotFoundError:
            return None  # another process has just put it together with others
        except OSError:
            return None  # unreadable today, perhaps not tomorrow: its images are embedded again, the file stays
        except (ValueError, struct.error):
            _remove(file)
            return None

    def _read(self, file: Path) -> _Shard:
        with file.open("rb") as stream:
            header = stream.read(_HEADER_SIZE)
            magic, count, dimension, kind, key_sum, vector_sum = _HEADER.unpack_from(header)
            (header_sum,) = struct.unpack_from("<I", header, _HEADER.size)
            if magic != _MAGIC or zlib.crc32(header[: _HEADER.size]) != header_sum:
                raise ValueError("not a shard")
            if dimension != self.dimension or kind != self._kind():
                raise ValueError("a shard of other vectors")
            start = _vectors_start(count)
            if os.fstat(stream.fileno()).st_size != start + count * dimension * self.dtype.itemsize:
                raise ValueError("a shard of another length")
            raw = stream.read(count * _KEY)
            if zlib.crc32(raw) != key_sum:
                raise ValueError("damaged keys")
        vectors: NDArray[Any] = np.memmap(file, self.dtype, "r", start, (count, dimension))
        return _Shard(file, np.frombuffer(raw, f"S{_KEY}"), vectors, vector_sum)

    def _write(self, keys: NDArray[np.bytes_], pieces: Sequence[NDArray[Any]]) -> _Shard:
        with alone_in(self.folder):
            return self._written(keys, pieces)

    def _written(self, keys: NDArray[np.bytes_], pieces: Sequence[NDArray[Any]]) -> _Shard:
        name = uuid.uuid4().hex
        partial, final = self.folder / f"{name}.tmp", self.folder / f"{name}{SUFFIX}"
        try:
            with partial.open("xb") as stream:
                self._fill(stream, keys, pieces)
                stream.flush()
                os.fsync(stream.fileno())
            faults.point("cache.shard-written")
            partial.rename(final)
            faults.point("cache.shard-renamed")
            sync_folder(self.folder)
            faults.point("cache.shard-synced")
        finally:
            _remove(partial)
        return self._read(final)

    def _fill(self, stream: Any, keys: NDArray[np.bytes_], pieces: Sequence[NDArray[Any]]) -> None:
        raw = keys.tobytes()
        start = _vectors_start(len(keys))
        stream.write(bytes(_HEADER_SIZE))
        stream.write(raw)
        stream.write(bytes(start - _HEADER_SIZE - len(raw)))
        checksum = 0
        for piece in pieces:
            data = _raw(piece)
            checksum = zlib.crc32(data, checksum)
            stream.write(data)
            faults.point("cache.shard-writing")
        header = _HEADER.pack(_MAGIC, len(keys), self.dimension, self._kind(), zlib.crc32(raw), checksum)
        stream.seek(0)
        stream.write(header + struct.pack("<I", zlib.crc32(header)))

    def _kind(self) -> bytes:
        return self.dtype.str.encode("ascii").ljust(4, b"\0")


def shard_problem(file: Path) -> str | None:
    """What is wrong with a shard, in words; None when it is as it was written, or gone meanwhile.

    Reads it in pieces and changes nothing: for ``verify --deep``.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            header = stream.read(_HEADER_SIZE)
            if len(header) < _HEADER_SIZE or header[:8] != _MAGIC:
                return "it is no shard of vectors"
            _, count, dimension, kind, key_sum, vector_sum = _HEADER.unpack_from(header)
            if struct.unpack_from("<I", header, _HEADER.size) != (zlib.crc32(header[: _HEADER.size]),):
                return "its header is damaged"
            start = _vectors_start(count)
            length = count * dimension * np.dtype(kind.rstrip(b"\0").decode("ascii")).itemsize
            if os.fstat(stream.fileno()).st_size != start + length:
                return "it is cut short"
            if _checksum(stream, count * _KEY) != key_sum:
                return "its keys are damaged"
            stream.seek(start)
            return None if _checksum(stream, length) == vector_sum else "its vectors are damaged"
    except FileNotFoundError:
        return None


def _checksum(stream: BinaryIO, length: int) -> int:
    checksum = 0
    while length > 0 and (piece := stream.read(min(length, 1 << 20))):
        checksum = zlib.crc32(piece, checksum)
        length -= len(piece)
    return checksum


def _keys(shas: Sequence[str]) -> NDArray[np.bytes_]:
    """Hex digests as fixed 32-byte keys. NumPy ignores zero bytes at the end of such a key, all of one length: equal
    keys are equal bytes."""
    raw = bytes.fromhex("".join(shas))
    if len(raw) != len(shas) * _KEY:
        raise ValueError("a digest that is not 64 hex digits")
    return np.frombuffer(raw, f"S{_KEY}")


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def _raw(vectors: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(vectors).data.cast("B")


def _vectors_start(count: int) -> int:
    return -(-(_HEADER_SIZE + count * _KEY) // _ALIGNMENT) * _ALIGNMENT


def _groups(shards: Sequence[_Shard]) -> Iterator[list[_Shard]]:
    """Runs of shards of at least MERGED_ROWS rows together, but for the last run."""
    group: list[_Shard] = []
    rows = 0
    for shard in shards:
        group.append(shard)
        rows += len(shard.keys)
        if rows >= MERGED_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group
