"""Copies of a SQLite record: made while others write to it, checked, and rid of what must not live on in a copy.

A copy is made with SQLite's online backup inside one read transaction, so that it is the record of one moment however
long it takes and however busily people label meanwhile (https://sqlite.org/backup.html). It is one file: nothing of it
waits in a write-ahead log beside it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from labeler.domain import LabelerError, Progress, RecordError
from labeler.durable import sync_file, sync_folder
from labeler.record import trouble

Report = Callable[[Progress], None] | None

#: What SQLite keeps beside a database that is or was open.
COMPANIONS = ("-wal", "-shm", "-journal")
MAGIC = b"SQLite format 3\0"
_STEP_PAGES = 2_000
_TIMEOUT_S = 30.0
#: How a copy begins that is not whole yet.
TEMPORARY = ".labeler-tmp-copy-"


class NotSqlite(RecordError):
    """The record is in another kind of database, which has tools of its own for this."""


def file_of(url: str, doing: str) -> Path:
    """The file of a SQLite record.

    Args:
        url: of the record.
        doing: what is wanted of it, for the message: "a backup".

    Raises:
        NotSqlite: it is in another database, PostgreSQL for one.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise RecordError(f"{url!r} is no address of a record", "e.g. sqlite:///file.db") from None
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return Path(os.path.abspath(parsed.database))
    kind = {"postgresql": "PostgreSQL"}.get(parsed.get_backend_name(), parsed.get_backend_name())
    tool = "use pg_dump and pg_restore" if kind == "PostgreSQL" else "use the tools of that database"
    raise NotSqlite(
        f"{doing} is for SQLite records, and this one is in {kind}", f"{tool}, and copy pools/ and db/models"
    )


def copy(source: Path, target: Path, progress: Report = None) -> None:
    """Copy a record as it is at this moment into a new file of mode 0600, durably; others may write meanwhile.

    Raises:
        RecordError: it cannot be read, or is damaged. LabelerError: the copy cannot be written.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def stepped(_status: int, remaining: int, total: int) -> None:
        if progress is not None and total > _STEP_PAGES:
            progress(Progress("copying the record", total - remaining, total))

    try:
        with contextlib.closing(_connected(source)) as reading, contextlib.closing(_connected(target)) as writing:
            # Inside a read transaction every step sees the same moment, and no writer makes the copy start again.
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
            reading.backup(writing, pages=_STEP_PAGES, progress=stepped, sleep=0)
            reading.execute("ROLLBACK")
            writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise refusal(source, target, error) from None
    sync_file(target)


def copy_beside(source: Path, name: str) -> Path:
    """Copy a record under a name of its own in its folder, whole or not at all; a taken name gets a number.

    The caller holds the record's write lock, so what lies there unfinished is a killed process's and is removed.

    Raises:
        RecordError, LabelerError: as :func:`copy`; nothing is left behind.
    """
    temporary = source.with_name(f"{TEMPORARY}{secrets.token_hex(8)}.db")
    try:
        for left in source.parent.glob(f"{TEMPORARY}*"):
            left.unlink()
        copy(source, temporary)
        for number in range(1, 10_000):
            final = source.with_name(f"{name}.db" if number == 1 else f"{name}-{number}.db")
            if not os.path.lexists(final):
                temporary.rename(final)
                sync_folder(final.parent)
                return final
    except OSError as error:
        raise LabelerError(f"{temporary} cannot be written: {error.strerror}", "free some space") from None
    finally:
        temporary.unlink(missing_ok=True)
    raise LabelerError(f"{source.with_name(name)}.db and every name made from it is taken", "remove old copies")


def refusal(source: Path, target: Path, error: sqlite3.Error) -> LabelerError:
    """What to tell a person when SQLite would not copy."""
    if _is_full(target, error):
        return _no_room(target)
    return RecordError(f"the record {source} cannot be read: {error}", "restore a backup, or run `labeler rebuild`")


def _is_full(file: Path, error: sqlite3.Error) -> bool:
    """Whether the disk has no room; SQLite says so in many ways, of its index of the log as of a failing disk."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return True
    try:
        left = shutil.disk_usage(file.parent).free
    except OSError:
        return False
    return primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and left < trouble.FULL_BELOW


def _no_room(file: Path) -> LabelerError:
    return LabelerError(f"{file} cannot be written: its disk is full", "free some space, or choose another place")


