"""File names, folders and tables that want to do harm: taken in whole, shown on one line, run by nobody."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from labeler import workspace
from labeler.domain import LabelerError
from labeler.pool.csv_table import write_csv
from labeler.record import images
from labeler.rounds import Workspace
from tests.faults.asking import command
from tests.faults.breaking import assert_one_line
from tests.hostile.files import encoded, picture

#: Names as bytes: a file system takes anything but a slash and a NUL.
NAMES: tuple[bytes, ...] = (
    b"two\nlines.png",
    b"tab\there.png",
    b"quote'\".png",
    b"${HOME}.png",
    b"`reboot`.png",
    b"$(reboot).png",
    b"; rm -rf ~.png",
    b"-rf.png",
    b"--help.png",
    "right\u202eGNP.exe.png".encode(),
    "left\u2066to\u2069right.png".encode(),
    "line\u2028separator.png".encode(),
    b"\x1b[31mred\x1b[0m.png",
    b"\x1b]0;title\x07.png",
    b"back\\slash.png",
    b"a" * 251 + b".png",
    "é".encode() * 125 + b".png",
    b"latin-\xe9.png",
    b"\xff\xfe\xfd.png",
    b"...png",
    b"....",
    b"..hidden",
    b"~",
    b" ",
    b" leading and trailing ",
    b"CON.png",
    b"aux",
    b"a.png.",
    b"%00.png",
    b"%2e%2e%2fetc.png",
    b"..\\..\\etc.png",
    b"=cmd|' _C calc'!A0.png",
    b"+1.png",
    b"@SUM(1).png",
    b"<img src=x onerror=alert(1)>.png",
    "\U0001d4e4\U0001d4f7😀👨\u200d👩\u200d👧.png".encode(),
    "e\u0301.png".encode(),
    "é.png".encode(),
    b"Case.png",
    b"case.PNG",
    b"case.png",
)
#: Names that begin with a dot are hidden files, none of ours.
HIDDEN = [name for name in NAMES if name.startswith(b".")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return workspace.create(tmp_path / "w").root


def fill_with_names(folder: Path, content: Callable[[int], bytes]) -> int:
    """A file for every name; returns how many are not hidden."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(NAMES):
        with open(os.path.join(os.fsencode(folder), name), "wb") as stream:  # noqa: PTH123  # a name of bytes
            stream.write(content(number))
    return len(NAMES) - len(HIDDEN)


def sound(number: int) -> bytes:
    return encoded(picture(2000 + number), "PNG")


def assert_every_path_is_text(root: Path, expected: int) -> None:
    with Workspace.open(root) as ws, ws.store.read() as session:
        paths = [row.path for row in images.every(session)]
    assert len(paths) == len({path.casefold() for path in paths}) or len(set(paths)) == expected
    for path in paths:
        path.encode("utf-8")
        assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in path), path
        assert not any("\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069" for c in path), path
        assert len(Path(path).name.encode()) <= 255
        assert (root / path).is_file()
    assert len(paths) == expected


