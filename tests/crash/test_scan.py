"""A process was killed while it moved a file, and the next to look at the folders is one that looks for people's doing.

Found by the machine of this folder: the file under its new name was taken for one that somebody had dragged there, and
the label it had got meanwhile was replaced by that of the folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labeler import faults
from labeler.domain import Action, Answer
from labeler.record import images, queries
from labeler.record.tables import DecisionRow
from labeler.rounds import Workspace, journal, scan
from tests.checks import assert_sound
from tests.workspaces import CLASSES, POOL, TEST

# One person answers, takes it back and answers differently; the process dies over the first of the three moves.
CHANGE_OF_MIND = """
import sys
from labeler import Workspace
from labeler.domain import Action, Answer
from labeler.rounds import journal
with Workspace.open(sys.argv[1], k=8) as ws:
    sha = ws.round().proposals[0].sha256
    ws.move_later = lambda: None
    for number, (action, label) in enumerate([("correct", sys.argv[2]), ("undo", None), ("correct", sys.argv[3])]):
        ws.decide("ann", [Answer(sha, Action(action), label, f"op-{number}")], round=1)
    print(sha, flush=True)
    journal.drain(ws.store, ws.paths)
"""


@pytest.mark.parametrize("replayed", [True, False], ids=["replayed", "not yet"])
@pytest.mark.parametrize("point", ["move.linked", "move.source_unlinked"])
def test_a_file_half_way_is_nobodys_doing(
    point: str, replayed: bool, fresh: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fresh()
    done = subprocess.run(
        [sys.executable, "-c", CHANGE_OF_MIND, str(root), *CLASSES],
        env={**os.environ, faults.ENVIRONMENT_NAME: point}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == faults.EXIT_CODE, done.stderr
    sha = done.stdout.strip()
    with Workspace.open(root, k=8) as ws:
        if not replayed:  # as when another process dies between the replay and the walk
            with monkeypatch.context() as patched:
                patched.setattr(journal, "drain", lambda *_: [])
                report = scan.scan(ws.store, ws.paths, ws.settings)
        else:
            report = scan.scan(ws.store, ws.paths, ws.settings)
        assert (report.added, report.moved, report.missing, report.notes) == (0, 0, 0, [])
        ws.resume()
        with ws.store.read() as session:
            image = images.images_by_sha(session, [sha])[sha].id
            rows = [row for row in session.query(DecisionRow).filter_by(image_id=image) if row.action != "import"]
            counts = queries.decisions_in_force(session, [image])[image]
        assert [row.action for row in rows] == [Action.CORRECT, Action.UNDO, Action.CORRECT]
        assert (counts.action, counts.label) == (Action.CORRECT, CLASSES[1])
        assert_sound(ws, POOL + TEST)


def test_a_file_that_a_person_drags_is_still_noticed_beside_one_half_way(fresh: Callable[[], Path]) -> None:
    root = fresh()
    subprocess.run(
        [sys.executable, "-c", CHANGE_OF_MIND, str(root), *CLASSES],
        env={**os.environ, faults.ENVIRONMENT_NAME: "move.linked"}, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    with Workspace.open(root, k=8) as ws:
        dragged = next(item for item in ws.batch("ann").items if item.action is None)
        file = ws.image_file(dragged.image_id)
        file.rename(ws.paths.root / "pools/Train" / CLASSES[0] / file.name)
        assert scan.scan(ws.store, ws.paths, ws.settings).moved == 1
        ws.decide("ann", [Answer(dragged.sha256, Action.CORRECT, CLASSES[1], "again")], round=None)
        assert_sound(ws, POOL + TEST)
