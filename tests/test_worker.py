"""The worker process: jobs are claimed once, survive its death, and fail with a reason instead of silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labeler import worker
from labeler.domain import JobState
from labeler.record import jobs
from labeler.record.tables import Job
from labeler.rounds import Workspace
from labeler.workspace import WorkspacePaths


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def job(ws: Workspace) -> Job:
    with ws.store.read() as session:
        row = jobs.last(session)
    assert row is not None
    return row


def test_the_worker_proposes_a_round_and_ends_with_its_parent(fresh: Callable[[], Path]) -> None:
    root = fresh()
    script = f"""
import time
from pathlib import Path
from labeler import worker
from labeler.workspace import WorkspacePaths
print(worker.start(WorkspacePaths(Path({str(root)!r})), {{"k": 4}}).pid, flush=True)
time.sleep(300)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    with Workspace.open(root, k=4) as ws:
        view = ws.request_round()
        assert ws.request_round() == view, "asked for twice, queued once"
        wait_for(lambda: ws.batch("ann").ready)
        assert len(ws.batch("ann").items) == 4
        wait_for(lambda: job(ws).state == JobState.DONE.value)
    parent.kill()
    parent.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or b"Z" in Path(f"/proc/{pid}/stat").read_bytes().split()[2])


def test_a_job_whose_worker_was_killed_is_done_by_the_next_one(opened: Workspace) -> None:
    opened.request_round()
    with opened.store.write() as session:
        claimed = jobs.claim(session)
        assert claimed is not None
        assert jobs.claim(session) is None, "claimed once"
    worker.recover(opened.store)
    assert job(opened).state == JobState.QUEUED.value
    assert worker.work_once(opened)
    assert job(opened).state == JobState.DONE.value
    assert opened.batch("ann").ready
    assert not worker.work_once(opened)


def test_a_job_that_kills_every_worker_is_given_up(opened: Workspace) -> None:
    opened.request_round()
    for _ in range(worker.MAX_ATTEMPTS):
        with opened.store.write() as session:
            jobs.claim(session)
        worker.recover(opened.store)
    assert job(opened).state == JobState.FAILED.value
    assert "died 3 times" in job(opened).message
    assert opened.request_round() is not None, "and may be asked for again"


def test_a_failed_job_says_why(opened: Workspace) -> None:
    opened.paths.pools.rename(opened.paths.root / "elsewhere")
    opened.paths.pools.mkdir()
    opened.request_round()
    worker.work_once(opened)
    assert job(opened).state == JobState.FAILED.value
    assert "mount the disk" in job(opened).message


def test_an_empty_pool_is_no_failure(opened: Workspace, truth: Path) -> None:
    from labeler import Oracle

    opened.round(k=40, annotator=Oracle(truth))
    opened.request_round()
    worker.work_once(opened)
    assert job(opened).state == JobState.DONE.value
    assert "the pool is empty" in job(opened).message


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads niceness from /proc")
def test_the_worker_is_niced_and_stops_on_sigterm(fresh: Callable[[], Path]) -> None:
    process = worker.start(WorkspacePaths(fresh()))
    wait_for(lambda: os.getpriority(os.PRIO_PROCESS, process.pid) == worker.NICENESS)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == -signal.SIGTERM
