"""The record is locked, damaged, cut off, taken away, or lives under a clock that jumps: said clearly, nothing lost."""

from __future__ import annotations

import datetime as dt
import shutil
import sqlite3
import subprocess
import sys
import threading
import types
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from labeler.domain import Action, Answer, RecordError, RoundState, WorkspaceError
from labeler.record import store as store_module
from labeler.record import tables
from labeler.rounds import Workspace
from tests.checks import assert_sound, replayed
from tests.faults.asking import ALL, Working, assert_heals, command, labels, opened, proposed_answers
from tests.faults.breaking import assert_one_line, said
from tests.workspaces import CLASSES

#: Holds the record as a writer until its standard input ends.
HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


# --------------------------------------------------------------------------------------------------------- locked


def test_a_writer_waits_for_thirty_seconds(working: Working) -> None:
    with opened(working()) as ws, ws.store.read() as session:
        assert store_module.BUSY_TIMEOUT_S == 30.0
        assert session.execute(text("PRAGMA busy_timeout")).scalar() == 30_000


def test_a_record_held_by_another_process(
    working: Working, truth: Path, more: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading goes on; writing is refused with one line, nothing of it stored; the same answers count afterwards."""
    root = working()
    with opened(root) as ws:
        answers = proposed_answers(ws, truth)
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", 0.3)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root / "db" / "labeler.db")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with opened(root) as ws:
            assert ws.status()["round"]["state"] == "PROPOSED"
            with pytest.raises(RecordError) as caught:
                ws.decide("ann", answers, round=2)
            said(caught.value, "labeler.db is locked by another program", "nothing of this step was stored")
            for arguments in (["undo"], ["import", more, "--into", "unlabelled"], ["round", "--oracle", truth]):
                assert_one_line(*command(*arguments, "-w", root, "-q"), "locked by another program", "wait for it")
            assert command("status", "-w", root)[0] == 0
            assert command("export", root / "labels.csv", "-w", root)[0] == 0
            assert len(labels(root)) == 8
            holder.stdin.close()
            assert holder.wait(10) == 0
            assert all(receipt.stored for receipt in ws.decide("ann", answers, round=2))
            assert not any(receipt.stored for receipt in ws.decide("ann", answers, round=2))
            assert len(labels(root)) == 16
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert_heals(root, ALL + len(list(more.iterdir())))  # what the refused import had copied is adopted


def test_a_lock_that_goes_in_time_is_waited_for(working: Working, truth: Path) -> None:
    root = working()
    with closing(sqlite3.connect(root / "db" / "labeler.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(1.0, other.execute, ["ROLLBACK"])
        timer.start()
        with opened(root) as ws:
            assert all(receipt.stored for receipt in ws.decide("ann", proposed_answers(ws, truth), round=2))
        timer.join()
    assert_heals(root, ALL)


# -------------------------------------------------------------------------------------------------------- damaged


def settled(root: Path) -> Path:
    """The record as one file, nothing in a write-ahead log."""
    file = root / "db" / "labeler.db"
    with closing(sqlite3.connect(file)) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for ending in ("-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)
    return file


def overwrite_page_of(file: Path, name: str) -> None:
    """Noise over the first page of a table or index, as a failing disk leaves it."""
    with closing(sqlite3.connect(file)) as plain:
        (size,) = plain.execute("PRAGMA page_size").fetchone()
        (root,) = plain.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [name]).fetchone()
    with file.open("r+b") as stream:
        stream.seek((root - 1) * size)
        stream.write(b"\xde\xad" * (size // 2))


@pytest.mark.parametrize("table", ["image", "decision", "uq_image_path", "round", "alembic_version"])
def test_a_damaged_page(table: str, working: Working, truth: Path, tmp_path: Path) -> None:
    """Whoever comes across it says so in one line; nothing is written over, and a backup brings everything back."""
    root = working()
    before = labels(root)
    assert command("backup", tmp_path / "labels.zip", "-w", root)[0] == 0
    overwrite_page_of(settled(root), table)
    code, _, err = command("verify", "--repair", "-w", root, "-q")
    assert_one_line(code, "", err)
    commands: list[list[object]] = [["status"], ["round", "--oracle", truth], ["train"]]
    commands.append(["export", tmp_path / "o.csv", "--force"])
    refused = 0
    for arguments in commands:
        code, out, err = command(*arguments, "-w", root, "-q")
        if code:
            assert_one_line(code, out, err, "labeler.db", "cannot be read", "labeler restore", "labeler rebuild")
            refused += 1
    assert refused or table == "uq_image_path"
    code, out, err = command("restore", tmp_path / "labels.zip", "-w", root)
    assert code == 0, out + err
    assert before.items() <= labels(root).items()
    assert_heals(root, ALL)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["labeler.db is an empty file", "labeler rebuild"]),
        (b"this is a letter, not a database\n" * 300, ["file is not a database", "labeler restore"]),
        (b"SQLite format 3\0" + bytes(8000), ["labeler.db cannot be read"]),
    ],
)
def test_what_is_no_record_is_left_alone(content: bytes, words: list[str], working: Working) -> None:
    """Above all an empty file is no new record: what it held would be forgotten without a word."""
    root = working()
    before = labels(root)
    file = settled(root)
    kept = file.read_bytes()
    file.write_bytes(content)
    for arguments in (["status"], ["verify", "--repair"], ["round"]):
        assert_one_line(*command(*arguments, "-w", root, "-q"), *words)
    assert file.read_bytes() == content
    file.write_bytes(kept)
    assert_heals(root, ALL)
    file.write_bytes(content)
    assert command("rebuild", "-w", root, "-q")[0] == 0
    assert labels(root) == before, "the labels are in the folders"


def test_half_a_record(working: Working) -> None:
    root = working()
    file = settled(root)
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)
    assert_one_line(*command("verify", "-w", root, "-q"), "labeler.db")
    assert_one_line(*command("status", "-w", root, "-q"), "labeler.db cannot be read", "labeler restore")


@pytest.mark.parametrize("damage", ["cut", "noise", "gone"])
def test_a_damaged_write_ahead_log_costs_no_more_than_its_end(
    damage: str, working: Working, truth: Path, tmp_path: Path
) -> None:
    """What was not yet written back is what SQLite finds whole in the log: an earlier moment, never a mixture."""
    root = working()
    with opened(root) as ws:
        ws.decide("ann", proposed_answers(ws, truth), round=2)
        shutil.copytree(root, tmp_path / "crashed", symlinks=True)  # with its log, as a power cut leaves it
    crashed = tmp_path / "crashed"
    log = crashed / "db" / "labeler.db-wal"
    assert log.stat().st_size > 10_000
    if damage == "cut":
        with log.open("r+b") as stream:
            stream.truncate(log.stat().st_size * 2 // 3 + 5)
    elif damage == "noise":
        with log.open("r+b") as stream:
            stream.seek(log.stat().st_size // 2)
            stream.write(b"\xde\xad" * 500)
    else:
        log.unlink()
    assert_heals(crashed, ALL)
    assert len(labels(crashed)) == 16, "a file in its class folder is a label, also when its decision is lost"


@pytest.mark.parametrize("kind", ["folder", "link in a circle"])
def test_something_else_in_the_place_of_the_record(kind: str, working: Working) -> None:
    root = working()
    file = settled(root)
    file.unlink()
    if kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(file.name)
    assert_one_line(*command("status", "-w", root, "-q"), "labeler.db")


# ----------------------------------------------------------------------------------------------------- taken away


def test_answers_to_a_record_that_was_taken_away_are_refused(working: Working, truth: Path, tmp_path: Path) -> None:
    """SQLite would go on writing to the file that has lost its name, and acknowledge what nobody will ever read."""
    root = working()
    with opened(root) as ws:
        answers = proposed_answers(ws, truth)
        root.rename(tmp_path / "away")
        with pytest.raises(RecordError) as caught:
            ws.decide("ann", answers, round=2)
        said(caught.value, "was removed or replaced while in use", "start it again")
        (root / "db").mkdir(parents=True)
        store_module.Store(store_module.sqlite_url(root / "db" / "labeler.db")).close()
        with pytest.raises(RecordError, match="removed or replaced"):
            ws.decide("ann", answers, round=2)
        shutil.rmtree(root)
        (tmp_path / "away").rename(root)
        assert all(receipt.stored for receipt in ws.decide("ann", answers, round=2))
        assert_sound(ws, ALL)


def test_a_workspace_that_is_gone_is_not_made_again(working: Working, tmp_path: Path) -> None:
    root = working()
    with opened(root) as ws:
        root.rename(tmp_path / "away")
        with pytest.raises((WorkspaceError, RecordError)) as caught:
            ws.round()
        said(caught.value)
    assert not root.exists()


# ---------------------------------------------------------------------------------------------------------- clock


class Clock:
    """The program's clock, to be set; everything that asks for the time asks ``tables.now``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shift = dt.timedelta()
        clock = self

        class Shifted(dt.datetime):
            @classmethod
            def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]  # no more is asked of it
                return dt.datetime.now(tz) + clock.shift

        shim = types.SimpleNamespace(datetime=Shifted, UTC=dt.UTC, timedelta=dt.timedelta)
        monkeypatch.setattr(tables, "dt", shim)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_the_order_of_decisions_is_not_the_clocks(working: Working, truth: Path, clock: Clock) -> None:
    """Each later decision carries an earlier time; what counts is what was decided last."""
    root = working()
    with opened(root) as ws:
        answers = proposed_answers(ws, truth)
        sha256, right = answers[0].sha256, str(answers[0].label)
        wrong = next(name for name in CLASSES if name != right)
        ws.decide("ann", answers, round=2)
        for number, label in enumerate((wrong, right, wrong)):
            clock.shift -= dt.timedelta(days=3)
            ws.decide("ann", [Answer(sha256, Action.CORRECT, label, f"again-{number}")], round=None)
            assert labels(root)[sha256] == label
        clock.shift -= dt.timedelta(days=3)
        [undone] = ws.undo()
        assert (undone["sha256"], undone["now"]) == (sha256, right), "undo takes the newest back, not the latest"
        ws.run_round_job()
        assert ws.round().state == RoundState.PROPOSED, "the next round, proposed before the last one was"
        assert ws.status()["round"]["round"] == 3
        with ws.store.read() as session:
            rows = list(session.query(tables.DecisionRow).order_by(tables.DecisionRow.id))
            times = [row.created_at for row in rows]
            assert times != sorted(times), "the clock really went back"
            counted = replayed([row for row in rows if row.image_id == rows[-1].image_id])
            assert counted is not None
            assert counted.label == right
        assert_sound(ws, ALL)


def test_images_held_under_a_clock_that_was_ahead_come_free(working: Working, clock: Clock) -> None:
    """A batch was leased while the clock was a year ahead: it is not lost to the others for a year."""
    root = working()
    with Workspace.open(root, k=8, lease_s=60) as ws:
        clock.shift = dt.timedelta(days=365)
        mine = {item.sha256 for item in ws.batch("ann", now=True).items}
        assert mine
        clock.shift = dt.timedelta()
        ws.batch("bob", now=True)
        clock.shift = dt.timedelta(seconds=61)
        assert {item.sha256 for item in ws.batch("bob", now=True).items} == mine
