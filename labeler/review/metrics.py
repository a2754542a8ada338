"""What the server has done and how it stands, in Prometheus' text form; no label of it names a person or a file."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from labeler.domain import SettingError
from labeler.record import leases
from labeler.review import answers
from labeler.review.guard import Application, Receive, Scope, Send
from labeler.review.health import Examiner
from labeler.settings import Settings
from labeler.version import __version__
from labeler.workspace import WorkspacePaths

if TYPE_CHECKING:
    from labeler.rounds import Workspace

PATH = "/metrics"
LEAST_TOKEN = 16
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The counters of one server.

    Args:
        workspace: asked for its state whenever somebody reads the metrics.
        examiner: asked for the health.
    """

    def __init__(self, workspace: Workspace, examiner: Examiner | None = None) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "labeler_answers", "Operations acknowledged, by what became of them.", ["outcome"], registry=self.registry
        )
        self.storing = Histogram(
            "labeler_decision_seconds",
            "From a decision's arrival until it is on record.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.handing = Histogram(
            "labeler_batch_seconds", "Time to hand out a batch.", buckets=_SECONDS, registry=self.registry
        )
        self.registry.register(_State(workspace, examiner or Examiner(workspace)))
        ProcessCollector(registry=self.registry)
        if examiner is not None and examiner.worker_pid is not None:
            pid = examiner.worker_pid
            # A process that is gone has no folder in /proc, and its figures are left out.
            ProcessCollector("labeler_worker", pid=lambda: pid() or "none", registry=self.registry)

    @contextmanager
    def timed(self, histogram: Histogram) -> Iterator[None]:
        """Observe how long the block takes, also when it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            histogram.observe(time.perf_counter() - start)

    def text(self) -> bytes:
        """Everything, as of now."""
        return generate_latest(self.registry)


class _State(Collector):
    """How the workspace stands at the moment somebody asks."""

    def __init__(self, workspace: Workspace, examiner: Examiner) -> None:
        self._workspace = workspace
        self._examiner = examiner

    def describe(self) -> list[Metric]:
        """None beforehand: else registering would ask for all of them."""
        return []

    def collect(self) -> Iterator[Metric]:
        version = GaugeMetricFamily("labeler_version_info", "Always 1.", labels=["version"])
        version.add_metric([__version__], 1)
        yield version
        yield from self._health()
        yield from self._record()
        live = self._workspace.live()
        with self._workspace.store.read() as session:
            leased = sum(leases.holders(session).values())
        job = live.job.state if live.job is not None else ""
        for name, text, value in (
            ("pool_images", "Images without a label.", live.pool),
            ("labelled_images", "Images a model may train on.", live.labelled),
            ("moves_pending", "Files that wait to be moved.", live.pending),
            ("ranking", "Number of the ranking in use.", live.ranking),
            ("job_running", "1 while the worker is at a job.", job == "running"),
            ("job_failed", "1 when the last job failed.", job == "failed"),
            ("leases_open", "Undecided images that are with somebody.", leased),
        ):
            yield GaugeMetricFamily(f"labeler_{name}", text, float(value))

    def _health(self) -> Iterator[Metric]:
        found = self._examiner.now()
        yield GaugeMetricFamily("labeler_healthy", "1 while answers can be put on record.", float(not found.reasons))
        yield GaugeMetricFamily("labeler_disk_free_bytes", "Where there is least.", found.disk_free_mb * 2.0**20)
        if found.worker is None:
            return
        yield GaugeMetricFamily("labeler_worker_alive", "1 while its process runs.", float(found.worker.alive))
        if found.worker.heartbeat_s is not None:
            text = "Seconds since the worker looked for work or got on with it."
            yield GaugeMetricFamily("labeler_worker_heartbeat_age_seconds", text, found.worker.heartbeat_s)

    def _record(self) -> Iterator[Metric]:
        waits = self._workspace.store.contention.waits()
        for name, text, value in (
            ("writes", "Transactions committed by this process.", waits.writes),
            ("write_wait_seconds", "Seconds that its writers waited for their turn.", waits.waited_s),
            ("locked", "Writes given up because another process held the record for too long.", waits.locked),
            ("refused", "Writes that the disk or the database refused.", waits.refused),
        ):
            yield CounterMetricFamily(f"labeler_record_{name}", text, float(value))


def router(metrics: Metrics) -> APIRouter:
    """The endpoint; the guard lets administrators in."""
    routes = APIRouter()

    @routes.get(PATH, response_class=Response)
    def read() -> Response:
        """Counters and gauges in Prometheus' text form."""
        return _response(metrics)

    return routes


def _response(metrics: Metrics) -> Response:
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST, headers={"cache-control": "no-store"})


# ------------------------------------------------------------------------------------------------------ a scraper


def token(settings: Settings, paths: WorkspacePaths) -> bytes | None:
    """The token that opens the metrics to a program; None where there is none.

    It lies in a file of its own, so that no list of settings, no environment and no process list shows it.

    Raises:
        SettingError: the file cannot be read, or holds too short a token.
    """
    if not settings.metrics_token_file:
        return None
    file = paths.root / Path(settings.metrics_token_file).expanduser()
    try:
        found = file.read_bytes().strip()
    except OSError as error:
        what = f"metrics_token_file {file} cannot be read: {error.strerror}"
        raise SettingError(what, "make it, readable for this user alone") from None
    if len(found) < LEAST_TOKEN or not found.isascii():
        what = f"the token in metrics_token_file {file} is too short, or not ASCII"
        raise SettingError(what, f"give it {LEAST_TOKEN} characters or more by chance, e.g. `openssl rand -hex 32`")
    return found


class Scraping:
    """ASGI middleware before the door: a request for the metrics that brings a token is judged by that alone.

    A scraper cannot sign in. Without a token of ours, or without one in the request, the door decides as for everybody.

    Args:
        app: what stands behind.
        metrics: to be read.
        token: what ``Authorization: Bearer`` must say; None admits nobody this way.
    """

    def __init__(self, app: Application, *, metrics: Metrics, token: bytes | None) -> None:
        self._app = app
        self._metrics = metrics
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = _bearer(scope) if self._token is not None and scope["type"] == "http" else None
        if given is None or self._token is None:
            await self._app(scope, receive, send)
            return
        if not hmac.compare_digest(given, self._token):
            response = Response("wrong token", 401, {"www-authenticate": "Bearer"})
        else:
            response = await asyncio.to_thread(_response, self._metrics)
        await response(scope, receive, answers.with_headers(send, PATH))


def _bearer(scope: Scope) -> bytes | None:
    """The token of a request for the metrics; None where this is none, or brings none."""
    if scope["path"] != PATH or scope["method"] != "GET":
        return None
    found = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
    if len(found) != 1 or found[0][:7].lower() != b"bearer ":
        return None
    given: bytes = found[0][7:].strip()
    return given
