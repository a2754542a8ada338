"""The door in front of every request: who may ask, what may be asked for, and what every answer carries.

Pure ASGI, because it stands in front of Gradio's event streams and must hand their bytes on one by one. It admits by
list: a path that is not named here does not exist, so a new version of Gradio cannot open anything by itself.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 256 * 1024
METHODS = frozenset({"GET", "HEAD", "POST"})

#: Paths of our own.
OWN = frozenset({"/healthz", "/api/batch", "/api/decisions", "/api/round", "/api/openapi.json"})
OWN_BELOW = ("/static/app/", "/image/")
#: What Gradio's page needs to come up and to run the listeners of the Model tab; measured in a browser.
GRADIO = frozenset(
    {
        "/",
        "/config",
        "/theme.css",
        "/favicon.ico",
        "/robots.txt",
        "/manifest.json",
        "/gradio_api/app_id",
        "/gradio_api/startup-events",
        "/gradio_api/theme.css",
        "/gradio_api/queue/join",
        "/gradio_api/queue/data",
        "/gradio_api/reset",
    }
)
GRADIO_BELOW = ("/static/", "/assets/", "/svelte/", "/gradio_api/heartbeat/")

#: Gradio evaluates its templates (`unsafe-eval`) and writes styles and one script into the page (`unsafe-inline`).
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "style-src 'self' 'unsafe-inline'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_FIXED = frozenset(name for name, _ in HEADERS)


def is_open(path: str) -> bool:
    """Whether a request for ``path`` is let through to the application."""
    if "\\" in path or "\0" in path or ".." in path.split("/"):
        return False
    return path in OWN or path in GRADIO or path.startswith(OWN_BELOW) or path.startswith(GRADIO_BELOW)


def is_loopback(host: str) -> bool:
    """Whether a host name or address (no port, no brackets) means this machine and nothing else."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware; refuses with a small JSON body, otherwise passes on and adds the security headers.

    Args:
        app: what stands behind the door.
        user: the annotator of every request. Accounts will replace this by a look at the session's cookie.
        loopback_only: admit only requests addressed to this machine by name or address. A page elsewhere can make
            its own name resolve to 127.0.0.1 (DNS rebinding); its name in ``Host`` then gives it away.
    """

    def __init__(self, app: Application, *, user: str, loopback_only: bool = True) -> None:
        self._app = app
        self._user = user
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, _with_headers(send))

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        if scope["method"] == "POST":
            body = await _read(receive, headers.get("content-length"))
            if body is None:
                await _refuse(send, 413, f"a request may hold at most {MAX_BODY} bytes")
                return
            receive = _replay(body, receive)
        scope.setdefault("state", {})["user"] = self._user
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self._loopback_only and not is_loopback(_host_name(host)):
            return 421, "this page answers only to this machine's own name"
        if scope["method"] not in METHODS:
            return 405, "method not allowed"
        if not is_open(scope["path"]):
            return 404, "not found"
        if scope["method"] == "POST" and not _same_origin(headers, host):
            return 403, "a request from another site"
        return None


def _headers(scope: Scope) -> dict[str, str]:
    """Lower-case names; of a header that comes twice the last, except that two hosts make none."""
    found: dict[str, str] = {}
    hosts = 0
    for name, value in scope["headers"]:
        hosts += name == b"host"
        found[name.decode("latin-1").lower()] = value.decode("latin-1")
    if hosts > 1:
        found["host"] = ""
    return found


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same_origin(headers: dict[str, str], host: str) -> bool:
    """A browser always sends Origin with a POST; a program that sends none is not being led by a foreign page."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()


async def _read(receive: Receive, announced: str | None) -> bytes | None:
    """The whole body, or None when it is larger than :data:`MAX_BODY`; what is too large is not kept."""
    if announced is not None and (not announced.isdigit() or int(announced) > MAX_BODY):
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = True

    async def replayed() -> Message:
        nonlocal waiting
        if waiting:
            waiting = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


def _with_headers(send: Send) -> Send:
    """Sets our headers and takes away permissions for other origins, which Gradio gives to any local one."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value)
                for name, value in message.get("headers", [])
                if name.lower() not in _FIXED and not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": [*kept, *HEADERS]}
        await send(message)

    return sending


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"detail": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
