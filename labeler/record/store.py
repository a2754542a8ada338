"""The record's engine: opening and upgrading it, reading from it, and the one place that commits.

SQLite runs with WAL, ``synchronous=FULL`` and foreign keys on: what :meth:`Store.write` has returned from survives a
power cut. Write transactions open with BEGIN IMMEDIATE and are short: nothing is computed inside them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from labeler.domain import RecordError, without_password
from labeler.record import trouble
from labeler.record.contention import Contention
from labeler.record.tables import SCHEMA_VERSION

__all__ = ["Session", "Store", "sqlite_url"]

BUSY_TIMEOUT_S = 30.0


class Store:
    """The open record. Safe to use from several threads; one instance per process."""

    def __init__(self, url: str, *, keep_old: bool = True) -> None:
        """Open the record at ``url`` and bring its schema up to date.

        Args:
            keep_old: copy a SQLite record of an earlier schema first; False where it is a copy already.

        Raises:
            RecordError: it cannot be opened, is no labeler record, or was written by a newer version.
        """
        self.url = url
        self._file = _sqlite_file(url)
        self._engine = _engine(url)
        self._engine.hide_parameters = True  # an error's text may enter a log
        self.contention = Contention(self._engine)
        self._turn = self.contention.turn
        if self._file is not None:
            event.listen(self._engine, "begin", self._begin)
        try:
            with self._explaining():
                self._upgrade(keep_old)
        except BaseException:
            self.close()  # nobody gets hold of this object, and an open file would keep `labeler restore` away
            raise
        self._opened = _identity(self._file)

    @property
    def _shown(self) -> str:
        return make_url(self.url).render_as_string(hide_password=True).removeprefix("sqlite:///")

    def close(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent snapshot; whatever it changes is thrown away.

        Raises:
            RecordError: the record cannot be read.
        """
        with self._explaining(), self._session(immediate=False) as session:
            try:
                yield session
            finally:
                session.expunge_all()  # a rollback would empty the rows that the caller takes along
                session.rollback()

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction: committed when the block ends, rolled back when it raises.

        Raises:
            RecordError: the record stayed locked by another process, the disk refused the write, or the file was
                removed or replaced meanwhile; then nothing of the block counts.
        """
        self._check_place()
        with self._turn, self._explaining(), self._session(immediate=True) as session, session.begin():
            yield session
        self._check_place()  # SQLite goes on writing to a file that has lost its name, and nobody would find it again

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """What a database refuses becomes an error that says what to do."""
        try:
            yield
        except DBAPIError as error:
            said = trouble.explained(error, self._shown, self._file)
            if said is None:
                raise
            raise said from error

    def _begin(self, connection: Connection) -> None:
        """BEGIN, as we say it ourselves; SQLite waits inside BEGIN IMMEDIATE while another process writes."""
        if connection.get_execution_options().get("labeler_immediate", False):
            with self.contention.waiting():
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")

    def _check_place(self) -> None:
        if _identity(self._file) != self._opened:
            raise trouble.gone(self._shown)

    def _session(self, *, immediate: bool) -> Session:
        return Session(self._engine.execution_options(labeler_immediate=immediate), expire_on_commit=False)

    def _upgrade(self, keep_old: bool) -> None:
        with self._engine.connect() as connection:
            current = _stored_version(connection)
        if current == SCHEMA_VERSION:
            return
        from labeler.record.migrate import upgrade

        upgrade(self._engine, current, self._shown, keep_old=keep_old)


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite record at ``file``."""
    return f"sqlite:///{file}"


def _stored_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _sqlite_file(url: str) -> Path | None:
    """The file of a SQLite record; None for another, or one that lives in memory.

    Raises:
        RecordError: this is no URL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _no_driver(url, error) from None
    in_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    return Path(str(parsed.database)) if in_file else None


def _identity(file: Path | None) -> tuple[int, int] | None:
    """Device and inode of the record's file."""
    try:
        status = file.stat() if file is not None else None
    except OSError:
        return (0, 0)  # which no file has
    return (status.st_dev, status.st_ino) if status is not None else None


def _engine(url: str) -> Engine:
    try:
        file = _sqlite_file(url)
        return create_engine(url, pool_pre_ping=True) if file is None else _sqlite_engine(url, file)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise _no_driver(url, error) from None


def _no_driver(url: str, error: Exception) -> RecordError:
    what = without_password(f"no database driver fits {url!r}: {error}")
    return RecordError(what, "e.g. sqlite:///file.db")


def _sqlite_engine(url: str, file: Path) -> Engine:
    if not file.parent.is_dir():
        raise RecordError(f"the folder of the record {file} does not exist", "make it, or check --database")
    try:
        if not file.exists():
            _make(file)
        elif not file.is_file():
            raise RecordError(f"the record {file} is no file", "move it away, or check --database")
        elif file.stat().st_size == 0:
            raise trouble.empty(str(file))
    except OSError as error:
        raise trouble.refused(error, str(file)) from None
    # Never made by opening it: a record whose file is taken away must not come back empty behind our back.
    address = f"file:{quote(str(file.absolute()))}?mode=rw"
    engine = create_engine(
        url,
        poolclass=QueuePool,
        creator=lambda: sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False),
    )
    event.listen(engine, "connect", _configure_sqlite)
    return engine


def _make(file: Path) -> None:
    """A SQLite file without tables, never seen empty or with wider rights, not even for a moment.

    Raises:
        OSError: the system refused.
    """
    # So that an empty file is always one that was cut off, the new one gets its first page under another name.
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(partial)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        with contextlib.suppress(FileExistsError):  # another process was faster
            _name(partial, file)
    except sqlite3.Error as error:
        full = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
        code = errno.ENOSPC if full else errno.EIO
        raise OSError(code, str(error)) from None
    finally:
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                partial.with_name(partial.name + ending).unlink()


def _name(partial: Path, file: Path) -> None:
    """Give the new file its name unless another has it; where there are no hard links, with a moment in between."""
    try:
        os.link(partial, file)
    except FileExistsError:
        raise
    except OSError:
        if not file.exists():
            partial.rename(file)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see Store
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
