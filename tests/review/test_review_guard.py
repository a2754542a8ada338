"""The door: hosts, origins, methods, paths, headers, and a list of every route there is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from labeler.record import accounts
from labeler.review import guard, openings
from labeler.review.app import without_gradio
from labeler.review.guard import Admission
from labeler.review.words import PAGE
from labeler.rounds import Workspace

GET, POST, LOOK = {"GET"}, {"POST"}, {"GET", "HEAD"}
#: Every route of the application that a signed-in person reaches, and how. Whatever is in neither list fails the test.
OPEN: dict[str, set[str]] = {
    "/": LOOK,
    "/api/batch": GET,
    "/api/decisions": POST,
    "/api/explain/{image_id}": GET,
    "/api/figures/cell": GET,
    "/api/openapi.json": GET,
    "/api/round": POST,
    "/api/status": GET,
    "/api/try": POST,
    "/assets/{path:path}": LOOK,
    "/config": GET,
    "/favicon.ico": GET,
    "/gradio_api/app_id": GET,
    "/gradio_api/heartbeat/{session_hash}": GET,
    "/gradio_api/queue/data": GET,
    "/gradio_api/queue/join": POST,
    "/gradio_api/reset": POST,
    "/gradio_api/startup-events": GET,
    "/gradio_api/theme.css": GET,
    "/healthz": GET,
    "/image/{image_id}": GET,
    "/login": GET | POST,
    "/logout": POST,
    "/logout-everywhere": POST,
    "/manifest.json": GET,
    "/metrics": GET,
    "/robots.txt": GET,
    "/static/app": LOOK,
    "/static/{path:path}": LOOK,
    "/svelte/{path:path}": LOOK,
    "/theme.css": GET,
}
#: What somebody reaches who is not signed in; of `/static/app` the sign-in page's own style alone.
ANONYMOUS: dict[str, set[str]] = {
    "/favicon.ico": GET,
    "/healthz": GET,
    "/login": GET | POST,
    "/logout": POST,
    "/static/app/login.css": LOOK,
}
FOR_ADMINS = {"/metrics"}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT")
SHUT = {
    "/config/",
    "/gradio_api/api/{api_name}",
    "/gradio_api/api/{api_name}/",
    "/gradio_api/app_id/",
    "/gradio_api/call/v2/{api_name}",
    "/gradio_api/call/v2/{api_name}/",
    "/gradio_api/call/v2/{api_name}/{event_id}",
    "/gradio_api/call/{api_name}",
    "/gradio_api/call/{api_name}/",
    "/gradio_api/call/{api_name}/{event_id}",
    "/gradio_api/cancel",
    "/gradio_api/component_server",
    "/gradio_api/component_server/",
    "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}",
    "/gradio_api/deep_link",
    "/gradio_api/dev/reload",
    "/gradio_api/file/{path:path}",
    "/gradio_api/file={path_or_url:path}",
    "/gradio_api/info",
    "/gradio_api/info/",
    "/gradio_api/login_check",
    "/gradio_api/login_check/",
    "/gradio_api/openapi.json",
    "/gradio_api/process_recording",
    "/gradio_api/proxy={url_path:path}",
    "/gradio_api/queue/status",
    "/gradio_api/reset/",
    "/gradio_api/run/{api_name}",
    "/gradio_api/run/{api_name}/",
    "/gradio_api/runs",
    "/gradio_api/runs/",
    "/gradio_api/stream/{event_id}",
    "/gradio_api/stream/{event_id}/close",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}",
    "/gradio_api/token",
    "/gradio_api/token/",
    "/gradio_api/undo-vibe-edit",
    "/gradio_api/undo-vibe-edit/",
    "/gradio_api/upload",
    "/gradio_api/upload_progress",
    "/gradio_api/user",
    "/gradio_api/user/",
    "/gradio_api/vibe-code",
    "/gradio_api/vibe-code/",
    "/gradio_api/vibe-edit",
    "/gradio_api/vibe-edit/",
    "/gradio_api/vibe-starter-queries",
    "/gradio_api/vibe-starter-queries/",
    "/login/",
    "/monitoring",
    "/monitoring/summary",
    "/monitoring/{key}",
    "/openapi.json",
    "/pwa_icon",
    "/pwa_icon/{size}",
}


def routes(holder: Any, prefix: str = "") -> Iterator[str]:
    """The path of every route below an application, mounts and included routers followed."""
    for route in holder.routes:
        yield from _paths(route, prefix)


def _paths(route: BaseRoute, prefix: str) -> Iterator[str]:
    path = getattr(route, "path", None)
    inner = getattr(route, "original_router", None)  # how FastAPI keeps an included router
    if inner is not None:
        yield from routes(inner, prefix)
    elif hasattr(getattr(route, "app", None), "routes") and type(route).__name__ == "Mount":
        yield from routes(route.app, prefix + (path or ""))  # type: ignore[attr-defined]
    else:
        assert path is not None, f"a route of an unknown kind: {route!r}"
        yield prefix + path


def example(template: str) -> str:
    """A path that the template matches."""
    filled = template
    while "{" in filled:
        start, end = filled.index("{"), filled.index("}")
        filled = f"{filled[:start]}1{filled[end + 1 :]}"
    return f"{filled}/label.js" if template == "/static/app" else filled


def reached(admission: Admission, paths: set[str]) -> dict[str, set[str]]:
    """How each path gets past the guard for somebody, with every method there is."""
    through: dict[str, set[str]] = {}

    async def behind(scope: Any, _receive: Any, send: Any) -> None:
        through.setdefault(scope["template"], set()).add(scope["method"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def admit(_cookies: str) -> Admission:
        return admission

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        pass

    async def ask() -> None:
        door = guard.Guard(behind, admit=admit)
        for path in paths:
            for method in METHODS:
                scope = {"type": "http", "method": method, "path": example(path), "template": path}
                await door({**scope, "headers": [(b"host", b"127.0.0.1:7860")]}, receive, send)

    with ThreadPoolExecutor(1) as aside:  # a browser's loop may be running in this thread
        aside.submit(asyncio.run, ask()).result()
    return through


def test_every_route_is_known(whole: tuple[FastAPI, Workspace]) -> None:
    found = set(routes(whole[0]))
    assert found - set(OPEN) - SHUT == set(), "new routes: decide whether they are open"
    assert set(OPEN) - found == set(), "open for a route that is no more"


@pytest.mark.parametrize("accounts", [False, True])
def test_what_a_signed_in_person_reaches(whole: tuple[FastAPI, Workspace], accounts: bool) -> None:
    found = set(routes(whole[0]))
    assert reached(Admission("anna", "admin", accounts=accounts), found) == OPEN
    for_all = {path: how for path, how in OPEN.items() if path not in FOR_ADMINS}
    assert reached(Admission("bob", "annotator", accounts=accounts), found) == for_all


@pytest.mark.parametrize("accounts", [False, True])
def test_what_an_anonymous_person_reaches(whole: tuple[FastAPI, Workspace], accounts: bool) -> None:
    found = set(routes(whole[0])) | set(ANONYMOUS) | {f"/static/app/{file.name}" for file in PAGE.iterdir()}
    assert reached(Admission("", "", accounts=accounts), found) == ANONYMOUS


def test_every_open_path_has_its_route(whole: tuple[FastAPI, Workspace]) -> None:
    """The guard's list holds nothing that no route stands for."""
    listed = {*openings.OWN, *openings.GRADIO} | {f"{prefix}1" for prefix in openings.BELOW}
    templates = {example(path) for path in routes(whole[0])}
    assert {path for path in listed if path not in templates} == set()


