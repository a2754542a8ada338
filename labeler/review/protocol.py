"""One visitor's connection, with the limits that uvicorn's own has not.

Uvicorn waits for ever for the end of a request's head, and keeps as much of it as comes; a visitor who sends a byte
now and then, or none, so holds a connection, and enough of them hold every file that this process may open
("slow loris"). The door (:mod:`labeler.review.guard`) begins once a head is complete; what is here comes before it.
"""

from __future__ import annotations

import asyncio
import http
import json
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from labeler.review.answers import HEADERS, NO_STORE

#: Seconds from a connection's first moment, or a further request's first byte, until its head is complete; and for the
#: rest of a body that nobody reads any more because the request was refused.
HEAD_S = 20.0
#: Seconds for which a visitor may take nothing of an answer that is waiting for him.
WRITE_S = 60.0
#: Bytes of a head: request line and headers. Browsers and proxies send 2 KiB or less.
MOST_HEAD = 64 * 1024
MOST_CONNECTIONS = 1000
#: Files that the process needs for itself: the record, the pools, pictures, the libraries.
_OWN_FILES = 256
_FEWEST_CONNECTIONS = 64
_TOO_LONG = "the request's head is too long"


def most_connections() -> int:
    """Connections at a time: as many as leave the process enough files of those the system grants it."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return MOST_CONNECTIONS
    granted = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if granted == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(_FEWEST_CONNECTIONS, granted - _OWN_FILES))


class _HeadTooLong(Exception):
    """Raised within the parser, which makes an error of its own of it."""


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, ended when a head is too long or too slow, or an answer is not taken.

    When there are too many, the one that has kept us waiting longest makes room for the newest: a newcomer is served
    while somebody holds all of them open. Those we are preparing an answer for are not touched.
    """

    head_s = HEAD_S
    write_s = WRITE_S
    most = most_connections()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._in_head = True
        self._head = self._pieces = 0  # bytes of it that are read, and those that came
        self._arrived = False  # the whole of the request
        self.since = time.monotonic()
        self._waiting: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._too_long = False

    # ------------------------------------------------------------------------------------------------- beginning, end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        idle = [one for one in self.connections if isinstance(one, Connection) and one.is_waiting]
        oldest = min(idle, key=lambda one: one.since)  # there is one: this very connection waits for its first byte
        self.connections.discard(oldest)
        oldest.transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether it is the visitor's turn, and not ours."""
        return not self._arrived or self.cycle is None or self.cycle.response_complete

    # -------------------------------------------------------------------------------------------------------- the head

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            # A header that has not ended yet lies in the parser, so the pieces are counted, too.
            self._pieces += len(data)
            self._wait()
            if self._pieces > MOST_HEAD:
                self._refuse(431, _TOO_LONG)

    def on_message_begin(self) -> None:
        self._in_head, self._arrived = True, False
        self._head = self._pieces = 0
        self.since = time.monotonic()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._grow(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _grow(self, size: int) -> None:
        self._head += size
        if self._head > MOST_HEAD:
            self._too_long = True
            raise _HeadTooLong

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    # ------------------------------------------------------------------------------------------- the body, the answer

    def on_message_complete(self) -> None:
        self._arrived = True
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.since = time.monotonic()
        super().on_response_complete()
        if not self._arrived and not self.transport.is_closing():
            self._wait()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(self.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    # --------------------------------------------------------------------------------------------------------- waiting

    def _wait(self) -> None:
        """Wait no longer than :attr:`head_s` altogether: what trickles in meanwhile does not prolong it."""
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.head_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if self.transport.is_closing():
            return
        if self._in_head and self._pieces:
            self._refuse(408, "the request took too long to arrive")
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's answer to what is no HTTP, with our headers."""
        if self._too_long:
            self._refuse(431, _TOO_LONG)
        else:
            self._refuse(400, "this is no HTTP request")

    def _refuse(self, status: int, why: str) -> None:
        body = json.dumps({"detail": why}).encode()
        lines = [
            b"HTTP/1.1 %d %s" % (status, http.HTTPStatus(status).phrase.encode()),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            *(name + b": " + value for name, value in (NO_STORE, *HEADERS)),
        ]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.close()
