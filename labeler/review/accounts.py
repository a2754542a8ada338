"""Signing in and out: the page, the cookie, and whose request it is.

The record holds the sessions, so that they outlive a restart and end at once when an account is removed. What it says
is believed for a second, which spares a busy person's every request the question.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import html
import ipaddress
import math
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from string import Template
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.requests import cookie_parser

from labeler.record import accounts
from labeler.review.attempts import Turnstile
from labeler.review.guard import ADMIN, Admission
from labeler.review.schema import Invalid, Problem, refused_with
from labeler.review.words import PAGE, word

if TYPE_CHECKING:
    from labeler.rounds import Workspace

BELIEVED_S = 1.0
REMEMBERED = 1024
#: Wrong passwords before the first pause; an address may be that of a whole office.
FREE_BY_NAME = 5
FREE_BY_ADDRESS = 20
#: Each check takes 32 MiB, so there are two at a time; a person whose turn is too far off is told to come again.
AT_ONCE = 2
WAITING = 32

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_FORM = "application/x-www-form-urlencoded"
_NO_STORE = {"cache-control": "no-store"}
_SENT_ON: dict[int | str, dict[str, Any]] = {303: {"description": "To the page, or to the one to sign in on."}}
_NOT_LET_IN: dict[int | str, dict[str, Any]] = {
    **_SENT_ON,
    **{status: {"model": Problem, "content": {"text/html": {}}} for status in (401, 429)},
    **refused_with(415),
    422: {"model": Problem | Invalid},
}


class SignIn(BaseModel):
    """Who somebody says to be."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=accounts.MAX_PASSWORD)]


class SignedInView(BaseModel):
    user: str
    role: str


class Refused(Exception):
    """Somebody was not let in."""

    def __init__(self, status: int, why: str, retry_after_s: int | None = None) -> None:
        self.status = status
        self.why = why
        self.headers = {"retry-after": str(retry_after_s)} if retry_after_s is not None else {}
        super().__init__(why)


class Door:
    """Who is signed in, over an open workspace. Used from the event loop; asks the record on other threads.

    Args:
        workspace: holds the accounts and sessions.
        cookie: name of the session's cookie. Cookies know no ports: two pages on one machine need two names.
        loopback: the page is reached from this machine only, so that without accounts its one user needs no session.
    """

    def __init__(self, workspace: Workspace, cookie: str, *, loopback: bool) -> None:
        self.cookie = cookie
        self._workspace = workspace
        self._loopback = loopback
        self._seen: dict[str, tuple[float, dt.datetime, Admission]] = {}
        self._checks = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._waiting = 0
        self._turnstile = Turnstile(FREE_BY_NAME, FREE_BY_ADDRESS)

    # ------------------------------------------------------------------------------------------------ who is it

    async def admit(self, cookies: str) -> Admission:
        """Whose request it is, from its ``Cookie`` header; for :class:`labeler.review.guard.Guard`."""
        hashed = self.hashed(cookies)
        found = self._seen.get(hashed)
        if found is not None and found[0] > time.monotonic() and found[1] > dt.datetime.now(dt.UTC):
            return found[2]
        asked = time.monotonic()
        admission, ends = await asyncio.to_thread(self._ask, hashed)
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        self._seen[hashed] = (asked + BELIEVED_S, ends, admission)
        return admission

    def hashed(self, cookies: str) -> str:
        """What the record knows the browser's token by; empty without one."""
        token = cookie_parser(cookies).get(self.cookie, "")
        return accounts.token_hash(token) if _TOKEN.fullmatch(token) else ""

    def _ask(self, hashed: str) -> tuple[Admission, dt.datetime]:
        """The admission and when it ends."""
        never = dt.datetime.max.replace(tzinfo=dt.UTC)
        with self._workspace.store.read() as session:
            person = accounts.signed_in(session, hashed) if hashed else None
            if person is not None:
                return Admission(person.name, person.role, accounts=True), person.expires_at
            if accounts.any_account(session) or not self._loopback:
                return Admission("", "", accounts=True), never
        return Admission(self._workspace.settings.annotator, ADMIN, accounts=False), never

    # -------------------------------------------------------------------------------------------- in and out

    async def sign_in(self, name: str, password: str, address: str, cookies: str) -> tuple[str, SignedInView]:
        """Check a password and open a session; the one this browser had before is ended.

        Returns:
            The new session's token, and whose it is.

        Raises:
            Refused: 401 for a wrong name or password, 429 after too many of them.
        """
        self._hold_back(name, address)
        self._waiting += 1
        try:
            known = await asyncio.to_thread(self._known, name)
            token = await self._token(known, password, self.hashed(cookies))
        finally:
            self._waiting -= 1
        if token is None or known is None:
            raise Refused(401, word("login.wrong"))
        self._turnstile.let_in(name, address)
        self._seen.pop(self.hashed(cookies), None)
        return token, SignedInView(user=known.name, role=known.role)

    def _known(self, name: str) -> accounts.Credentials | None:
        with self._workspace.store.read() as session:
            return accounts.credentials(session, name)

    def _hold_back(self, name: str, address: str) -> None:
        """Count this try, or refuse it; counted before the password is looked at, which takes a while."""
        pause = self._turnstile.pause(name, address)
        if pause > 0 or self._waiting >= WAITING:
            seconds = max(1, math.ceil(pause))
            raise Refused(429, word("login.paused").replace("{n}", str(seconds)), seconds)
        self._turnstile.begin(name, address)

    async def _token(self, known: accounts.Credentials | None, password: str, before: str) -> str | None:
        password_hash = known.password_hash if known is not None else None
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._checks, accounts.matches, password, password_hash)
        return await asyncio.to_thread(self._open, known, before) if right and known is not None else None

    def _open(self, known: accounts.Credentials, before: str) -> str | None:
        with self._workspace.store.write() as session:
            if before:
                accounts.end(session, before)
            return accounts.begin(session, known, self._workspace.settings.session_hours)

    def sign_out(self, cookies: str) -> None:
        """End the session of this browser, if there is one."""
        hashed = self.hashed(cookies)
        if hashed:
            with self._workspace.store.write() as session:
                accounts.end(session, hashed)
            self._seen.pop(hashed, None)

    def sign_out_everywhere(self, user: str) -> None:
        """End every session of a person."""
        with self._workspace.store.write() as session:
            accounts.end_all(session, user)
        self._seen.clear()


