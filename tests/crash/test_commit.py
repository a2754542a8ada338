"""The process is killed at every step of a round, started again, and must carry on as if nothing had been."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labeler import Oracle, faults
from labeler.record import images
from labeler.rounds import Workspace
from tests.checks import assert_sound, assert_steps
from tests.conftest import REPOSITORY
from tests.workspaces import POOL, TEST

ALL = POOL + TEST

# What the killed process does: an open round is answered by a person, half of it in single decisions, one undone.
ANSWER = """
import json, sys
from pathlib import Path
from labeler import Oracle, Workspace
from labeler.domain import Action, Answer
root, truth, log = sys.argv[1:4]
with Workspace.open(root, k=8) as ws, open(log, "a") as acknowledged:
    oracle = Oracle.from_folder(truth)
    proposals = ws.round().proposals
    answers = oracle.answer(proposals, ws.paths.root, ws.settings.classes)
    def send(*some):
        ws.decide("ann", some, round=1)
        for a in some:
            acknowledged.write(json.dumps([a.sha256, str(a.action), a.label]) + "\\n")
        acknowledged.flush()
    for number, answer in enumerate(answers[:4]):
        send(answer)
    send(Answer(answers[0].sha256, Action.UNDO, None, "undo-1"))
    send(Answer(answers[0].sha256, Action.CORRECT, answers[0].label, "again-1"))
    send(*answers[4:])
    ws.run_round_job()
    ws.round()
"""


def fault_points() -> list[str]:
    """Every named place in the code of the move, the journal and the loop: a new one is tested from its first day."""
    sources = [*(REPOSITORY / "labeler/rounds").glob("*.py"), *(REPOSITORY / "labeler/pool").glob("*.py")]
    names = {name for file in sources for name in re.findall(r'faults\.point\("([\w.-]+)"\)', file.read_text())}
    return sorted(names)


@pytest.fixture(scope="module")
def proposed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace with a round proposed and nothing decided."""
    root = tmp_path_factory.mktemp("proposed") / "w"
    shutil.copytree(built, root)
    with Workspace.open(root, k=8) as ws:
        ws.round()
    return root


def run(script: str, *arguments: object, fault: str = "") -> int:
    environment = {**os.environ, faults.ENVIRONMENT_NAME: fault}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False).returncode


@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("point", [name for name in fault_points() if name.startswith(("move.", "journal."))])
def test_killed_while_moving(proposed: Path, tmp_path: Path, truth: Path, point: str, nth: int) -> None:
    check(proposed, tmp_path, truth, f"{point}:{nth}")


@pytest.mark.parametrize(
    "point",
    [name for name in fault_points() if name.startswith(("commit.", "train.", "round.", "propose.", "ranking."))],
)
def test_killed_between_the_steps_of_a_round(proposed: Path, tmp_path: Path, truth: Path, point: str) -> None:
    check(proposed, tmp_path, truth, point)


def check(proposed: Path, tmp_path: Path, truth: Path, fault: str) -> None:
    root, log = tmp_path / "w", tmp_path / "acknowledged"
    shutil.copytree(proposed, root)
    log.touch()
    code = run(ANSWER, root, truth, log, fault=fault)
    if code == 0 and fault.startswith("move."):
        pytest.skip(f"{fault} is not on the way of a plain move on this file system")
    assert code == faults.EXIT_CODE, f"nobody passed {fault}"
    with Workspace.open(root, k=8) as ws:
        before = ws.status()["round"]["state"] if ws.status()["round"] else "EVALUATED"
        ws.resume()
        assert_sound(ws, ALL)
        acknowledged = [json.loads(line) for line in log.read_text().splitlines()]
        last = {sha: label for sha, action, label in acknowledged}
        labels = effective_labels(ws)
        unacknowledged = {sha for sha in labels if labels[sha] != last.get(sha)}
        assert len(unacknowledged) <= 4, "only the call that was cut off may be there without its acknowledgement"
        assert all(labels.get(sha) == label for sha, label in last.items() if sha not in unacknowledged)
        assert all(last.get(sha) is None or labels[sha] is not None for sha in unacknowledged)
        finished = ws.round(annotator=Oracle.from_folder(truth))
        assert_steps(before, "EVALUATED")
        assert finished.state == "EVALUATED"
        assert_sound(ws, ALL)


def effective_labels(ws: Workspace) -> dict[str, str | None]:
    with ws.store.read() as session:
        return {row.sha256: row.label for row in images.every(session) if row.split == "train"}


def test_the_harness_can_fail(proposed: Path, tmp_path: Path, truth: Path) -> None:
    """Without the journal's replay the same checks must complain."""
    root, log = tmp_path / "w", tmp_path / "acknowledged"
    shutil.copytree(proposed, root)
    assert run(ANSWER, root, truth, log, fault="journal.moved") == faults.EXIT_CODE
    with Workspace.open(root, k=8) as ws, pytest.raises((AssertionError, FileNotFoundError)):
        assert_sound(ws, ALL)
