"""The disk is full, read-only, forbidden, or not the same one: one clear line, nothing lost, and it heals."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labeler import Oracle
from labeler.domain import Action, Answer, LabelerError, MoveError, RoundState
from labeler.rounds import scan
from tests.checks import assert_sound
from tests.faults.asking import ALL, Working, assert_heals, command, failing, labels, opened, proposed_answers
from tests.faults.breaking import assert_one_line, fill, forbidden, read_only, said, small_disk
from tests.workspaces import CLASSES

# ----------------------------------------------------------------------------------------------------------- full


@pytest.mark.parametrize("leave_kib", [0, 48, 100, 180, 300, 440, 700])
def test_a_full_disk_loses_nothing(leave_kib: int, working: Working, more: Path, truth: Path, tmp_path: Path) -> None:
    """Import, answers, training and vectors on a disk with less and less room; then there is room again."""
    with small_disk(tmp_path / "disk", 6_000) as disk:
        root = working(disk / "w")
        before = labels(root)
        ballast = fill(disk, leave_kib)
        problems: list[str] = []
        acknowledged: dict[str, str | None] = {}
        with failing(problems), opened(root) as ws:
            with failing(problems):
                ws.import_images(more, into="unlabelled")
            for answer in Oracle.from_folder(truth).answer(ws.round().proposals, ws.paths.root, CLASSES):
                with failing(problems):
                    ws.decide("ann", [answer], round=2)
                    acknowledged[answer.sha256] = answer.label
            with failing(problems):
                ws.run_round_job()
            with failing(problems):
                ws.verify()
        assert problems, "the disk was not small enough for this test"
        assert all("space" in text or "full" in text for text in problems), problems
        ballast.unlink()
        for sha256, label in {**before, **acknowledged}.items():
            assert labels(root)[sha256] == label, "what was acknowledged is on record"
        assert command("import", more, "--into", "unlabelled", "-w", root, "-q")[0] == 0
        assert_heals(root, ALL + len(list(more.iterdir())))
        with opened(root) as ws:
            assert ws.round(annotator=Oracle.from_folder(truth)).state == RoundState.EVALUATED


def test_every_command_says_that_the_disk_is_full(working: Working, more: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 6_000) as disk:
        root = working(disk / "w")
        ballast = fill(disk, 0)
        for arguments in (["status"], ["import", more], ["round"], ["verify"], ["train"], ["undo"], ["evaluate"]):
            assert_one_line(*command(*arguments, "-w", root, "-q"), "labeler.db is full", "free some space", "is kept")
        assert_one_line(*command("init", disk / "new"), "No space left")
        ballast.unlink()
        assert_heals(root, ALL)


def test_an_import_stops_when_the_disk_is_full(working: Working, more: Path) -> None:
    """It says so once, with exit code 1, and not once for each file that is left; the next one goes on."""
    root = working()
    pool = root / "pools" / "Unlabelled"
    with small_disk(pool, 64):
        code, out, err = command("import", more, "--into", "unlabelled", "-w", root, "-q")
        assert_one_line(code, out, err, "No space left on device", "free some space", "are imported and stay")
        assert out == ""
        taken = len(list(pool.iterdir()))
        assert 0 < taken < 20
        subprocess.run(["mount", "-o", "remount,size=4m", str(pool)], check=True)
        code, out, err = command("import", more, "--into", "unlabelled", "-w", root, "--json")
        assert code == 0, err
        assert (json.loads(out)["imported"], json.loads(out)["duplicates"]) == (20 - taken, taken)


def test_a_limit_on_file_sizes_is_one_line(working: Working, more: Path) -> None:
    """Where nothing can be mounted: the kernel refuses a file that grows beyond 16 kB (as a quota would)."""
    root = working()
    script = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, 16_000))
from labeler import cli
sys.argv = ["labeler", "import", sys.argv[1], "--into", "unlabelled", "-w", sys.argv[2], "-q"]
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(more), str(root)], capture_output=True, text=True, timeout=60, check=False
    )
    assert_one_line(done.returncode, "", done.stderr)
    assert_heals(root, ALL)


# ------------------------------------------------------------------------------------------------------ read-only


def test_labels_wait_while_the_class_folders_are_read_only(working: Working, truth: Path) -> None:
    root = working()
    with opened(root) as ws:
        with read_only(root / "pools" / "Train"):
            answers = Oracle.from_folder(truth).answer(ws.round().proposals, ws.paths.root, CLASSES)
            assert all(receipt.stored for receipt in ws.decide("ann", answers, round=2))
            with pytest.raises(MoveError) as caught:
                ws.round(annotator=Oracle.from_folder(truth))
            said(caught.value, "Train", "Read-only file system", "make the disk writable")
            assert {d["kind"] for d in ws.verify()["differences"]} == {"pending-move"}
        ws.resume()
        assert_sound(ws, ALL)
        assert ws.round(annotator=Oracle.from_folder(truth)).state == RoundState.EVALUATED


def test_a_read_only_record_refuses_every_command(working: Working, more: Path) -> None:
    root = working()
    before = hashlib.sha256((root / "db" / "labeler.db").read_bytes()).hexdigest()
    with read_only(root / "db"):
        for arguments in (["status"], ["import", more], ["round"], ["verify", "--repair"], ["train"], ["undo"]):
            assert_one_line(*command(*arguments, "-w", root, "-q"), "labeler.db", "write access")
    assert hashlib.sha256((root / "db" / "labeler.db").read_bytes()).hexdigest() == before
    assert_heals(root, ALL)


def test_an_import_into_a_read_only_pool(working: Working, more: Path) -> None:
    root = working()
    with read_only(root / "pools"):
        done = command("import", more, "--into", "unlabelled", "-w", root, "-q")
        assert_one_line(*done, "Read-only file system", "make the disk writable", "0 are imported")
    assert_heals(root, ALL)


# ------------------------------------------------------------------------------------------------------ forbidden


def test_a_forbidden_file_is_named_and_stops_nothing(working: Working, more: Path, tmp_path: Path) -> None:
    root, source = working(), tmp_path / "source"
    shutil.copytree(more, source)
    with forbidden(source / "more-03.png"), opened(root) as ws:
        result = ws.import_images(source, into="unlabelled")
    assert result.imported == 19
    [one] = result.quarantined
    assert one == {"path": str(source / "more-03.png"), "reason": "cannot be read: Permission denied"}
    with forbidden(source):
        assert_one_line(*command("import", source, "-w", root, "-q"), "cannot be listed: Permission denied", "readable")
    assert_heals(root, ALL + 19)


def test_a_forbidden_image_of_the_pool_is_left_out_and_comes_back(working: Working, more: Path) -> None:
    root = working()
    new = root / "pools" / "Unlabelled" / "more-03.png"
    shutil.copy(more / "more-03.png", new)
    with forbidden(new):
        report = command("verify", "--repair", "-w", root)
        assert report[0] == 1
        assert "more-03.png: cannot be read: Permission denied (left where it is)" in report[1]
    assert new.is_file()
    assert_heals(root, ALL + 1)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("labeler.toml", ["labeler.toml cannot be read: Permission denied", "make it readable"]),
        ("db/labeler.db", ["labeler.db", "access to it and its folder"]),
        ("db", ["access"]),
        ("pools/Train/round", ["pools/Train/round cannot be listed: Permission denied", "readable"]),
    ],
)
def test_forbidden_parts_of_a_workspace(place: str, words: list[str], working: Working) -> None:
    root = working()
    with forbidden(root / place):
        assert_one_line(*command("verify", "-w", root, "-q"), *words)
    assert_heals(root, ALL)


def test_images_in_a_folder_that_cannot_be_listed_are_not_gone(working: Working) -> None:
    root = working()
    before = labels(root)
    with opened(root) as ws:
        with forbidden(root / "pools" / "Train" / "round"), pytest.raises(LabelerError) as caught:
            scan.scan(ws.store, ws.paths, ws.settings)
        said(caught.value, "pools/Train/round cannot be listed: Permission denied", "readable")
        assert ws.status()["missing"] == 0
    assert labels(root) == before


# ---------------------------------------------------------------------------------------------------- other device


def test_the_class_folders_lie_on_another_disk(working: Working, truth: Path) -> None:
    """Moves are copies then: a whole round, an undo, and a disk that is too small for the next one."""
    root = working()
    train = root / "pools" / "Train"
    shutil.copytree(train, root / "kept")
    with small_disk(train, 640) as disk:
        shutil.copytree(root / "kept", train, dirs_exist_ok=True)
        assert disk.stat().st_dev != (root / "pools").stat().st_dev
        with opened(root) as ws:
            answers = proposed_answers(ws, truth)
            ws.decide("ann", answers[:3], round=2)
            ws.decide("ann", [Answer(answers[0].sha256, Action.UNDO, None, "back")], round=2)
            ws.decide("ann", [Answer(answers[0].sha256, Action.CORRECT, answers[0].label, "again")], round=2)
            assert_sound(ws, ALL)
            ballast = fill(disk, 8)
            ws.decide("ann", answers[3:], round=2)
            with pytest.raises(MoveError) as caught:
                ws.round(annotator=Oracle.from_folder(truth))
            said(caught.value, "No space left on device", "free some space")
            assert {d["kind"] for d in ws.verify()["differences"]} == {"pending-move"}
            ballast.unlink()
            assert ws.round(annotator=Oracle.from_folder(truth)).state == RoundState.EVALUATED
            assert_sound(ws, ALL)