def router(door: Door) -> APIRouter:
    """The endpoints of signing in and out."""
    routes = APIRouter()

    @routes.get("/login", response_class=HTMLResponse, responses=_SENT_ON)
    def login_page(request: Request) -> Response:
        """The page to sign in on; somebody who is signed in, or needs not to be, is sent on."""
        if request.scope["state"]["user"]:
            return RedirectResponse("/", 303, _NO_STORE)
        return _page()

    @routes.post("/login", openapi_extra=_request_body(), response_model=SignedInView, responses=_NOT_LET_IN)
    async def login(request: Request) -> Response:
        """Sign in with a form or JSON ``{"name", "password"}``; the answer sets the session's cookie.

        401: a wrong name or password. 429: too many of them; ``Retry-After`` says how many seconds to wait.
        """
        return await _sign_in(door, request)

    @routes.post("/logout", response_model=Problem, responses=_SENT_ON)
    def logout(request: Request) -> Response:
        """Sign this browser out."""
        door.sign_out(_cookies(request))
        return _signed_out(request, door)

    @routes.post("/logout-everywhere", response_model=Problem, responses=_SENT_ON)
    def logout_everywhere(request: Request) -> Response:
        """Sign this person out of every browser."""
        if request.scope["state"]["accounts"]:
            door.sign_out_everywhere(request.scope["state"]["user"])
        return _signed_out(request, door)

    return routes


async def _sign_in(door: Door, request: Request) -> Response:
    form = _kind(request) == _FORM
    wanted = _wanted(_kind(request), await request.body())
    try:
        if wanted is None:
            raise Refused(401 if form else 422, word("login.wrong"))
        token, who = await door.sign_in(wanted.name, wanted.password, _address(request), _cookies(request))
    except Refused as refused:
        headers = {**refused.headers, **_NO_STORE}
        if form:
            return _page(refused.why, wanted.name if wanted else "", refused.status, headers)
        return JSONResponse({"detail": refused.why}, refused.status, headers)
    answer: Response = JSONResponse(who.model_dump(), headers=_NO_STORE)
    if form:
        answer = RedirectResponse("/", 303, _NO_STORE)
    answer.set_cookie(door.cookie, token, path="/", httponly=True, samesite="lax", secure=_encrypted(request))
    return answer


def _wanted(kind: str, body: bytes) -> SignIn | None:
    """Name and password as sent; None when they cannot be one.

    Raises:
        HTTPException: 415, it is neither a form nor JSON.
    """
    try:
        if kind == "application/json":
            return SignIn.model_validate_json(body)
        if kind == _FORM:
            fields = parse_qs(body.decode("utf-8"), max_num_fields=8)
            return SignIn(name=fields.get("name", [""])[0].strip(), password=fields.get("password", [""])[0])
    except (ValidationError, ValueError):  # ValueError: no UTF-8, or too many fields
        return None
    raise HTTPException(415, "sign in with a form or with JSON", _NO_STORE)


def _page(problem: str = "", name: str = "", status: int = 200, headers: Mapping[str, str] = _NO_STORE) -> Response:
    template = Template((PAGE / "login.html").read_text(encoding="utf-8"))
    texts = {
        "title": word("login.title"),
        "hint": word("login.hint"),
        "name_label": word("login.name"),
        "password_label": word("login.password"),
        "button": word("login.button"),
        "name": name,
        "problem": problem,
    }
    filled = template.substitute({key: html.escape(text, quote=True) for key, text in texts.items()})
    return HTMLResponse(filled, status, dict(headers))


def _signed_out(request: Request, door: Door) -> Response:
    """To a form the sign-in page, to a script a word."""
    answer: Response = JSONResponse({"detail": "signed out"}, headers=_NO_STORE)
    if "text/html" in request.headers.get("accept", ""):
        answer = RedirectResponse("/login", 303, _NO_STORE)
    answer.delete_cookie(door.cookie, path="/", httponly=True, samesite="lax", secure=_encrypted(request))
    return answer


def _encrypted(request: Request) -> bool:
    """The server takes a proxy's word for it, from this machine only."""
    return bool(request.scope["scheme"] == "https")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _cookies(request: Request) -> str:
    return request.headers.get("cookie", "")


def _address(request: Request) -> str:
    """Where the request comes from; whoever has one address of an IPv6 network has them all."""
    host = request.client.host if request.client is not None else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


def _request_body() -> dict[str, Any]:
    schema = SignIn.model_json_schema()
    content = {kind: {"schema": schema} for kind in ("application/json", _FORM)}
    return {"requestBody": {"required": True, "content": content}}
