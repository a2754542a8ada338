"""docs/SECURITY.md names a test for each defence: every one of them exists, and every file of this room is named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.conftest import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "SECURITY.md"
HERE = Path(__file__).resolve().parent


def named() -> list[tuple[Path, str]]:
    """Files and tests of the table's last column."""
    found = re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)::(\w+)`", DOCUMENT.read_text(encoding="utf-8"))
    return [(REPOSITORY / file if "/" in file else HERE / file, test) for file, test in found]


def test_every_test_of_the_table_exists() -> None:
    pairs = named()
    assert len(pairs) > 30
    for file, test in pairs:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file.name}::{test}"


def test_every_row_names_a_test() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").split("## Threats, defences, tests")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 25
    assert [row for row in rows if "::" not in row.split("|")[-2]] == []


def test_every_file_of_this_room_is_named() -> None:
    files = {file.name for file in HERE.glob("test_*.py")} - {Path(__file__).name}
    assert files - {file.name for file, _ in named()} == set()
