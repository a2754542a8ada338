"""The worker process: jobs are claimed once, survive its death, and fail with a reason instead of silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labeler import Oracle, heart, worker
from labeler.domain import JobState
from labeler.record import jobs, models
from labeler.record.tables import Job
from labeler.rounds import Workspace
from labeler.rounds.handout import FINETUNE_JOB
from labeler.workspace import WorkspacePaths


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def job(ws: Workspace, kind: str = "refresh") -> Job:
    with ws.store.read() as session:
        row = jobs.last(session, kind)
    assert row is not None
    return row


def test_the_worker_proposes_a_round_and_ends_with_its_parent(fresh: Callable[[], Path]) -> None:
    root = fresh()
    script = f"""
import time
from pathlib import Path
from typing import Any
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
        claimed = jobs.claim(session, worker.RANKING)
        assert claimed is not None
        assert jobs.claim(session, worker.RANKING) is None, "claimed once"
    worker.recover(opened.store, worker.RANKING)
    assert job(opened).state == JobState.QUEUED.value
    assert worker.work_once(opened)
    assert job(opened).state == JobState.DONE.value
    assert opened.batch("ann").ready
    assert not worker.work_once(opened)


def test_a_job_that_kills_every_worker_is_given_up(opened: Workspace) -> None:
    opened.request_round()
    for _ in range(worker.MAX_ATTEMPTS):
        with opened.store.write() as session:
            jobs.claim(session, worker.RANKING)
        worker.recover(opened.store, worker.RANKING)
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
    nicer = min(19, os.getpriority(os.PRIO_PROCESS, 0) + heart.NICENESS)
    wait_for(lambda: os.getpriority(os.PRIO_PROCESS, process.pid) == nicer)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


# ------------------------------------------------------------------------------------------------- the second process

#: A training that does not end by itself: what is looked at here is what happens meanwhile.
ENDLESS: dict[str, Any] = {"refresh": "finetune", "epochs": 10_000, "patience": 10_000, "views": 1, "k": 4}


@pytest.fixture
def labelled(fresh: Callable[[], Path], truth: Path) -> Iterator[Workspace]:
    """A workspace with a head, and the refresh of its backbone asked for."""
    with Workspace.open(fresh(), **ENDLESS) as ws:
        ws.round(k=24, annotator=Oracle(truth), refresh="head")
        with ws.store.write() as session:
            jobs.queue(session, FINETUNE_JOB, {"labelled": 24, "reason": "asked for"})
        yield ws


@contextmanager
def working(ws: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """The worker, and at the end nothing of it."""
    process = worker.start(ws.paths, ENDLESS)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        wait_for(lambda: not alive(job(ws, FINETUNE_JOB).pid))


def alive(pid: int | None) -> bool:
    """Whether a process runs: one that ended and waits for its parent to look does not."""
    try:
        return pid is not None and b"Z" not in Path(f"/proc/{pid}/stat").read_bytes().split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return False


def training(ws: Workspace, attempt: int) -> bool:
    """Whether the second process is at it for the n-th time, and has come as far as the training."""
    row = job(ws, FINETUNE_JOB)
    return row.state == JobState.RUNNING.value and row.attempts == attempt and alive(row.pid)


def model_in_use(ws: Workspace) -> str:
    with ws.store.read() as session:
        version = models.in_use(session)
    assert version is not None
    return version.name


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="tells a dead process by /proc")
def test_the_ranking_is_renewed_while_the_backbone_is_refreshed(labelled: Workspace, truth: Path) -> None:
    """And a worker that is killed meanwhile leaves the champion in use and the job to the next one."""
    with working(labelled) as first:
        wait_for(lambda: training(labelled, 1))
        tuner = job(labelled, FINETUNE_JOB).pid
        assert tuner != first.pid, "in a process of its own"
        labelled.round(k=4, annotator=Oracle(truth), refresh="head")
        labelled.request_round()
        wait_for(lambda: job(labelled).state == JobState.DONE.value)
        assert job(labelled).pid == first.pid
        assert training(labelled, 1), "the refresh went on"
        assert labelled.batch("ann").ready
        champion = model_in_use(labelled)
        first.kill()
        first.wait()
        wait_for(lambda: not alive(tuner))
        assert model_in_use(labelled) == champion
        assert job(labelled, FINETUNE_JOB).state == JobState.RUNNING.value, "nobody was left to say that it ended"
        assert labelled.round(k=2, annotator=Oracle(truth), refresh="head").state == "EVALUATED", "life goes on"
    with working(labelled) as second:
        wait_for(lambda: training(labelled, 2))
        assert job(labelled, FINETUNE_JOB).pid not in (tuner, second.pid)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="tells a dead process by /proc")
def test_a_refresh_that_kills_its_process_three_times_is_given_up(labelled: Workspace) -> None:
    champion = model_in_use(labelled)
    with working(labelled) as process:
        for attempt in range(1, worker.MAX_ATTEMPTS + 1):
            wait_for(lambda: training(labelled, attempt))  # noqa: B023  # called within the turn
            os.kill(job(labelled, FINETUNE_JOB).pid or 0, signal.SIGKILL)
        wait_for(lambda: job(labelled, FINETUNE_JOB).state == JobState.FAILED.value)
        assert job(labelled, FINETUNE_JOB).message == "the worker died 3 times over it"
        assert process.poll() is None, "the worker itself lives on"
        labelled.request_round()
        wait_for(lambda: job(labelled).state == JobState.DONE.value)
        assert job(labelled, FINETUNE_JOB).state == JobState.FAILED.value, "and does not try for ever"
    assert model_in_use(labelled) == champion


def test_a_refresh_that_cannot_begin_says_why(opened: Workspace) -> None:
    with opened.store.write() as session:
        jobs.queue(session, FINETUNE_JOB)
    assert not worker.work_once(opened), "the first process leaves it to the second"
    assert worker.work_once(opened, worker.TUNING)
    row = job(opened, FINETUNE_JOB)
    assert row.state == JobState.FAILED.value
    assert "no model to start from" in row.message
    assert not worker.work_once(opened, worker.TUNING)
