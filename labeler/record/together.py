"""Writers that meet share one transaction: the disk is asked to confirm once for all of them.

One writer at a time is let in, and each waits for the disk; with many people at once nearly all the time until an
answer is acknowledged is spent in that queue. Whoever comes to its head therefore takes those behind along. (Hendler,
Incze, Shavit, Tzafrir, "Flat Combining and the Synchronization-Parallelism Tradeoff", 2010; databases call it group
commit.)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from labeler.record.store import Store

T = TypeVar("T")
#: So many at most, or the first would wait too long for the last.
MOST = 16


class _Work:
    """What one writer wants done, and what became of it."""

    def __init__(self, do: Callable[[Session], Any]) -> None:
        self.do = do
        self.result: Any = None
        self.error: BaseException | None = None
        self.over = False


class Together:
    """The queue of the writers of one record in this process.

    Args:
        store: the record.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Work] = deque()
        self._head = threading.Lock()

    def write(self, do: Callable[[Session], T]) -> T:
        """Call ``do`` in a write transaction, perhaps one with others; what it wrote is durable when this returns.

        When ``do`` raises, nothing that it wrote counts, and what others wrote does.

        Args:
            do: returns what is to be returned; no rows of the session, which others go on using.

        Raises:
            RecordError: as :meth:`Store.write`; then nothing of anybody's counts. And whatever ``do`` raises.
        """
        mine = _Work(do)
        self._waiting.append(mine)
        with self._store.contention.waiting():
            self._head.acquire()
        try:
            while not mine.over:
                self._carry_out([self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))])
        finally:
            self._head.release()
        if mine.error is not None:
            raise mine.error
        result: T = mine.result
        return result

    def _carry_out(self, works: Sequence[_Work]) -> None:
        try:
            with self._store.write() as session:
                if len(works) == 1:
                    works[0].result = works[0].do(session)
                else:
                    for work in works:
                        _try(session, work)
        except BaseException as error:  # noqa: BLE001  # nothing was committed, and each of them has to know
            for work in works:
                work.error = error
        finally:
            for work in works:
                work.over = True


def _try(session: Session, work: _Work) -> None:
    """One of several: its failure is its own, unless it is the database's."""
    try:
        with session.begin_nested():
            work.result = work.do(session)
    except DBAPIError:
        raise
    except Exception as error:  # noqa: BLE001  # its sender gets it
        work.error = error
    finally:
        session.expunge_all()  # the next one is to see the record, not what this one remembered
