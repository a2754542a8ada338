"""The record's engine: durability settings, upgrades, and that a failed write is seen by nobody."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from labeler.domain import RecordError
from labeler.record import migrate
from labeler.record.store import Store, sqlite_url
from labeler.record.tables import SCHEMA_VERSION, Annotator, Base


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(sqlite_url(tmp_path / "labeler.db"))


def names(store: Store) -> list[str]:
    with store.read() as session:
        return sorted(row.name for row in session.query(Annotator))


def test_a_new_record_has_every_table_and_the_newest_schema(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "labeler.db") as plain:
        tables = {name for (name,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert plain.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA_VERSION,)]
    assert set(Base.metadata.tables) <= tables
    assert migrate.newest() == SCHEMA_VERSION


def test_what_sqlite_promises_is_switched_on(store: Store) -> None:
    with store.read() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_only_its_owner_can_read_the_record(store: Store, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "labeler.db").stat().st_mode) == 0o600


def test_a_write_that_fails_is_invisible_from_elsewhere(store: Store, tmp_path: Path) -> None:
    def fail() -> None:
        with store.write() as session:
            session.add(Annotator(name="half"))
            session.flush()
            with sqlite3.connect(tmp_path / "labeler.db") as other:
                assert other.execute("SELECT count(*) FROM annotator").fetchone() == (0,)
            raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        fail()
    assert names(store) == []


def test_a_read_throws_away_what_it_changed(store: Store) -> None:
    with store.read() as session:
        session.add(Annotator(name="nobody"))
        session.flush()
    assert names(store) == []


def test_threads_take_turns_and_none_is_lost(store: Store) -> None:
    def work(start: int) -> None:
        for number in range(start, start + 25):
            with store.write() as session:
                session.add(Annotator(name=f"a{number:03d}"))

    threads = [threading.Thread(target=work, args=(25 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(store) == [f"a{number:03d}" for number in range(200)]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "labeler.db"
    file.write_text("this is a letter, not a database, and it is long enough to be looked at" * 20)
    with pytest.raises(RecordError, match=r"labeler\.db cannot be read"):
        Store(sqlite_url(file))
    assert file.read_text().startswith("this is a letter")


def test_a_record_of_a_newer_version_is_refused_and_left_alone(store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / "labeler.db") as plain:
        plain.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RecordError, match="install a newer labeler"):
        Store(sqlite_url(tmp_path / "labeler.db"))


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="does not exist"):
        Store(sqlite_url(tmp_path / "nowhere" / "labeler.db"))


def test_an_unknown_kind_of_database_is_refused() -> None:
    with pytest.raises(RecordError, match="no database driver"):
        Store("cobol://tape/1")
