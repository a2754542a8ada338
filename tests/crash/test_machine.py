"""The crash machine runs, and finds nothing; turned on builds that were broken on purpose, it finds what is lost."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from tests.crash import invariants, kills, template
from tests.crash.book import Book
from tests.crash.broken import BROKEN, copy_broken
from tests.crash.evidence import Record, record_of
from tests.crash.machine import Machine
from tests.crash.points import fault_points
from tests.crash.programs import REPOSITORY
from tests.sharing import once

KILLS, SEED = 25, 6
#: On a machine at rest the kills take a minute or two; on a busy one they may take ten.
LIMIT_S = 800.0
#: What takes seconds of its own is for the soak.
LONG = (*kills.HEAVY, kills.ALONE_REPORT, kills.ALONE_COMPACT)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    return once(tmp_path_factory, "crashed", lambda folder: template.build(folder, 120, 8, compiled))


@pytest.mark.timeout(LIMIT_S + 20)
def test_nothing_is_lost_in_25_kills(small: Path, tmp_path: Path) -> None:
    planned = kills.plan(KILLS, list(fault_points(REPOSITORY / "labeler")), SEED, without=LONG)
    said: list[str] = []
    with Machine(tmp_path, small, SEED, say=said.append) as machine:
        tally = machine.run(planned, time.monotonic() + LIMIT_S)
    assert [str(violation) for violation in tally.violations] == [], "\n".join(said)
    assert tally.total == KILLS, "\n".join(said)
    assert len(tally.kills) >= 6
    assert tally.acknowledged > KILLS
    assert tally.checks >= KILLS // 2
    assert tally.thorough >= 2


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_build_is_found_out(small: Path, tmp_path: Path, broken: str) -> None:
    changes, planned, kinds = BROKEN[broken]
    source = copy_broken(tmp_path / "source", changes)
    scratch = tmp_path / "run"
    scratch.mkdir()
    with Machine(scratch, small, 1, source=source, gradio=False, moves_s=3.0, first_only=True) as machine:
        tally = machine.run(list(planned), time.monotonic() + LIMIT_S)
    assert {violation.kind for violation in tally.violations} & kinds, tally


# ------------------------------------------------------------------------------------------------------- the parts


def test_every_fault_point_is_read_from_the_source() -> None:
    points = fault_points(REPOSITORY / "labeler")
    assert {"move.linked", "journal.moved", "import.taken", "ranking.swapped"} <= points.keys()
    assert {"move.copied", "take.copied"} <= points.keys(), "names that the caller chooses a part of"
    assert points["rank.model_written"] == "rank"
    text = "".join(file.read_text(encoding="utf-8") for file in (REPOSITORY / "labeler").rglob("*.py"))
    assert len(points) >= text.count("faults.point(") - text.count('faults.point("versions.marked")') + 1


def test_a_fault_point_whose_name_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def f(name):\n    faults.point(name)\n")
    with pytest.raises(ValueError, match="cannot be read"):
        fault_points(tmp_path)


def test_a_plan_has_every_kind_and_every_point_once() -> None:
    points = list(fault_points(REPOSITORY / "labeler"))
    planned = kills.plan(200, points, 6)
    assert len(planned) == 200
    assert {kill.point for kill in planned} >= {point for point in points if kills.ways(point)}
    assert {kill.how for kill in planned} >= {*kills.AT_RANDOM, *kills.COMMANDS, kills.SERVE}
    assert planned == kills.plan(200, points, 6) != kills.plan(200, points, 7)
    assert kills.ways("a.new-point"), "also what nobody foresaw is tried somewhere"


# ------------------------------------------------------------------- each check finds what it is there for, by itself


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small / "w", tmp_path / "w")
    return tmp_path / "w"


def changed(root: Path, *statements: str) -> Record:
    with contextlib.closing(sqlite3.connect(root / "db/labeler.db")) as db, db:
        for statement in statements:
            db.execute(statement)
    return record_of(root)


def expected_of(root: Path) -> dict[str, str]:
    return {image.sha256: image.label or "" for image in record_of(root).images}


def kinds(found: object) -> set[str]:
    return {violation.kind for violation in found}  # type: ignore[attr-defined]  # an iterator of violations


def test_a_sound_workspace_has_nothing(root: Path, tmp_path: Path) -> None:
    record, book = record_of(root), Book(tmp_path)
    assert record.damage == []
    assert kinds(invariants.kept(record, book)) == set()
    assert kinds(invariants.in_place(root, record, expected_of(root))) == set()
    assert kinds(invariants.somewhere(root, expected_of(root))) == set()
    assert kinds(invariants.stepped(record)) == set()
    assert kinds(invariants.handed_once(record, book)) == set()
    assert kinds(invariants.at_rest(root, record)) == set()


def test_decisions_that_go_or_change(root: Path) -> None:
    assert kinds(invariants.stepped(changed(root, "UPDATE decision SET elapsed_ms = 1 WHERE id = 9"))) == {"lost"}
    gone = changed(root, "DELETE FROM move", "DELETE FROM decision WHERE id = 9")
    assert kinds(invariants.stepped(gone)) == {"lost"}
    assert "half-done" in kinds(invariants.in_place(root, gone, expected_of(root)))


def test_a_round_that_skips_a_state(root: Path) -> None:
    columns = "k, strategy, parameters, seed, backbone, backbone_key, pool, pool_hash, package_version, timing"
    columns += ", created_at, updated_at"
    new = f"INSERT INTO round (number, state, {columns}) SELECT 99, 'PROPOSED', {columns} FROM round LIMIT 1"  # noqa: S608
    assert kinds(invariants.stepped(changed(root, new))) == set()
    skipping = "UPDATE round SET state = 'COMMITTED' WHERE number = 99"
    assert kinds(invariants.stepped(changed(root, skipping))) == {"skipped"}
    assert kinds(invariants.at_rest(root, record_of(root))) == {"half-done"}


def test_files_in_the_wrong_place(root: Path) -> None:
    expected, record = expected_of(root), record_of(root)
    image = next(image for image in record.images if image.split == "unlabelled")
    shutil.copy(root / image.path, root / "pools/Unlabelled/twice.png")
    assert kinds(invariants.in_place(root, record, expected)) == {"misplaced"}
    (root / "pools/Unlabelled/twice.png").rename(root / image.path)
    (root / image.path).unlink()
    assert kinds(invariants.somewhere(root, expected)) == {"lost"}
    assert kinds(invariants.in_place(root, record, expected)) == {"lost", "misplaced"}


@pytest.mark.parametrize("name", ["pools/Train/.labeler-tmp-1", "db/models/.m.npz.7.tmp", "db/models/m0009-0.npz"])
def test_a_file_that_nothing_names(root: Path, name: str) -> None:
    (root / name).touch()
    assert [str(found) for found in invariants.at_rest(root, record_of(root))] == [f"orphan: {name}"]


def test_answers_against_the_book(root: Path, tmp_path: Path) -> None:
    record, book = record_of(root), Book(tmp_path)
    image = next(image for image in record.images if image.split == "unlabelled")
    page = book.page("person 0")
    op = {"op_id": "a" * 32, "sha256": image.sha256, "action": "confirm", "label": "round"}
    page.write("sent", op=op, round=None, place=0)
    book.read()
    assert kinds(invariants.kept(record, book)) == set(), "what is not acknowledged may be missing"
    assert kinds(invariants.all_answered(record, book)) == {"half-done"}
    page.write("ack", ack={"op_id": op["op_id"], "stored": True, "label": "round", "opinion": False, "error": None})
    page.write("answer", status=503, path="/api/batch", body="locked")
    page.close()
    book.read()
    assert kinds(invariants.kept(record, book)) == {"lost"}
    assert kinds(invariants.all_answered(record, book)) == {"error"}
    image_id, who = image.id, "(SELECT id FROM annotator WHERE name = 'person 0')"
    into = "INSERT INTO decision (image_id, annotator_id, action, opinion, created_at, label, op_id) "
    into += f"VALUES ({image_id}, {who}, 'correct', 0, '2026-01-01', "  # our own words
    assert kinds(invariants.kept(changed(root, f"{into}'round', '{op['op_id']}')"), book)) == set()
    assert kinds(invariants.kept(changed(root, f"{into}'square', '{'b' * 32}')"), book)) == {"doubled"}


def test_an_image_with_two_people(root: Path, tmp_path: Path) -> None:
    record, book = record_of(root), Book(tmp_path)
    sha = next(image.sha256 for image in record.images if image.split == "unlabelled")
    for who in ("person 0", "person 1"):
        page = book.page(who)
        page.write("handed", round=2, shas=[sha], asked=time.time())
        page.close()
    book.read()
    assert kinds(invariants.handed_once(record, book)) == {"twice handed"}
