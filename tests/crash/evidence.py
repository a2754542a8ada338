"""What a workspace shows of itself: rows read with plain SQL, files read from the disk. No code of the product."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DATABASE = ("labeler.db", "labeler.db-wal")

#: Triggers that note, in the transaction of the change itself, each step of a round and each decision that is not
#: only added: what a look from outside, every few seconds, would miss.
WATCH = """
CREATE TABLE crash_watch (id INTEGER PRIMARY KEY, what TEXT NOT NULL, row INTEGER NOT NULL, before TEXT, after TEXT);
CREATE TRIGGER crash_round_made AFTER INSERT ON round BEGIN
    INSERT INTO crash_watch (what, row, before, after) VALUES ('round', NEW.id, NULL, NEW.state); END;
CREATE TRIGGER crash_round_moved AFTER UPDATE OF state ON round WHEN OLD.state <> NEW.state BEGIN
    INSERT INTO crash_watch (what, row, before, after) VALUES ('round', NEW.id, OLD.state, NEW.state); END;
CREATE TRIGGER crash_decision_changed AFTER UPDATE ON decision BEGIN
    INSERT INTO crash_watch (what, row, before, after) VALUES ('decision', NEW.id, OLD.op_id, NEW.op_id); END;
CREATE TRIGGER crash_decision_gone AFTER DELETE ON decision BEGIN
    INSERT INTO crash_watch (what, row, before, after) VALUES ('decision', OLD.id, OLD.op_id, NULL); END;
"""


@dataclass(frozen=True, slots=True)
class Decided:
    """A row of ``decision``."""

    id: int
    op_id: str
    image_id: int
    sha256: str
    round: int | None
    who: str
    action: str
    label: str | None
    supersedes: int | None
    opinion: bool
    at: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of ``image``."""

    id: int
    sha256: str
    path: str
    split: str
    label: str | None
    missing: bool


@dataclass(frozen=True, slots=True)
class Record:
    """The record at one moment, in one snapshot.

    Attributes:
        damage: what ``PRAGMA integrity_check`` and ``foreign_key_check`` complain of.
        pending: images with a move that is not done.
        watched: (what, row, before, after) of the triggers above, in order.
        rounds: (state, image) of every undecided proposal of an open round.
        held: people by image, for leases that run, of undecided images of open rounds.
    """

    damage: list[str]
    decisions: list[Decided]
    images: list[Recorded]
    pending: set[int]
    watched: list[tuple[str, int, str | None, str | None]]
    open_images: list[int]
    held: dict[int, set[int]]
    round_states: dict[int, str]
    running_jobs: list[str]
    unfinished_sorts: list[int]
    model_files: set[str]
    quarantined: set[str]


def watch(root: Path) -> None:
    """Put the triggers into a workspace's record."""
    with contextlib.closing(sqlite3.connect(root / "db" / _DATABASE[0])) as connection:
        connection.executescript(WATCH)


@contextlib.contextmanager
def copied(root: Path, scratch: Path) -> Iterator[Path]:
    """A copy of the record as a dead process left it: opening the original would already repair it."""
    folder = scratch / "dead"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "db").mkdir(parents=True)
    for name in _DATABASE:
        if (root / "db" / name).exists():
            shutil.copyfile(root / "db" / name, folder / "db" / name)
    yield folder
    shutil.rmtree(folder)


def record_of(root: Path) -> Record:
    """Read the record of a workspace."""
    with contextlib.closing(sqlite3.connect(root / "db" / _DATABASE[0], timeout=30, isolation_level=None)) as db:
        db.execute("BEGIN")
        damage = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        damage += [f"foreign key of {row[0]} {row[1]}" for row in db.execute("PRAGMA foreign_key_check")]
        return Record(
            damage=damage,
            decisions=[_decided(row) for row in _named(db, _DECISIONS)],
            images=[Recorded(**{**row, "missing": bool(row["missing"])}) for row in _named(db, _IMAGES)],
            pending={row[0] for row in db.execute("SELECT image_id FROM move WHERE state <> 'done'")},
            watched=list(db.execute("SELECT what, row, before, after FROM crash_watch ORDER BY id")),
            open_images=[row[0] for row in db.execute(_OPEN)],
            held=_held(db),
            round_states=dict(db.execute("SELECT id, state FROM round").fetchall()),
            running_jobs=[row[0] for row in db.execute("SELECT kind FROM job WHERE state IN ('queued', 'running')")],
            unfinished_sorts=[
                row[0] for row in db.execute("SELECT id FROM sort_run WHERE state NOT IN ('done', 'undone')")
            ],
            model_files=_model_files(db),
            quarantined={row[0] for row in db.execute("SELECT path FROM quarantine WHERE path IS NOT NULL")},
        )


_DECISIONS = """
SELECT d.id, d.op_id, d.image_id, i.sha256, r.number AS round, a.name AS who, d.action, d.label, d.supersedes,
    d.opinion, d.created_at AS at
FROM decision d JOIN image i ON i.id = d.image_id JOIN annotator a ON a.id = d.annotator_id
LEFT JOIN round r ON r.id = d.round_id ORDER BY d.id
"""
_IMAGES = "SELECT id, sha256, path, split, label, missing FROM image"
_UNDECIDED = """
FROM proposal p JOIN round r ON r.id = p.round_id JOIN image i ON i.id = p.image_id
WHERE r.state IN ('PROPOSED', 'REVIEWING') AND NOT i.missing AND NOT EXISTS (
    SELECT 1 FROM decision d WHERE d.round_id = r.id AND d.image_id = i.id AND NOT d.opinion AND d.action <> 'undo'
    AND NOT EXISTS (SELECT 1 FROM decision later WHERE later.supersedes = d.id AND NOT later.opinion))
"""
_OPEN = f"SELECT p.image_id {_UNDECIDED}"
_HELD = f"""
SELECT x.image_id, l.annotator_id FROM lease l JOIN (SELECT p.id, p.image_id {_UNDECIDED}) x ON x.id = l.proposal_id
WHERE l.expires_at > :now
"""  # noqa: S608  # put together from our own words


def _named(db: sqlite3.Connection, query: str) -> Iterator[dict[str, Any]]:
    cursor = db.execute(query)
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def _decided(row: dict[str, Any]) -> Decided:
    moment = dt.datetime.fromisoformat(row["at"]).replace(tzinfo=dt.UTC)
    return Decided(**{**row, "opinion": bool(row["opinion"]), "at": moment.timestamp()})


def _held(db: sqlite3.Connection) -> dict[int, set[int]]:
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(sep=" ")
    found: dict[int, set[int]] = {}
    for image, who in db.execute(_HELD, {"now": now}):
        found.setdefault(image, set()).add(who)
    return found


def _model_files(db: sqlite3.Connection) -> set[str]:
    network = "json_extract(settings, '$.network.path')"
    rows = db.execute(f"SELECT path, {network} FROM model_version WHERE removed_at IS NULL")  # noqa: S608
    return {path for row in rows for path in row if path is not None}


def files_of(root: Path) -> dict[str, str]:
    """SHA-256 of every image file in the pools by its path from the root; what was set aside is left out."""
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (root / "pools").rglob("*")
        if file.is_file() and "Quarantine" not in file.parts and not file.name.startswith(".")
    }
