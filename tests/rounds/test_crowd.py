"""Eight people and a worker at the same time, on threads of one process and in two processes: no image is with two."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import func, select

from labeler.domain import Action, Answer
from labeler.record.tables import DecisionRow
from labeler.rounds import Workspace
from labeler.rounds.decisions import new_operation
from labeler.rounds.mover_thread import MoverThread
from tests.checks import assert_sound
from tests.conftest import REPOSITORY
from tests.workspaces import CLASSES, POOL, TEST

PEOPLE = [f"person {number}" for number in range(8)]


def label_everything(ws: Workspace, who: str) -> list[str]:
    """What one person is handed until nothing is left, each image answered."""
    handed = []
    while (batch := ws.batch(who)).ready:
        for item in batch.items:
            handed.append(item.sha256)
            answer = Answer(item.sha256, Action.CORRECT, CLASSES[0], new_operation())
            (receipt,) = ws.decide(who, [answer], round=batch.round)
            assert receipt.stored
            assert not receipt.opinion, "somebody else had it, too"
    return handed


def count_decisions(ws: Workspace) -> int:
    with ws.store.read() as session:
        made = select(func.count()).select_from(DecisionRow).where(DecisionRow.action != "import")
        return session.scalar(made) or 0


def test_eight_people_and_a_worker_share_the_pool_without_meeting(fresh: Callable[[], Path]) -> None:
    with Workspace.open(fresh(), k=3, patience_s=0) as ws:
        ws.run_round_job()
        ended = threading.Event()

        def work() -> int:
            rankings = 0
            while not ended.is_set():
                ws.run_round_job()
                rankings += 1
            return rankings

        with MoverThread(ws), ThreadPoolExecutor(9) as crowd:
            worker = crowd.submit(work)
            people = [crowd.submit(label_everything, ws, who) for who in PEOPLE]
            handed = Counter(sha for one in people for sha in one.result())
            ended.set()
            assert worker.result() >= 1
        assert set(handed.values()) == {1}
        assert len(handed) == POOL
        assert count_decisions(ws) == POOL
        ws.run_round_job()
        assert_sound(ws, POOL + TEST)


PROGRAM = """
import json, sys
from labeler.rounds import Workspace
from tests.rounds.test_crowd import label_everything
with Workspace.open(sys.argv[1], k=3, patience_s=0) as ws:
    print(json.dumps(label_everything(ws, sys.argv[2])))
"""


def test_two_processes_do_not_hand_out_the_same_image(fresh: Callable[[], Path]) -> None:
    root = fresh()
    with Workspace.open(root, k=3) as ws:
        ws.run_round_job()
    command = [sys.executable, "-c", PROGRAM, str(root)]
    running = [
        subprocess.Popen([*command, who], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) for who in PEOPLE[:3]
    ]
    handed = Counter(sha for process in running for sha in json.loads(process.communicate(timeout=120)[0]))
    assert set(handed.values()) == {1}
    with Workspace.open(root) as ws:
        assert count_decisions(ws) == len(handed)
        ws.resume()
        assert_sound(ws, POOL + TEST)
