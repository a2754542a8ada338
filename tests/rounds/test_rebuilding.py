"""A record that is lost is made anew from the files: every label there was, and what cannot be known is said."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labeler import Oracle, cli
from labeler.domain import LabelerError, RecordError, WorkspaceBusy, WorkspaceError
from labeler.rounds import Workspace, rebuilding, restoring
from labeler.workspace import WorkspacePaths, exclusive
from tests.checks import assert_sound
from tests.rounds.lived import BROKEN, K, killed_at, labels, lived, lived_once, on_disk, relabel, temporaries
from tests.workspaces import CLASSES, POOL, TEST

__all__ = ["lived", "lived_once"]


def anew(root: Path, **options: Any) -> dict[str, Any]:
    return rebuilding.rebuild(WorkspacePaths(root), **options)


def without_record(root: Path) -> None:
    """All of db/ is lost but the vectors: they would only take their time again."""
    for entry in (root / "db").iterdir():
        if entry.is_dir() and entry.name != "cache":
            shutil.rmtree(entry)
        elif entry.is_file():
            entry.unlink()


def test_every_label_comes_back_and_the_next_round_works(lived: Callable[[], Path], truth: Path) -> None:
    root = lived()
    before, lying = labels(root), on_disk(root)
    without_record(root)
    document = anew(root)
    assert labels(root) == before
    assert on_disk(root) == lying
    assert (document["images"], document["labels"]) == (POOL + TEST, TEST + K + 3)
    assert document["counts"]["unlabelled"] == {"-": POOL - K - 3}
    assert document["quarantined"] == [{"path": "pools/Quarantine/broken.jpg", "reason": "truncated JPEG"}]
    assert (document["clean"], document["differences"], document["kept"]) == (True, [], None)
    assert any("accounts" in line for line in document["unknown"])
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        who = raw.execute(
            "SELECT DISTINCT name, action FROM decision JOIN annotator ON annotator.id = annotator_id"
        ).fetchall()
        assert who == [("files", "import")]
    assert (root / "db/labeler.db").stat().st_mode & 0o777 == 0o600
    assert temporaries(root) == []
    with Workspace.open(root, k=K) as ws:
        assert ws.status()["quarantined"] == 1
        assert ws.round(annotator=Oracle.from_folder(truth)).state == "EVALUATED"
        assert_sound(ws, POOL + TEST)


def test_a_record_that_can_be_used_is_kept_and_only_with_force(lived: Callable[[], Path]) -> None:
    root = lived()
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        before = raw.execute("SELECT id, op_id FROM decision ORDER BY id").fetchall()
    with pytest.raises(RecordError, match=rf"has {POOL + TEST} images and {len(before)} decisions.*--force"):
        anew(root)
    document = anew(root, force=True)
    assert document["clean"]
    kept = root / document["kept"] / "labeler.db"
    assert any("db/models" in note for note in document["notes"])
    restoring.restore(WorkspacePaths(root), kept)
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        assert raw.execute("SELECT id, op_id FROM decision ORDER BY id").fetchall() == before


@pytest.mark.parametrize("damage", ["noise", "cut off", "empty", "no tables", "no rows"])
def test_a_record_that_is_of_no_use_is_kept_aside(lived: Callable[[], Path], damage: str) -> None:
    root = lived()
    before = labels(root)
    record = root / "db/labeler.db"
    with closing(sqlite3.connect(record)) as raw:
        raw.execute("PRAGMA journal_mode=DELETE")
    content = record.read_bytes()
    if damage == "noise":
        record.write_bytes(content[:8192] + os.urandom(len(content) - 8192))
    elif damage == "cut off":
        record.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        record.write_bytes(b"")
    elif damage == "no tables":
        record.unlink()
        with closing(sqlite3.connect(record)) as raw:
            raw.execute("CREATE TABLE something (id)")
    else:  # what a command that found none has made
        record.unlink()
        with Workspace.open(root) as ws:
            ws.status()
        with closing(sqlite3.connect(record)) as raw:
            raw.execute("PRAGMA journal_mode=DELETE")
    damaged = record.read_bytes()
    document = anew(root)
    assert document["clean"]
    assert labels(root) == before
    assert (root / document["kept"] / "labeler.db").read_bytes() == damaged


def test_a_move_that_was_cut_off_keeps_its_label(lived: Callable[[], Path]) -> None:
    root = lived()
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        rows = raw.execute("SELECT sha256, path FROM image WHERE split = 'unlabelled' ORDER BY path LIMIT 2")
        (linked, first), (copied, second) = rows.fetchall()
    os.link(root / first, root / "pools/Train/square/linked.png")
    shutil.copy(root / second, root / "pools/Train/round/copied.png")
    (root / "pools/Train/round/.labeler-tmp-killed").write_bytes(b"half")
    without_record(root)
    document = anew(root)
    assert document["clean"]
    assert (labels(root)[linked], labels(root)[copied]) == ("square", "round")
    assert len(on_disk(root)) == POOL + TEST
    assert sum("was being moved" in note for note in document["notes"]) == 2


def test_what_the_model_sorted_is_nobodys_label(lived: Callable[[], Path]) -> None:
    root = lived()
    before = labels(root)
    with Workspace.open(root) as ws:
        assert ws.sort(0.5, audit=0)["sorted"] > 0
    without_record(root)
    assert anew(root)["clean"]
    assert labels(root) == before


def test_twins_and_sound_files_that_were_set_aside_stay_there(lived: Callable[[], Path]) -> None:
    root = lived()
    image = next((root / "pools/Train/square").glob("*.png"))
    shutil.copy(image, root / "pools/Quarantine/twin.png")
    sound = next((root / "pools/Unlabelled").glob("*.png"))
    sound.rename(root / "pools/Quarantine/sound.png")
    no_text = Path(os.fsdecode(os.fsencode(root / "pools/Quarantine") + b"/br\xff\nken.jpg"))
    (root / "pools/Quarantine/broken.jpg").rename(no_text)
    without_record(root)
    document = anew(root)
    reasons = {item["path"]: item["reason"] for item in document["quarantined"]}
    assert reasons["pools/Quarantine/twin.png"] == f"byte-identical to {image.relative_to(root)}"
    assert "why it was set aside is not known" in reasons["pools/Quarantine/sound.png"]
    [renamed] = [path for path in reasons if "ken" in path]
    assert (root / renamed).read_bytes() == BROKEN
    assert document["clean"]


# -------------------------------------------------------------------------------------------------------------- classes


def test_lost_settings_are_made_from_the_class_folders(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    shutil.rmtree(root / "db")
    (root / "labeler.toml").unlink()
    for name in ("given", "known", "one"):
        (tmp_path / name / "pools/Train").mkdir(parents=True)
    assert anew(root)["classes"] == sorted(CLASSES)
    with Workspace.open(root) as ws:
        assert ws.settings.classes == CLASSES
        assert ws.verify()["clean"]
    for name in ("b", "a"):
        (tmp_path / "given/pools/Train" / name).mkdir()
    assert anew(tmp_path / "given", classes=("b", "a"))["classes"] == ["b", "a"]
    (tmp_path / "known/pools/Train/withoutMask").mkdir()
    assert anew(tmp_path / "known")["classes"] == ["withMask", "withoutMask"], "the order is known"
    (tmp_path / "one/pools/Train/cats").mkdir()
    with pytest.raises(WorkspaceError, match=r"'cats' is the only class folder.*--classes"):
        anew(tmp_path / "one")
    with pytest.raises(WorkspaceError, match="is a workspace for b, a"):
        anew(tmp_path / "given", classes=("c", "d"), force=True)


# ------------------------------------------------------------------------------------------------------ what is refused


def test_errors_are_one_line_and_change_nothing(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    with pytest.raises(WorkspaceError, match="no pools/"):
        anew(tmp_path / "nowhere")
    with exclusive(WorkspacePaths(root), "serve"), pytest.raises(WorkspaceBusy, match=str(os.getpid())):
        anew(root, force=True)
    with Workspace.open(root) as ws:
        ws.status()
        with pytest.raises(RecordError, match="open in another program"):
            anew(root, force=True)
    with pytest.raises(RecordError, match="pg_dump"):
        anew(root, database="postgresql+psycopg://someone@host/labels")
    with closing(sqlite3.connect(root / "db/labeler.db", isolation_level=None)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '0099'")
    for arguments, words in [
        (["rebuild"], "--force"),
        (["rebuild", "--classes", "one"], "needs two"),
    ]:
        done = CliRunner().invoke(cli.app, ["-w", str(root), *arguments])
        assert done.exit_code == 1, done.output
        [line] = done.stderr.splitlines()
        assert line.startswith("labeler: ")
        assert words in line
    assert list((root / "db").glob("before-*")) == []


@pytest.mark.parametrize("point", ["rebuild.scanned", "rebuild.made", "rebuild.kept", "rebuild.exchanged"])
def test_a_killed_rebuild_is_run_again(lived: Callable[[], Path], point: str) -> None:
    root = lived()
    before = labels(root)
    (root / "db/labeler.db").write_bytes(b"not a record" * 1000)
    killed_at(point, lambda: anew(root))
    if point == "rebuild.exchanged":
        shutil.copytree(root, root.with_name("other"))
        with Workspace.open(root.with_name("other")) as ws:  # any command clears away what is left
            ws.resume()
        assert temporaries(root.with_name("other")) == []
    if point != "rebuild.exchanged":
        assert (root / "db/labeler.db").read_bytes() == b"not a record" * 1000
        assert anew(root)["clean"]
    else:
        with pytest.raises(LabelerError, match="can be used"):
            anew(root)
    assert labels(root) == before
    with Workspace.open(root) as ws:
        ws.resume()
        assert_sound(ws, POOL + TEST)
        relabel(ws, next(sha for sha, label in before.items() if label is None), "round")
    assert temporaries(root) == []


def test_the_command_says_what_is_lost(lived: Callable[[], Path]) -> None:
    root = lived()
    shutil.rmtree(root / "db")
    done = CliRunner().invoke(cli.app, ["rebuild", "-w", str(root)])
    assert done.exit_code == 0, done.output
    assert f"{POOL + TEST} images, {TEST + K + 3} labels from the folders" in done.stdout
    assert "set aside pools/Quarantine/broken.jpg" in done.stdout
    assert "  - who decided what, and when" in done.stdout
    assert "Record and disk agree." in done.stdout
    shutil.rmtree(root / "db")
    document = json.loads(CliRunner().invoke(cli.app, ["rebuild", "-w", str(root), "--json"]).stdout)
    assert document["unknown"] == list(rebuilding.UNKNOWN)
