"""What the server has done and how it stands, in Prometheus' text form."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from labeler.rounds import Workspace

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The counters of one server; nothing in them names a person or a file.

    Args:
        workspace: asked for its state whenever somebody reads the metrics.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
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
        self._state = {
            name: Gauge(f"labeler_{name}", text, registry=self.registry)
            for name, text in (
                ("pool_images", "Images without a label."),
                ("labelled_images", "Images a model may train on."),
                ("moves_pending", "Files that wait to be moved."),
                ("ranking", "Number of the ranking in use."),
                ("job_running", "1 while the worker is at a job."),
                ("job_failed", "1 when the last job failed."),
            )
        }

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
        live = self._workspace.live()
        job = live.job.state if live.job is not None else ""
        values = {
            "pool_images": live.pool,
            "labelled_images": live.labelled,
            "moves_pending": live.pending,
            "ranking": live.ranking,
            "job_running": job == "running",
            "job_failed": job == "failed",
        }
        for name, value in values.items():
            self._state[name].set(float(value))
        return generate_latest(self.registry)


def router(metrics: Metrics) -> APIRouter:
    """The endpoint; the guard lets administrators in."""
    routes = APIRouter()

    @routes.get("/metrics", response_class=Response)
    def read() -> Response:
        """Counters and gauges in Prometheus' text form."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return routes
