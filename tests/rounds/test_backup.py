"""A backup is the record of one moment, whatever happens meanwhile, and holds nothing it should not."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labeler import cli
from labeler.domain import Action, Answer, RecordError
from labeler.record import copies
from labeler.record.copies import NotSqlite
from labeler.rounds import Workspace
from labeler.rounds.archive import BackupError
from tests.faults.breaking import small_disk
from tests.rounds.lived import K, answers, killed_at, lived, lived_once, temporaries
from tests.workspaces import CLASSES, POOL, TEST

__all__ = ["lived", "lived_once"]


def opened(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]], sqlite3.Connection]:
    """Manifest, images and record of a backup."""
    with zipfile.ZipFile(file) as packed:
        manifest = json.loads(packed.read("manifest.json"))
        images = [json.loads(line) for line in packed.read("images.jsonl").splitlines()]
        copy = file.with_suffix(".db")
        copy.write_bytes(packed.read("labeler.db"))
    return manifest, images, sqlite3.connect(copy)


def assert_of_one_moment(file: Path) -> int:
    """Everything in the backup agrees; returns its last decision."""
    manifest, images, raw = opened(file)
    with closing(raw):
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
        (last, number) = raw.execute("SELECT max(id), count(*) FROM decision").fetchone()
        assert (manifest["counts"]["last_decision"], manifest["counts"]["decisions"]) == (last, number)
        rows = raw.execute("SELECT sha256, path, split, label, missing FROM image ORDER BY path, id").fetchall()
        keys = ("sha256", "path", "split", "label", "missing")
        assert images == [dict(zip(keys, (*row[:4], bool(row[4])), strict=True)) for row in rows]
        pending = raw.execute(
            "SELECT sha256, path, folder, file_name FROM move JOIN image ON image.id = image_id"
            " WHERE state = 'pending' ORDER BY move.id"
        ).fetchall()
        assert manifest["pending_moves"] == [
            dict(zip(("sha256", "path", "folder", "file_name"), row, strict=True)) for row in pending
        ]
        return int(last)


def test_a_backup_while_people_answer_and_files_move_is_of_one_moment(
    lived: Callable[[], Path], tmp_path: Path
) -> None:
    root = lived()
    ended = threading.Event()
    problems: list[Exception] = []
    acknowledged = [0]

    def label() -> None:
        try:
            with Workspace.open(root) as ws:
                with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
                    shas = [sha for (sha,) in raw.execute("SELECT sha256 FROM image WHERE split = 'unlabelled'")]
                for turn in range(10_000):
                    if ended.is_set():
                        return
                    sha, label = shas[turn % len(shas)], CLASSES[(turn // len(shas)) % 2]
                    ws.decide("ben", [Answer(sha, Action.CORRECT, label, f"ben-{turn}")], round=None)
                    acknowledged[0] = turn + 1
        except Exception as error:  # noqa: BLE001
            problems.append(error)

    thread = threading.Thread(target=label)
    thread.start()
    lasts, before = [], []
    with Workspace.open(root) as ws:
        for number in range(4):
            before.append(acknowledged[0])
            ws.backup(tmp_path / f"{number}.zip")
            lasts.append(assert_of_one_moment(tmp_path / f"{number}.zip"))
            while acknowledged[0] < before[-1] + 5 and thread.is_alive():
                ended.wait(0.01)
    ended.set()
    thread.join()
    assert problems == []
    assert lasts == sorted(set(lasts)), "each holds more than the one before"
    first = lasts[0] - before[0]
    assert all(last >= first + done - 10 for last, done in zip(lasts, before, strict=True)), (
        "what was acknowledged is in"
    )
    with Workspace.open(root) as ws:
        assert ws.verify()["clean"]


def test_it_is_taken_in_one_piece_even_where_the_copy_takes_long(
    lived: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody answers between every two pages of the copy; none of it is in, and the copy does not start again."""
    root = lived()
    monkeypatch.setattr(copies, "_STEP_PAGES", 1)
    steps = []
    with Workspace.open(root) as ws, closing(sqlite3.connect(root / "db/labeler.db")) as other:
        (last,) = other.execute("SELECT max(id) FROM decision").fetchone()

        def progress(step: Any) -> None:
            if step.what == "copying the record":
                steps.append(step.done)
                other.execute(
                    "INSERT INTO decision (op_id, image_id, annotator_id, action, opinion, created_at)"
                    " VALUES (?, 1, 1, 'skip', 1, '2026-11-22 00:00:00')",
                    (f"meanwhile-{len(steps)}",),
                )
                other.commit()

        ws.progress = progress
        ws.backup(tmp_path / "b.zip")
    assert len(steps) > 20
    assert steps == sorted(steps)
    assert assert_of_one_moment(tmp_path / "b.zip") == last


