"""Work on many rows by several threads: numpy gives up the interpreter's lock while it computes.

The command line keeps the linear algebra library to one thread, as its own wait for one another in circles where other
programs use the processors. Here each thread has rows of its own and nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from labeler.cores import cores

CHUNK_ROWS = 1_024
THREADED_FROM = 4_096  # rows; what is less is done before a thread has started
_MOST_THREADS = 8  # beyond it reading memory is what takes the time

Result = TypeVar("Result")


def in_chunks(n: int, work: Callable[[slice], Result]) -> Iterator[Result]:
    """What ``work`` gives for consecutive slices that cover ``range(n)``, in their order.

    The slices do not depend on the number of threads, so neither does any result.

    Args:
        work: called from several threads at once where n is large; what it raises is raised here, and ends the rest.
    """
    chunks = [slice(start, min(start + CHUNK_ROWS, n)) for start in range(0, n, CHUNK_ROWS)]
    threads = min(cores(), _MOST_THREADS, len(chunks))
    if n < THREADED_FROM or threads < 2:
        yield from map(work, chunks)
        return
    executor = ThreadPoolExecutor(threads, "rank")
    try:
        yield from executor.map(work, chunks)
    finally:
        executor.shutdown(cancel_futures=True)