def forget_sessions(file: Path) -> int:
    """Sign everybody out of a copy, and overwrite what was there; returns how many browsers that were.

    A token that was given out before must not open the page of whoever restores the copy.
    """
    with _damage_said(file), contextlib.closing(_connected(file)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        gone = connection.execute("DELETE FROM session").rowcount
        connection.execute("PRAGMA journal_mode=DELETE")
    sync_file(file)
    return gone


def in_one_file(file: Path) -> None:
    """Bring what waits in the write-ahead log into the file itself, durably.

    Raises:
        RecordError: another program has the record open, or it is damaged.
    """
    try:
        with contextlib.closing(_connected(file, timeout_s=0.0)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise RecordOpen(
                f"the record {file} is open in another program", "stop every labeler on this workspace, then try again"
            ) from None
        raise refusal(file, file, error) from None
    except sqlite3.Error as error:
        raise refusal(file, file, error) from None
    sync_file(file)


class RecordOpen(RecordError):
    """The record is in another program's hands."""


def revision(file: Path) -> str | None:
    """The schema a record has; None where it has none.

    Raises:
        RecordError: the file cannot be read as a database.
    """
    try:
        with contextlib.closing(_connected(file)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(row[0]) if row else None
    except sqlite3.Error as error:
        raise refusal(file, file, error) from None


def damage(file: Path) -> list[str]:
    """What SQLite's full check finds wrong with a record that others may have open, one line each; at most 20."""
    try:
        with contextlib.closing(_connected(file)) as connection:
            rows = connection.execute("PRAGMA integrity_check(20)").fetchall()
    except sqlite3.Error as error:
        return [str(error)]
    return [" ".join(str(row[0]).split()) for row in rows if row[0] != "ok"]


def holds(file: Path) -> tuple[int, int, int]:
    """How many images, decisions and accounts a record of any schema has; it is opened, never changed.

    Raises:
        RecordError: it has not the tables that every schema has.
    """
    queries = ("image", "decision", "annotator WHERE password_hash IS NOT NULL")
    with _damage_said(file), contextlib.closing(_connected(file)) as connection:
        images, decisions, accounts = (
            int(connection.execute(f"SELECT count(*) FROM {query}").fetchone()[0])  # noqa: S608
            for query in queries
        )
    return images, decisions, accounts


def check(file: Path) -> None:
    """Read a record whole and see that it is sound, and holds tables and indexes only.

    Raises:
        RecordError: it is damaged, rows point at nothing, or it has a trigger or a view: no labeler makes those, and
            they would run with every answer.
    """
    with _damage_said(file), contextlib.closing(_connected(file)) as connection:
        wrong = [row[0] for row in connection.execute("PRAGMA integrity_check(1)") if row[0] != "ok"]
        loose = connection.execute("PRAGMA foreign_key_check").fetchone()
        strange = connection.execute(
            "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index') LIMIT 1"
        ).fetchone()
    if wrong:
        raise RecordError(f"the record in it is damaged: {' '.join(str(wrong[0]).split())}", "use another backup")
    if loose:
        raise RecordError(f"the record in it is damaged: a row of {loose[0]} points at nothing", "use another backup")
    if strange:
        raise RecordError(f"the record in it has a {strange[0]}, {strange[1]!r}", "use a backup that labeler made")


@contextlib.contextmanager
def _damage_said(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if _is_full(file, error):
            raise _no_room(file) from None
        raise RecordError(f"the record in it is damaged: {error}", "use another backup") from None


#: Columns that become names of files and folders below the workspace; the last two are single names.
_PATHS = (("image", "path"), ("image", "home"), ("move", "folder"), ("move", "final_path"), ("quarantine", "path"))
_NAMES = (("move", "file_name"), ("image", "label"), ("decision", "label"))


def check_paths(file: Path) -> None:
    """See that no path in a record leads out of ``pools/``: it may come from somebody else's hands.

    Raises:
        RecordError: one does.
    """
    with _damage_said(file), contextlib.closing(_connected(file)) as connection:
        for table, column in _PATHS:
            for path in _values(connection, table, column):
                parts = path.split("/")
                if parts[0] != "pools" or not {"", ".", ".."}.isdisjoint(parts) or "\0" in path:
                    raise _leads_out(path)
        for table, column in _NAMES:
            for name in _values(connection, table, column):
                if name in ("", ".", "..") or "/" in name or "\0" in name:
                    raise _leads_out(name)


def _values(connection: sqlite3.Connection, table: str, column: str) -> Iterator[str]:
    for (value,) in connection.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"):  # noqa: S608
        yield str(value)


def _leads_out(path: str) -> RecordError:
    return RecordError(f"the record in it has the path {path!r}, which leads out of pools/", "use another backup")


def is_sqlite(file: Path) -> bool:
    """Whether a file begins as a SQLite database does.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def _connected(file: Path, timeout_s: float = _TIMEOUT_S) -> sqlite3.Connection:
    # As an address with mode=rw, or SQLite would make a file that is not there.
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout_s, isolation_level=None)
