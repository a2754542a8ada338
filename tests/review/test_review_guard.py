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

from labeler.review import guard
from labeler.rounds import Workspace

#: Every route of the application by whether a request gets through; a route in neither list fails the test.
OPEN = {
    "/",
    "/api/batch",
    "/api/decisions",
    "/api/openapi.json",
    "/api/round",
    "/assets/{path:path}",
    "/config",
    "/favicon.ico",
    "/gradio_api/app_id",
    "/gradio_api/heartbeat/{session_hash}",
    "/gradio_api/queue/data",
    "/gradio_api/queue/join",
    "/gradio_api/reset",
    "/gradio_api/startup-events",
    "/gradio_api/theme.css",
    "/healthz",
    "/image/{image_id}",
    "/manifest.json",
    "/robots.txt",
    "/static/app",
    "/static/{path:path}",
    "/svelte/{path:path}",
    "/theme.css",
}
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
    "/login",
    "/login/",
    "/logout",
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


def test_every_route_is_known(whole: tuple[FastAPI, Workspace]) -> None:
    found = set(routes(whole[0]))
    assert found - OPEN - SHUT == set(), "new routes: decide whether they are open"
    assert OPEN - found == set(), "open for a route that is no more"
    assert {path for path in found if guard.is_open(example(path))} == OPEN


def test_shut_routes_do_not_exist_for_a_visitor(page: TestClient) -> None:
    for path in sorted(SHUT):
        for method in ("GET", "POST"):
            answer = page.request(method, example(path))
            assert answer.status_code == 404, path
            assert answer.json() == {"detail": "not found"}


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


def _through(
    *chunks: bytes, more: bool = True, announced: bytes | None = None
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

    pieces = iter([*chunks])

    async def receive() -> dict[str, Any]:
        piece = next(pieces, None)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": more}

    answered: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        answered.append(dict(message))

    headers = [(b"host", b"localhost")] + ([(b"content-length", announced)] if announced else [])
    scope = {"type": "http", "method": "POST", "path": "/api/round", "headers": headers}
    with ThreadPoolExecutor(1) as aside:  # a browser's loop may be running in this thread
        aside.submit(asyncio.run, guard.Guard(behind, user="me")(scope, receive, send)).result()
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
