"""A real server with accounts, and ways to speak to it: as a browser would, and byte by byte as an attacker would."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.browser.served import Server

PASSWORD = "correct horse battery"
ADMIN, ANNOTATOR, OTHER = "anna", "bob", "carl"
WAIT_S = 60.0


class Site:
    """One served workspace. The server believes a proxy on this machine, so each visitor may have an own address."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._addresses = itertools.count(1)
        self._cookies: dict[str, dict[str, str]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def root(self) -> Path:
        return self.server.root

    @property
    def log(self) -> str:
        return "".join(self.server.log)

    def address(self) -> str:
        """One that nobody had before."""
        number = next(self._addresses)
        return f"198.51.{number // 250}.{number % 250 + 1}"

    def visitor(self, name: str | None = None, **headers: str) -> httpx.Client:
        """A browser; signed in as somebody, or nobody."""
        client = httpx.Client(base_url=self.url, timeout=WAIT_S, headers={"x-forwarded-for": self.address(), **headers})
        if name is not None:
            if name not in self._cookies:
                with self.visitor() as first:
                    assert sign_in(first, name).status_code == 200
                    self._cookies[name] = dict(first.cookies)
            client.cookies.update(self._cookies[name])
        return client

    def forget(self, name: str) -> None:
        """The next visit of that name signs in anew."""
        self._cookies.pop(name, None)

    def identity(self, client: httpx.Client) -> dict[str, str]:
        """What the page sends along with decisions."""
        batch = client.get("/api/batch").json()
        return {"expected_user": batch["user"], "workspace": batch["workspace"]}

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=WAIT_S) as line:
            yield line

    def raw(self, request: bytes) -> bytes:
        """Everything the server says to these bytes until it closes the connection."""
        with self.connected() as line:
            line.sendall(request)
            return everything(line)

    def ask(self, target: str, *headers: str, method: str = "GET", body: bytes = b"") -> tuple[int, str, str]:
        """Status, head and body for a target that no client library has tidied up."""
        lines = [f"{method} {target} HTTP/1.1", f"host: 127.0.0.1:{self.server.port}", "connection: close", *headers]
        if body:
            lines.append(f"content-length: {len(body)}")
        answer = self.raw(("\r\n".join(lines) + "\r\n\r\n").encode() + body).decode("utf-8", "replace")
        head, _, rest = answer.partition("\r\n\r\n")
        return int(head.split()[1]), head, rest


def everything(line: socket.socket) -> bytes:
    """What arrives until the other end closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := line.recv(65536):
            found += piece
    return found


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD, **headers: str) -> httpx.Response:
    return client.post("/login", json={"name": name, "password": password}, headers=headers)


def who(client: httpx.Client) -> str | None:
    """Whom the server takes this visitor for."""
    answer = client.get("/api/status")
    assert answer.status_code in {200, 401}, answer.text
    return str(client.get("/api/batch").json()["user"]) if answer.status_code == 200 else None


def listen(client: httpx.Client, session: str) -> list[Any]:
    """What the functions of Gradio that were asked for in that session gave."""
    given = []
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed":
                given.append(message)
            if message.get("msg") == "close_stream":
                break
    return given
