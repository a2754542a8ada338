"""What every answer carries, and what none may hold: whatever the kind, also when it is an error."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import labeler
from labeler.domain import RecordError
from labeler.record.store import Store
from labeler.review.answers import HEADERS, LOGIN_POLICY
from labeler.review.app import without_gradio
from labeler.rounds import Workspace
from tests.security.proposals import take_in
from tests.security.site import ADMIN, ANNOTATOR, Site

#: Kind of answer -> method, target, headers.
ANSWERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "the page": ("GET", "/", {}),
    "to be signed in": ("GET", "/login", {}),
    "json": ("GET", "/api/batch", {}),
    "nothing there": ("GET", "/nothing", {}),
    "no such image": ("GET", "/image/999?v=" + "0" * 64, {}),
    "no number": ("GET", "/image/x", {}),
    "a script": ("GET", "/static/app/label.js", {}),
    "a script that is not there": ("GET", "/static/app/none.js", {}),
    "of Gradio": ("GET", "/config", {}),
    "Gradio's own error": ("GET", "/assets/none.js", {}),
    "a method that is not allowed": ("DELETE", "/api/batch", {}),
    "a foreign page": ("POST", "/api/round", {"origin": "https://evil.example"}),
    "no JSON": ("POST", "/api/decisions", {"content-type": "application/json"}),
    "not for annotators": ("GET", "/metrics", {}),
    "no such function": ("POST", "/gradio_api/queue/join", {"content-type": "application/json"}),
    "the API's description": ("GET", "/api/openapi.json", {}),
    "health": ("GET", "/healthz", {}),
}
KINDS = {"text/html", "text/plain", "text/javascript", "application/javascript", "application/json"}


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_kind_of_answer_carries_the_headers_once(site: Site, kind: str) -> None:
    method, target, headers = ANSWERS[kind]
    for name in (ANNOTATOR, None):
        with site.visitor(name) as client:
            answer = client.request(method, target, headers=headers, content=b"{" if method == "POST" else None)
        assert answer.status_code < 500
        for header, value in HEADERS:
            wanted = value.decode()
            if target == "/login" and header == b"content-security-policy":
                wanted = LOGIN_POLICY
            assert answer.headers.get_list(header.decode()) == [wanted], (kind, header)
        assert "server" not in answer.headers
        assert "x-powered-by" not in answer.headers
        assert answer.headers.get_list("cache-control") in (["no-store"], ["no-cache"]) or target.startswith("/assets")
        if answer.content:
            assert re.match(
                r"(text/(html|plain)|(text|application)/javascript|application/json)", answer.headers["content-type"]
            )


def test_what_the_policy_forbids() -> None:
    """Scripts and connections of other hosts, framing, plugins, another base, forms to elsewhere."""
    policy = dict(part.split(" ", 1) for part in dict(HEADERS)[b"content-security-policy"].decode().split("; "))
    for rule in ("script-src", "connect-src", "style-src", "default-src", "form-action", "base-uri"):
        assert policy[rule].split()[0] == "'self'"
        assert not re.search(r"https?:|\*", policy[rule])
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"


# --------------------------------------------------------------------------------------------------- header injection


def test_no_line_break_gets_into_a_head(site: Site) -> None:
    with site.visitor(ANNOTATOR) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    for target in (
        "/%0d%0ax-injected:%20yes", "/login%0d%0ax-injected:%20yes", "/static/%0d%0ax-injected:%20yes",
        "/?x=%0d%0ax-injected:%20yes", "/image/1%0d%0ax-injected:%20yes", "/api/batch?mode=%0d%0ax-injected:%20yes",
    ):  # fmt: skip
        for more in ((), (f"cookie: {cookie}",), ("accept: text/html",), ("x-request-id: a%0d%0ax-injected: yes",)):
            _, head, _ = site.ask(target, *more)
            assert "x-injected" not in head.lower(), (target, head)
    with site.visitor() as nobody:
        for name in ("a\r\nx-injected: yes", "a\nset-cookie: b=c", "a\u2028b", "\r\n\r\n<script>alert(1)</script>"):
            answer = nobody.post("/login", data={"name": name, "password": "y"})
            assert "x-injected" not in answer.headers
            assert "set-cookie" not in answer.headers
            assert "<script" not in answer.text


def test_a_file_name_gets_into_no_head(alone: Workspace) -> None:
    image = take_in(alone, 'a"; filename="x.html\r\nx-injected: yes.png', 7)
    client = TestClient(without_gradio(alone), base_url="http://127.0.0.1:7860")
    answer = client.get(f"/image/{image.id}", params={"v": image.sha256})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:3] == b"\xff\xd8\xff"  # drawn anew: nothing of the file's own bytes reaches a browser
    assert not {"x-injected", "content-disposition"} & set(answer.headers)


# -------------------------------------------------------------------------------------------------------- errors


@pytest.fixture
def broken(alone: Workspace) -> TestClient:
    client = TestClient(without_gradio(alone), base_url="http://127.0.0.1:7860", raise_server_exceptions=False)
    assert client.get("/api/status").status_code == 200
    return client


SECRET = "/srv/secret/place"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError(f"boom in {SECRET}"), 500),
        (OSError(28, "No space left on device", f"{SECRET}/labeler.db"), 500),
        (KeyError(SECRET), 500),
        (RecordError(f"the record {SECRET}/labeler.db could not be written", "free the disk"), 503),
    ],
)
def test_an_error_tells_nothing_of_the_machine(
    broken: TestClient, alone: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    error: Exception, status: int,
) -> None:  # fmt: skip
    """The answer has our headers and one line; the server's log has the rest."""

    def failing(_self: Store) -> None:
        raise error

    token = broken.get("/api/batch").json()["workspace"]
    image = take_in(alone, f"{type(error).__name__}.png", 20 + len(repr(error)))
    monkeypatch.setattr(Store, "read", failing)
    monkeypatch.setattr(Store, "write", failing)
    op = {"op_id": "broken-0001", "sha256": image.sha256, "action": "skip", "label": None}
    body = {"round": None, "expected_user": "local", "workspace": token, "ops": [op]}
    with caplog.at_level(logging.ERROR):
        answers = [
            broken.get("/api/status"), broken.get("/api/batch"), broken.get(f"/image/{image.id}?v={image.sha256}"),
            broken.get(f"/api/explain/{image.id}?v={image.sha256}"), broken.post("/api/decisions", json=body),
            broken.post("/api/round"), broken.get("/metrics"), broken.get("/healthz"),
        ]  # fmt: skip
    assert status in {answer.status_code for answer in answers}
    for answer in answers:
        for part in (SECRET, "Traceback", 'File "', str(alone.paths.root), str(Path(labeler.__file__).parent)):
            assert part not in answer.text, answer.text
        for header, value in HEADERS:
            assert answer.headers.get_list(header.decode()) == [value.decode()]
    decided = answers[4]
    if decided.status_code == 200:
        [ack] = decided.json()["acks"]
        assert (ack["stored"], ack["final"]) == (False, False)  # to be sent again
        assert ack["error"]
    assert SECRET in caplog.text


def test_the_api_is_described_to_whoever_is_signed_in(site: Site) -> None:
    with site.visitor(ANNOTATOR) as client, site.visitor(ADMIN) as admin, site.visitor() as nobody:
        assert nobody.get("/api/openapi.json").status_code == 401
        assert client.get("/api/openapi.json").json() == admin.get("/api/openapi.json").json()
        for path in ("/docs", "/redoc", "/openapi.json", "/gradio_api/openapi.json", "/gradio_api/info"):
            assert admin.get(path).status_code == 404
