"""Work for the worker process. Functions take a session and never commit."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from labeler.domain import JobState
from labeler.record.tables import Job, now


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the page shows it."""

    id: int
    kind: str
    state: str
    progress: float
    message: str


def view(job: Job) -> JobView:
    return JobView(job.id, job.kind, job.state, job.progress, job.message)


_LAST = select(Job).where(Job.kind == bindparam("kind")).order_by(Job.id.desc()).limit(1)


def last(session: Session, kind: str) -> Job | None:
    """The newest job of a kind."""
    return session.scalar(_LAST, {"kind": kind})


_WAITING = select(Job).where(Job.kind == bindparam("kind"), Job.state == JobState.QUEUED.value).limit(1)


def queue(session: Session, kind: str, payload: Mapping[str, Any] | None = None) -> Job:
    """Ask the worker for something; a job of that kind that still waits is not asked for twice."""
    job = session.scalar(_WAITING, {"kind": kind})
    if job is None:
        job = Job(kind=kind, payload=dict(payload or {}))
        session.add(job)
        session.flush()
    return job


def claim(session: Session, kinds: Collection[str]) -> Job | None:
    """Take the oldest waiting job of these kinds for this process."""
    waiting = select(Job).where(Job.state == JobState.QUEUED.value, Job.kind.in_(kinds))
    job = session.scalar(waiting.order_by(Job.id).limit(1))
    if job is not None:
        job.state, job.pid, job.started_at = JobState.RUNNING.value, os.getpid(), now()
        job.attempts += 1
        session.flush()
    return job


def any_waiting(session: Session, kinds: Collection[str]) -> bool:
    waiting = select(Job.id).where(Job.state == JobState.QUEUED.value, Job.kind.in_(kinds))
    return session.scalar(waiting.limit(1)) is not None


_RUNNING = select(Job.id).where(Job.kind == bindparam("kind"), Job.state == JobState.RUNNING.value).limit(1)


def any_running(session: Session, kind: str) -> bool:
    return session.connection().scalar(_RUNNING, {"kind": kind}) is not None


def running(session: Session, kinds: Collection[str]) -> list[Job]:
    return list(session.scalars(select(Job).where(Job.state == JobState.RUNNING.value, Job.kind.in_(kinds))))


def settle(session: Session, job_id: int, state: JobState, message: str) -> None:
    """Close a job as done or failed, with a line for the page."""
    job = session.get_one(Job, job_id)
    job.state, job.message, job.finished_at = state.value, message, now()
    job.progress = 1.0 if state is JobState.DONE else job.progress


def report(session: Session, job_id: int, progress: float, message: str) -> None:
    """Note how far a running job has come, in [0, 1]."""
    job = session.get_one(Job, job_id)
    job.progress, job.message = progress, message
