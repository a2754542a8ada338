"""What the door itself answers, and what every answer carries whoever made it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

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
#: The sign-in page is ours alone and holds no script.
LOGIN_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
HEADERS: tuple[Header, ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # With `no-referrer` browsers send `Origin: null` with a form, and signing in and out are forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_LOGIN_HEADERS = ((b"content-security-policy", LOGIN_POLICY.encode()), *HEADERS[1:])
_FIXED = frozenset(name for name, _ in HEADERS)
NO_STORE: Header = (b"cache-control", b"no-store")
#: What a browser may keep: the program's own files and, by their content's name, pictures.
_MAY_BE_KEPT = ("/static/", "/assets/", "/svelte/", "/image/", "/theme.css", "/gradio_api/theme.css", "/favicon.ico")
#: Refused with a body still on its way: the connection is of no more use.
_UNREAD = frozenset({408, 413})


def with_headers(send: Send, path: str) -> Send:
    """Sets our headers and takes away permissions for other origins, which Gradio gives to any local one.

    What says nothing of keeping is not kept: on a shared machine the next person presses Back.
    """
    ours = _LOGIN_HEADERS if path == "/login" else HEADERS

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value)
                for name, value in message.get("headers", [])
                if name.lower() not in _FIXED and not name.lower().startswith(b"access-control-")
            ]
            may_be_kept = message["status"] < 400 and path.startswith(_MAY_BE_KEPT)
            if not may_be_kept and all(name.lower() != NO_STORE[0] for name, _ in kept):
                kept.append(NO_STORE)
            message = {**message, "headers": [*kept, *ours]}
        await send(message)

    return sending


async def refuse(send: Send, status: int, why: object, more: Iterable[Header] = ()) -> None:
    """A small JSON body ``{"detail": why}``."""
    body = json.dumps({"detail": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), NO_STORE, *more]
    if status in _UNREAD:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def redirect(send: Send, where: str) -> None:
    """303 to a path of our own; never to one that came with a request."""
    headers = [(b"location", where.encode()), (b"content-length", b"0"), NO_STORE]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