def test_names_on_import(root: Path, tmp_path: Path) -> None:
    expected = fill_with_names(tmp_path / "source", sound)
    code, out, err = command("import", tmp_path / "source", "--into", "unlabelled", "-w", root, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["imported"] == expected
    assert_every_path_is_text(root, expected)
    assert command("verify", "-w", root)[0] == 0


def test_names_of_files_that_are_no_images(root: Path, tmp_path: Path) -> None:
    """What is said of each is one line, without anything a terminal would obey."""
    expected = fill_with_names(tmp_path / "source", lambda number: b"no image %d" % number)
    code, out, err = command("import", tmp_path / "source", "--into", "unlabelled", "-w", root)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == expected + 1
    assert all(line.startswith("set aside: ") for line in lines[:-1])
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\u202e" not in out
    assert command("verify", "-w", root)[0] == 0


def test_names_put_into_the_pool_by_hand(root: Path) -> None:
    expected = fill_with_names(root / "pools" / "Unlabelled" / "deep\nfolder", sound)
    code, out, err = command("verify", "--repair", "-w", root)
    assert (code, err) == (0, ""), out
    assert "\x1b" not in out
    assert_every_path_is_text(root, expected)
    code, out, _ = command("status", "-w", root, "--json")
    assert json.loads(out)["counts"]["unlabelled"] == {"": expected} or code == 0


def test_names_of_bad_files_put_into_the_pool_by_hand(root: Path) -> None:
    expected = fill_with_names(root / "pools" / "Unlabelled", lambda number: b"no image %d" % number)
    code, out, err = command("verify", "--repair", "-w", root)
    assert (code, err) == (0, ""), out
    assert out.count("note: ") == expected
    assert len([line for line in out.splitlines() if line.startswith("note: ")]) == expected
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert command("verify", "-w", root)[0] == 0


def test_names_that_are_asked_about(trained: Path, tmp_path: Path) -> None:
    """`labeler predict` on sound and broken files of such names: as a table, as JSON and as CSV."""
    source = tmp_path / "source"
    expected = fill_with_names(source, lambda number: sound(number) if number % 2 else b"no image")
    os.mkfifo(source / "pipe.png")
    (source / "link.png").symlink_to("/dev/zero")
    expected += 1
    code, out, err = command("predict", source, "-w", trained, "--json", "-q")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert len(rows) == expected
    assert {os.fsencode(row["path"]) for row in rows} >= {os.path.join(os.fsencode(source), n) for n in NAMES[:10]}
    assert all((row["predicted"] is None) == bool(row.get("error")) for row in rows)
    code, out, err = command("predict", source, "-w", trained, "-q")
    assert (code, err) == (0, "")
    assert not {"\x1b", "\x07", "\u202e", "\t"} & set(out)
    code, out, err = command("predict", source, "-w", trained, "-q", "--out", tmp_path / "p.csv")
    assert (code, err) == (0, "")
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.reader(stream))) == expected + 1
    code, _, err = command("predict", source / "pipe.png", "-w", trained, "-q")
    assert_one_line(code, "", err, "none of the files could be read")


def test_a_class_folder_with_such_names(root: Path, tmp_path: Path) -> None:
    """Folders named to look like a class: only the same letters and digits are one."""
    for folder in ("withMask", "with_mask ", "WITH-MASK", "with\u202eMask", "with\nMask", "withoutMask"):
        (tmp_path / "tree" / "Train" / folder).mkdir(parents=True)
        (tmp_path / "tree" / "Train" / folder / "a.png").write_bytes(sound(len(folder) + ord(folder[4]) + 100))
    code, out, err = command("import", tmp_path / "tree", "-w", root)
    assert_one_line(code, out, err, "unknown class", "expected one of withMask, withoutMask")
    assert "\u202e" not in err


def test_very_deep_folders(root: Path) -> None:
    """Deeper than a path may be long for the system: what cannot be reached is left alone and said, or taken in."""
    folder = root / "pools" / "Unlabelled"
    top = os.open(folder, os.O_RDONLY)
    try:
        here = top
        for _ in range(300):  # 300 x 21 bytes, far beyond PATH_MAX of 4096
            os.mkdir("d" * 20, dir_fd=here)
            deeper = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
            if here != top:
                os.close(here)
            here = deeper
        handle = os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=here)
        os.write(handle, sound(500))
        os.close(handle)
        os.close(here)
        (folder / "sound.png").write_bytes(sound(501))
        code, _, err = command("verify", "--repair", "-w", root, "-q")
        assert_one_line(code, "", err, "File name too long", "cannot be listed")
    finally:
        os.close(top)
        subprocess.run(["rm", "-rf", str(folder / ("d" * 20))], check=True)
    assert command("verify", "--repair", "-w", root, "-q")[0] == 0
    nested = folder.joinpath(*["e"] * 200)
    nested.mkdir(parents=True)
    (nested / "deep.png").write_bytes(sound(502))
    assert command("verify", "--repair", "-w", root, "-q")[0] == 0
    assert command("verify", "-w", root)[0] == 0


# --------------------------------------------------------------------------------------------------------- tables

FORMULAS = (
    "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1+1)", "\tcell", "\rcell", "=HYPERLINK(\"http://x\",\"y\")",
    "\uff1d1+1", "'quoted", "plain",
)  # fmt: skip


