"""A sorting run is killed at each of its steps; the next start finishes it, or it has never been."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from labeler import Oracle, faults
from labeler.record import images
from labeler.rounds import Workspace
from tests.checks import assert_sound
from tests.conftest import REPOSITORY
from tests.crash.test_commit import run
from tests.workspaces import POOL, TEST

LABELS = 12
LEFT = POOL - LABELS

# What the killed process does: sorts the whole pool in steps, and takes it back.
SORT = """
import sys
from labeler import Workspace
from labeler.rounds import sort_plan, sorting
sorting.STEP = sort_plan._PART = 10
with Workspace.open(sys.argv[1]) as ws:
    ws.sort(0.0, audit=4)
    ws.unsort()
"""

#: Where a run that is cut off has done nothing yet, and where it is on its way home.
NOT_YET = ("sort.planning",)
ON_ITS_WAY_BACK = ("sort.undoing", "sort.unwritten", "sort.undecided", "sort.undone")


def points() -> list[str]:
    text = "".join(file.read_text() for file in (REPOSITORY / "labeler/rounds").glob("sort*.py"))
    return sorted(set(re.findall(r'faults\.point\("(sort\.[\w-]+)"\)', text)))


@pytest.fixture(scope="module")
def trained(built: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sortable") / "w"
    shutil.copytree(built, root)
    with Workspace.open(root, k=LABELS) as ws:
        ws.round(annotator=Oracle.from_folder(truth))
    return root


def splits(ws: Workspace) -> dict[str, int]:
    with ws.store.read() as session:
        counts = images.counts(session)
    return {split: sum(row.values()) for split, row in counts.items() if split in ("unlabelled", "sorted")}


@pytest.mark.parametrize("fault", [*points(), "sort.written:2", "sort.unwritten:2"])
def test_killed_while_sorting(trained: Path, tmp_path: Path, fault: str) -> None:
    root = tmp_path / "w"
    shutil.copytree(trained, root)
    assert run(SORT, root, fault=fault) == faults.EXIT_CODE, f"nobody passed {fault}"
    point = fault.partition(":")[0]
    with Workspace.open(root) as ws:
        cut_off = [found["detail"] for found in ws.verify()["differences"] if found["kind"] == "unfinished-sort"]
        assert cut_off == ([] if point in ("sort.done", "sort.undone") else ["sorting run 1 was cut off"])
        ws.resume()
        assert_sound(ws, POOL + TEST)
        back, never = point in ON_ITS_WAY_BACK, point in NOT_YET
        assert splits(ws) == {"unlabelled": LEFT if back or never else 0, "sorted": 0 if back or never else LEFT}
        assert [r["state"] for r in ws.sort_runs()] == ([] if never else ["undone" if back else "done"])
        if not back and not never:
            assert ws.sort_runs()[0]["audit"]["waiting"] == 4
            assert ws.unsort()["undone"] == LEFT
            assert_sound(ws, POOL + TEST)


def test_verify_repairs_what_was_cut_off(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "w"
    shutil.copytree(trained, root)
    assert run(SORT, root, fault="sort.decided") == faults.EXIT_CODE
    with Workspace.open(root) as ws:
        healed = ws.verify(repair=True)
        assert healed["clean"]
        assert {item["kind"] for item in healed["repaired"]} == {"unfinished-sort", "pending-move"}
        assert splits(ws) == {"unlabelled": 0, "sorted": LEFT}
        assert_sound(ws, POOL + TEST)
