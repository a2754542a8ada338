"""What a failing disk changes is found by reading it again, and what a person does meanwhile is not taken for it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labeler import cli
from labeler.embed import cache
from labeler.record import models
from labeler.rounds import Workspace
from tests.rounds.lived import lived, lived_once, relabel

__all__ = ["lived", "lived_once"]


def rot(file: Path, at: int = -5) -> None:
    """One bit changes; size and time stay, as when a disk fails."""
    status = file.stat()
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def kinds(report: dict[str, Any], what: str = "differences") -> set[tuple[str, str]]:
    return {(item["kind"], item["path"]) for item in report[what]}


def test_everything_is_read_and_nothing_is_wrong(lived: Callable[[], Path]) -> None:
    root = lived()
    steps: list[Any] = []
    with Workspace.open(root, progress=steps.append) as ws:
        plain, deep = ws.verify(), ws.verify(deep=True)
    assert "read" not in plain
    assert deep["clean"]
    shards = len(list((root / "db/cache/vectors").rglob(f"*{cache.SUFFIX}")))
    assert shards
    assert deep["read"]["files"] == deep["images"] + 1 + 1 + shards, "images, one set aside, one model, the vectors"
    assert [step.done for step in steps if step.what == "reading files again"] == list(
        range(1, deep["read"]["files"] + 1)
    )
    wanted = [*(root / "pools").rglob("*.*g"), *(root / "db/models").iterdir()]
    wanted += (root / "db/cache/vectors").rglob(f"*{cache.SUFFIX}")
    assert deep["read"]["bytes"] == sum(file.stat().st_size for file in wanted)


def test_only_reading_finds_a_changed_byte(lived: Callable[[], Path]) -> None:
    root = lived()
    image = next((root / "pools/Train").rglob("*.png"))
    tested = next((root / "pools/Test").rglob("*.png"))
    [model] = (root / "db/models").iterdir()
    aside = root / "pools/Quarantine/broken.jpg"
    for file in (image, tested, model, aside):
        rot(file)
    paths = {str(file.relative_to(root)) for file in (image, tested, aside)}
    with Workspace.open(root) as ws:
        assert ws.verify()["clean"], "size and time are as they were"
        report = ws.verify(deep=True)
        assert kinds(report) == {("changed-file", path) for path in paths} | {
            ("damaged-model", str(model.relative_to(root)))
        }
        said = {item["path"]: item["detail"] for item in report["differences"]}
        assert "put the original back" in said[str(image.relative_to(root))]
        assert "m0001" in said[str(model.relative_to(root))]
        assert kinds(ws.verify(deep=True, repair=True)) == kinds(report), "none of that can be healed by a program"
        rot(image)  # put back
        assert str(image.relative_to(root)) not in {path for _, path in kinds(ws.verify(deep=True))}
        os.utime(tested)  # as it says: the new bytes are an image of its own, or set aside
        ws.verify(repair=True)
        assert str(tested.relative_to(root)) not in {path for _, path in kinds(ws.verify(deep=True))}
        with ws.store.read() as session:
            assert [version.name for version in models.every(session)] == ["m0001"]


@pytest.mark.parametrize(("at", "words"), [(3, "no shard"), (20, "header"), (70, "keys"), (-5, "vectors")])
def test_damaged_vectors_are_found_and_removed(lived: Callable[[], Path], at: int, words: str) -> None:
    root = lived()
    shard = next((root / "db/cache/vectors").rglob(f"*{cache.SUFFIX}"))
    rot(shard, at)
    with Workspace.open(root) as ws:
        report = ws.verify(deep=True)
        [found] = report["differences"]
        assert (found["kind"], found["path"]) == ("damaged-vectors", str(shard.relative_to(root)))
        assert words in found["detail"]
        assert "--deep --repair" in found["detail"]
        assert shard.exists()
        repaired = ws.verify(deep=True, repair=True)
        assert (repaired["clean"], len(repaired["repaired"])) == (True, 1)
        assert not shard.exists()
        assert ws.verify(deep=True)["clean"]


def test_a_shard_that_is_cut_short_is_damaged(lived: Callable[[], Path]) -> None:
    shard = next((lived() / "db/cache/vectors").rglob(f"*{cache.SUFFIX}"))
    assert cache.shard_problem(shard) is None
    os.truncate(shard, shard.stat().st_size - 1)
    assert cache.shard_problem(shard) == "it is cut short"
    os.truncate(shard, 10)
    assert cache.shard_problem(shard) == "it is no shard of vectors"
    shard.unlink()
    assert cache.shard_problem(shard) is None


def test_what_people_decide_meanwhile_is_no_damage(lived: Callable[[], Path]) -> None:
    """Between the list of what to read and the reading half of the pool is labelled: the files have moved."""
    root = lived()
    with Workspace.open(root) as other:
        with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
            pool = [sha for (sha,) in raw.execute("SELECT sha256 FROM image WHERE split = 'unlabelled' LIMIT 12")]
        told: list[Any] = []

        def decide(step: Any) -> None:
            told.append(step)
            if len(told) == 1:
                for sha in pool:
                    relabel(other, sha, "round")

        with Workspace.open(root, progress=decide) as ws:
            assert ws.verify(deep=True)["clean"]
        assert len(told) > len(pool)
        assert other.verify(deep=True)["clean"]


def test_a_file_that_took_anothers_name_is_told_as_ever(lived: Callable[[], Path]) -> None:
    root = lived()
    first, second, *_ = sorted((root / "pools/Train/round").glob("*.png"))
    shutil.copyfile(first, second)
    with Workspace.open(root) as ws:
        report = ws.verify(deep=True)
    assert kinds(report) == {("changed-file", str(second.relative_to(root)))}, "and not twice"


def test_the_record_is_read_whole(lived: Callable[[], Path]) -> None:
    """An index that has lost an entry: the quick check of every day does not look for that."""
    root = lived()
    with closing(sqlite3.connect(root / "db/labeler.db", isolation_level=None)) as raw:
        raw.execute("PRAGMA writable_schema=ON")
        raw.execute("UPDATE sqlite_master SET sql = replace(sql, '(dhash)', '(sha256)') WHERE name = 'ix_image_dhash'")
    with Workspace.open(root) as ws:
        assert ws.verify()["clean"]
        report = ws.verify(deep=True)
    assert {kind for kind, _ in kinds(report)} == {"damaged-record"}
    assert "ix_image_dhash" in report["differences"][0]["detail"]


def test_the_command_names_file_and_remedy(lived: Callable[[], Path]) -> None:
    root = lived()
    done = CliRunner().invoke(cli.app, ["-w", str(root), "verify", "--deep"])
    assert done.exit_code == 0, done.output
    assert "record and disk agree, 6" in done.stdout
    assert "files read (" in done.stdout
    image = next((root / "pools/Train").rglob("*.png"))
    rot(image)
    done = CliRunner().invoke(cli.app, ["-w", str(root), "verify", "--deep"])
    assert done.exit_code == 1
    assert f"changed-file: {image.relative_to(root)}: its bytes changed while size and time stayed" in done.stdout
    [line] = done.stderr.splitlines()
    assert line.startswith("labeler: 1 difference(s) between record and disk")
