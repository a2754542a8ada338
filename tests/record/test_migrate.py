"""A record of an earlier version is brought up to date when it is opened, and loses nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, update
from sqlalchemy.exc import IntegrityError

from labeler import faults
from labeler.domain import LabelerError, RecordError
from labeler.record import copies, migrate, queries
from labeler.record.migrate import scripts_folder
from labeler.record.store import Store, sqlite_url
from labeler.record.tables import SCHEMA_VERSION, DecisionRow, Job
from labeler.record.tables import Image as ImageRow

MOMENT = "2026-11-21 12:00:00"


def upgraded(file: Path, revision: str) -> None:
    """Bring a record to a revision, as an earlier version of the program would have left it."""
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()))
    engine = create_engine(sqlite_url(file))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def first_version(file: Path) -> None:
    """A record as 0001 wrote it, with an image that was labelled, undone and labelled again."""
    upgraded(file, "0001")
    with sqlite3.connect(file) as raw:
        raw.execute(
            "INSERT INTO image (id, sha256, path, home, split, label, missing, width, height, format, size, mtime_ns,"
            " dhash, imported_at) VALUES (1, ?, 'pools/Train/a/x.jpg', 'pools/Unlabelled/x.jpg', 'train', 'a', 0, 8, 8,"
            " 'JPEG', 9, 9, '0', ?)",
            ("f" * 64, MOMENT),
        )
        raw.execute(
            "INSERT INTO annotator (id, name, kind, role, disabled, created_at)"
            " VALUES (1, 'local', 'person', 'annotator', 0, ?)",
            (MOMENT,),
        )
        for number, (action, label, supersedes) in enumerate(
            [("confirm", "b", None), ("undo", None, 1), ("correct", "a", None)], start=1
        ):
            raw.execute(
                "INSERT INTO decision (id, op_id, image_id, annotator_id, action, label, supersedes, created_at)"
                " VALUES (?, ?, 1, 1, ?, ?, ?, ?)",
                (number, f"operation-{number}", action, label, supersedes, MOMENT),
            )
        raw.execute(
            "INSERT INTO job (kind, state, payload, progress, message, attempts, created_at)"
            " VALUES ('round', 'queued', '{}', 0, '', 0, ?)",
            (MOMENT,),
        )
    raw.close()
    file.chmod(0o600)


def test_a_record_of_the_first_version_keeps_its_decisions(tmp_path: Path) -> None:
    file = tmp_path / "labeler.db"
    first_version(file)
    store = Store(sqlite_url(file))
    with store.read() as session:
        (counted,) = queries.decisions_in_force(session, [1]).values()
        assert (counted.id, counted.label, counted.opinion) == (3, "a", False)
        assert [row.opinion for row in session.scalars(select(DecisionRow))] == [False] * 3
        assert session.get_one(ImageRow, 1).label == "a"
        assert session.scalars(select(Job)).one().kind == "round", "a job under its old name is still done"
    store.close()
    with sqlite3.connect(file) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == (SCHEMA_VERSION,)
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    raw.close()


def rows(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything in the tables that the record had before, in the columns it had."""
    with sqlite3.connect(file) as raw:
        found = {}
        for table in ("image", "decision", "annotator", "job"):
            names = [row[1] for row in raw.execute(f"PRAGMA table_info({table})") if row[1] != "sort_run_id"]
            found[table] = raw.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY id").fetchall()  # noqa: S608
    raw.close()
    return found