def test_formulas_are_not_run_and_come_back(root: Path, tmp_path: Path) -> None:
    """Names that a spreadsheet would run are exported with a guard before them, and an import takes it off."""
    folder = tmp_path / "tree" / "Train" / "withMask"
    folder.mkdir(parents=True)
    for number, name in enumerate(FORMULAS):
        (folder / f"{name.replace('/', '_')}.png").write_bytes(sound(600 + number))
    assert command("import", tmp_path / "tree", "-w", root, "-q")[0] == 0
    code, _, err = command("export", tmp_path / "labels.csv", "-w", root, "-q")
    assert code == 0, err
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert len(rows) == 1 + len(FORMULAS)
    for row in rows[1:]:
        for cell in row:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
    count = write_csv(tmp_path / "names.csv", [[name, "withMask"] for name in FORMULAS])
    assert count == len(FORMULAS)
    text = (tmp_path / "names.csv").read_text(encoding="utf-8")
    assert "\n=" not in text
    from labeler.pool.csv_table import read_rows

    assert [row.path for row in read_rows(tmp_path / "names.csv")] == list(FORMULAS)
    sly = "sound\r=cmd|' /C calc'!A0"
    write_csv(tmp_path / "sly.csv", [[sly, "withMask"]])
    assert [row.path for row in read_rows(tmp_path / "sly.csv")] == [sly], "one line, not a formula on a second"


def test_an_annotators_name_is_no_formula_either(root: Path, tmp_path: Path) -> None:
    """The workspace's own settings come from whoever shares the folder."""
    (tmp_path / "a.png").write_bytes(sound(700))
    with Workspace.open(root, annotator="=cmd|' /C calc'!A0") as ws:
        ws.import_images(tmp_path / "a.png", into="unlabelled")
        from labeler.domain import Action, Answer

        with ws.store.read() as session:
            [row] = images.every(session)
        ws.decide(ws.settings.annotator, [Answer(row.sha256, Action.CORRECT, "withMask", "operation-1")], round=None)
    assert command("export", tmp_path / "labels.csv", "-w", root, "-q")[0] == 0
    assert ",'=cmd|" in (tmp_path / "labels.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\0b.png,withMask\n", ["line 1", "path"]),
        (b"path,label\n\0\0\0\0\n", ["table.csv"]),
        ("path,label\na.png,withMask\n".encode("utf-16"), ["table.csv is not UTF-8 text", "save it as CSV UTF-8"]),
        (b"caf\xe9.png,withMask\n", ["table.csv is not UTF-8 text"]),
        (b"a" * 200_000 + b",withMask\n", ["table.csv is not a CSV", "field larger than field limit"]),
        (b'"' + b"a\n" * 100_000, ["table.csv is not a CSV"]),
        (b"path,label\n../../../etc/passwd,withMask\n", []),
        (b"path,label\n/dev/zero,withMask\n", []),
        (b"path,label\n.,withMask\n", []),
        (b"," * 50_000 + b"\n ,withMask\n", ["line 2 has no usable path"]),
        (b"path,label,split\na.png,withMask,=1+1\n", ["unknown split '=1+1'"]),
        (b"path,label\na.png,\x1b[31mred\n", [r"unknown class '\x1b[31mred'"]),
        (b"path,label\n" + b"a" * 300 + b".png,withMask\n", []),
    ],
)
def test_hostile_tables(content: bytes, words: list[str], root: Path, tmp_path: Path) -> None:
    """A table is refused with one line, or its rows are looked at one by one; nothing is read that is no picture."""
    table = tmp_path / "table.csv"
    table.write_bytes(content)
    for arguments in (["import", table], ["round", "--oracle", table]):
        code, out, err = command(*arguments, "-w", root, "-q")
        if words and code:
            assert_one_line(code, "", err, *(words if arguments[0] == "import" else []))
        elif arguments[0] == "import":
            assert (code, err) == (0, "")
            assert out.splitlines()[-1].startswith("0 imported")
            assert out.startswith("set aside: ")
        else:
            assert code in (1, 3)
            assert len(err.splitlines()) == 1
            assert "unexpected" not in err
    assert words == [] or command("import", table, "-w", root, "-q")[0] == 1


def test_a_pipe_in_the_place_of_a_table(root: Path, tmp_path: Path) -> None:
    """It is not waited for."""
    os.mkfifo(tmp_path / "table.csv")
    with Workspace.open(root) as ws, pytest.raises(LabelerError) as caught:
        ws.import_images(tmp_path / "table.csv")
    assert "table.csv" in str(caught.value)


@pytest.mark.parametrize("source", ["/dev/zero", "/dev/null", "/proc/self/mem", "/dev/stdin"])
def test_devices_are_not_read(source: str, root: Path) -> None:
    code, out, err = command("import", source, "--into", "unlabelled", "-w", root, "-q")
    assert code == 0, err
    assert out.splitlines()[-1].startswith("0 imported")
