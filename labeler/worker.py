"""The process that finishes rounds, trains, and renews the ranking while people label.

A process of its own, niced: training inside the web server would make everybody wait for the interpreter's lock. It
shares nothing with the server but the record: a job is a row, claimed in one transaction and settled in another.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import FrameType

from labeler import logs
from labeler.domain import JobState, LabelerError, Progress
from labeler.heart import NICENESS, Heart
from labeler.record import jobs
from labeler.record.store import Store
from labeler.rounds.engine import Workspace
from labeler.rounds.handout import FINETUNE_JOB, REFRESH_JOB
from labeler.settings import TABLE, Settings, as_text, environment_name
from labeler.version import __version__
from labeler.workspace import WorkspacePaths, exclusive

POLL_S = 0.2
MAX_ATTEMPTS = 3
RESTART_S = 2.0  # between two starts of the process for the long jobs
LOCK_WAIT_S = 3600.0
_PROGRESS_EVERY_S = 0.5
_STOP_WAIT_S = 4.0  # for the process of the long jobs, when this one is told to stop
_MILESTONES = 4  # lines of the log for each piece of long work
_BEFORE_0002 = "round"  # what the job was called then; one may still wait in an old record
RANKING, TUNING = (REFRESH_JOB, _BEFORE_0002), (FINETUNE_JOB,)
_log = logging.getLogger("labeler.worker")


class Stopped(BaseException):
    """SIGTERM: put the job back and end. No Exception, so that nothing on the way takes it for a failed job."""


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
        heart = Heart(workspace.paths)
        try:
            while parent is None or os.getppid() == parent:
                _orders.check()
                heart.beat()
                tuner.look()
                if not work_once(workspace, heart=heart):
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
            _orders.check()


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
            self.process.terminate()
            try:
                self.process.wait(_STOP_WAIT_S)
            except subprocess.TimeoutExpired:
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
            level = logging.ERROR if given_up else logging.WARNING
            event = "job given up" if given_up else "job begins again"
            logs.say(_log, level, event, job=job.id, kind=job.kind, attempts=job.attempts)


def work_once(workspace: Workspace, kinds: Collection[str] = RANKING, heart: Heart | None = None) -> bool:
    """Do the oldest waiting job of these kinds; False when there is none.

    Args:
        heart: beats with the job's progress.

    Raises:
        Stopped: this process was told to end; the job waits for the next one.
    """
    with workspace.store.read() as session:
        if not jobs.any_waiting(session, kinds):
            return False
    with workspace.store.write() as session:
        job = jobs.claim(session, kinds)
    if job is None:
        return False
    workspace.progress = _Reporter(workspace.store, job.id, heart)
    with logs.job(job.id):
        _work(workspace, job.id, job.kind)
    return True


def _work(workspace: Workspace, job_id: int, kind: str) -> None:
    started = time.monotonic()

    def say(level: int, event: str, error: BaseException | None = None, **fields: object) -> None:
        took = round(time.monotonic() - started, 1)
        logs.say(_log, level, event, error=error, kind=kind, seconds=took, **fields)

    logs.say(_log, logging.INFO, "job started", kind=kind)
    try:
        message = _do(workspace, kind)
        _settle(workspace.store, job_id, JobState.DONE, message)
        say(logging.INFO, "job finished", said=message)
    except LabelerError as error:
        _settle(workspace.store, job_id, JobState.FAILED, str(error))
        say(logging.WARNING, "job failed", reason=logs.reason(error))
    except Exception as error:  # noqa: BLE001  # a bug must not kill the worker: the page shows it, the log has it
        say(logging.ERROR, "job failed", error, reason=f"unexpected {type(error).__name__}")
        _settle(workspace.store, job_id, JobState.FAILED, f"unexpected: {type(error).__name__}: {error}")
    except Stopped:
        if _put_back(workspace.store, job_id):
            say(logging.INFO, "job interrupted")
        raise


def _put_back(store: Store, job_id: int) -> bool:
    """Leave a job to the next worker; being told to stop is no attempt that failed. False when it was done already."""
    with store.write() as session:
        job = next((row for row in jobs.running(session, (*RANKING, *TUNING)) if row.id == job_id), None)
        if job is None:
            return False
        job.state, job.attempts, job.progress = JobState.QUEUED.value, max(job.attempts - 1, 0), 0.0
        job.message = "interrupted by a stop, goes on with the next start"
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
    """Writes a job's progress to its row, twice a second at most, and its milestones to the log."""

    def __init__(self, store: Store, job_id: int, heart: Heart | None) -> None:
        self.store, self.job_id, self.heart, self.last = store, job_id, heart, 0.0
        self.reached = ("", -1)

    def __call__(self, progress: Progress) -> None:
        _orders.check()
        if self.heart is not None:
            self.heart.beat()
        self._tell(progress)
        if time.monotonic() - self.last < _PROGRESS_EVERY_S:
            return
        self.last = time.monotonic()
        with self.store.write() as session:
            share = progress.done / progress.total if progress.total else 0.0
            jobs.report(session, self.job_id, share, progress.what)

    def _tell(self, progress: Progress) -> None:
        quarter = _MILESTONES * progress.done // progress.total if progress.total else 0
        if (progress.what, quarter) != self.reached:
            self.reached = (progress.what, quarter)
            done, total = progress.done, progress.total
            logs.say(_log, logging.INFO, "job progress", what=progress.what, done=done, total=total)


class _Orders:
    """Whether this process was told to stop."""

    def __init__(self) -> None:
        self.told = False

    @contextlib.contextmanager
    def until_told(self) -> Iterator[None]:
        """SIGTERM unwinds to here, whatever is running; a second one changes nothing."""
        signal.signal(signal.SIGTERM, self._stop)
        with contextlib.suppress(Stopped, KeyboardInterrupt):
            yield

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self.told:
            self.told = True
            raise Stopped

    def check(self) -> None:
        """End here when told: Python drops what a handler raises while an object is being taken away.

        Raises:
            Stopped: it was told.
        """
        if self.told:
            raise Stopped


_orders = _Orders()


def main() -> None:
    """The entry of ``python -m labeler.worker``."""
    parser = argparse.ArgumentParser(prog="labeler.worker", description="works off the jobs of a workspace")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--parent", type=int, default=None, help="end when this process does")
    duty = parser.add_mutually_exclusive_group()
    duty.add_argument("--rank", dest="work", action="store_const", const=run, default=run, help="rounds and rankings")
    duty.add_argument("--tune", dest="work", action="store_const", const=tune, help="the long trainings")
    arguments = parser.parse_args()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    try:
        with _orders.until_told(), Workspace.open(arguments.workspace) as workspace:
            name = "tuner" if arguments.work is tune else "worker"
            logs.configure(workspace.settings.log_level, workspace.settings.log_format, name)
            logs.say(_log, logging.INFO, "started", version=__version__, pid=os.getpid())
            arguments.work(workspace, arguments.parent)
        logs.say(_log, logging.INFO, "stopped", pid=os.getpid())
    except (LabelerError, OSError) as error:  # a full disk, a record that is gone: the page's server starts it again
        logs.say(_log, logging.ERROR, "ended", reason=logs.reason(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