def test_tables_that_learn_new_words_keep_rows_references_and_indexes(tmp_path: Path) -> None:
    file = tmp_path / "labeler.db"
    first_version(file)
    upgraded(file, "0003")
    before = rows(file)
    with sqlite3.connect(file) as raw:
        indexes = raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute("UPDATE image SET split = 'sorted'")
    raw.close()
    store = Store(sqlite_url(file))
    assert rows(file) == before
    assert before["decision"]
    with store.write() as session:
        session.execute(update(ImageRow).values(split="sorted"))
        session.execute(update(DecisionRow).where(DecisionRow.id == 3).values(action="sort"))
    with pytest.raises(IntegrityError), store.write() as session:
        session.execute(update(ImageRow).values(split="elsewhere"))
    with pytest.raises(IntegrityError), store.write() as session:  # references count again
        session.execute(update(DecisionRow).values(image_id=77))
    store.close()
    with sqlite3.connect(file) as raw:
        assert set(indexes) <= set(raw.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'").fetchall())
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
        assert raw.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    raw.close()


# ------------------------------------------------------------------------------------- every schema there has been

DATA = Path(__file__).parent / "data"
REVISIONS = sorted(file.stem.removeprefix("schema_") for file in DATA.glob("schema_*.sql"))
Contents = dict[str, tuple[list[str], list[tuple[object, ...]]]]


def stored(file: Path, revision: str) -> Path:
    """The record of that revision, as it lay on a person's disk."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.execute("PRAGMA synchronous=OFF")
        raw.execute("PRAGMA journal_mode=WAL")
        raw.executescript(f"BEGIN; {(DATA / f'schema_{revision}.sql').read_text(encoding='utf-8')} COMMIT;")
    file.chmod(0o600)
    return file


def contents(file: Path, like: Contents | None = None) -> Contents:
    """Table -> columns and rows, all of them or those that ``like`` has."""
    with contextlib.closing(sqlite3.connect(file)) as raw:
        return read(raw, like)


def read(raw: sqlite3.Connection, like: Contents | None = None) -> Contents:
    found: Contents = {}
    for (table,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if table == "alembic_version" or (like is not None and table not in like):
            continue
        names = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
        columns = names if like is None else like[table][0]
        rows = raw.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY id").fetchall()  # noqa: S608
        found[table] = (columns, rows)
    return found


def revision_of(file: Path) -> str:
    with contextlib.closing(sqlite3.connect(file)) as raw:
        return str(raw.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_there_is_a_stored_record_of_every_revision_with_rows_in_every_table() -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()))
    assert {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()} == set(REVISIONS)
    engine = create_engine("sqlite://")
    with engine.connect() as made:
        config.attributes["connection"] = made
        raw: Any = made.connection.dbapi_connection
        for revision in REVISIONS:
            with contextlib.closing(sqlite3.connect(":memory:")) as plain:
                plain.executescript((DATA / f"schema_{revision}.sql").read_text(encoding="utf-8"))
                kept = read(plain)
            assert all(rows for _, rows in kept.values()), f"{revision} has an empty table"
            command.upgrade(config, revision)
            assert {name: columns for name, (columns, _) in kept.items()} == {n: of[0] for n, of in read(raw).items()}
    engine.dispose()


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_stored_record_comes_through_row_by_row(
    tmp_path: Path, revision: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = stored(tmp_path / "labeler.db", revision)
    before = contents(file)
    with caplog.at_level(logging.WARNING, "labeler.record"):
        store = Store(sqlite_url(file))
    assert contents(file, before) == before
    assert revision_of(file) == SCHEMA_VERSION
    assert_they_mean_what_they_meant(store)
    store.close()
    config = Config()
    config.set_main_option("script_location", str(scripts_folder()))
    engine = create_engine(sqlite_url(file))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.check(config)  # raises where tables and migrations disagree
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall() == []
        assert connection.exec_driver_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
    engine.dispose()
    kept = tmp_path / f"before-migration-{revision}.db"
    assert kept.exists() == (revision != SCHEMA_VERSION)
    if kept.exists():
        assert contents(kept) == before
        assert revision_of(kept) == revision
        assert kept.stat().st_mode & 0o777 == 0o600
        assert str(kept) in caplog.text
        assert SCHEMA_VERSION in caplog.text
    assert [name for name in os.listdir(tmp_path) if "tmp" in name] == []


def assert_they_mean_what_they_meant(store: Store) -> None:
    with store.read() as session:
        in_force = queries.decisions_in_force(session, range(1, 7))
        assert {image: (row.action, row.label) for image, row in in_force.items()} == {
            1: ("confirm", "withMask"),
            2: ("correct", "withoutMask"),
            3: ("skip", None),
            4: ("import", "withMask"),
            6: ("import", "withoutMask"),
        }
        assert [row.state for row in queries.every_round(session)] == ["EVALUATED", "REVIEWING"]


def test_a_second_copy_never_takes_the_first_ones_place(tmp_path: Path) -> None:
    first = tmp_path / "before-migration-0001.db"
    first.write_bytes(b"somebody's")
    Store(sqlite_url(stored(tmp_path / "labeler.db", "0001"))).close()
    assert first.read_bytes() == b"somebody's"
    assert revision_of(tmp_path / "before-migration-0001-2.db") == "0001"


def test_processes_that_open_an_old_record_at_once_migrate_it_once(tmp_path: Path) -> None:
    file = stored(tmp_path / "labeler.db", "0001")
    before = contents(file)
    failed: list[Exception] = []

    def opening() -> None:
        try:
            Store(sqlite_url(file)).close()
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=opening) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert contents(file, before) == before
    assert [path.name for path in tmp_path.glob("before-migration-*")] == ["before-migration-0001.db"]
    assert contents(tmp_path / "before-migration-0001.db") == before


# ------------------------------------------------------------------------------------------- when it does not go well

BROKEN = """
from alembic import op
revision = "0005"
down_revision = "0004"
branch_labels = depends_on = None
def upgrade():
    op.execute("DELETE FROM decision WHERE id = 8")
    op.execute("CREATE TABLE half_done (id INTEGER)")
    op.execute("INSERT INTO nowhere VALUES (1)")
"""


def test_a_migration_that_fails_leaves_the_record_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tmp_path / "migrations"
    shutil.copytree(scripts_folder(), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions/0005_broken.py").write_text(BROKEN)
    file = stored(tmp_path / "labeler.db", "0002")
    before = contents(file)
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "scripts_folder", lambda: scripts)
        with pytest.raises(
            RecordError, match=r"could not be brought from schema 0002 to 0005: .*no such table"
        ) as told:
            Store(sqlite_url(file))
    assert "\n" not in str(told.value)
    assert contents(file) == before, "nothing of 0003, 0004 and 0005 is left"
    assert revision_of(file) == "0002"
    assert list(tmp_path.glob("before-*")) == [], "one more copy with every attempt"
    Store(sqlite_url(file)).close()
    assert contents(file, before) == before


OPEN = "import sys; from labeler.record.store import Store; Store('sqlite:///' + sys.argv[1]).close()"


@pytest.mark.parametrize("point", ["migrate.copied", "migrate.changed"])
def test_a_kill_in_a_migration_leaves_the_record_as_it_was(tmp_path: Path, point: str) -> None:
    file = stored(tmp_path / "labeler.db", "0001")
    before = contents(file)
    killed = subprocess.run(
        [sys.executable, "-c", OPEN, str(file)],
        env={**os.environ, faults.ENVIRONMENT_NAME: point},
        check=False,
        timeout=60,
    )
    assert killed.returncode == faults.EXIT_CODE
    assert contents(file) == before
    assert contents(tmp_path / "before-migration-0001.db") == before, "the copy was whole before anything changed"
    (tmp_path / ".labeler-tmp-copy-of-a-killed-one.db").write_bytes(b"half")
    Store(sqlite_url(file)).close()
    assert contents(file, before) == before
    assert not [name for name in os.listdir(tmp_path) if "tmp" in name]


def test_no_room_for_the_copy_is_one_line_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = stored(tmp_path / "labeler.db", "0003")
    before = contents(file)
    real = copies._connected

    def cramped(path: Path, timeout_s: float = 30.0) -> sqlite3.Connection:
        connection = real(path, timeout_s)
        if "tmp-copy" in path.name:  # SQLite itself says that it is full
            connection.execute("PRAGMA max_page_count=3")
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(copies, "_connected", cramped)
        with pytest.raises(LabelerError, match=r"cannot be written: its disk is full.*free some space") as told:
            Store(sqlite_url(file))
    assert "\n" not in str(told.value)
    assert contents(file) == before
    assert revision_of(file) == "0003"
    assert sorted(name for name in os.listdir(tmp_path) if not name.endswith(("-wal", "-shm"))) == ["labeler.db"]


def test_the_record_of_a_newer_labeler_is_neither_changed_nor_copied(tmp_path: Path) -> None:
    file = stored(tmp_path / "labeler.db", "0004")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(RecordError, match=r"schema 0099.*install a newer labeler"):
        Store(sqlite_url(file))
    assert revision_of(file) == "0099"
    assert list(tmp_path.glob("before-*")) == []
