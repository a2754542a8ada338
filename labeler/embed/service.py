"""What the rest of the program calls: images in, vectors out, the cache first."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeler.cores import cores
from labeler.domain import ImageRef, Progress, UnusableImage
from labeler.embed.backbones import Backbone
from labeler.embed.cache import VectorCache
from labeler.embed.pixels import load_square
from labeler.embed.runtime import Runtime, open_runtime

# What a killed run loses at most, and what is held in memory before it is written.
SHARD_ROWS = 256
# Files one thread takes at a time.
BATCH = 8
# Batches under way or waiting per thread: enough that no thread idles while a shard is being written.
READ_AHEAD = 3
STORED = np.float16

Report = Callable[[Progress], None] | None


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The vectors of those images that have one.

    Attributes:
        vectors: float16 (n, D), raw pooled activations, part after part.
        kept: (n,) positions in the list asked about; row i belongs to image ``kept[i]``.
        failed: the others, each with a short reason.
    """

    vectors: NDArray[np.floating[Any]]
    kept: NDArray[np.int64]
    failed: list[tuple[ImageRef, str]]


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """What became of a run of files: vectors of those that decoded, reasons for the rest."""

    positions: list[int]
    vectors: NDArray[np.float32]
    failed: list[tuple[int, str]]


def embed(
    refs: Sequence[ImageRef],
    *,
    root: Path,
    vectors: Path,
    compiled: Path,
    backbone: Backbone,
    threads: int,
    max_pixels: int,
    progress: Report = None,
) -> Embedded:
    """Vectors of images, from the cache where they are there, made and stored where they are not.

    A file that has vanished or no longer decodes is reported and stops nothing. Interrupted or killed, the run keeps
    every finished shard and the next one carries on. When nothing is missing no runtime is loaded.

    The cache is keyed by the digest in the ``ImageRef``; files are not hashed again. A file edited in place after
    its import therefore keeps its old vector; ``labeler verify`` finds such files.

    Args:
        refs: images; their paths are relative to ``root``.
        root: the workspace.
        vectors: folder of the caches, one folder per backbone key below it.
        compiled: folder of converted backbones.
        backbone: from :func:`labeler.embed.backbones.resolve`.
        threads: for decoding and inference; 0 means one per core.
        max_pixels: larger images are refused.
        progress: told after every batch.

    Raises:
        WeightsUnavailable: the backbone's weights are not on this machine.
        InvalidScores: the backbone gave NaN or infinity.
    """
    cache = VectorCache(vectors / backbone.key, backbone.dimension, STORED)
    missing = _missing(cache, refs)
    reasons: dict[str, str] = {}
    if missing:
        with _Opened(backbone, compiled, threads, progress) as runtime:
            batches = _batches(_files(root, missing), runtime, backbone, threads, max_pixels, progress)
            reasons = _stored(cache, missing, batches)
    kept = [position for position, ref in enumerate(refs) if ref.sha256 not in reasons]
    failed = [(ref, reasons[ref.sha256]) for ref in refs if ref.sha256 in reasons]
    return Embedded(cache.gather([refs[position].sha256 for position in kept]), np.array(kept, np.int64), failed)


def embed_some(
    refs: Sequence[ImageRef],
    *,
    seconds: float,
    at_least: int,
    root: Path,
    vectors: Path,
    compiled: Path,
    backbone: Backbone,
    threads: int,
    max_pixels: int,
    progress: Report = None,
) -> int:
    """Make and store vectors where they are missing, first come first served, until the time is up.

    Args:
        seconds: begin no image later than that after the backbone is ready.
        at_least: however long it takes, go on until so many of these images have one.

    Returns:
        How many images were left for another time. What cannot be read is not among them.

    Raises:
        WeightsUnavailable, InvalidScores: as :func:`embed`.
    """
    cache = VectorCache(vectors / backbone.key, backbone.dimension, STORED)
    missing = _missing(cache, refs)
    if not missing:
        return 0
    wanted = at_least - (len(refs) - len(missing))
    begun = 0
    with _Opened(backbone, compiled, threads, progress) as runtime:
        end = time.monotonic() + seconds

        def goes_on(start: int) -> bool:
            nonlocal begun
            if start and start >= wanted and time.monotonic() >= end:
                return False
            begun = min(start + BATCH, len(missing))
            return True

        _stored(
            cache, missing, _batches(_files(root, missing), runtime, backbone, threads, max_pixels, progress, goes_on)
        )
    return len(missing) - begun


def with_vectors(refs: Sequence[ImageRef], *, vectors: Path, backbone: Backbone) -> list[ImageRef]:
    """Those of the images whose vectors are in the cache."""
    cache = VectorCache(vectors / backbone.key, backbone.dimension, STORED)
    missing = set(cache.missing([ref.sha256 for ref in refs]))
    return [ref for position, ref in enumerate(refs) if position not in missing]


