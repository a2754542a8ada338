"""How long writers of the record wait, and how often in vain: numbers for the metrics and for ``/healthz``.

Nothing here takes part in the writing: counters that a few lines of the store feed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from sqlalchemy import Engine, ExceptionContext, event

_LOCKED = ("locked", "busy", "lock timeout", "deadlock")


@dataclass(frozen=True, slots=True)
class Waits:
    """What this process has seen of the record since it started.

    Attributes:
        writes: transactions that were committed.
        waited_s: seconds that writers waited for their turn, all together.
        locked: writes given up because another process held the record for too long.
        refused: writes that the disk or the database refused.
        waiting_s: seconds for which the writer that waits longest now has been waiting; 0 when nobody waits.
        refused_s: seconds since the last refused write, when no later one succeeded; None otherwise.
    """

    writes: int
    waited_s: float
    locked: int
    refused: int
    waiting_s: float
    refused_s: float | None


class Contention:
    """Counts for one :class:`labeler.record.store.Store`; safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        #: One writer at a time in this process: SQLite's busy handler is unfair, a waiting thread can starve for
        #: seconds; a lock in front hands out turns.
        self.turn = _Turn(self)
        self._count = threading.Lock()
        self._waiting: dict[int, float] = {}
        self._writes = self._locked = self._refused = 0
        self._waited_s = 0.0
        self._refused_at: float | None = None
        event.listen(engine, "handle_error", self._failed)

    def waits(self) -> Waits:
        """The counts as they are now; takes no lock of the record."""
        with self._count:
            now = time.monotonic()
            return Waits(
                writes=self._writes,
                waited_s=self._waited_s,
                locked=self._locked,
                refused=self._refused,
                waiting_s=now - min(self._waiting.values(), default=now),
                refused_s=now - self._refused_at if self._refused_at is not None else None,
            )

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block as waiting for one's turn; one thread waits for one thing at a time."""
        began = time.monotonic()
        with self._count:
            self._waiting[threading.get_ident()] = began
        try:
            yield
        finally:
            with self._count:
                del self._waiting[threading.get_ident()]
                self._waited_s += time.monotonic() - began

    def written(self) -> None:
        with self._count:
            self._writes += 1
            self._refused_at = None

    def _failed(self, context: ExceptionContext) -> None:
        if type(context.original_exception).__name__ != "OperationalError":  # every driver has one of its own
            return
        text = str(context.original_exception).lower()
        with self._count:
            if any(word in text for word in _LOCKED):
                self._locked += 1
            else:
                self._refused += 1
                self._refused_at = time.monotonic()


class _Turn:
    """A lock that notes how long it was waited for, and whether what was done under it ended well."""

    def __init__(self, contention: Contention) -> None:
        self._lock = threading.Lock()
        self._contention = contention

    def __enter__(self) -> None:
        with self._contention.waiting():
            self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if kind is None:
            self._contention.written()
