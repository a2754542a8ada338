"""A restored workspace has every label, those decided after the backup too; what cannot be restored changes nothing."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labeler import Oracle, cli
from labeler.domain import Action, Answer, LabelerError, RecordError, WorkspaceBusy
from labeler.record import models
from labeler.record.tables import SCHEMA_VERSION
from labeler.rounds import Workspace, archive, restoring
from labeler.rounds.archive import BackupError
from labeler.workspace import WorkspacePaths, exclusive
from tests.checks import assert_sound
from tests.record.test_migrate import stored
from tests.rounds.lived import K, answers, killed_at, labels, lived, lived_once, on_disk, relabel, temporaries
from tests.workspaces import CLASSES, POOL, TEST, draw

__all__ = ["lived", "lived_once"]


def back(root: Path, file: Path) -> dict[str, Any]:
    return restoring.restore(WorkspacePaths(root), file)


def saved(root: Path, file: Path, **options: bool) -> Path:
    with Workspace.open(root) as ws:
        ws.backup(file, **options)
    return file


def lost(root: Path) -> None:
    """The record is gone; vectors are left, to make them anew takes ten seconds."""
    for file in (root / "db").glob("labeler.db*"):
        file.unlink()


def in_pool(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        rows = raw.execute("SELECT sha256 FROM image WHERE split = 'unlabelled' AND NOT missing ORDER BY path")
        return [sha for (sha,) in rows]


def path_of(root: Path, sha: str) -> Path:
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        return root / str(raw.execute("SELECT path FROM image WHERE sha256 = ?", (sha,)).fetchone()[0])


# ------------------------------------------------------------------------------------------------------- the rehearsal


def test_the_rehearsal(lived: Callable[[], Path], tmp_path: Path, truth: Path, compiled: Path) -> None:
    """Decisions, a backup with moves waiting, many more decisions, the record destroyed, all of it back."""
    root = lived()
    (root / "db/cache/compiled").symlink_to(compiled)  # an image comes in that has no vector yet
    new = draw(tmp_path / "truth/square", 5001, "square")
    shutil.copytree(truth, tmp_path / "truth", dirs_exist_ok=True)
    with Workspace.open(root, k=K) as ws:
        ws.move_later = lambda: None
        waiting = list(ws.round().proposals)[3:6]
        ws.decide("ann", answers(ws, waiting, truth, "waiting"), round=2)
        ws.backup(tmp_path / "b.zip")
        ws.move_later = None
        ws.resume()
        (stays, turns, home) = (proposal.sha256 for proposal in waiting)
        other = {"round": "square", "square": "round"}
        before = labels(root)
        relabel(ws, turns, other[str(before[turns])])  # its old move must not be carried out any more
        relabel(ws, turns, str(before[turns]))
        relabel(ws, turns, other[str(before[turns])])
        [undone] = ws.undo(1)
        assert undone["sha256"] == turns
        relabel(ws, turns, other[str(before[turns])])
        (trained, *_) = [sha for sha, label in before.items() if label and sha not in {stays, turns, home}]
        relabel(ws, trained, other[str(before[trained])])
        ws.round(annotator=Oracle.from_folder(truth))  # ends round 2
        ws.round(annotator=Oracle.from_folder(truth))
        first, second, gone, *_ = in_pool(root)
        freed = path_of(root, first)
        relabel(ws, first, "round")
        shutil.copy(new, tmp_path / freed.name)
        ws.import_images(tmp_path / freed.name)  # takes the name that has become free
        assert freed.is_file()
        path_of(root, gone).unlink()
        path_of(root, second).rename(root / "pools/Train/square" / "by-hand.png")
        assert ws.verify(repair=True)["clean"]
    after, lying = labels(root), on_disk(root)
    assert {sha: label or "Unlabelled" for sha, label in after.items()} == lying
    (root / "db/labeler.db").write_bytes(os.urandom(100_000))
    for companion in ("-wal", "-shm"):
        (root / f"db/labeler.db{companion}").unlink(missing_ok=True)
    document = back(root, tmp_path / "b.zip")
    assert labels(root) == after
    assert on_disk(root) == lying
    assert after[second] == "square"
    assert (document["clean"], document["differences"]) == (True, [])
    assert (document["images"], document["missing"]) == (POOL + TEST + 1, 1)
    assert document["after_backup"]["added"] == 1
    assert document["after_backup"]["labels"] == sum(
        1 for sha, label in after.items() if label and label != before.get(sha)
    )
    assert document["rounds_given_up"] == [2]
    assert document["kept"].startswith("db/before-restore-")
    assert (root / document["kept"] / "labeler.db").stat().st_size == 100_000
    with Workspace.open(root, k=K) as ws:
        result = ws.round(annotator=Oracle.from_folder(tmp_path / "truth"))
        assert result.state == "EVALUATED"
        assert not {p.sha256 for p in result.proposals} & {sha for sha, label in after.items() if label}
        assert ws.verify()["clean"]
    assert temporaries(root) == []


def test_what_was_undone_or_sorted_after_the_backup_is_as_its_folder_says(
    lived: Callable[[], Path], tmp_path: Path
) -> None:
    root = lived()
    saved(root, tmp_path / "b.zip")
    before = labels(root)
    with Workspace.open(root, k=K) as ws:
        taken_back = [item["sha256"] for item in ws.undo(2)]
        run = ws.sort(0.5, audit=0)
        assert run["sorted"] > 0
    lost(root)
    document = back(root, tmp_path / "b.zip")
    assert document["after_backup"] == {"labels": 0, "unlabelled": 2, "added": 0}
    assert dict.fromkeys(taken_back).items() <= labels(root).items()
    assert {sha: label for sha, label in labels(root).items() if sha not in taken_back} == {
        sha: label for sha, label in before.items() if sha not in taken_back
    }
    assert "sorted" not in {file.parts[-3] for file in (root / "pools").rglob("*.png")}
    with Workspace.open(root) as ws:
        assert_sound(ws, POOL + TEST)


@pytest.mark.parametrize("point", ["sort.written", "sort.decided"])
def test_a_sorting_run_that_the_backup_knows_half_of(lived: Callable[[], Path], tmp_path: Path, point: str) -> None:
    """Cut off in the record, before its decisions or before its moves; finished on disk, and corrected since."""
    root = lived()
    file = tmp_path / "b.zip"

    def cut() -> None:
        with Workspace.open(root) as ws:
            ws.sort(0.5, audit=0)

    killed_at(point, cut)
    with Workspace.open(root) as ws:
        ws.backup(file)
        ws.resume()
        with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
            shas = dict(raw.execute("SELECT sha256, label FROM image WHERE split = 'sorted'"))
        corrected = next(iter(shas))
        label = next(name for name in CLASSES if name != shas[corrected])
        relabel(ws, corrected, label)
    lost(root)
    assert back(root, file)["clean"]
    assert labels(root)[corrected] == label
    with Workspace.open(root) as ws:
        ws.resume()
        assert_sound(ws, POOL + TEST)


@pytest.mark.parametrize("point", ["move.linked", "move.published"])
def test_a_move_that_was_cut_off_after_the_backup_counts(
    lived: Callable[[], Path], tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has both names, and the record that knew why is lost; the decision was acknowledged."""
    root = lived()
    saved(root, tmp_path / "b.zip")
    sha = in_pool(root)[0]

    def label() -> None:
        if point == "move.published":  # as across devices, where a move copies

            def refuse(*_arguments: object, **_options: object) -> None:
                raise OSError(18, "Invalid cross-device link")

            monkeypatch.setattr("labeler.pool.mover.put_link", refuse)
        with Workspace.open(root) as ws:
            relabel(ws, sha, "square")

    killed_at(point, label)
    names = [file for file in (root / "pools").rglob("*.png") if hashlib.sha256(file.read_bytes()).hexdigest() == sha]
    assert len(names) == 2
    lost(root)
    document = back(root, tmp_path / "b.zip")
    assert document["clean"]
    assert document["after_backup"]["labels"] == 1
    assert labels(root)[sha] == "square"
    assert on_disk(root)[sha] == "square"