def embed_files(
    files: Sequence[Path],
    *,
    compiled: Path,
    backbone: Backbone,
    threads: int,
    max_pixels: int,
    progress: Report = None,
) -> tuple[NDArray[np.float16], list[tuple[Path, str]]]:
    """Vectors of files that are no part of a workspace; nothing is stored.

    Returns:
        float16 (n, D) for the files that decode, in order; and the others with a short reason. The numbers are those
        :func:`embed` would give, rounded as the cache rounds them.

    Raises:
        WeightsUnavailable: the backbone's weights are not on this machine.
    """
    if not files:
        return np.empty((0, backbone.dimension), STORED), []
    rows: list[NDArray[np.float16]] = [np.empty((0, backbone.dimension), STORED)]
    failed: list[tuple[Path, str]] = []
    with _Opened(backbone, compiled, threads, progress) as runtime:
        for batch in _batches(files, runtime, backbone, threads, max_pixels, progress):
            rows.append(batch.vectors.astype(STORED))
            failed += [(files[position], reason) for position, reason in batch.failed]
    return np.concatenate(rows), failed


def thread_count(threads: int) -> int:
    """``threads``, or one per core this process may use when it is 0."""
    return threads if threads > 0 else cores()


def _missing(cache: VectorCache, refs: Sequence[ImageRef]) -> list[ImageRef]:
    """The images without a vector, each content once."""
    positions = cache.missing([ref.sha256 for ref in refs])
    return list({refs[position].sha256: refs[position] for position in reversed(positions)}.values())[::-1]


def _files(root: Path, refs: Sequence[ImageRef]) -> list[Path]:
    return [root.joinpath(*PurePosixPath(ref.path).parts) for ref in refs]


def _stored(cache: VectorCache, refs: Sequence[ImageRef], batches: Iterable[_Batch]) -> dict[str, str]:
    """Put all of the batches into the cache; the reason of each that failed, by its SHA-256."""
    shas = [ref.sha256 for ref in refs]
    reasons = {shas[position]: reason for position, reason in _store(cache, shas, batches)}
    cache.compact()
    return reasons


class _Opened:
    """A runtime for the length of a ``with``."""

    def __init__(self, backbone: Backbone, compiled: Path, threads: int, progress: Report) -> None:
        self._runtime = open_runtime(backbone, compiled, threads=thread_count(threads), progress=progress)

    def __enter__(self) -> Runtime:
        return self._runtime

    def __exit__(self, *_: object) -> None:
        self._runtime.close()


def _store(cache: VectorCache, shas: Sequence[str], batches: Iterable[_Batch]) -> Iterator[tuple[int, str]]:
    """Put finished batches into the cache shard by shard; yields what failed.

    Whatever ends the run early, the rows that are finished are written before it goes on.
    """
    positions: list[int] = []
    rows: list[NDArray[np.float32]] = []

    def flush() -> None:
        if positions:
            cache.append([shas[position] for position in positions], np.concatenate(rows))
        positions.clear()
        rows.clear()

    try:
        for batch in batches:
            yield from batch.failed
            positions += batch.positions
            rows.append(batch.vectors)
            if len(positions) >= SHARD_ROWS:
                flush()
    finally:
        flush()


def _batches(
    files: Sequence[Path],
    runtime: Runtime,
    backbone: Backbone,
    threads: int,
    max_pixels: int,
    progress: Report,
    goes_on: Callable[[int], bool] = lambda start: True,
) -> Iterator[_Batch]:
    """Decode and infer on threads, a bounded number of batches ahead; results come in the order of the files.

    Each thread takes a batch from bytes to vectors by itself. Decoding releases the interpreter lock and so does
    inference, so the cores stay busy without one waiting for a particular other.

    Args:
        goes_on: whether to begin the batch that starts at this file; asked once for each, in order.
    """
    count = thread_count(threads)

    def work(start: int) -> _Batch:
        positions: list[int] = []
        squares: list[NDArray[np.uint8]] = []
        failed: list[tuple[int, str]] = []
        for position in range(start, min(start + BATCH, len(files))):
            try:
                squares.append(load_square(files[position], backbone.input_size, max_pixels))
                positions.append(position)
            except UnusableImage as error:
                failed.append((position, error.reason))
            except OSError as error:
                failed.append((position, f"cannot be read: {error.strerror}"))
        vectors = runtime.embed(np.stack(squares)) if squares else np.empty((0, backbone.dimension), np.float32)
        return _Batch(positions, vectors, failed)

    done = 0
    for batch in _ordered(work, itertools.takewhile(goes_on, range(0, len(files), BATCH)), count):
        yield batch
        done += len(batch.positions) + len(batch.failed)
        if progress:
            progress(Progress("embed images", done, len(files)))


def _ordered(work: Callable[[int], _Batch], starts: Iterable[int], threads: int) -> Iterator[_Batch]:
    under_way: deque[Future[Any]] = deque()
    remaining = iter(starts)
    with ThreadPoolExecutor(threads, "embed") as executor:
        try:
            for start in itertools.islice(remaining, threads * READ_AHEAD):
                under_way.append(executor.submit(work, start))
            while under_way:
                yield under_way.popleft().result()
                for start in itertools.islice(remaining, 1):
                    under_way.append(executor.submit(work, start))
        finally:
            for future in under_way:
                future.cancel()
