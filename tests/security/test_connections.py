"""Visitors who say nothing, or very slowly, or listen to nothing: others are served meanwhile, and patience ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from labeler.review.answers import HEADERS
from labeler.review.protocol import MOST_HEAD, Connection, most_connections
from tests.security.site import ANNOTATOR, Site, everything

IDLE, SLOW = 200, 50
LARGE, PIECES = b"x" * 64 * 1024, 512
REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def test_idle_and_slow_connections_stop_nobody(site: Site) -> None:
    """200 that say nothing and 50 that send a byte of their head now and then; all of it answered beside them."""
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(site.connected()) for _ in range(IDLE)]
        slow = [stack.enter_context(site.connected()) for _ in range(SLOW)]
        client = stack.enter_context(site.visitor(ANNOTATOR))
        for byte in b"GET /healthz HTTP/1.1\r\n":
            for line in slow:
                line.sendall(bytes([byte]))
            assert client.get("/api/status").status_code == 200
        with site.visitor() as newcomer:
            assert newcomer.get("/login").status_code == 200
        slow[0].sendall(b"host: 127.0.0.1\r\nconnection: close\r\n\r\n")
        assert everything(slow[0]).startswith(b"HTTP/1.1 200")
        assert len(idle) == IDLE


def test_a_head_without_an_end(site: Site) -> None:
    """Uvicorn alone would keep all of it."""
    for piece in (b"x: " + b"y" * 1000 + b"\r\n", b"y" * 1000):  # many headers, and one
        with site.connected() as line:
            line.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nz: ")
            sent = 0
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                while sent < 50 * MOST_HEAD:
                    line.sendall(piece)
                    sent += len(piece)
            assert sent < 50 * MOST_HEAD
    status, _, _ = site.ask("/healthz", "x: " + "y" * (MOST_HEAD - 1000))
    assert status == 200
    assert site.ask("/" + "y" * MOST_HEAD)[0] == 431


def test_the_parsers_own_refusals_carry_our_headers(site: Site) -> None:
    for broken in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n",
                   b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 200_000 + b"\r\n\r\n"):  # fmt: skip
        head, _, body = site.raw(broken).partition(b"\r\n\r\n")
        assert head.split()[1] in {b"400", b"431"}
        assert body.startswith(b'{"detail": ')
        for name, value in HEADERS:
            assert name + b": " + value in head


# -------------------------------------------------------------------------------------------- with less patience


class Brief(Connection):
    head_s = 1.0
    write_s = 1.0
    most = 10


class Listening:
    """A server of that protocol, in a thread of this process."""

    def __init__(self, server: uvicorn.Server, address: Any) -> None:
        self.server, self.address = server, address

    def __call__(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def wait_for(self, connections: int) -> None:
        until = time.monotonic() + 30
        while len(self.server.server_state.connections) != connections and time.monotonic() < until:
            time.sleep(0.02)
        assert len(self.server.server_state.connections) == connections


@pytest.fixture(scope="module")
def brief() -> Iterator[Listening]:
    """`/slow` is answered after a while, `/large` with 32 MiB."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/slow":
            await asyncio.sleep(1.5)
        body = LARGE if scope["path"] == "/large" else b"ok"
        times = PIECES if scope["path"] == "/large" else 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(times):
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        http=Brief,
        log_config=None,  # what uvicorn sets otherwise stays for every later test of this process
        lifespan="off",
        timeout_keep_alive=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield Listening(server, listener.getsockname())
    server.should_exit = True
    thread.join()
    listener.close()


def test_patience_with_a_head_ends(brief: Listening) -> None:
    with brief() as silent:
        assert everything(silent) == b""
    with brief() as slow:
        slow.sendall(b"GET / HT")
        assert everything(slow).startswith(b"HTTP/1.1 408")
    with brief() as second:
        second.sendall(REQUEST)
        assert second.recv(65536).startswith(b"HTTP/1.1 200")
        second.sendall(b"G")  # a further request on the same connection
        assert b"HTTP/1.1 408" in everything(second)


def test_what_trickles_in_does_not_prolong_it(brief: Listening) -> None:
    with brief() as line:
        line.sendall(b"GET / HTTP/1.1\r\nx: ")
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for sent in range(1000):
                line.sendall(b"y")
                time.sleep(0.02)
                assert sent < 900, "it went on and on"


def test_nor_does_a_body_that_nobody_reads(brief: Listening) -> None:
    with brief() as line:
        line.sendall(b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for sent in range(1000):
                line.sendall(b"x")
                time.sleep(0.02)
                assert sent < 900, "it went on and on"


def test_an_answer_that_nobody_takes_is_given_up(brief: Listening) -> None:
    brief.wait_for(0)
    with brief() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        assert line.recv(12) == b"HTTP/1.1 200"
        brief.wait_for(0)


def test_an_answer_that_is_taken_arrives_whole(brief: Listening) -> None:
    with brief() as line:
        line.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        time.sleep(0.1)
        assert sum(len(piece) for piece in iter(lambda: line.recv(2**20), b"")) > PIECES * len(LARGE)


def test_a_newcomer_takes_the_place_of_who_kept_us_waiting_longest(brief: Listening) -> None:
    with contextlib.ExitStack() as stack:
        working = stack.enter_context(brief())
        working.sendall(b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        time.sleep(0.05)
        crowd = [stack.enter_context(brief()) for _ in range(3 * Brief.most)]
        newcomer = stack.enter_context(brief())
        newcomer.sendall(REQUEST)
        assert newcomer.recv(65536).startswith(b"HTTP/1.1 200")
        assert len(brief.server.server_state.connections) <= Brief.most
        assert everything(working).endswith(b"2\r\nok\r\n0\r\n\r\n")  # whoever is being served is not put out
        assert everything(crowd[0]) == b""


def test_room_is_left_for_the_programs_own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for granted, most in ((resource.RLIM_INFINITY, 1000), (1024, 768), (100, 64), (10**6, 1000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _what, granted=granted: (granted, granted))
        assert most_connections() == most
