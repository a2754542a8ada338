"""Requests that a page elsewhere makes in a signed-in person's browser, and others that are not what they seem."""

from __future__ import annotations

import itertools
import json

import pytest
from starlette.testclient import TestClient

from labeler.review.app import without_gradio
from labeler.rounds import Workspace
from tests.security.site import ANNOTATOR, Site

PATHS = (
    "/api/decisions",
    "/api/round",
    "/api/try",
    "/login",
    "/logout",
    "/logout-everywhere",
    "/gradio_api/queue/join",
)
#: What a page can have a browser send elsewhere: of these JSON only with leave, which is never given.
BODIES = [
    ("application/json", b"{}"),
    ("application/x-www-form-urlencoded", b"name=carl&password=x"),
    ("text/plain", b"{}"),
    ("multipart/form-data; boundary=x", b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n'),
]
FOREIGN: dict[str, dict[str, str]] = {
    "another site": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "a subdomain's neighbour": {"sec-fetch-site": "same-site"},
    "an old browser": {"origin": "https://evil.example"},
    "a sandboxed frame": {"origin": "null"},
    "another port": {"origin": "http://127.0.0.1:1"},
    "the same name by TLS and another port": {"origin": "https://127.0.0.1"},
}


@pytest.mark.parametrize("how", FOREIGN)
def test_a_foreign_page_changes_nothing(site: Site, how: str) -> None:
    """With the person's own cookie, which SameSite would keep back: the door does not lean on that alone."""
    with site.visitor(ANNOTATOR) as client:
        before = client.get("/api/status").json()
        for path, body in itertools.product(PATHS, BODIES):
            answer = client.post(path, content=body[1], headers={"content-type": body[0], **FOREIGN[how]})
            assert answer.status_code == 403, (path, body)
            assert "set-cookie" not in answer.headers
        assert client.get("/api/status").json()["labelled"] == before["labelled"]


def test_json_under_another_name_is_not_read(site: Site) -> None:
    """A form may send text/plain without asking first: it is no JSON, whatever it looks like."""
    with site.visitor(ANNOTATOR) as client:
        body = {"round": 1, **site.identity(client), "ops": [{"op_id": "cross-site-1", "sha256": "0" * 64}]}
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            answer = client.post("/api/decisions", content=json.dumps(body), headers={"content-type": kind})
            assert answer.status_code == 422, kind


@pytest.mark.parametrize(
    ("path", "mode", "dest", "status"),
    [
        ("/", "navigate", "document", 200),
        ("/", "navigate", "iframe", 403),
        ("/", "no-cors", "script", 403),
        ("/config", "no-cors", "script", 403),
        ("/api/batch", "navigate", "document", 403),
        ("/static/app/label.js", "no-cors", "script", 403),
        ("/gradio_api/queue/data?session_hash=x", "no-cors", "image", 403),
        ("/gradio_api/heartbeat/x", "cors", "empty", 403),
        ("/image/1", "no-cors", "image", 403),
        ("/metrics", "no-cors", "image", 403),
    ],
)
def test_a_foreign_page_may_only_link_to_ours(site: Site, path: str, mode: str, dest: str, status: int) -> None:
    with site.visitor(ANNOTATOR) as client:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode, "sec-fetch-dest": dest}
        assert client.get(path, headers=headers).status_code == status


def test_no_answer_gives_leave_to_other_origins(site: Site) -> None:
    with site.visitor(ANNOTATOR) as client:
        for origin in ("http://localhost:3000", "https://evil.example", "null"):
            preflight = client.options(
                "/api/decisions", headers={"origin": origin, "access-control-request-method": "POST"}
            )
            got = client.get("/gradio_api/app_id", headers={"origin": origin})
            assert preflight.status_code == 405
            for answer in (preflight, got):
                assert not [name for name in answer.headers if name.startswith("access-control-")]


# ------------------------------------------------------------------------------------------------ whom it is meant for


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "192.0.2.9"},
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=192.0.2.9"},
        {"x-real-ip": "192.0.2.9"},
        {"x-forwarded-proto": "https"},
        {"x-forwarded-host": "labels.example"},
        {"via": "1.1 proxy"},
    ],
)
def test_without_accounts_nobody_comes_through_a_proxy(alone: Workspace, headers: dict[str, str]) -> None:
    """A proxy says our own address as `Host` unless told otherwise: everybody would be this machine's one user."""
    client = TestClient(without_gradio(alone), base_url="http://127.0.0.1:7860")
    assert client.get("/api/batch").status_code == 200
    for path in ("/api/batch", "/", "/healthz"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 421
        assert "labeler users add" in answer.json()["detail"]


@pytest.mark.parametrize("address", ["192.0.2.9", "2001:db8::1", "10.0.0.1"])
def test_without_accounts_only_this_machine_is_admitted(alone: Workspace, address: str) -> None:
    client = TestClient(without_gradio(alone), base_url="http://127.0.0.1:7860", client=(address, 1))
    assert client.get("/api/batch").status_code == 421
    near = TestClient(without_gradio(alone), base_url="http://127.0.0.1:7860", client=("127.0.0.1", 1))
    assert near.get("/api/batch").status_code == 200


def test_a_name_made_to_resolve_to_this_machine(alone: Workspace) -> None:
    """DNS rebinding: the foreign page's own name is in `Host`."""
    client = TestClient(without_gradio(alone), base_url="http://127.0.0.1:7860")
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "127.0.0.1:7860@evil.example", "0"):
        assert client.get("/api/batch", headers={"host": host}).status_code == 421


# ------------------------------------------------------------------------------------------------------ odd requests


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"])
def test_other_methods(site: Site, method: str) -> None:
    status, head, _ = site.ask("/api/batch", method=method)
    assert status in {400, 405}
    if status == 405:
        assert "allow: GET" in head


@pytest.mark.parametrize(
    "headers",
    [
        ("content-length: 5", "transfer-encoding: chunked"),
        ("content-length: 5", "content-length: 6"),
        ("content-length: -1",),
        ("content-length: 0x10",),
        ("transfer-encoding: chunked, identity",),
        ("transfer-encoding : chunked",),
        ("x: a\0b",),
        ("\0x: y",),
        (" folded: yes",),
    ],
)
def test_a_request_with_two_readings_is_none(site: Site, headers: tuple[str, ...]) -> None:
    """What a proxy could read in another way than this server (request smuggling) is refused whole."""
    lines = ["POST /api/round HTTP/1.1", "host: 127.0.0.1", *headers, "content-type: application/json"]
    smuggled = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    answer = site.raw(("\r\n".join(lines) + "\r\n\r\n").encode() + smuggled)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401")), answer[:200]
    assert answer.count(b"HTTP/1.1") == 1, answer


def test_two_hosts_are_none(site: Site) -> None:
    assert site.ask("/healthz", "host: 127.0.0.1")[0] in {400, 421}


def test_no_websocket_is_opened(site: Site) -> None:
    headers = ["upgrade: websocket", "connection: Upgrade", "sec-websocket-version: 13", "sec-websocket-key: eA=="]
    for target in ("/", "/gradio_api/queue/join", "/api/batch", "/ws"):
        status, _, _ = site.ask(target, *headers)
        assert status in {400, 401, 404, 405}, target
