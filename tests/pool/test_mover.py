"""A move that is cut short anywhere and called again leaves exactly one file, with its bytes, where it belongs."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labeler import durable, faults
from labeler.domain import MoveError, VanishedFile
from labeler.pool import disk, mover
from labeler.pool.mover import FAULT_POINTS, MoveRequest, move, move_many, sweep
from labeler.pool.names import TEMP_PREFIX, candidates

CONTENT = b"the bytes of a picture" * 5000
SHA = hashlib.sha256(CONTENT).hexdigest()
SUFFIXED = f"a-{SHA[:8]}.jpg"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(file: Path, content: bytes = CONTENT) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def files_below(*folders: Path) -> dict[str, bytes]:
    return {
        f"{folder.name}/{file.relative_to(folder)}": file.read_bytes()
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another device than the temporary folder."""
    folder = Path("/dev", "shm", f"labeler-test-{os.getpid()}")
    if not folder.parent.is_dir() or not os.access(folder.parent, os.W_OK):
        pytest.skip("no second device: /dev/shm is not there or not writable")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["same device", "cross device", "no hard links"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder to move to, in each of the three ways of getting there."""
    if request.param == "cross device":
        folder: Path = request.getfixturevalue("elsewhere") / "to"
        if folder.parent.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("no second device: shared memory and the temporary folder are one")
        return folder
    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", no_links)
    return tmp_path / "to"


def no_links(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


# ---------------------------------------------------------------------------------------------------------- plainly


def test_moves(tmp_path: Path, target: Path) -> None:
    source = put(tmp_path / "from" / "a.jpg")
    os.utime(source, ns=(1_000_000_000, 1_234_567_890_123_000_000))
    assert move(source, target, name="a.jpg", sha256=SHA) == target / "a.jpg"
    assert files_below(tmp_path / "from", target) == {"to/a.jpg": CONTENT}
    assert (target / "a.jpg").stat().st_mtime_ns == 1_234_567_890_123_000_000


def test_twice_is_once(tmp_path: Path, target: Path) -> None:
    source = put(tmp_path / "from" / "a.jpg")
    assert move(source, target, name="a.jpg", sha256=SHA) == move(source, target, name="a.jpg", sha256=SHA)
    assert files_below(tmp_path / "from", target) == {"to/a.jpg": CONTENT}


@pytest.mark.parametrize("foreign", [b"another", b"X" + CONTENT[1:], b""])
def test_a_taken_name_gets_the_hash(foreign: bytes, tmp_path: Path, target: Path) -> None:
    if not foreign and os.link is no_links:
        pytest.skip("without hard links an empty file is a reservation")
    source = put(tmp_path / "from" / "a.jpg")
    put(target / "a.jpg", foreign)
    for _ in range(2):
        assert move(source, target, name="a.jpg", sha256=SHA) == target / SUFFIXED
    assert files_below(tmp_path / "from", target) == {"to/a.jpg": foreign, f"to/{SUFFIXED}": CONTENT}


def test_every_candidate_taken(tmp_path: Path, target: Path) -> None:
    source = put(tmp_path / "from" / "a.jpg")
    for name in candidates("a.jpg", SHA):
        put(target / name, b"foreign")
    with pytest.raises(MoveError, match="is taken"):
        move(source, target, name="a.jpg", sha256=SHA)
    assert source.read_bytes() == CONTENT
    assert len(files_below(target)) == 5


def test_same_content_already_there(tmp_path: Path, target: Path) -> None:
    source = put(tmp_path / "from" / "a.jpg")
    put(target / SUFFIXED)
    assert move(source, target, name="a.jpg", sha256=SHA) == target / SUFFIXED
    assert files_below(tmp_path / "from", target) == {f"to/{SUFFIXED}": CONTENT}


def test_the_place_it_already_has(tmp_path: Path) -> None:
    file = put(tmp_path / "a.jpg")
    assert move(file, tmp_path, name="a.jpg", sha256=SHA) == file
    os.link(file, tmp_path / "backup-of-somebody")
    assert move(file, tmp_path, name="a.jpg", sha256=SHA) == file
    assert files_below(tmp_path) == {f"{tmp_path.name}/a.jpg": CONTENT, f"{tmp_path.name}/backup-of-somebody": CONTENT}


def test_the_place_it_already_has_by_another_path(tmp_path: Path) -> None:
    file = put(tmp_path / "real" / "a.jpg")
    os.link(file, tmp_path / "kept")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert move(file, tmp_path / "linked", name="a.jpg", sha256=SHA) == tmp_path / "linked" / "a.jpg"
    assert file.read_bytes() == CONTENT


def test_the_only_name_of_a_file_is_never_taken_for_a_second_one(tmp_path: Path) -> None:
    """Where two paths lead to one inode with one name (case ignored, a bind mount), removing one removes the image."""
    file = put(tmp_path / "a.jpg")
    (tmp_path / "b").mkdir()
    assert mover._one_entry(file, tmp_path / "b" / "A.JPG", file.stat())
    os.link(file, tmp_path / "b" / "A.JPG")
    assert not mover._one_entry(file, tmp_path / "b" / "A.JPG", file.stat())


def test_rename_within_a_folder(tmp_path: Path) -> None:
    file = put(tmp_path / "a.jpg")
    assert move(file, tmp_path, name="b.jpg", sha256=SHA) == tmp_path / "b.jpg"
    assert move(tmp_path / "b.jpg", tmp_path, name="B.jpg", sha256=SHA).read_bytes() == CONTENT
    assert len(list(tmp_path.iterdir())) == 1


def test_a_new_image_at_the_old_name_is_left_alone(tmp_path: Path, target: Path) -> None:
    """The move was done, the journal not yet told; meanwhile somebody dropped another image under the old name."""
    source = put(tmp_path / "from" / "a.jpg")
    final = move(source, target, name="a.jpg", sha256=SHA)
    put(source, b"Y" + CONTENT[1:])
    assert move(source, target, name="a.jpg", sha256=SHA) == final
    assert files_below(tmp_path / "from", target) == {"from/a.jpg": b"Y" + CONTENT[1:], "to/a.jpg": CONTENT}


def test_verify_refuses_another_file(tmp_path: Path, target: Path) -> None:
    source = put(tmp_path / "from" / "a.jpg", b"not the image of the journal")
    with pytest.raises(VanishedFile, match="another file"):
        move(source, target, name="a.jpg", sha256=SHA, verify=True)
    assert source.is_file()
    put(source)
    assert move(source, target, name="a.jpg", sha256=SHA, verify=True) == target / "a.jpg"


def test_vanished(tmp_path: Path, target: Path) -> None:
    with pytest.raises(VanishedFile, match="vanished"):
        move(tmp_path / "from" / "a.jpg", target, name="a.jpg", sha256=SHA)
    put(target / "a.jpg", b"foreign")
    with pytest.raises(VanishedFile):
        move(tmp_path / "from" / "a.jpg", target, name="a.jpg", sha256=SHA)


def test_not_a_regular_file(tmp_path: Path) -> None:
    real = put(tmp_path / "real.jpg")
    (tmp_path / "link.jpg").symlink_to(real)
    (tmp_path / "folder").mkdir()
    for name in ("link.jpg", "folder"):
        with pytest.raises(MoveError, match="no regular file"):
            move(tmp_path / name, tmp_path / "to", name="x.jpg", sha256=SHA)


def test_a_link_in_the_target_folder_is_not_followed(tmp_path: Path) -> None:
    source = put(tmp_path / "from" / "a.jpg")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a.jpg").symlink_to(source)
    assert move(source, tmp_path / "to", name="a.jpg", sha256=SHA) == tmp_path / "to" / SUFFIXED


def test_the_plain_path_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: Path) -> str:
        raise AssertionError("read although nothing was in doubt")

    for module in (disk, mover):
        monkeypatch.setattr(module, "sha256_of", read)
    put(tmp_path / "to" / "a.jpg", b"of another size")
    source = put(tmp_path / "from" / "a.jpg")
    assert move(source, tmp_path / "to", name="a.jpg", sha256=SHA).name == SUFFIXED


# ------------------------------------------------------------------------------------------------------- in batches


def test_fifty_moves_cost_three_fsyncs_in_the_right_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real_fsync, real_link, real_unlink = os.fsync, os.link, os.unlink

    def fsync(handle: int) -> None:
        calls.append(f"fsync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        real_fsync(handle)

    def link(*given: Any, **named: Any) -> None:
        calls.append("link")
        real_link(*given, **named)

    def unlink(*given: Any, **named: Any) -> None:
        calls.append("unlink")
        real_unlink(*given, **named)

    contents = [b"%d" % i for i in range(50)]
    for label in ("yes", "no"):
        (tmp_path / label).mkdir()
    requests = [
        MoveRequest(put(tmp_path / "from" / f"{i}.jpg", c), tmp_path / ("yes", "no")[i % 2], f"{i}.jpg", sha(c))
        for i, c in enumerate(contents)
    ]
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "unlink", unlink)
    outcomes = move_many(requests)
    assert all(outcome.error is None for outcome in outcomes)
    assert [outcome.final for outcome in outcomes] == [request.folder / request.name for request in requests]
    assert calls == ["link"] * 50 + ["fsync yes", "fsync no"] + ["unlink"] * 50 + ["fsync from"]


def test_one_failure_does_not_stop_the_rest(tmp_path: Path, target: Path) -> None:
    good = [put(tmp_path / "from" / name, name.encode()) for name in ("a", "b")]
    requests = [MoveRequest(file, target, file.name, sha(file.name.encode())) for file in good]
    requests.insert(1, MoveRequest(tmp_path / "from" / "gone", target, "gone", SHA))
    requests.insert(2, MoveRequest(put(tmp_path / "from" / "x"), put(tmp_path / "file"), "x", SHA))
    outcomes = move_many(requests)
    assert [outcome.final and outcome.final.name for outcome in outcomes] == ["a", None, None, "b"]
    assert isinstance(outcomes[1].error, VanishedFile)
    assert type(outcomes[2].error) is MoveError
    assert files_below(tmp_path / "from", target) == {"from/x": CONTENT, "to/a": b"a", "to/b": b"b"}


def test_two_images_of_one_name(tmp_path: Path, target: Path) -> None:
    files = [put(tmp_path / folder / "a.jpg", folder.encode()) for folder in ("one", "two")]
    requests = [MoveRequest(file, target, "a.jpg", sha(file.read_bytes())) for file in files]
    first, second = move_many(requests)
    assert first.final == target / "a.jpg"
    assert second.final == target / f"a-{sha(b'two')[:8]}.jpg"
    assert second.final.read_bytes() == b"two"


def test_nothing_to_move() -> None:
    assert move_many([]) == []


# --------------------------------------------------------------------------------------------- when the system fails


@pytest.mark.parametrize(
    ("name", "code", "remedy"),
    [("link", errno.ENOSPC, "free some space"), ("link", errno.EACCES, "write access"), ("link", errno.EIO, "again")],
)
def test_refused_link(name: str, code: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(tmp_path / "from" / "a.jpg")

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, refused)
    with pytest.raises(MoveError) as caught:
        move(source, tmp_path / "to", name="a.jpg", sha256=SHA)
    assert os.strerror(code) in caught.value.what
    assert remedy in caught.value.remedy
    assert files_below(tmp_path / "from", tmp_path / "to") == {"from/a.jpg": CONTENT}


def test_source_that_cannot_be_removed_is_not_doubled(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(tmp_path / "from" / "a.jpg")
    real = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self == source:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(MoveError, match="Permission denied"):
        move(source, target, name="a.jpg", sha256=SHA)
    assert files_below(tmp_path / "from", target) == {"from/a.jpg": CONTENT}


def test_target_that_is_not_on_disk_yet_costs_no_source(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(tmp_path / "from" / "a.jpg")
    target.mkdir()
    real = durable.sync_folder

    def sync(folder: Path) -> None:
        if folder == target:
            raise OSError(errno.EIO, "Input/output error")
        real(folder)

    with monkeypatch.context() as patch:
        patch.setattr(mover, "sync_folder", sync)
        with pytest.raises(MoveError, match="Input/output error"):
            move(source, target, name="a.jpg", sha256=SHA)
        assert source.read_bytes() == CONTENT
    assert move(source, target, name="a.jpg", sha256=SHA) == target / "a.jpg"
    assert files_below(tmp_path / "from", target) == {"to/a.jpg": CONTENT}


def test_disk_full_while_copying_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(tmp_path / "from" / "a.jpg")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "to").mkdir()
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MoveError, match="No space left"):
        move(source, tmp_path / "to", name="a.jpg", sha256=SHA)
    assert files_below(tmp_path / "from", tmp_path / "to") == {"from/a.jpg": CONTENT}


def test_bytes_that_changed_on_the_way_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(tmp_path / "from" / "a.jpg", b"changed since")
    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(MoveError, match="not the file it was"):
        move(source, tmp_path / "to", name="a.jpg", sha256=SHA)
    assert files_below(tmp_path / "from", tmp_path / "to") == {"from/a.jpg": b"changed since"}


def test_no_handle_is_left_open(tmp_path: Path, target: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for i in range(20):
        move(put(tmp_path / "from" / f"{i}.jpg"), target / str(i), name="a.jpg", sha256=SHA)
    assert count() == before


# ------------------------------------------------------------------------------------------------------- when killed

PROGRAM = """
    import errno, os, sys
    from pathlib import Path
    from labeler.pool.mover import MoveRequest, move_many
    if sys.argv[1] == "no hard links":
        def refused(*_, **__):
            raise OSError(errno.EPERM, "Operation not permitted")
        os.link = refused
    arguments = iter(sys.argv[2:])
    requests = [MoveRequest(Path(a), Path(b), c, d) for a, b, c, d in zip(*[arguments] * 4)]
    for outcome in move_many(requests):
        if outcome.error:
            raise outcome.error
"""


def run(way: str, requests: list[MoveRequest], fault: str | None = None) -> int:
    environment = {name: value for name, value in os.environ.items() if name != faults.ENVIRONMENT_NAME}
    if fault:
        environment[faults.ENVIRONMENT_NAME] = fault
    flat = [
        str(part) for request in requests for part in (request.source, request.folder, request.name, request.sha256)
    ]
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), way, *flat]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, faults.EXIT_CODE), done.stderr
    return done.returncode


@pytest.mark.parametrize("foreign", [False, True], ids=["name free", "name taken"])
@pytest.mark.parametrize("point", FAULT_POINTS)
@pytest.mark.parametrize("way", ["same device", "cross device", "no hard links"])
def test_killed_at_every_step(
    way: str,
    point: str,
    foreign: bool,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if way == "same device" and point in ("move.copied", "move.published"):
        pytest.skip("nothing is copied on one device")
    target = (request.getfixturevalue("elsewhere") if way == "cross device" else tmp_path) / "to"
    if way == "cross device" and target.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second device: shared memory and the temporary folder are one")
    others = {"to/a.jpg": b"foreign"} if foreign else {}
    if foreign:
        put(target / "a.jpg", b"foreign")
    source = put(tmp_path / "from" / "a.jpg")
    moves = [MoveRequest(source, target, "a.jpg", SHA)]
    assert run(way, moves, point) == faults.EXIT_CODE
    # Whatever happens from here on: the bytes are somewhere under a name a person can see.
    left = files_below(tmp_path / "from", target)
    assert any(c == CONTENT and TEMP_PREFIX not in name for name, c in left.items())
    if way == "no hard links":
        monkeypatch.setattr(os, "link", no_links)
    assert [outcome.error for outcome in move_many(moves)] == [None]
    removed = sweep(target)
    assert all(file.name.startswith(TEMP_PREFIX) for file in removed)
    final = f"to/{SUFFIXED}" if foreign else "to/a.jpg"
    assert files_below(tmp_path / "from", target) == {**others, final: CONTENT}


@pytest.mark.parametrize("point", ["move.linked:2", "move.source_unlinked:2"])
def test_killed_in_the_middle_of_a_batch(point: str, tmp_path: Path) -> None:
    contents = {f"{i}.jpg": b"%d" % i for i in range(4)}
    moves = [
        MoveRequest(put(tmp_path / "from" / name, content), tmp_path / "to", name, sha(content))
        for name, content in contents.items()
    ]
    assert run("same device", moves, point) == faults.EXIT_CODE
    assert [outcome.error for outcome in move_many(moves)] == [None] * len(moves)
    assert files_below(tmp_path / "from", tmp_path / "to") == {f"to/{n}": c for n, c in contents.items()}


def test_killed_between_reserving_and_filling_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(tmp_path / "from" / "a.jpg")
    put(tmp_path / "to" / "a.jpg", b"")
    monkeypatch.setattr(os, "link", no_links)
    assert move(source, tmp_path / "to", name="a.jpg", sha256=SHA) == tmp_path / "to" / "a.jpg"
    assert files_below(tmp_path / "from", tmp_path / "to") == {"to/a.jpg": CONTENT}


def test_name_freed_between_crash_and_replay(tmp_path: Path) -> None:
    """Linked under the suffixed name, killed, and only then does the foreign file go: still one file, not two."""
    source = put(tmp_path / "from" / "a.jpg")
    foreign = put(tmp_path / "to" / "a.jpg", b"foreign")
    moves = [MoveRequest(source, tmp_path / "to", "a.jpg", SHA)]
    assert run("same device", moves, "move.linked") == faults.EXIT_CODE
    foreign.unlink()
    assert [outcome.error for outcome in move_many(moves)] == [None] * len(moves)
    assert files_below(tmp_path / "from", tmp_path / "to") == {f"to/{SUFFIXED}": CONTENT}


def test_source_folder_removed_before_the_replay(tmp_path: Path) -> None:
    source = put(tmp_path / "from" / "a.jpg")
    final = move(source, tmp_path / "to", name="a.jpg", sha256=SHA)
    source.parent.rmdir()
    assert move(source, tmp_path / "to", name="a.jpg", sha256=SHA) == final


def test_sweep_removes_only_its_own(tmp_path: Path) -> None:
    kept = [put(tmp_path / name) for name in ("a.jpg", ".hidden", "deep/labeler-tmp-x")]
    gone = [put(tmp_path / name) for name in (f"{TEMP_PREFIX}1", f"deep/{TEMP_PREFIX}2")]
    assert sweep(tmp_path) == sorted(gone)
    assert all(file.exists() for file in kept)
    assert not any(file.exists() for file in gone)
    assert sweep(tmp_path / "none") == []