# -------------------------------------------------------------------------------------------------------------- models


def test_models_come_back_or_their_loss_is_said(lived: Callable[[], Path], tmp_path: Path, truth: Path) -> None:
    root = lived()
    without = saved(root, tmp_path / "without.zip")
    complete = saved(root, tmp_path / "with.zip", with_models=True)
    [model] = (root / "db/models").glob("*.npz")
    content = model.read_bytes()
    assert back(root, without)["models"] == {"restored": 0, "lost": []}, "its file is still there"
    model.write_bytes(b"rotten")
    assert back(root, complete)["models"] == {"restored": 1, "lost": []}
    assert model.read_bytes() == content
    model.unlink()
    lost(root)
    assert back(root, complete)["models"] == {"restored": 1, "lost": []}
    with Workspace.open(root) as ws:
        assert ws.status()["model"]["name"] == "m0001"
        assert ws.verify(deep=True)["clean"]
    model.unlink()
    document = back(root, without)
    assert document["models"] == {"restored": 0, "lost": ["m0001"]}
    assert "m0001" in " ".join(document["notes"])
    with Workspace.open(root, k=K) as ws:
        assert ws.status()["model"] is None
        assert ws.verify()["clean"]
        ws.round(annotator=Oracle.from_folder(truth))
        assert ws.status()["model"]["name"] == "m0002"


