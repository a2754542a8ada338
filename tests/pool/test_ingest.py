"""Files found, examined and taken in: in order, one outcome each, none lost, none overwritten."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from labeler import faults
from labeler.domain import LabelerError, MoveError, Progress, VanishedFile
from labeler.pool import decode
from labeler.pool.ingest import TAKE_FAULT_POINTS, Accepted, Rejected, examine, take_in, walk
from labeler.pool.mover import sweep
from labeler.pool.names import TEMP_PREFIX

MAX = 1_000_000
Write = Callable[..., Path]
Make = Callable[[int], Image.Image]
Mode = Literal["copy", "move", "link"]


def sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def outcomes(files: list[Path], root: Path | None = None, threads: int = 2) -> list[Accepted | Rejected]:
    return list(examine(files, root=root, max_pixels=MAX, threads=threads))


# ------------------------------------------------------------------------------------------------------------- walk


def test_walk_order_and_what_it_passes_over(tmp_path: Path) -> None:
    names = ["b.jpg", "a/z.jpg", "a/b/y.jpg", "Z.jpg", "c d/\u00e9.jpg"]
    hidden = [".x.jpg", ".git/a.jpg", "Thumbs.db", "a/desktop.ini", "__MACOSX/._b.jpg", f"{TEMP_PREFIX}1"]
    for name in [*names, *hidden]:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = [file.relative_to(tmp_path).as_posix() for file in walk(tmp_path)]
    assert found == ["Z.jpg", "a/b/y.jpg", "a/z.jpg", "b.jpg", "c d/\u00e9.jpg"]


def test_walk_never_leaves_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    for folder in (outside, inside):
        folder.mkdir()
        (folder / "x.jpg").write_bytes(b"x")
    (inside / "folder").symlink_to(outside)
    (inside / "circle").symlink_to(inside)
    (inside / "file.jpg").symlink_to(outside / "x.jpg")
    assert [file.name for file in walk(inside)] == ["circle", "file.jpg", "folder", "x.jpg"]


def test_walk_gives_strange_names_and_deep_folders(tmp_path: Path) -> None:
    strange = [b"two\nlines.jpg", b"\xff\xfe.jpg", b"x" * 255]
    for name in strange:
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    deep = tmp_path
    for _ in range(60):
        deep /= "deep"
    deep.mkdir(parents=True)
    (deep / "end.jpg").write_bytes(b"")
    assert {os.fsencode(file.name) for file in walk(tmp_path)} == {*strange, b"end.jpg"}


def test_walk_of_no_folder(tmp_path: Path) -> None:
    with pytest.raises(LabelerError, match="cannot be listed: No such file"):
        list(walk(tmp_path / "none"))


def test_walk_reports_a_folder_it_cannot_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "z.jpg").write_bytes(b"")
    real = os.scandir

    def scandir(folder: Path) -> Any:
        if Path(folder).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [file.name for file in walk(tmp_path)] == ["locked", "z.jpg"]
    locked = outcomes([tmp_path / "locked"])[0]
    assert isinstance(locked, Rejected)
    assert locked.sha256 is None


# ---------------------------------------------------------------------------------------------------------- examine


def test_outcomes_come_in_order_whatever_is_slow_or_broken(noise: Make, write: Write) -> None:
    files = []
    for i in range(30):
        file = write(f"{i}.jpg", noise(i).resize((900, 600)) if i % 7 == 0 else noise(i), "JPEG")
        if i % 5 == 0:
            file.write_bytes(file.read_bytes()[:300])
        files.append(file)
    found = outcomes(files, threads=4)
    assert [outcome.file for outcome in found] == files
    for i, outcome in enumerate(found):
        assert isinstance(outcome, Rejected if i % 5 == 0 else Accepted)
        if isinstance(outcome, Accepted):
            assert outcome.facts.sha256 == sha(files[i])
        else:
            assert outcome.sha256 == sha(files[i])
            assert "truncated" in outcome.reason


def test_every_bad_file_has_its_reason(noise: Make, write: Write) -> None:
    good = write("pool/good.png", noise(1), "PNG")
    outside = write("outside/o.png", noise(2), "PNG")
    pool = good.parent
    (pool / "empty.jpg").write_bytes(b"")
    (pool / "letter.jpg").write_text("Dear reader")
    (pool / "in.png").symlink_to(good)
    (pool / "out.png").symlink_to(outside)
    (pool / "broken.png").symlink_to(pool / "nothing")
    (pool / "circle.png").symlink_to(pool / "circle.png")
    (pool / "folder").symlink_to(outside.parent)
    found = {outcome.file.name: outcome for outcome in outcomes(list(walk(pool)), root=pool)}
    reasons = {name: outcome.reason for name, outcome in found.items() if isinstance(outcome, Rejected)}
    assert reasons == {
        "empty.jpg": "empty file",
        "letter.jpg": "not an image of a known format",
        "in.png": "symbolic link",
        "out.png": "symbolic link out of the folder",
        "broken.png": "broken symbolic link",
        "circle.png": "broken symbolic link",
        "folder": "symbolic link out of the folder",
    }
    assert isinstance(found["good.png"], Accepted)
    assert getattr(found["letter.jpg"], "sha256") == sha(pool / "letter.jpg")  # noqa: B009
    assert all(getattr(found[name], "sha256") is None for name in ("in.png", "out.png", "broken.png"))  # noqa: B009


def test_a_linked_folder_does_not_lead_out(tmp_path: Path, noise: Make, write: Write) -> None:
    outside = write("outside/o.png", noise(2), "PNG")
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "sub").symlink_to(outside.parent)
    (found,) = outcomes([tmp_path / "pool" / "sub" / "o.png"], root=tmp_path / "pool")
    assert isinstance(found, Rejected)
    assert found.reason == "outside the folder"
    (found,) = outcomes([tmp_path / "pool" / "sub" / "o.png"], root=None)
    assert isinstance(found, Accepted)


def test_a_root_that_is_itself_reached_by_a_link(tmp_path: Path, noise: Make, write: Write) -> None:
    file = write("real/a.png", noise(1), "PNG")
    (tmp_path / "alias").symlink_to(file.parent)
    (found,) = outcomes(list(walk(tmp_path / "alias")), root=tmp_path / "alias")
    assert isinstance(found, Accepted)


def test_vanished_and_impossible_paths_are_outcomes(tmp_path: Path) -> None:
    found = outcomes([tmp_path / "gone.jpg", Path("a\0b"), tmp_path / ("x" * 300)], root=tmp_path)
    assert all(isinstance(outcome, Rejected) and outcome.sha256 is None for outcome in found)


def test_progress_and_read_ahead_is_bounded(noise: Make, write: Write) -> None:
    file = write("a.png", noise(1), "PNG")
    drawn = 0
    steps: list[Progress] = []

    def endless() -> Iterator[Path]:
        nonlocal drawn
        while True:
            drawn += 1
            yield file

    found = examine(endless(), root=None, max_pixels=MAX, threads=2, progress=steps.append, total=9)
    for _ in range(5):
        assert isinstance(next(found), Accepted)
    assert [(step.done, step.total) for step in steps] == [(i, 9) for i in range(1, 6)]
    assert drawn <= 5 + 2 * 4
    found.close()  # type: ignore[attr-defined]


def test_threads_work_side_by_side(noise: Make, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [write(f"{i}.png", noise(i), "PNG") for i in range(6)]
    together = threading.Barrier(3, timeout=20)

    really_read = decode.read

    def read(file: Path, *, max_pixels: int) -> bytes:
        together.wait()  # passes only when three files are in work at once
        return really_read(file, max_pixels=max_pixels)

    monkeypatch.setattr(decode, "read", read)
    assert all(isinstance(outcome, Accepted) for outcome in outcomes(files, threads=3))


def test_zero_threads_means_one_per_core(noise: Make, write: Write) -> None:
    (found,) = outcomes([write("a.png", noise(1), "PNG")], threads=0)
    assert isinstance(found, Accepted)


def test_an_error_of_the_program_is_not_blamed_on_the_file(
    noise: Make, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(decode, "facts", wrong)
    with pytest.raises(ZeroDivisionError):
        outcomes([write("a.png", noise(1), "PNG")])


def test_interrupt_stops_promptly(noise: Make, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    started: list[Path] = []

    def read(file: Path, **_: int) -> bytes:
        started.append(file)
        if len(started) > 1:
            release.wait(30)
        return file.read_bytes()

    monkeypatch.setattr(decode, "read", read)
    files = [write("a.png", noise(1), "PNG")] * 50
    found = examine(files, root=None, max_pixels=MAX, threads=2)
    next(found)
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        found.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert time.monotonic() - before < 20, "waited for pictures in work"
    release.set()
    assert len(started) <= 4


INTERRUPTED = """
    import signal, sys, time
    from pathlib import Path
    from labeler.pool.ingest import examine
    signal.signal(signal.SIGINT, signal.default_int_handler)
    done = 0
    def report(step):
        global done
        done = step.done
        if done == 3:
            print("started", flush=True)
    try:
        for _ in examine([Path(sys.argv[1])] * 100_000, root=None, max_pixels=10**8, threads=2, progress=report):
            pass
    except KeyboardInterrupt:
        print(done, flush=True)
