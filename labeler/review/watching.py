"""What becomes of every request: its id, its line in the log, its place in the metrics, and its end when we stop.

The outermost layer, before the door, so that what is refused there is seen too. Pure ASGI, because event streams must
be handed on byte by byte.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time

from prometheus_client import CollectorRegistry, Histogram
from starlette.requests import ClientDisconnect

from labeler import logs
from labeler.domain import LabelerError
from labeler.review import answers
from labeler.review.answers import Message, Receive, Scope, Send
from labeler.review.guard import Application
from labeler.review.openings import BELOW, GRADIO, OWN

_log = logging.getLogger(__name__)
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0)
#: Refusals that ordinary use of the page does not bring about.
_UNUSUAL = frozenset({403, 408, 413, 421, 429})
_ABORTED = 499  # as nginx calls it: the visitor went away before there was an answer


def route_of(path: str) -> str:
    """What a path is called in metrics and logs: one of a few dozen names, whatever visitors ask for."""
    if path in OWN or path == "/":
        return path
    prefix = next((prefix for prefix in BELOW if path.startswith(prefix)), "")
    if prefix in {"/static/", "/image/", "/api/explain/"}:
        return prefix + "*"
    return "page" if prefix or path in GRADIO else "unknown"


class Traffic:
    """The requests of one server.

    Args:
        registry: where their histogram is registered.
        slow_s: seconds from which on one is logged as slow.
    """

    def __init__(self, registry: CollectorRegistry, slow_s: float) -> None:
        self.slow_s = slow_s
        self._seconds = Histogram(
            "labeler_request_seconds",
            "From a request's arrival until all of its answer is sent; of an event stream until it begins.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._streams: set[asyncio.Task[object]] = set()
        self._ended: set[asyncio.Task[object]] = set()

    def end_streams(self) -> None:
        """End the event streams, which would last as long as a page is open: we are about to stop."""
        self._ended |= self._streams
        for task in tuple(self._streams):
            task.cancel()

    def begun(self, task: asyncio.Task[object] | None) -> None:
        if task is not None:
            self._streams.add(task)

    def was_ended(self, task: asyncio.Task[object] | None) -> bool:
        return task in self._ended

    def done(self, seen: _Seen, task: asyncio.Task[object] | None) -> None:
        """Count a request that is over and log what is worth a line."""
        if task is not None:
            self._streams.discard(task)
            self._ended.discard(task)
        self._seconds.labels(seen.route, f"{seen.status // 100}xx").observe(seen.seconds)
        self._say(seen)

    def _say(self, seen: _Seen) -> None:
        event, level = "request", logging.DEBUG
        if seen.error is not None or seen.status >= 500:
            event, level = "request failed", logging.ERROR
        elif seen.status >= 400 and seen.status != _ABORTED:
            event, level = "request refused", logging.WARNING if seen.status in _UNUSUAL else logging.INFO
        elif seen.seconds >= self.slow_s > 0:
            event, level = "slow request", logging.INFO
        fields: dict[str, object] = {"method": seen.scope["method"], "route": seen.route, "status": seen.status}
        if _log.isEnabledFor(logging.DEBUG):
            fields["path"] = seen.scope["path"]
        client = seen.scope.get("client")
        logs.say(
            _log,
            level,
            event,
            error=seen.error,
            **fields,
            ms=round(1000 * seen.seconds, 1),
            reason=seen.reason,
            user=seen.scope.get("state", {}).get("user") or None,
            client=client[0] if client and level >= logging.INFO else None,
        )


class _Seen:
    """One request and how far its answer has come."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.route = route_of(scope["path"])
        self.number = _number(scope)
        self.status = _ABORTED
        self.started = self.stream = False
        self.error: Exception | None = None
        self.reason: str | None = None
        self._begun = time.perf_counter()
        self._answered: float | None = None

    @property
    def seconds(self) -> float:
        return (self._answered or time.perf_counter()) - self._begun

    def on_start(self, message: Message) -> Message:
        """The head of the answer with the request's id."""
        self.started, self.status = True, message["status"]
        headers = [(name, value) for name, value in message.get("headers", []) if name.lower() != b"x-request-id"]
        self.stream = any(
            name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
        )
        if self.stream:
            self._answered = time.perf_counter()
        return {**message, "headers": [*headers, (b"x-request-id", self.number.encode())]}


class Watch:
    """ASGI middleware; behind it every log line carries the request's id, and the answer does too.

    An error that nobody else has answered becomes a 500 here, without a word of what it was.
    """

    def __init__(self, app: Application, *, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen, task = _Seen(scope), asyncio.current_task()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = seen.on_start(message)
                if seen.stream:
                    self._traffic.begun(task)
            await send(message)

        outward = answers.with_headers(sending, scope["path"])
        with logs.request(seen.number):
            try:
                await self._app(scope, receive, sending)
            except asyncio.CancelledError:
                await self._cut_off(seen, task, outward)
            except ClientDisconnect:
                pass
            except Exception as error:  # noqa: BLE001  # logged in the line of its request
                await _failed(seen, error, outward)
            finally:
                self._traffic.done(seen, task)

    async def _cut_off(self, seen: _Seen, task: asyncio.Task[object] | None, send: Send) -> None:
        """We are about to stop: the end of a stream, or of the patience with a request that takes too long."""
        if not seen.started:
            await answers.refuse(send, 503, "the server is stopping: ask again")
        elif self._traffic.was_ended(task):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _number(scope: Scope) -> str:
    """The id that a proxy gave the request, where it is a sane one; else a new one."""
    given = [value for name, value in scope["headers"] if name.lower() == b"x-request-id"]
    if len(given) == 1 and _GIVEN.fullmatch(given[0]):
        return str(given[0], "ascii")
    return secrets.token_hex(8)


async def _failed(seen: _Seen, error: Exception, send: Send) -> None:
    """Answer what nobody else has. An error of the workspace is the door's: it cannot ask whose request it is."""
    if isinstance(error, LabelerError):
        seen.reason, status, why = logs.reason(error), 503, "the workspace cannot answer; the server's log says why"
    else:
        seen.error, status, why = error, 500, "the server failed; its log says why"
    if not seen.started:
        await answers.refuse(send, status, why)