# ------------------------------------------------------------------------------------------------------ what is kept


def test_nobody_is_signed_in_afterwards_and_accounts_are(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    saved(root, tmp_path / "b.zip")
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        raw.execute("PRAGMA journal_mode=DELETE")
    shutil.copy(root / "db/labeler.db", tmp_path / "plain.db")  # somebody's own copy, sessions and all
    for file in (tmp_path / "b.zip", tmp_path / "plain.db"):
        back(root, file)
        with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
            assert raw.execute("SELECT count(*) FROM session").fetchone() == (0,)
            assert raw.execute("SELECT password_hash FROM annotator WHERE name = 'ann'").fetchone()[0]
        assert (root / "db/labeler.db").stat().st_mode & 0o777 == 0o600


def test_the_record_that_was_there_can_be_had_back(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    file = saved(root, tmp_path / "b.zip")
    with Workspace.open(root) as ws:
        relabel(ws, in_pool(root)[0], "round")
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        before = raw.execute("SELECT id, op_id, label FROM decision ORDER BY id").fetchall()
    first = back(root, file)
    document = back(root, root / first["kept"] / "labeler.db")
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        assert raw.execute("SELECT id, op_id, label FROM decision ORDER BY id").fetchall() == before
    assert document["backup"]["created_at"] is None
    assert document["kept"] != first["kept"]
    assert (root / first["kept"]).is_dir()
    assert document["clean"]


def test_a_new_place_needs_the_photographs_and_nothing_else(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    saved(root, tmp_path / "b.zip")
    shutil.copytree(root / "pools", tmp_path / "new/pools", copy_function=shutil.copy)  # times are not kept
    document = json.loads(
        CliRunner().invoke(cli.app, ["restore", str(tmp_path / "b.zip"), "-w", str(tmp_path / "new"), "--json"]).stdout
    )
    assert (document["clean"], document["kept"], document["missing"]) == (True, None, 0)
    assert labels(tmp_path / "new") == labels(root)
    assert (tmp_path / "new/labeler.toml").read_bytes() == (root / "labeler.toml").read_bytes()
    empty = back(tmp_path / "empty", tmp_path / "b.zip")
    assert (empty["missing"], empty["clean"]) == (POOL + TEST, False)  # the file set aside is not there either
    shutil.copytree(root / "pools", tmp_path / "empty/pools", dirs_exist_ok=True)
    with Workspace.open(tmp_path / "empty") as ws:
        assert ws.verify(repair=True)["clean"]
    assert labels(tmp_path / "empty") == labels(root)


def test_settings_are_those_of_the_backup_unless_a_class_was_added(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    file = saved(root, tmp_path / "b.zip")
    theirs = (root / "labeler.toml").read_text()
    (root / "labeler.toml").write_text(theirs + "k = 3\n")
    document = back(root, file)
    assert (root / "labeler.toml").read_text() == theirs
    assert (root / document["kept"] / "labeler.toml").read_text() == theirs + "k = 3\n"
    assert "labeler.toml is that of the backup" in document["notes"]
    more = 'classes = ["round", "square", "star"]\n'
    (root / "labeler.toml").write_text(more)
    (root / "pools/Train/star").mkdir()
    sha = in_pool(root)[0]
    path_of(root, sha).rename(root / "pools/Train/star/one.png")
    assert back(root, file)["clean"]
    assert (root / "labeler.toml").read_text() == more
    assert labels(root)[sha] == "star"
    (root / "pools/Train/star/one.png").rename(root / "pools/Unlabelled/one.png")
    (root / "labeler.toml").write_text("= not TOML")
    assert back(root, file)["clean"]
    assert (root / "labeler.toml").read_text() == theirs


def test_a_backup_does_not_reach_for_a_record_elsewhere(lived: Callable[[], Path], tmp_path: Path) -> None:
    """Its settings keep the record in another place, where by now another workspace's may be."""
    root = lived()
    elsewhere = tmp_path / "elsewhere.db"
    (root / "db/labeler.db").rename(elsewhere)
    text = (root / "labeler.toml").read_text()
    (root / "labeler.toml").write_text(f'{text}database = "sqlite:///{elsewhere}"\n')
    file = saved(root, tmp_path / "b.zip")
    shutil.copytree(root / "pools", tmp_path / "new/pools")
    before = elsewhere.read_bytes()
    assert back(tmp_path / "new", file)["clean"]
    assert elsewhere.read_bytes() == before
    assert (tmp_path / "new/labeler.toml").read_text() == text
    assert (tmp_path / "new/db").stat().st_mode & 0o777 == 0o700
    assert back(root, file)["clean"], "in its own workspace it stays where it was"
    assert len(list(tmp_path.glob("before-restore-*"))) == 1
    (root / "labeler.toml").write_text(f'database = "sqlite:///{elsewhere}"\nk = 9\n')
    assert back(root, file)["clean"]
    assert (root / "labeler.toml").read_text() == f'database = "sqlite:///{elsewhere}"\n{text}'
    assert not (root / "db/labeler.db").exists()


# ------------------------------------------------------------------------------------------------- schemas, old and new


def test_a_backup_of_an_earlier_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    old = stored(tmp_path / "old.db", "0001")
    with closing(sqlite3.connect(old)) as raw:
        raw.execute("PRAGMA journal_mode=DELETE")
    packed = archived(tmp_path / "old.zip", old.read_bytes())
    for number, file in enumerate((old, packed)):
        root = tmp_path / f"w{number}"
        document = back(root, file)
        assert (document["backup"]["schema"], document["schema_now"]) == ("0001", SCHEMA_VERSION)
        with Workspace.open(root) as ws, ws.store.read() as session:
            assert [version.removed_at is None for version in models.every(session, removed=True)] == [False, False]
        with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
            assert raw.execute("SELECT op_id FROM decision WHERE id <= 7 ORDER BY id").fetchall() == [
                (f"op-{number:032x}",) for number in range(1, 8)
            ]
            assert raw.execute("SELECT count(*) FROM move WHERE state = 'pending'").fetchone() == (0,)
        assert sorted(file.name for file in (root / "db").glob("before-*")) == [], "the backup is the copy"


# ------------------------------------------------------------------------------------------------------ what is refused


def archived(file: Path, database: bytes, **changes: Any) -> Path:
    """A backup with this record, made by hand; ``changes`` go into its manifest."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("labeler.db", database)
        members = {"labeler.db": {"size": len(database), "sha256": hashlib.sha256(database).hexdigest()}}
        document = {"format": "labeler-backup", "format_version": 1, "members": members}
        packed.writestr("manifest.json", json.dumps(document | changes))
    return file


def with_record(good: Path, file: Path, *statements: str) -> Path:
    """The same backup with another record in it, its manifest in order."""
    with zipfile.ZipFile(good) as packed:
        copy = file.with_suffix(".db")
        copy.write_bytes(packed.read("labeler.db"))
    with closing(sqlite3.connect(copy, isolation_level=None)) as raw:
        raw.execute("PRAGMA foreign_keys=OFF")
        for statement in statements:
            raw.execute(statement)
    return archived(file, copy.read_bytes())


def with_member(good: Path, file: Path, name: str, content: bytes) -> Path:
    """The same backup and one more member."""
    shutil.copy(good, file)
    with zipfile.ZipFile(file, "a") as packed:
        packed.writestr(name, content)
    return file


def empty(_good: Path, file: Path) -> Path:
    file.touch()
    return file


def a_folder(_good: Path, file: Path) -> Path:
    file.mkdir()
    return file


def twice(good: Path, file: Path) -> Path:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return with_member(good, file, "labeler.db", b"other")


def truncated(good: Path, file: Path) -> Path:
    file.write_bytes(good.read_bytes()[:-2000])
    return file


def flipped(good: Path, file: Path) -> Path:
    """One bit of the packed record, and none of the directory."""
    content = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as packed:
        info = packed.getinfo("labeler.db")
    content[info.header_offset + info.compress_size // 2] ^= 4
    file.write_bytes(content)
    return file


def bomb(_good: Path, file: Path) -> Path:
    """100 kB that unpack to 100 MiB, with a manifest that admits it."""
    size = 100 << 20
    digest = hashlib.sha256()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        with packed.open("labeler.db", "w", force_zip64=True) as member:
            piece = bytes(1 << 20)
            for _ in range(100):
                digest.update(piece)
                member.write(piece)
        members = {"labeler.db": {"size": size, "sha256": digest.hexdigest()}}
        packed.writestr(
            "manifest.json", json.dumps({"format": "labeler-backup", "format_version": 1, "members": members})
        )
    return file


def liar(good: Path, file: Path) -> Path:
    """A directory that gives the record as much shorter than it is."""
    with zipfile.ZipFile(good) as packed:
        database = packed.read("labeler.db")
    archived(file, database, members={"labeler.db": {"size": 4096, "sha256": hashlib.sha256(database).hexdigest()}})
    content = bytearray(file.read_bytes())
    entry = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, entry + 24, 4096)
    file.write_bytes(content)
    return file


def swapped(good: Path, file: Path) -> Path:
    """Another record of the same length, sound by the archive's own sums: only the manifest tells."""
    with zipfile.ZipFile(good) as packed:
        database = packed.read("labeler.db")
    other = database.replace(b"blurred?", b"perfect!")
    assert other != database
    members = {"labeler.db": {"size": len(database), "sha256": hashlib.sha256(database).hexdigest()}}
    return archived(file, other, members=members)


REFUSED: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "no archive": (lambda good, file: Path(shutil.copy(__file__, file)), "neither an archive nor"),
    "empty": (empty, "neither an archive nor"),
    "missing": (lambda good, file: file, "there is no file"),
    "a folder": (a_folder, "there is no file"),
    "cut short": (truncated, "no sound backup"),
    "a bit flipped": (flipped, "no sound backup"),
    "another archive": (lambda good, file: with_member(good, file, "letter.txt", b"Dear all"), "'letter.txt'"),
    "up and out": (lambda good, file: with_member(good, file, "../../evil.sh", b"#!"), "no backup does"),
    "an absolute name": (lambda good, file: with_member(good, file, "/etc/cron.d/evil", b"#!"), "no backup does"),
    "a model up and out": (lambda good, file: with_member(good, file, "models/../x", b"#!"), "no backup does"),
    "a name twice": (twice, "twice"),
    "not in the manifest": (lambda good, file: with_member(good, file, "models/m9.npz", b"x"), "other files"),
    "a record that was changed": (swapped, "not those that were packed"),
    "a bomb": (bomb, "would unpack to 100 MiB"),
    "a liar": (liar, "no sound backup"),
    "another format": (lambda good, file: archived(file, b"", format="other"), "not that of a labeler backup"),
    "a newer format": (lambda good, file: archived(file, b"", format_version=9), "a newer labeler"),
    "no members": (lambda good, file: archived(file, b"", members=[]), "other files"),
    "no record": (lambda good, file: archived(file, b"no database at all" * 99), "file is not a database"),
    "an empty record": (lambda good, file: archived(file, b""), "no record of labeler's"),
    "a newer schema": (
        lambda good, file: with_record(good, file, "UPDATE alembic_version SET version_num = '0099'"),
        "schema 0099, which this version does not know",
    ),
    "a trigger": (
        lambda good, file: with_record(
            good, file, "CREATE TRIGGER evil AFTER INSERT ON decision BEGIN DELETE FROM image; END"
        ),
        "a trigger, 'evil'",
    ),
    "no images": (lambda good, file: with_record(good, file, "DROP TABLE image"), "damaged"),
    "a row that points nowhere": (
        lambda good, file: with_record(good, file, "UPDATE note SET image_id = 777"),
        "points at nothing",
    ),
    "a path out": (
        lambda good, file: with_record(good, file, "UPDATE image SET path = 'pools/../../etc/passwd' WHERE id = 1"),
        "leads out of pools/",
    ),
    "a home out": (
        lambda good, file: with_record(good, file, "UPDATE image SET home = '/etc/passwd' WHERE id = 1"),
        "leads out of pools/",
    ),
    "a label out": (
        lambda good, file: with_record(good, file, "UPDATE decision SET label = '../../x' WHERE id = 1"),
        "leads out of pools/",
    ),
    "a model out": (
        lambda good, file: with_record(good, file, "UPDATE model_version SET path = 'db/models/../../x.npz'"),
        "no file of db/models",
    ),
}


@pytest.fixture(scope="module")
def good(lived_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good") / "w"
    shutil.copytree(lived_once, root)
    return saved(root, root.parent / "good.zip", with_models=True)


@pytest.fixture(scope="module")
def untouched(lived_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One workspace for all that is refused: nothing may happen to it."""
    root = tmp_path_factory.mktemp("untouched") / "w"
    shutil.copytree(lived_once, root)
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        raw.execute("PRAGMA journal_mode=DELETE")
    return root


def everything(root: Path) -> dict[str, str]:
    """Every file of a workspace but its locks."""
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.suffix not in (".lock", ".pid")
    }


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_restored_is_refused_in_one_line(name: str, good: Path, untouched: Path, tmp_path: Path) -> None:
    make, words = REFUSED[name]
    file = make(good, tmp_path / "x.zip")
    before = everything(untouched)
    done = CliRunner().invoke(cli.app, ["restore", str(file), "-w", str(untouched), "-q"])
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("labeler: ")
    assert words in line
    assert "unexpected" not in line
    assert ".labeler-tmp" not in line, "nobody knows that folder"
    assert everything(untouched) == before
    assert list(tmp_path.parent.rglob("evil*")) == []


def test_the_good_one_is_not_refused(good: Path, lived: Callable[[], Path], tmp_path: Path) -> None:
    assert back(lived(), good)["clean"]
    assert back(lived(), with_record(good, tmp_path / "x.zip", "UPDATE note SET text = 'x'"))["clean"]


# ----------------------------------------------------------------------------------------------------------- in use


def _hold(root: str, name: str, ready: Any, over: Any) -> None:
    with exclusive(WorkspacePaths(Path(root)), name):
        ready.set()
        over.wait(60)


@pytest.mark.parametrize("name", ["serve", "worker", "moves"])
def test_a_workspace_that_is_in_use_is_left_alone(lived: Callable[[], Path], tmp_path: Path, name: str) -> None:
    root = lived()
    file = saved(root, tmp_path / "b.zip")
    before = everything(root)
    context = multiprocessing.get_context("fork")
    ready, over = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(root), name, ready, over))
    process.start()
    try:
        assert ready.wait(30)
        with pytest.raises(WorkspaceBusy, match=str(process.pid)):
            back(root, file)
    finally:
        over.set()
        process.join()
    assert everything(root) == before


def test_a_record_that_somebody_has_open_is_left_alone(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    file = saved(root, tmp_path / "b.zip")
    with Workspace.open(root) as ws:
        ws.status()
        with pytest.raises(RecordError, match="open in another program"):
            back(root, file)
        relabel(ws, in_pool(root)[0], "round")
        assert ws.verify()["clean"]
    assert list((root / "db").glob("before-*")) == []


def test_only_sqlite_records_are_restored(good: Path, lived: Callable[[], Path]) -> None:
    with pytest.raises(RecordError, match="pg_restore"):
        restoring.restore(WorkspacePaths(lived()), good, database="postgresql+psycopg://someone@host/labels")


def test_no_folder_is_made_a_workspace_by_accident(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, ["restore", str(good)])
    assert done.exit_code == 1
    assert "name one with -w DIR" in done.stderr
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------------------------------------------------------- kills


@pytest.mark.parametrize("point", ["restore.fetched", "restore.kept", "restore.exchanged"])
def test_a_killed_restore_loses_nothing_and_is_run_again(lived: Callable[[], Path], tmp_path: Path, point: str) -> None:
    root = lived()
    file = saved(root, tmp_path / "b.zip")
    with Workspace.open(root, k=K) as ws:
        for sha in in_pool(root)[:3]:
            relabel(ws, sha, "square")
    after = labels(root)
    killed_at(point, lambda: back(root, file))
    if point in ("restore.fetched", "restore.kept"):
        assert labels(root) == after, "the old record is in its place"
    else:  # nobody runs it again: the next round finds the rest by itself
        shutil.copytree(root, tmp_path / "other")
        with Workspace.open(tmp_path / "other", k=K) as ws:
            ws.verify(repair=True)
            assert_sound(ws, POOL + TEST)
        assert labels(tmp_path / "other") == after
    document = back(root, file)
    assert document["clean"]
    assert labels(root) == after
    assert temporaries(root) == []
    with Workspace.open(root) as ws:
        assert_sound(ws, POOL + TEST)


def test_the_command_says_what_came_from_where(lived: Callable[[], Path], tmp_path: Path) -> None:
    root = lived()
    file = saved(root, tmp_path / "b.zip")
    with Workspace.open(root) as ws:
        ws.decide("ann", [Answer(in_pool(root)[0], Action.CORRECT, "round", "late-1")], round=None)
    done = CliRunner().invoke(cli.app, ["-w", str(root), "restore", str(file)])
    assert done.exit_code == 0, done.output
    assert "1 labels decided after the backup" in done.stdout
    assert "The record that was there is in db/before-restore-" in done.stdout
    assert "Record and disk agree." in done.stdout


def test_errors_are_of_one_kind() -> None:
    assert issubclass(BackupError, LabelerError)
    assert archive.damaged(Path("a\nb.zip"), "why").what == "a\\x0ab.zip is no sound backup: why"