def test_moves_that_wait_are_in_the_manifest(lived: Callable[[], Path], tmp_path: Path, truth: Path) -> None:
    root = lived()
    with Workspace.open(root, k=K) as ws:
        ws.move_later = lambda: None
        waiting = list(ws.round().proposals)[3:6]
        ws.decide("ann", answers(ws, waiting, truth, "later"), round=2)
        made = ws.backup(tmp_path / "b.zip")
        assert made["pending_moves"] == 3
    assert_of_one_moment(tmp_path / "b.zip")
    assert {move["sha256"] for move in opened(tmp_path / "b.zip")[0]["pending_moves"]} == {p.sha256 for p in waiting}


def test_nobody_stays_signed_in_and_nobody_else_can_read_it(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        (token,) = raw.execute("SELECT token_hash FROM session").fetchone()
    with Workspace.open(root) as ws:
        made = ws.backup(tmp_path / "b.zip")
        assert made["sessions_dropped"] == 1
        assert made["accounts"] == 1
    assert (tmp_path / "b.zip").stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(tmp_path / "b.zip") as packed:
        everything = b"".join(packed.read(name) for name in packed.namelist())
        assert set(packed.namelist()) == {"manifest.json", "labeler.db", "images.jsonl", "labeler.toml"}
    assert token.encode() not in everything, "not even in a page that is free now"
    assert b"scrypt$" in everything, "accounts come back with their passwords"
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        assert raw.execute("SELECT count(*) FROM session").fetchone() == (1,), "in the workspace nobody was signed out"


def test_models_are_in_it_when_they_are_asked_for(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    with Workspace.open(root) as ws:
        assert ws.backup(tmp_path / "without.zip")["models"] == {"versions": 1, "files": 0}
        assert ws.backup(tmp_path / "with.zip", with_models=True)["models"] == {"versions": 1, "files": 1}
        [model] = (root / "db/models").glob("*.npz")
        manifest = opened(tmp_path / "with.zip")[0]
        [said] = manifest["models"][0]["files"]
        assert said == {
            "path": f"db/models/{model.name}",
            "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "included": True,
        }
        with zipfile.ZipFile(tmp_path / "with.zip") as packed:
            assert packed.read(f"models/{model.name}") == model.read_bytes()
        model.write_bytes(b"rotten")
        damaged = ws.backup(tmp_path / "damaged.zip", with_models=True)
        assert (damaged["models"]["files"], len(damaged["notes"])) == (0, 1)
        model.unlink()
        assert "is gone" in ws.backup(tmp_path / "gone.zip", with_models=True)["notes"][0]


# ----------------------------------------------------------------------------------------------------- where it may lie


def test_what_is_there_is_not_overwritten(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    file = tmp_path / "b.zip"
    with Workspace.open(root) as ws:
        ws.backup(file)
        first = file.read_bytes()
        with pytest.raises(BackupError, match=r"is there already.*--force"):
            ws.backup(file)
        assert file.read_bytes() == first
        ws.backup(file, force=True)
        assert zipfile.is_zipfile(file)
        (tmp_path / "letter.txt").write_text("Dear all")
        with pytest.raises(BackupError, match="is no backup"):
            ws.backup(tmp_path / "letter.txt", force=True)
        for place, words in [
            (root / "pools/Unlabelled/b.zip", "among the images"),
            (root / "db/labeler.db", "the record itself"),
            (root / "db/labeler.db-wal", "the record itself"),
            (tmp_path / "nowhere/b.zip", "there is no folder"),
            (tmp_path, "is no backup"),
        ]:
            with pytest.raises(BackupError, match=words):
                ws.backup(place, force=True)
        assert ws.verify()["clean"]
    assert (tmp_path / "letter.txt").read_text() == "Dear all"


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    lived: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_STEP_PAGES", 1)
    file = tmp_path / "backups/b.zip"
    file.parent.mkdir()

    def appear(_step: Any) -> None:
        file.write_text("Dear all")

    with Workspace.open(lived(), progress=appear) as ws, pytest.raises(BackupError, match="is there already"):
        ws.backup(file)
    assert file.read_text() == "Dear all"
    assert os.listdir(file.parent) == ["b.zip"]


def test_a_full_disk_is_one_line_and_leaves_nothing(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        raw.execute("CREATE TABLE noise (bytes BLOB)")
        raw.execute("INSERT INTO noise VALUES (?)", (os.urandom(300_000),))
        raw.commit()
    for kib in (128, 704):  # full while the record is copied, and while it is packed
        with small_disk(tmp_path / "disk", kib) as disk:
            done = CliRunner().invoke(cli.app, ["-w", str(root), "backup", str(disk / "b.zip"), "-q"])
            assert done.exit_code == 1, done.output
            [line] = done.stderr.splitlines()
            assert line.startswith(f"labeler: {disk / 'b.zip'} cannot be written: ")
            assert "free some space" in line
            assert os.listdir(disk) == []


def test_a_kill_leaves_no_half_backup_and_the_next_one_cleans_up(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    place = tmp_path / "backups"
    place.mkdir()

    def run() -> None:
        with Workspace.open(root) as ws:
            ws.backup(place / "b.zip")

    for point in ("backup.copied", "backup.packed", "backup.made"):
        killed_at(point, run)
        assert not (place / "b.zip").exists()
        assert len(temporaries(place)) == 1, "the one before was cleared away"
    killed_at("backup.named", run)
    assert_of_one_moment(place / "b.zip")
    with Workspace.open(root) as ws:
        ws.backup(place / "b.zip", force=True)
    assert sorted(os.listdir(place)) == ["b.db", "b.zip"]


def test_two_backups_at_once_leave_each_other_alone(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    place = tmp_path / "backups"
    place.mkdir()
    with Workspace.open(root) as first, Workspace.open(root) as second:
        begun: list[Any] = []

        def interrupt(step: Any) -> None:
            if not begun:
                begun.append(step)
                second.backup(place / "second.zip")

        first.progress = interrupt
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(copies, "_STEP_PAGES", 1)
            first.backup(place / "first.zip")
    assert begun
    assert sorted(os.listdir(place)) == ["first.zip", "second.zip"]
    for name in ("first", "second"):
        assert_of_one_moment(place / f"{name}.zip")


def test_a_damaged_record_is_not_passed_off_as_a_backup(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    with Workspace.open(root) as ws:
        with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
            raw.execute("PRAGMA foreign_keys=OFF")
            raw.execute("UPDATE note SET image_id = 777")
            raw.commit()
        with pytest.raises(RecordError, match=r"a row of note points at nothing, so no backup.*labeler rebuild"):
            ws.backup(tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_another_database_has_tools_of_its_own() -> None:
    with pytest.raises(NotSqlite, match=r"is for SQLite records, and this one is in PostgreSQL \(use pg_dump"):
        copies.file_of("postgresql+psycopg://someone@host/labels", "a backup")


# ------------------------------------------------------------------------------------------------------------ the shell


def test_the_command_says_what_is_in_it_and_what_is_not(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    done = CliRunner().invoke(cli.app, ["-w", str(root), "backup", str(tmp_path / "b.zip")])
    assert done.exit_code == 0, done.output
    assert f"{POOL + TEST} images, {TEST + K + 3} labelled" in done.stdout
    assert f"rsync -a {root / 'pools'}/" in done.stdout
    done = CliRunner().invoke(cli.app, ["-w", str(root), "backup", str(tmp_path / "c.zip"), "--json", "--with-models"])
    document = json.loads(done.stdout)
    assert document["file"] == str(tmp_path / "c.zip")
    assert document["bytes"] == (tmp_path / "c.zip").stat().st_size
    assert (document["images"], document["labelled"], document["quarantined"]) == (POOL + TEST, TEST + K + 3, 1)
    done = CliRunner().invoke(cli.app, ["-w", str(root), "backup", str(tmp_path / "c.zip")])
    assert done.exit_code == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("labeler: ")
    assert "--force" in line