def test_routes_refuse_an_anonymous_person(workspace: Workspace, whole: tuple[FastAPI, Workspace]) -> None:
    """The same with requests to a real application over a record with an account."""
    with workspace.store.write() as session:
        accounts.add(session, "anna", "scrypt$16$8$1$AAAA$AAAA", admin=True)
    client = TestClient(without_gradio(workspace), base_url="http://127.0.0.1:7860", follow_redirects=False)
    for path in sorted(routes(whole[0])):
        for method in ("GET", "POST"):
            answer = client.request(method, example(path), headers={"accept": "text/html"})
            if method in ANONYMOUS.get(path, set()) and path != "/favicon.ico":  # that one is Gradio's
                assert answer.status_code in {200, 303, 415}, path
            elif path in SHUT:
                assert (answer.status_code, answer.json()) == (404, {"detail": "not found"}), path
            elif method in OPEN[path] and path != "/favicon.ico":
                assert answer.status_code == (303 if method == "GET" else 401), path
                assert answer.headers.get("location", "/login") == "/login"


def test_shut_routes_do_not_exist_for_a_visitor(page: TestClient) -> None:
    for path in sorted(SHUT):
        for method in ("GET", "POST"):
            answer = page.request(method, example(path))
            assert answer.status_code == 404, path
            assert answer.json() == {"detail": "not found"}


