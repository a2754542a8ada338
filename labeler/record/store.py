"""The record's engine: opening and upgrading it, reading from it, and the one place that commits.

SQLite runs with WAL, ``synchronous=FULL`` and foreign keys on: what :meth:`Store.write` has returned from survives a
power cut. Write transactions open with BEGIN IMMEDIATE and are short: nothing is computed inside them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from labeler.domain import RecordError
from labeler.record.tables import SCHEMA_VERSION

__all__ = ["Session", "Store", "sqlite_url"]

BUSY_TIMEOUT_S = 30.0


class Store:
    """The open record. Safe to use from several threads; one instance per process."""

    def __init__(self, url: str) -> None:
        """Open the record at ``url`` and bring its schema up to date.

        Raises:
            RecordError: it cannot be opened, is no labeler record, or was written by a newer version.
        """
        self.url = url
        self._engine = _engine(url)
        # One writer at a time in this process: SQLite's busy handler is unfair, a waiting thread can starve for
        # seconds; a lock in front hands out turns.
        self._turn = threading.Lock()
        try:
            self._upgrade()
        except DatabaseError as error:
            raise RecordError(f"the record {self._shown} cannot be read: {error.orig}", "restore a backup") from None

    @property
    def _shown(self) -> str:
        return make_url(self.url).render_as_string(hide_password=True).removeprefix("sqlite:///")

    def close(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent snapshot; whatever it changes is thrown away."""
        with self._session(immediate=False) as session:
            try:
                yield session
            finally:
                session.expunge_all()  # a rollback would empty the rows that the caller takes along
                session.rollback()

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction: committed when the block ends, rolled back when it raises.

        Raises:
            RecordError: the record stayed locked by another process, or the disk refused the write.
        """
        with self._turn, self._session(immediate=True) as session:
            try:
                with session.begin():
                    yield session
            except OperationalError as error:
                raise RecordError(
                    f"the record {self._shown} could not be written: {error.orig}",
                    "free the disk or stop the program that holds it; nothing of this step was stored",
                ) from error

    def _session(self, *, immediate: bool) -> Session:
        return Session(self._engine.execution_options(labeler_immediate=immediate), expire_on_commit=False)

    def _upgrade(self) -> None:
        with self._engine.connect() as connection:
            current = _stored_version(connection)
        if current == SCHEMA_VERSION:
            return
        from labeler.record.migrate import upgrade

        upgrade(self._engine, current, self._shown)


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite record at ``file``."""
    return f"sqlite:///{file}"


def _stored_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(url, Path(parsed.database or ""))
        return create_engine(url, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise RecordError(f"no database driver fits {url!r}: {error}", "e.g. sqlite:///file.db") from None


def _sqlite_engine(url: str, file: Path) -> Engine:
    if not file.parent.is_dir():
        raise RecordError(f"the folder of the record {file} does not exist", "make it, or check --database")
    if not file.exists():
        # Created here so that it never exists with wider rights, not even for a moment.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))
    engine = create_engine(
        url, poolclass=QueuePool, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("labeler_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
