"""Bringing a record to the newest schema with Alembic; imported only when that is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from labeler.domain import RecordError

_INSTALLED = Path(__file__).parent / "migrations"
_IN_REPOSITORY = Path(__file__).parents[2] / "db" / "migrations"


def scripts_folder() -> Path:
    """Where the migration scripts are: inside the installed package, or in the repository's ``db/``."""
    return _INSTALLED if _INSTALLED.is_dir() else _IN_REPOSITORY


def newest() -> str | None:
    """The revision the scripts lead to."""
    return ScriptDirectory(str(scripts_folder())).get_current_head()


def upgrade(engine: Engine, current: str | None, shown: str) -> None:
    """Run the missing migrations in one transaction.

    Args:
        engine: the opened database.
        current: its revision, None when it has none.
        shown: its name for messages.

    Raises:
        RecordError: the record was written by a newer version of this program.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise RecordError(
            f"the record {shown} has schema {current}, which this version does not know", "install a newer labeler"
        )
    with _without_foreign_keys(engine) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise RecordError(f"the record {shown} has rows that point at nothing", "restore a backup")


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
