"""A record of an earlier version is brought up to date when it is opened, and loses nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, select, update
from sqlalchemy.exc import IntegrityError

from labeler.record import queries
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
