"""Bringing a record to the newest schema with Alembic; imported only when that is needed.

A SQLite record that holds something is copied first, as ``before-migration-<schema>.db`` beside it, and the copy is
kept. The migration itself is one transaction: what fails or is killed in the middle leaves the record as it was.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from labeler import faults
from labeler.domain import LabelerError, RecordError
from labeler.record import copies, trouble

_log = logging.getLogger("labeler.record")

_INSTALLED = Path(__file__).parent / "migrations"
_IN_REPOSITORY = Path(__file__).parents[2] / "db" / "migrations"


def scripts_folder() -> Path:
    """Where the migration scripts are: inside the installed package, or in the repository's ``db/``."""
    return _INSTALLED if _INSTALLED.is_dir() else _IN_REPOSITORY


def newest() -> str | None:
    """The revision the scripts lead to."""
    return ScriptDirectory(str(scripts_folder())).get_current_head()


def upgrade(engine: Engine, current: str | None, shown: str, *, keep_old: bool = True) -> None:
    """Run the missing migrations in one transaction, after a copy of what was there; where it lies is logged.

    Args:
        engine: the opened database.
        current: its revision, None when it has none.
        shown: its name for messages.
        keep_old: make the copy.

    Raises:
        RecordError: the record was written by a newer version of this program; or a migration failed, and the record
            is as it was. LabelerError: there is no room for the copy; nothing was done.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise RecordError(
            f"the record {shown} has schema {current}, which this version does not know", "install a newer labeler"
        )
    kept: Path | None = None
    try:
        with _without_foreign_keys(engine) as connection, connection.begin():
            # Asked again now that nobody else writes: another process may have been quicker.
            current = MigrationContext.configure(connection).get_current_revision()
            if current == newest():
                return
            kept = _copied(engine, current) if keep_old else None
            faults.point("migrate.copied")
            _migrate(connection, config, shown)
            faults.point("migrate.changed")
    except LabelerError:
        _forget(kept)
        raise
    except Exception as error:
        _forget(kept)
        if isinstance(error, DBAPIError) and (said := trouble.explained(error, shown, _file(engine))) is not None:
            raise said from error
        why = " ".join(str(getattr(error, "orig", None) or error).split())
        raise RecordError(
            f"the record {shown} could not be brought from schema {current} to {newest()}: {why}",
            "it is as it was: go on with the earlier labeler, and report this",
        ) from error
    if kept is not None:
        _log.warning("the record was brought from schema %s to %s; as it was it is kept as %s", current, newest(), kept)


def _migrate(connection: Connection, config: Config, shown: str) -> None:
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise RecordError(f"the record {shown} has rows that point at nothing", "restore a backup")


def _copied(engine: Engine, current: str | None) -> Path | None:
    """A copy of a SQLite record that has a schema; made by a connection of its own, it sees what is committed."""
    file = _file(engine)
    return copies.copy_beside(file, f"before-migration-{current}") if file is not None and current is not None else None


def _file(engine: Engine) -> Path | None:
    """The file of a SQLite record."""
    in_file = engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:")
    return Path(str(engine.url.database)).absolute() if in_file else None


def _forget(kept: Path | None) -> None:
    """The record is as it was, so a copy of it would only be one more with every attempt."""
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.unlink()


@contextlib.contextmanager
def _without_foreign_keys(engine: Engine) -> Iterator[Connection]:
    """A connection on which SQLite lets a migration build a table anew; the switch works outside transactions only."""
    with engine.execution_options(labeler_immediate=True).connect() as connection:
        raw = connection.connection.dbapi_connection
        if connection.dialect.name != "sqlite" or raw is None:
            yield connection
            return
        raw.execute("PRAGMA foreign_keys=OFF")
        try:
            yield connection
        finally:
            raw.execute("PRAGMA foreign_keys=ON")