TRICKS = [
    "../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd", "..\\..\\etc\\passwd", "%00", "1%00.png", "1%0d%0ax: y",
    "http://127.0.0.1:7860/", "http://169.254.169.254/", "~/.ssh/id_rsa", "labeler.db", "-1", "1e9", "x" * 3000,
    "%c0%ae%c0%ae/etc/passwd", "....//....//etc/passwd", ";/etc/passwd", "1;drop table image", "{{7*7}}", "${7*7}",
]  # fmt: skip


def test_no_trick_in_any_part_of_any_path_reaches_a_file(page: TestClient, whole: tuple[FastAPI, Workspace]) -> None:
    """Every parameter of every route, Gradio's too, as somebody who may do everything."""
    asked = 0
    for template in sorted(routes(whole[0])):
        if "{" not in template or "heartbeat" in template:  # a stream without an end; its parameter is no path
            continue
        before, _, after = template.partition("{")
        rest = example("{" + after)[1:]
        for trick in TRICKS:
            answer = page.get(before + trick + rest, headers={"accept": "*/*"})
            assert answer.status_code in {400, 403, 404, 405, 422}, (template, trick, answer.status_code)
            assert "root:" not in answer.text
            assert "x" not in answer.headers
            asked += 1
    assert asked > 20 * len(TRICKS)


@pytest.mark.parametrize("path", sorted(path for path in OPEN if "POST" in OPEN[path]))
def test_ten_million_bytes(page: TestClient, path: str) -> None:
    """Refused before anything of it is looked at; where images may come, this is no image."""
    body = b"0" * 10_000_000
    kind = {"content-type": "application/json"}
    if path == "/api/try":
        assert page.post(path, content=body, headers=kind).status_code in {400, 422, 503}
        body = b"0" * (20 * 2**20 + 1)
    assert page.post(path, content=body, headers=kind).status_code == 413


