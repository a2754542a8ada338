"""What a database refused, in words that say what to do: a full disk must not sound like a damaged record."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from labeler.domain import RecordError

#: With less than this left a disk counts as full: SQLite alone wants 32 KiB for its index of the write-ahead log.
FULL_BELOW = 256 << 10

_KEPT = "what was acknowledged is kept, nothing of this step was stored"
_RESTORE = "restore a backup with `labeler restore`, or make it anew from the pools with `labeler rebuild`"
#: Primary result code -> (what happened to the record, remedy); https://www.sqlite.org/rescode.html
_SQLITE = {
    sqlite3.SQLITE_BUSY: ("is locked by another program", f"wait for it or stop it and try again; {_KEPT}"),
    sqlite3.SQLITE_LOCKED: ("is locked by another program", f"wait for it or stop it and try again; {_KEPT}"),
    sqlite3.SQLITE_READONLY: ("cannot be written", f"give yourself write access to it and its folder; {_KEPT}"),
    sqlite3.SQLITE_PERM: ("cannot be opened", "give yourself access to it and its folder"),
    sqlite3.SQLITE_AUTH: ("cannot be opened", "give yourself access to it and its folder"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "give yourself write access to it and its folder"),
    sqlite3.SQLITE_CORRUPT: ("cannot be read", _RESTORE),
    sqlite3.SQLITE_NOTADB: ("cannot be read", _RESTORE),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", f"see that its disk is there and sound; {_KEPT}"),
    sqlite3.SQLITE_PROTOCOL: ("is locked by another program", f"wait for it or stop it and try again; {_KEPT}"),
    sqlite3.SQLITE_NOMEM: ("needs more memory than there is", f"stop other programs; {_KEPT}"),
}
_FULL = f"free some space and run the command again; {_KEPT}"


def explained(error: DBAPIError, shown: str, file: Path | None) -> RecordError | None:
    """The error a person gets for one of the database; None for what no person can mend (a broken rule: a bug).

    Args:
        error: what SQLAlchemy raised.
        shown: the record's name for messages.
        file: of a SQLite record, None for another.
    """
    said = " ".join(str(error.orig).split())
    code = getattr(error.orig, "sqlite_errorcode", None)
    if file is None or code is None:
        lost = type(error).__name__ in ("OperationalError", "InterfaceError", "InternalError")
        remedy = f"see that the database runs and can be reached; {_KEPT}"
        return RecordError(f"the record {shown} cannot be used: {said}", remedy) if lost else None
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL or (primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _full(file)):
        return RecordError(f"the disk of the record {shown} is full", _FULL)
    if primary not in _SQLITE:
        return None
    what, remedy = _SQLITE[primary]
    return RecordError(f"the record {shown} {what}: {said}", remedy)


def refused(error: OSError, shown: str) -> RecordError:
    """The error a person gets when the record's file cannot be made."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RecordError(f"the disk of the record {shown} is full", _FULL)
    return RecordError(
        f"the record {shown} cannot be made: {error.strerror}", "give yourself write access to its folder"
    )


def empty(shown: str) -> RecordError:
    """The error for a file of no bytes: it is cut off, for a record is never made empty."""
    remedy = f"{_RESTORE}; where the workspace is new, remove it"
    return RecordError(f"the record {shown} is an empty file: it was cut off", remedy)


def gone(shown: str) -> RecordError:
    """The error for a record whose file is not the one that was opened: what is written there nobody will read."""
    return RecordError(
        f"the record {shown} was removed or replaced while in use", f"stop this program and start it again; {_KEPT}"
    )


def _full(file: Path) -> bool:
    try:
        return shutil.disk_usage(file.parent).free < FULL_BELOW
    except OSError:
        return False