"""


def test_ctrl_c_ends_the_process(noise: Make, write: Write) -> None:
    file = write("a.png", noise(1).resize((1600, 1200)), "PNG")
    program = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(file)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert 3 <= int(rest) < 90_000


def test_all_photographs_are_sound(photographs: Path) -> None:
    files = list(walk(photographs / "withMask"))[::4] + list(walk(photographs / "withoutMask"))[::4]
    found = list(examine(files, root=photographs, max_pixels=100_000_000, threads=0))
    assert [outcome for outcome in found if isinstance(outcome, Rejected)] == []
    assert len(found) == len(files) > 900


# ---------------------------------------------------------------------------------------------------------- take in


@pytest.mark.parametrize("mode", ["copy", "move", "link"])
def test_take_in(mode: Mode, tmp_path: Path, noise: Make, write: Write) -> None:
    source = write("from/a.png", noise(1), "PNG")
    content, digest = source.read_bytes(), sha(source)
    source.chmod(0o444)
    final = take_in(source, tmp_path / "pool" / "deep", name="a.png", sha256=digest, mode=mode)
    assert final == tmp_path / "pool" / "deep" / "a.png"
    assert final.read_bytes() == content
    assert source.exists() == (mode != "move")
    assert (mode == "link") == (source.exists() and final.samefile(source))
    assert mode != "copy" or os.access(final, os.W_OK)
    assert [file.name for file in final.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_taking_in_twice_is_once_and_nothing_is_overwritten(
    mode: Mode, tmp_path: Path, noise: Make, write: Write
) -> None:
    pool = tmp_path / "pool"
    first, second = write("one/a.png", noise(1), "PNG"), write("two/a.png", noise(2), "PNG")
    for _ in range(2):
        a = take_in(first, pool, name="a.png", sha256=sha(first), mode=mode)
        b = take_in(second, pool, name="a.png", sha256=sha(second), mode=mode)
        assert a == pool / "a.png"
        assert b == pool / f"a-{sha(second)[:8]}.png"
    assert sorted(file.name for file in pool.iterdir()) == sorted([a.name, b.name])
    assert (sha(a), sha(b)) == (sha(first), sha(second))


@pytest.mark.parametrize("name", [b"two\nlines.png", b"caf\xe9.png", b"y" * 251 + b".png", b".png"])
@pytest.mark.parametrize("mode", ["copy", "move", "link"])
def test_names_become_safe(mode: Mode, name: bytes, tmp_path: Path, noise: Make, write: Write) -> None:
    source = write(os.fsdecode(b"from/" + name), noise(1), "PNG")
    digest = sha(source)
    final = take_in(source, tmp_path / "pool", name=source.name, sha256=digest, mode=mode)
    final.name.encode("utf-8")
    assert "\n" not in final.name
    assert len(final.name.encode()) <= 246
    assert sha(final) == digest
    assert list(walk(tmp_path / "pool")) == [final]


def test_source_that_changed_is_refused(tmp_path: Path, noise: Make, write: Write) -> None:
    source = write("a.png", noise(1), "PNG")
    with pytest.raises(MoveError, match="not the file it was"):
        take_in(source, tmp_path / "pool", name="a.png", sha256="0" * 64, mode="copy")
    assert list((tmp_path / "pool").iterdir()) == []


@pytest.mark.parametrize("mode", ["copy", "move", "link"])
def test_source_that_is_gone_or_a_link(mode: Mode, tmp_path: Path, noise: Make, write: Write) -> None:
    with pytest.raises(VanishedFile if mode == "move" else MoveError):
        take_in(tmp_path / "gone.png", tmp_path / "pool", name="a.png", sha256="0" * 64, mode=mode)
    real = write("real.png", noise(1), "PNG")
    (tmp_path / "link.png").symlink_to(real)
    with pytest.raises(MoveError, match="no regular file"):
        take_in(tmp_path / "link.png", tmp_path / "pool", name="a.png", sha256=sha(real), mode=mode)


def test_link_that_does_not_work_says_what_does(
    tmp_path: Path, noise: Make, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    source = write("a.png", noise(1), "PNG")
    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(MoveError) as caught:
        take_in(source, tmp_path / "pool", name="a.png", sha256=sha(source), mode="link")
    assert caught.value.remedy == "use --mode copy"
    copied = take_in(source, tmp_path / "pool", name="a.png", sha256=sha(source), mode="copy")
    assert sha(copied) == sha(source)


def test_folder_is_on_disk_before_take_in_returns(
    tmp_path: Path, noise: Make, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write("a.png", noise(1), "PNG")
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        synced.append("temporary" if name.startswith(TEMP_PREFIX) else name)
        real(handle)

    (tmp_path / "pool").mkdir()
    monkeypatch.setattr(os, "fsync", fsync)
    take_in(source, tmp_path / "pool", name="a.png", sha256=sha(source), mode="copy")
    assert synced == ["temporary", "pool"]


PROGRAM = """
    import sys
    from pathlib import Path
    from labeler.pool.ingest import take_in
    source, folder, sha256 = sys.argv[1:]
    take_in(Path(source), Path(folder), name="a.png", sha256=sha256, mode="copy")
"""


@pytest.mark.parametrize("point", TAKE_FAULT_POINTS)
def test_killed_while_taking_in(point: str, tmp_path: Path, noise: Make, write: Write) -> None:
    source = write("from/a.png", noise(1), "PNG")
    pool = tmp_path / "pool"
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(source), str(pool), sha(source)]
    armed = {**os.environ, faults.ENVIRONMENT_NAME: point}
    assert subprocess.run(command, env=armed, timeout=60, check=False).returncode == faults.EXIT_CODE
    seen = list(walk(pool)) if pool.exists() else []
    assert all(sha(file) == sha(source) for file in seen), "a half-written file was to be seen"
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
    sweep(pool)
    assert [file.name for file in pool.iterdir()] == ["a.png"]
    assert sha(pool / "a.png") == sha(source)


def test_photographs_keep_their_bytes(photographs: Path, tmp_path: Path) -> None:
    files = list(walk(photographs / "withMask"))[::100]
    for file in files:
        take_in(file, tmp_path / "pool", name=file.name, sha256=sha(file), mode="copy")
    assert sorted(sha(file) for file in walk(tmp_path / "pool")) == sorted(map(sha, files))
    assert np.unique([file.name for file in files]).size == len(files)
