"""Whether this server can do its work: what ``/healthz`` says to a monitor, a container or a load balancer.

It fails (503) when an answer could not be put on record: the record cannot be read or written, or a disk is nearly
full. A worker that is down fails nothing, since people go on labelling without it; it is told, and is a thing to be
alerted of.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from labeler import heart, logs
from labeler.version import __version__

if TYPE_CHECKING:
    from labeler.rounds import Workspace

_log = logging.getLogger(__name__)

#: One look serves everybody who asks within that time.
KEPT_S = 1.0
#: Longer than that nobody waits for a look: a disk that hangs is no healthy one.
PATIENCE_S = 3.0
#: A writer that waits for longer than that has been kept out by somebody else's lock.
LOCKED_S = 10.0
#: A refused write counts for so long, unless one succeeds before: afterwards whoever writes next finds out.
REFUSED_S = 60.0
#: A worker that has not given a sign for so long does not get on, though its process may live.
SILENT_S = 120.0

_PROBE = b"\0" * 4096
Pid = Callable[[], int | None]


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker: whether its process runs, and the seconds since it last looked for work or got on with it."""

    alive: bool
    heartbeat_s: float | None


@dataclass(frozen=True, slots=True)
class Health:
    """What was found.

    Attributes:
        reasons: why the server cannot do its work; empty when it can.
        record_writable: whether an answer could be put on record.
        disk_free_mb: MiB free where there is least, of the disks of record and images.
        moves_pending: files that wait to be moved; None when the record could not be read.
        worker: None where this process has none.
    """

    reasons: tuple[str, ...]
    record_writable: bool
    disk_free_mb: int
    moves_pending: int | None
    worker: Worker | None


class HealthView(BaseModel):
    """The answer of ``/healthz``; who is not signed in is told the status alone."""

    status: Literal["ok", "failing"]
    version: str | None = None
    reasons: list[str] | None = None
    record_writable: bool | None = None
    disk_free_mb: int | None = None
    moves_pending: int | None = None
    worker: dict[str, Any] | None = None


class Examiner:
    """Looks whether all is well, once a second at most; holds no lock of the record.

    Args:
        workspace: what is served.
        worker_pid: process id of the worker, None while there is none; None where this process keeps no worker.
    """

    def __init__(self, workspace: Workspace, worker_pid: Pid | None = None) -> None:
        self._workspace = workspace
        self.worker_pid = worker_pid
        self._turn = threading.Lock()
        self._found: tuple[float, Health] | None = None
        self._failing = False
        # Of its own: forty answers that wait for a locked record take all threads that FastAPI has.
        self._thread = ThreadPoolExecutor(1, "health")

    async def look(self) -> Health:
        """The health, as of a second ago at most."""
        looking = asyncio.get_running_loop().run_in_executor(self._thread, self.now)
        try:
            return await asyncio.wait_for(asyncio.shield(looking), PATIENCE_S)
        except TimeoutError:
            return Health((f"the disk or the record has not answered for {PATIENCE_S:g} s",), False, 0, None, None)

    def now(self) -> Health:
        """The same; waits for as long as it takes."""
        with self._turn:
            if self._found is None or time.monotonic() - self._found[0] > KEPT_S:
                self._found = time.monotonic(), self._examined()
                self._tell(self._found[1])
            return self._found[1]

    def worker(self) -> Worker | None:
        if self.worker_pid is None:
            return None
        return Worker(self.worker_pid() is not None, heart.heartbeat_s(self._workspace.paths))

    def _examined(self) -> Health:
        free, full = self._disks()
        pending, unread = self._read()
        unwritten = unread or self._refused() or self._unwritable()
        reasons = tuple(reason for reason in (full, unwritten) if reason)
        return Health(reasons, not unwritten, free, pending, self.worker())

    def _disks(self) -> tuple[int, str]:
        """MiB free where there is least, and what to say of it."""
        paths, least = self._workspace.paths, self._workspace.settings.least_free_mb
        try:
            free = min(shutil.disk_usage(folder).free for folder in (paths.db, paths.pools)) // 2**20
        except OSError as error:
            return 0, f"the disk cannot be looked at: {error.strerror}"
        return free, f"the disk is nearly full: {free} MiB free, {least} wanted" if free < least else ""

    def _read(self) -> tuple[int | None, str]:
        try:
            return self._workspace.live().pending, ""
        except Exception as error:  # noqa: BLE001  # whatever it is, the record cannot be read
            return None, f"the record cannot be read: {type(error).__name__}"

    def _refused(self) -> str:
        """What became of the last writes."""
        waits = self._workspace.store.contention.waits()
        if waits.waiting_s > LOCKED_S:
            return f"the record has been locked for {waits.waiting_s:.0f} s"
        if waits.refused_s is not None and waits.refused_s < REFUSED_S:
            return f"the record refused a write {waits.refused_s:.0f} s ago"
        return ""

    def _unwritable(self) -> str:
        """Whether the record's folder takes 4 KiB; a file without a name, so that nothing is left behind."""
        paths = self._workspace.paths
        if not self._workspace.settings.database and not os.access(paths.database, os.R_OK | os.W_OK):
            return "the record's file is gone, or may not be written"
        try:
            with tempfile.TemporaryFile(dir=paths.db, buffering=0) as file:
                file.write(_PROBE)
        except OSError as error:
            return f"the record's folder cannot be written: {error.strerror}"
        return ""

    def _tell(self, found: Health) -> None:
        """One line when it begins to fail, and one when that is over."""
        if bool(found.reasons) == self._failing:
            return
        self._failing = bool(found.reasons)
        if self._failing:
            logs.say(_log, logging.ERROR, "health failing", reasons="; ".join(found.reasons))
        else:
            logs.say(_log, logging.WARNING, "health restored")


def router(examiner: Examiner) -> APIRouter:
    """``GET /healthz``, for everybody."""
    routes = APIRouter()

    @routes.get("/healthz", response_model=HealthView, responses={503: {"model": HealthView}})
    async def healthz(request: Request) -> JSONResponse:
        """200 while answers can be put on record, else 503; details for whoever is signed in."""
        found = await examiner.look()
        view: dict[str, Any] = {"status": "failing" if found.reasons else "ok"}
        if request.scope["state"]["user"]:
            view |= {"version": __version__, **asdict(found)}
        return JSONResponse(view, 503 if found.reasons else 200, headers={"cache-control": "no-store"})

    return routes
