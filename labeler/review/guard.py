"""The door in front of every request: who may ask, what may be asked for, and what every answer carries.

Pure ASGI, because it stands in front of Gradio's event streams and must hand their bytes on one by one. It admits by
list (:mod:`labeler.review.openings`).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from labeler.review import answers, strict_json
from labeler.review.answers import HEADERS, Message, Receive, Scope, Send
from labeler.review.openings import BODIES, FOR_ADMINS, MAX_BODY, PAGES, WITHOUT_SESSION, methods

__all__ = ["ADMIN", "HEADERS", "MAX_BODY", "Admission", "Guard", "Message", "Receive", "Scope", "Send", "is_loopback"]

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ADMIN = "admin"
#: A body that stops coming for so long, or takes so long altogether, is given up: it would hold its place for ever.
IDLE_S = 20.0
WHOLE_S = 120.0


@dataclass(frozen=True, slots=True)
class Admission:
    """Whom a request comes from.

    Attributes:
        user: the annotator; empty when nobody is signed in.
        role: ``admin`` or ``annotator``; empty when nobody is signed in.
        accounts: people sign in here; otherwise whoever reaches this machine's own address is its one user.
    """

    user: str
    role: str
    accounts: bool


#: From the text of the ``Cookie`` header to whom it belongs.
Admit = Callable[[str], Awaitable[Admission]]
_Refusal = tuple[int, str]
_SIGNED_OUT: _Refusal = (401, "not signed in")
#: What a program sets that hands somebody else's request on.
_FORWARDED = frozenset({"forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})


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

    Behind it ``scope["state"]`` says ``user``, ``role`` and ``accounts``, as in :class:`Admission`.

    Args:
        app: what stands behind the door.
        admit: who is signed in. Where nobody signs in, only requests addressed to this machine by name or address
            are admitted: a page elsewhere can make its own name resolve to 127.0.0.1 (DNS rebinding), and its name
            in ``Host`` gives it away. With accounts people may reach the page by any name; a foreign page that
            plays this trick has no cookie of ours.
        idle_s: seconds for which a body may stop coming.
        whole_s: seconds it may take altogether.
    """

    def __init__(self, app: Application, *, admit: Admit, idle_s: float = IDLE_S, whole_s: float = WHOLE_S) -> None:
        self._app = app
        self._admit = admit
        self._idle_s = idle_s
        self._whole_s = whole_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, answers.with_headers(send, scope["path"]))

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        allowed = methods(scope["path"])
        if not allowed:
            await answers.refuse(send, 404, "not found")
            return
        admission = await self._admit(headers.get("cookie", ""))
        refusal = _addressed(scope, headers, allowed, admission) or _permitted(scope["path"], admission)
        if refusal == _SIGNED_OUT and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            await answers.redirect(send, "/login")
            return
        if refusal is not None:
            more = [(b"allow", ", ".join(sorted(allowed)).encode())] if refusal[0] == 405 else []
            await answers.refuse(send, *refusal, more)
            return
        if scope["method"] == "POST":
            body = await self._read(receive, headers.get("content-length"), BODIES.get(scope["path"], MAX_BODY))
            if not isinstance(body, bytes):
                await answers.refuse(send, *body)
                return
            fault = strict_json.fault(body) if body and _is_json(headers) else None
            if fault is not None:
                await answers.refuse(send, 422, [{"type": "json_invalid", "loc": ["body"], "msg": fault}])
                return
            receive = _replay(body, receive)
        state = {"user": admission.user, "role": admission.role, "accounts": admission.accounts}
        scope.setdefault("state", {}).update(state)
        await self._app(scope, receive, send)

    async def _read(self, receive: Receive, announced: str | None, most: int) -> bytes | _Refusal:
        """The whole body, or why it is refused; what is too large is not kept."""
        too_large = 413, f"a request may hold at most {most} bytes"
        if announced is not None and not _at_most(announced, most):
            return too_large
        body = bytearray()
        clock = asyncio.get_running_loop().time
        ends = clock() + self._whole_s
        try:
            while True:
                # One limit around each piece. In Python 3.11 a `wait_for` within a longer limit can swallow the latter.
                async with asyncio.timeout(min(self._idle_s, ends - clock())):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    return 400, "the request broke off"
                body += message.get("body", b"")
                if len(body) > most:
                    return too_large
                if not message.get("more_body", False):
                    return bytes(body)
                if clock() >= ends:
                    raise TimeoutError
        except TimeoutError:
            return 408, "the request took too long to arrive"


def _addressed(scope: Scope, headers: dict[str, str], allowed: frozenset[str], admission: Admission) -> _Refusal | None:
    """Whether the request is meant for us and comes from our own page, or from no page at all."""
    host = headers.get("host", "")
    name = _host_name(host)
    if not name or (not admission.accounts and not is_loopback(name)):
        return 421, "this page answers only to this machine's own name"
    if not admission.accounts and _forwarded(scope, headers):
        return 421, "handed on by a proxy, which may be for anybody: make an account first (`labeler users add NAME`)"
    if scope["method"] not in allowed:
        return 405, "method not allowed"
    if scope["method"] == "POST" and not _same_origin(headers, host):
        return 403, "a request from another site"
    # Asking for a batch leases images, and the answer's time or size tells something: a foreign page may lead a
    # person to our page, as any link does, and not even ask for anything else.
    if not _same_site(headers) and not _is_link(scope, headers):
        return 403, "a request from another site"
    return None


def _forwarded(scope: Scope, headers: dict[str, str]) -> bool:
    """Whether it comes from further away than its connection: a proxy on this machine speaks for anybody.

    Its default is to say our own address as `Host`, so that everybody would be this machine's one user.
    """
    client = (scope.get("client") or ("",))[0]
    try:
        elsewhere = not ipaddress.ip_address(client).is_loopback
    except ValueError:  # a socket of the file system, or a test
        elsewhere = False
    return elsewhere or not _FORWARDED.isdisjoint(headers)


def _is_link(scope: Scope, headers: dict[str, str]) -> bool:
    kind = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
    return scope["method"] == "GET" and scope["path"] in PAGES and kind == ("navigate", "document")


def _permitted(path: str, admission: Admission) -> _Refusal | None:
    """Whether this person may ask for that."""
    if not admission.user and path not in WITHOUT_SESSION:
        return _SIGNED_OUT
    if path in FOR_ADMINS and admission.role != ADMIN:
        return 403, "for administrators"
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


def _same_site(headers: dict[str, str]) -> bool:
    """What a browser says of where the request came from; a program says nothing."""
    return headers.get("sec-fetch-site", "none") in {"same-origin", "none"}


def _same_origin(headers: dict[str, str], host: str) -> bool:
    """A browser always sends Origin with a POST; a program that sends none is not being led by a foreign page."""
    if not _same_site(headers):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()


def _is_json(headers: dict[str, str]) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _at_most(announced: str, most: int) -> bool:
    digits = announced.isascii() and announced.isdigit() and len(announced) <= 15
    return digits and int(announced) <= most


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = True

    async def replayed() -> Message:
        nonlocal waiting
        if waiting:
            waiting = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed
