"""Writers that meet share a transaction, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from labeler.domain import RecordError, UnknownName
from labeler.record import queries
from labeler.record.store import Store
from labeler.record.tables import Annotator
from labeler.record.together import MOST, Together


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'labeler.db'}")
    yield store
    store.close()


def named(name: str) -> Callable[[Session], int]:
    return lambda session: queries.annotator(session, name).id


def stored(store: Store) -> set[str]:
    with store.read() as session:
        return set(session.scalars(select(Annotator.name)))


def met(store: Store, works: list[Callable[[Session], int]]) -> tuple[list[Future[int]], int]:
    """All of them sent while somebody else writes, the first before the others; and how many transactions they took."""
    together = Together(store)

    def until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    with ThreadPoolExecutor(len(works)) as executor, store.write():
        before = store.contention.waits().writes + 1
        futures = [executor.submit(together.write, works[0])]
        until(lambda: together._head.locked() and not together._waiting)
        for work in works[1:]:
            futures.append(executor.submit(together.write, work))
            until(lambda: len(together._waiting) == len(futures) - 1)
    return futures, store.contention.waits().writes - before


def test_who_waits_is_taken_along(store: Store) -> None:
    people = [f"p{number}" for number in range(2 * MOST + 1)]
    futures, transactions = met(store, [named(name) for name in people])
    assert stored(store) == set(people)
    with store.read() as session:
        of = {row.name: row.id for row in session.execute(select(Annotator.name, Annotator.id))}
    assert [future.result() for future in futures] == [of[name] for name in people]
    assert transactions == 3, "one alone, then as many as one may take along, twice"


def test_who_fails_fails_alone(store: Store) -> None:
    def fails(session: Session) -> int:
        queries.annotator(session, "half-done")
        session.flush()
        raise UnknownName("no such image", "reload")

    futures, transactions = met(store, [named("a"), named("b"), fails, named("c"), fails])
    assert transactions == 2
    assert stored(store) == {"a", "b", "c"}
    assert [type(future.exception()) for future in futures] == [
        type(None),
        type(None),
        UnknownName,
        type(None),
        UnknownName,
    ]


def test_alone_it_fails_as_a_transaction_does(store: Store) -> None:
    def fails(session: Session) -> int:
        queries.annotator(session, "half-done")
        session.flush()
        raise UnknownName("no such image", "reload")

    with pytest.raises(UnknownName):
        Together(store).write(fails)
    assert stored(store) == set()


def test_what_the_database_refuses_is_acknowledged_to_nobody(store: Store) -> None:
    """The record is found to be unwritable at the third of four: the two before it are not on record either."""

    def refused(session: Session) -> int:
        session.connection().exec_driver_sql("PRAGMA query_only=ON")
        try:
            return queries.annotator(session, "refused").id
        finally:
            session.connection().exec_driver_sql("PRAGMA query_only=OFF")

    futures, _ = met(store, [named("first"), named("a"), named("b"), refused, named("c")])
    failed = [future.exception() for future in futures]
    assert failed[0] is None
    assert all(isinstance(error, RecordError) for error in failed[1:]), failed
    assert stored(store) == {"first"}


def test_each_sees_what_those_before_it_wrote_and_not_what_they_remembered(store: Store) -> None:
    seen: list[tuple[int, int]] = []

    def counts(session: Session) -> int:
        seen.append((session.scalar(select(func.count()).select_from(Annotator)) or 0, len(session.identity_map)))
        return queries.annotator(session, f"p{len(seen)}").id

    met(store, [counts] * 6)
    assert seen == [(number, 0) for number in range(6)]


def test_many_at_once_lose_nothing(store: Store) -> None:
    together = Together(store)
    failed: list[BaseException] = []

    def person(who: int) -> None:
        try:
            for number in range(20):
                together.write(named(f"{who}-{number}"))
                assert f"{who}-{number}" in stored(store), "acknowledged means on record"
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=person, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(stored(store)) == 160
