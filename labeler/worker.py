"""The process that finishes rounds, trains, and renews the ranking while people label.

A process of its own, niced: training inside the web server would make everybody wait for the interpreter's lock. It
shares nothing with the server but the record: a job is a row, claimed in one transaction and settled in another.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from labeler.domain import JobState, LabelerError, Progress
from labeler.record import jobs
from labeler.record.store import Store
from labeler.rounds.engine import Workspace
from labeler.rounds.handout import FINETUNE_JOB, REFRESH_JOB
from labeler.settings import TABLE, Settings, as_text, environment_name
from labeler.workspace import WorkspacePaths, exclusive

POLL_S = 0.2
NICENESS = 5  # at 10 eight people without a pause starved it: a new ranking every 12 s instead of every few
MAX_ATTEMPTS = 3
RESTART_S = 2.0  # between two starts of the process for the long jobs
LOCK_WAIT_S = 3600.0
_PROGRESS_EVERY_S = 0.5
_BEFORE_0002 = "round"  # what the job was called then; one may still wait in an old record
RANKING, TUNING = (REFRESH_JOB, _BEFORE_0002), (FINETUNE_JOB,)
_log = logging.getLogger("labeler.worker")


def start(paths: WorkspacePaths, overrides: Mapping[str, object] | None = None) -> subprocess.Popen[bytes]:
    """Start the worker of a workspace; it ends by itself when this process does.

    Args:
        paths: the workspace.
        overrides: settings that differ from the environment and ``labeler.toml``.
    """
    given = {environment_name(name): as_text(value) for name, value in (overrides or {}).items()}
    return _spawn(paths, "--rank", given)


def environment(settings: Settings) -> dict[str, str]:
    """All settings as the environment of a process that is to have the same."""
    return {environment_name(name): as_text(getattr(settings, name)) for name in TABLE}


def _spawn(paths: WorkspacePaths, duty: str, given: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "labeler.worker", duty, "--workspace", str(paths.root)]
    # A session of its own: Ctrl+C is meant for the server, which stops its worker itself.
    return subprocess.Popen(
        [*command, "--parent", str(os.getpid())],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **given},
        start_new_session=True,
    )


def run(workspace: Workspace, parent: int | None) -> None:
    """Work off jobs until the parent process is gone.

    Raises:
        WorkspaceBusy: another worker has had this workspace for longer than its longest job may take.
    """
    # A worker whose server was killed ends after its job; until then the jobs are its own.
    with exclusive(workspace.paths, "worker", wait_s=LOCK_WAIT_S):
        recover(workspace.store, RANKING)
        tuner = _Tuner(workspace)
        try:
            while parent is None or os.getppid() == parent:
                tuner.look()
                if not work_once(workspace):
                    time.sleep(POLL_S)
        finally:
            tuner.stop()


def tune(workspace: Workspace, parent: int | None) -> None:
    """Work off what waits of the long jobs, then end; end at once when the parent process is gone.

    A process of its own: the ranking goes on being renewed meanwhile.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with exclusive(workspace.paths, "tuner", wait_s=LOCK_WAIT_S):
        recover(workspace.store, TUNING)
        while work_once(workspace, TUNING):
            pass


def _end_with(parent: int | None) -> None:
    while parent is None or os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)


class _Tuner:
    """Keeps a process at the long jobs as long as there are any."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.process: subprocess.Popen[bytes] | None = None
        self.started = -RESTART_S
        with workspace.store.read() as session:  # one that was under way when this worker's predecessor died
            self.begun = bool(jobs.running(session, TUNING))

    def look(self) -> None:
        """Start the process when a job waits, and again when it died over one."""
        if self.process is not None and self.process.poll() is None:
            return
        with self.workspace.store.read() as session:
            died = self.begun and bool(jobs.running(session, TUNING))
            waits = died or jobs.any_waiting(session, TUNING)
        if waits:
            self.begun = True
            if time.monotonic() - self.started < RESTART_S:  # it died before it came to a job
                return
            self.started = time.monotonic()
            self.process = _spawn(self.workspace.paths, "--tune", environment(self.workspace.settings))

    def stop(self) -> None:
        """End the process; its job is begun again by the next worker."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def recover(store: Store, kinds: Collection[str]) -> None:
    """Put jobs back that a killed worker had begun; one that failed too often is given up and said so.

    Call it while holding the worker's lock: then every job that is said to run has lost its worker.
    """
    with store.write() as session:
        for job in jobs.running(session, kinds):
            given_up = job.attempts >= MAX_ATTEMPTS
            job.state = JobState.FAILED.value if given_up else JobState.QUEUED.value
            job.message = f"the worker died {job.attempts} times over it" if given_up else "begun again after a stop"


def work_once(workspace: Workspace, kinds: Collection[str] = RANKING) -> bool:
    """Do the oldest waiting job of these kinds; False when there is none."""
    with workspace.store.read() as session:
        if not jobs.any_waiting(session, kinds):
            return False
    with workspace.store.write() as session:
        job = jobs.claim(session, kinds)
    if job is None:
        return False
    workspace.progress = _Reporter(workspace.store, job.id)
    try:
        message = _do(workspace, job.kind)
        _settle(workspace.store, job.id, JobState.DONE, message)
    except LabelerError as error:
        _settle(workspace.store, job.id, JobState.FAILED, str(error))
    except Exception as error:  # noqa: BLE001  # a bug must not kill the worker: the page shows it, the log has it
        _log.exception("job %s failed", job.id)
        _settle(workspace.store, job.id, JobState.FAILED, f"unexpected: {type(error).__name__}: {error}")
    return True


def _do(workspace: Workspace, kind: str) -> str:
    if kind in (REFRESH_JOB, _BEFORE_0002):
        return workspace.run_round_job()
    if kind == FINETUNE_JOB:
        return workspace.run_finetune_job()
    raise LabelerError(f"no job is called {kind!r}", "it was asked for by another version; ask again")


def _settle(store: Store, job_id: int, state: JobState, message: str) -> None:
    with store.write() as session:
        jobs.settle(session, job_id, state, message)


class _Reporter:
    """Writes a job's progress to its row, twice a second at most."""

    def __init__(self, store: Store, job_id: int) -> None:
        self.store, self.job_id, self.last = store, job_id, 0.0

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self.last < _PROGRESS_EVERY_S:
            return
        self.last = time.monotonic()
        with self.store.write() as session:
            share = progress.done / progress.total if progress.total else 0.0
            jobs.report(session, self.job_id, share, progress.what)


def main() -> None:
    """The entry of ``python -m labeler.worker``."""
    parser = argparse.ArgumentParser(prog="labeler.worker", description="works off the jobs of a workspace")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--parent", type=int, default=None, help="end when this process does")
    duty = parser.add_mutually_exclusive_group()
    duty.add_argument("--rank", dest="work", action="store_const", const=run, default=run, help="rounds and rankings")
    duty.add_argument("--tune", dest="work", action="store_const", const=tune, help="the long trainings")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s worker %(levelname)s %(message)s")
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    with contextlib.suppress(KeyboardInterrupt), Workspace.open(arguments.workspace) as workspace:
        arguments.work(workspace, arguments.parent)


if __name__ == "__main__":
    main()