def test_bodies_grow_in_pieces_without_being_copied_each_time(page: TestClient) -> None:
    def pieces() -> Iterator[bytes]:  # no Content-Length
        for _ in range(20 * 2**10 + 1):
            yield b"0" * 1024

    assert page.post("/api/try", content=pieces()).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../etc/passwd",
        "/gradio_api/file=pools/Unlabelled",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/static/../gradio_api/file=/etc/passwd",
        "/static/app/../../labeler/domain.py",
        "/static/app/%2e%2e/%2e%2e/app.py",
        "/static/app/..%2f..%2fapp.py",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/index.html",
        "/assets/..\\..\\x",
        "//etc/passwd",
        "/db/labeler.db",
        "/labeler.toml",
        "/.env",
    ],
)
def test_no_file_of_the_disk_is_reached(page: TestClient, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code in {403, 404}, answer.text[:200]
    assert "root:" not in answer.text


def test_upload_is_shut(page: TestClient) -> None:
    assert page.post("/gradio_api/upload", files={"files": ("a.txt", b"x")}).status_code == 404


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9999", "localhost:7860", "LOCALHOST", "[::1]:7860", "127.1.2.3"]
)
def test_own_hosts(page: TestClient, host: str) -> None:
    assert page.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "127.0.0.1.example.org",
        "localhost.example.org",
        "example.org:7860",
        "0.0.0.0:7860",
        "192.168.1.2:7860",
        "2130706433",
        "user@example.org",
        "[::2]",
        "[",
        "",
    ],
)
def test_foreign_hosts(page: TestClient, host: str) -> None:
    """A page whose name was made to resolve to this machine still says its own name."""
    assert page.get("/healthz", headers={"host": host}).status_code == 421
    assert page.get("/api/batch", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://example.org"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://127.0.0.1:7861"},
        {"origin": "null"},
        {"origin": "file://"},
        {"origin": "http://127.0.0.1:7860@example.org"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_foreign_origins(page: TestClient, headers: dict[str, str]) -> None:
    assert page.post("/api/round", json={}, headers=headers).status_code == 403
    assert page.post("/gradio_api/queue/join", json={}, headers=headers).status_code == 403


def test_own_origin(page: TestClient) -> None:
    headers = {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"}
    assert page.post("/api/round", json={}, headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods(page: TestClient, method: str) -> None:
    assert page.request(method, "/api/batch").status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/api/batch", "/nothing", "/static/app/label.js", "/gradio_api/app_id", "/image/x"]
)
def test_every_answer_carries_the_headers(page: TestClient, path: str) -> None:
    answer = page.get(path, headers={"origin": "http://localhost:3000"})
    for name, value in guard.HEADERS:
        assert answer.headers.get_list(name.decode()) == [value.decode()]
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_page_tells_nothing_of_the_disk(page: TestClient, whole: tuple[FastAPI, Workspace]) -> None:
    for path in ("/", "/config"):
        text = page.get(path).text
        assert str(whole[1].paths.root) not in text
        assert str(Path.home()) not in text
        assert str(Path(guard.__file__).parents[2]) not in text


def test_websockets_are_closed(page: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), page.websocket_connect("/gradio_api/queue/join"):
        pass


def test_own_files_are_asked_about_again(page: TestClient) -> None:
    assert page.get("/static/app/label.js").headers["cache-control"] == "no-cache"


def _door(behind: Any, **limits: float) -> guard.Guard:
    async def admit(_cookies: str) -> Admission:
        return Admission("me", "annotator", accounts=False)

    return guard.Guard(behind, admit=admit, **limits)


def _through(
    *chunks: bytes, ends: bool = True, announced: bytes | None = None
) -> tuple[list[dict[str, Any]], list[int]]:
    """Send a body in pieces through a guard; what was answered, and how long the body was behind it."""
    seen: list[int] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        seen.append(len(message["body"]))
        assert not message["more_body"]
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    pieces = [*chunks]

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces) or not ends}

    answered: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        answered.append(dict(message))

    headers = [(b"host", b"localhost")] + ([(b"content-length", announced)] if announced else [])
    scope = {"type": "http", "method": "POST", "path": "/api/round", "headers": headers}
    with ThreadPoolExecutor(1) as aside:  # a browser's loop may be running in this thread
        aside.submit(asyncio.run, _door(behind)(scope, receive, send)).result()
    return answered, seen


def test_a_body_in_pieces_arrives_whole_and_the_answer_is_not_held_back() -> None:
    answered, seen = _through(b"a" * 1000, b"b" * 500)
    assert seen == [1500]
    assert [message["type"] for message in answered] == ["http.response.start"] + ["http.response.body"] * 3


def test_a_body_that_grows_too_large_never_gets_behind_the_door() -> None:
    piece = b"a" * 65536
    answered, seen = _through(*([piece] * 5))
    assert (answered[0]["status"], seen) == (413, [])
    answered, seen = _through(b"", announced=b"999999999")
    assert (answered[0]["status"], seen) == (413, [])
    assert _through(b"", announced=b"9" * 5000)[0][0]["status"] == 413
    assert _through(b"", announced="²".encode("latin-1"))[0][0]["status"] == 413


def test_a_body_that_breaks_off_never_gets_behind_the_door() -> None:
    """Half an operation is none, even where half of it could be read as a whole."""
    answered, seen = _through(b'{"round": 1}', ends=False)
    assert (answered[0]["status"], seen) == (400, [])


@pytest.mark.parametrize(("limits", "pause_s"), [({"idle_s": 0.05}, 3600.0), ({"whole_s": 0.2}, 0.01)])
def test_a_body_that_does_not_come_is_given_up(limits: dict[str, float], pause_s: float) -> None:
    answered: list[dict[str, Any]] = []

    async def behind(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("let through")

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        answered.append(dict(message))

    scope = {"type": "http", "method": "POST", "path": "/api/round", "headers": [(b"host", b"localhost")]}
    with ThreadPoolExecutor(1) as aside:
        aside.submit(asyncio.run, _door(behind, **limits)(scope, receive, send)).result()
    assert answered[0]["status"] == 408
    assert (b"connection", b"close") in answered[0]["headers"]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "SAME-ORIGIN", ""])
