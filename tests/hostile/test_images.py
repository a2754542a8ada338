"""Images that want to do harm, through every door: import, a pool filled by hand, predict; bounded, quiet, named."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from labeler import workspace
from labeler.pool.decode import decode, thumbnail
from labeler.record import images
from labeler.rounds import Workspace
from tests.hostile.files import FILES, SVG, encoded, picture

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # pytest takes the program's own filter away
#: A picture of 100 million pixels, the limit, takes 300 MB as RGB and a copy of some of it while it is turned.
MOST_MIB = 900
SOUND = [name for name, (_, reason) in FILES.items() if reason is None]
BAD = [name for name, (_, reason) in FILES.items() if reason is not None]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one folder, made once: some take seconds."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (make, _) in FILES.items():
        (folder / name).write_bytes(make())
    return folder


#: Imports a folder with one decoder, so that the peak is that of one picture; tells what became of it on stdout.
IMPORT = r"""
import json, re, sys
from pathlib import Path
from labeler.rounds import Workspace
with Workspace.open(sys.argv[1], threads=1) as ws:
    result = ws.import_images(sys.argv[2], into="unlabelled").as_json()
# Not getrusage: that counts the process this one was forked from.
result["peak_mib"] = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) >> 10
print(json.dumps(result))
"""


def test_an_import_names_each_and_stays_small(hostile: Path, tmp_path: Path) -> None:
    """In a process of its own: what it takes at most, and that nothing at all is written on stderr."""
    paths = workspace.create(tmp_path / "w")
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(paths.root), str(hostile)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    reasons = {Path(item["path"]).name: item["reason"] for item in result["quarantined"]}
    assert sorted(reasons) == sorted(BAD)
    for name, reason in reasons.items():
        assert str(FILES[name][1]) in reason, (name, reason)
        assert "\n" not in reason
        assert len(reason) < 160
    assert result["imported"] == len(SOUND)
    assert result["peak_mib"] < MOST_MIB
    with Workspace.open(paths.root) as ws:
        assert ws.verify()["clean"]
        assert ws.status()["quarantined"] == len(BAD)


def test_files_put_into_the_pool_by_hand(hostile: Path, tmp_path: Path) -> None:
    """Those that are none are set aside with their reason, the file kept; nothing is left for the next scan."""
    paths = workspace.create(tmp_path / "w")
    for name in FILES:
        if name not in ("true-bomb.png", "segments.jpg"):
            shutil.copy(hostile / name, paths.root / "pools" / "Unlabelled" / name)
    with Workspace.open(paths.root) as ws:
        notes = ws.verify(repair=True)["notes"]
        assert len(notes) == len(BAD)
        assert ws.verify()["clean"]
        with ws.store.read() as session:
            aside = {row.source: row for row in images.quarantined(session)}
            sound = {Path(row.path).name for row in images.every(session)}
    assert sound == set(SOUND) - {"true-bomb.png", "segments.jpg"}
    assert {Path(source).name for source in aside} == set(BAD)
    for row in aside.values():
        assert row.path is not None
        kept = paths.root / row.path
        assert kept.parent == paths.quarantine
        assert kept.read_bytes() == (hostile / Path(row.source).name).read_bytes(), "kept as it was, to be looked at"


def test_asking_the_model_about_them(hostile: Path, trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Workspace.open(trained, threads=1) as ws:
        rows = {Path(row["path"]).name: row for row in ws.predict([hostile])}
    assert sorted(rows) == sorted(FILES)
    for name, row in rows.items():
        reason = FILES[name][1]
        assert (row["predicted"] is None) == (reason is not None), name
        assert reason is None or reason in row["error"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", SOUND)
def test_what_is_shown_is_the_first_picture_only(name: str, hostile: Path) -> None:
    pixels = decode(hostile / name, max_pixels=100_000_000)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    small = thumbnail(hostile / name, long_side=32, max_pixels=100_000_000)
    assert b"alert(" not in small
    assert b"\xff\xfe" not in small, "no comment"
    assert len(small) < 10_000, "what the page serves is made anew: nothing that was hidden in the file is in it"
    seeds = {"frames.gif": 6, "frames.png": 7, "frames.webp": 8}
    if name in seeds:
        expected = np.asarray(picture(seeds[name]), dtype=np.int16)
        assert np.median(np.abs(pixels.astype(np.int16) - expected)) <= (40 if name.endswith("gif") else 0)


def test_no_orientation_is_made_of_nonsense(hostile: Path) -> None:
    for name in ("exif-99.jpg", "exif-text.jpg", "exif-huge.jpg", "exif-cycle.jpg"):
        assert decode(hostile / name, max_pixels=10_000).shape == (48, 48, 3)


# -------------------------------------------------------------------------------- what is no file, or another's file


def strange_folder(folder: Path, elsewhere: Path) -> None:
    """Everything that can lie in a folder and is no file of it, and one sound picture."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sound.png").write_bytes(encoded(picture(50), "PNG"))
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(folder)  # the path of a socket may not be long
        try:
            listener.bind("socket.jpg")
        finally:
            os.chdir(before)
    (folder / "out.jpg").symlink_to(elsewhere / "secret.png")
    (folder / "absolute.jpg").symlink_to("/etc/hostname")
    (folder / "broken.jpg").symlink_to("nowhere.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "to-a-folder").symlink_to(elsewhere)
    (folder / "up").symlink_to("..")
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # where devices are not allowed, none can lie there
            os.mknod(folder / "device.jpg", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "secret.png").write_bytes(encoded(picture(51), "PNG"))
    return folder


def test_an_import_takes_files_and_nothing_else(tmp_path: Path, elsewhere: Path) -> None:
    paths = workspace.create(tmp_path / "w")
    strange_folder(tmp_path / "source", elsewhere)
    with Workspace.open(paths.root) as ws:
        result = ws.import_images(tmp_path / "source", into="unlabelled")
        reasons = {Path(item["path"]).name: item["reason"] for item in result.quarantined}
        assert result.imported == 1
        assert reasons == {
            "out.jpg": "symbolic link out of the folder",
            "absolute.jpg": "symbolic link out of the folder",
            "broken.jpg": "broken symbolic link",
            "circle.jpg": "broken symbolic link",
            "to-a-folder": "symbolic link out of the folder",
            "up": "symbolic link out of the folder",
        }
        assert ws.verify()["clean"]
        for name in ("pipe.jpg", "out.jpg", "socket.jpg"):
            one = ws.import_images(tmp_path / "source" / name, into="unlabelled")
            assert one.imported == 0
            assert one.quarantined
    assert not [file for file in paths.pools.rglob("*") if file.is_symlink()]


def test_a_pool_with_strange_things_in_it(tmp_path: Path, elsewhere: Path) -> None:
    """A round neither hangs at a pipe nor follows a link; verify says what is there, and then is content."""
    paths = workspace.create(tmp_path / "w")
    strange_folder(paths.root / "pools" / "Unlabelled" / "deep", elsewhere)
    with Workspace.open(paths.root) as ws:
        notes = ws.verify(repair=True)["notes"]
        assert sum("(left where it is)" in note for note in notes) == 6
        report = ws.verify()
        assert report["clean"], report
        assert report["images"] == 1
        with ws.store.read() as session:
            assert [Path(row.path).name for row in images.every(session)] == ["sound.png"]
    assert (elsewhere / "secret.png").is_file()


@pytest.mark.parametrize("mode", ["copy", "move", "link"])
def test_hard_links_are_two_names_of_one_image(mode: str, tmp_path: Path) -> None:
    """Two names of one inode are one image, once; in mode copy the other name, wherever it is, stays untouched."""
    paths = workspace.create(tmp_path / "w")
    source, outside = tmp_path / "source", tmp_path / "outside.png"
    source.mkdir()
    outside.write_bytes(encoded(picture(52), "PNG"))
    os.link(outside, source / "a.png")
    os.link(outside, source / "b.png")
    before = outside.read_bytes()
    with Workspace.open(paths.root) as ws:
        result = ws.import_images(source, into="unlabelled", mode=mode)  # type: ignore[arg-type]
        assert (result.imported, len(result.twins)) == (1, 1)
        assert ws.verify()["clean"]
    assert outside.read_bytes() == before
    [image] = (paths.root / "pools" / "Unlabelled").iterdir()
    assert image.samefile(outside) == (mode != "copy")
    assert outside.stat().st_nlink == {"copy": 3, "move": 3, "link": 4}[mode]


def test_a_hard_link_in_the_pool_is_moved_not_changed(tmp_path: Path) -> None:
    """A file put into the pool as a hard link: labelling moves this name and leaves the other as it is."""
    paths = workspace.create(tmp_path / "w")
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(picture(53), "PNG"))
    inside = paths.root / "pools" / "Unlabelled" / "a.png"
    os.link(outside, inside)
    os.link(outside, inside.with_name("twin.png"))
    before = outside.read_bytes(), outside.stat().st_mode, outside.stat().st_mtime_ns
    with Workspace.open(paths.root) as ws:
        ws.verify(repair=True)
        with ws.store.read() as session:
            [row] = images.every(session)
        from labeler.domain import Action, Answer

        ws.decide("ann", [Answer(row.sha256, Action.CORRECT, "withMask", "operation-1")], round=None)
        assert ws.verify()["clean"]
    assert (paths.root / "pools" / "Train" / "withMask" / Path(row.path).name).samefile(outside)
    assert (outside.read_bytes(), outside.stat().st_mode, outside.stat().st_mtime_ns) == before


def test_a_drawing_under_the_name_of_a_photograph_is_never_served(tmp_path: Path) -> None:
    """SVG runs scripts in the browser of whoever looks at it; it is set aside whatever its name."""
    paths = workspace.create(tmp_path / "w")
    for name in ("a.svg", "a.jpg", "a.png"):
        (tmp_path / name).write_bytes(SVG + name.encode())
        with Workspace.open(paths.root) as ws:
            [refused] = ws.import_images(tmp_path / name, into="unlabelled").quarantined
            assert refused["reason"] == "not an image of a known format"