def test_a_foreign_page_does_not_even_ask(page: TestClient, site: str) -> None:
    """Asking for a batch leases images."""
    for path in ("/api/batch", "/api/status", "/metrics", "/api/explain/1"):
        assert page.get(path, headers={"sec-fetch-site": site}).status_code == 403
    assert page.get("/", headers={"sec-fetch-site": site}).status_code == 403
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert page.get("/", headers=link).status_code == 200  # a link to the page is no harm
    assert page.get("/", headers={**link, "sec-fetch-dest": "iframe"}).status_code == 403
    assert page.get("/api/batch", headers=link).status_code == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_page_may_ask(page: TestClient, site: str) -> None:
    assert page.get("/api/batch", headers={"sec-fetch-site": site}).status_code == 200


@pytest.mark.parametrize("host", ["pool.example", "10.1.2.3:7860", "[fe80::1]:80", "bücher.example"])
def test_with_accounts_the_page_has_any_name(host: str) -> None:
    assert _asked_as(host, accounts=True) == 200
    assert _asked_as(host, accounts=False) == 421


@pytest.mark.parametrize("host", ["", "[", ":80"])
def test_a_host_that_is_none_is_refused_with_accounts_too(host: str) -> None:
    assert _asked_as(host, accounts=True) == 421


def test_with_accounts_a_post_still_comes_from_the_page_itself() -> None:
    own = [(b"origin", b"http://pool.example:7860")]
    assert _asked_as("pool.example:7860", accounts=True, method="POST", more=own) == 200
    assert _asked_as("pool.example", accounts=True, method="POST", more=own) == 403
    assert _asked_as("evil.example", accounts=True, method="POST", more=own) == 403


def test_two_hosts_are_none() -> None:
    assert _asked_as("localhost", accounts=False, more=[(b"host", b"localhost")]) == 421
    assert _asked_as("localhost", accounts=True, more=[(b"host", b"evil.example")]) == 421


def _asked_as(host: str, *, accounts: bool, method: str = "GET", more: list[tuple[bytes, bytes]] | None = None) -> int:
    statuses: list[int] = []

    async def behind(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def admit(_cookies: str) -> Admission:
        return Admission("anna", "admin", accounts=accounts)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    path = "/api/round" if method == "POST" else "/api/batch"
    headers = [(b"host", host.encode()), *(more or [])]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    with ThreadPoolExecutor(1) as aside:
        aside.submit(asyncio.run, guard.Guard(behind, admit=admit)(scope, receive, send)).result()
    return statuses[0]
