"""No path, parameter or route of ours or of Gradio's leads to a file, to another machine, or out of the page."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

import pytest

from labeler.review.openings import BELOW, GRADIO, OWN
from tests.security.site import ADMIN, ANNOTATOR, Site

#: Ways to say "a file up there", raw as no client library would send them.
TRICKS = [
    "../../../../../../etc/passwd", "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd", "%2fetc%2fpasswd", "//etc/passwd", "file:///etc/passwd", "..\\..\\..\\etc\\passwd",
    "%5c..%5c..%5cetc%5cpasswd", "....//....//etc/passwd", "%252e%252e%252fetc%252fpasswd", "..%c0%afetc/passwd",
    "%00/etc/passwd", "x%00.png", "~/.ssh/id_rsa", "app/../../../../etc/passwd", "app/%2e%2e/app.py", ".env",
    "..;/..;/etc/passwd", "proc/self/environ", "/proc/self/cmdline", "db/labeler.db", "labeler.toml",
    "pools/Unlabelled", "http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", "a" * 5000,
]  # fmt: skip
GRADIO_ROUTES = [
    "/gradio_api/file=", "/file=", "/gradio_api/file/", "/file/", "/gradio_api/proxy=", "/proxy=", "/gradio_api/run/",
    "/gradio_api/stream/", "/gradio_api/custom_component/", "/gradio_api/upload?upload_id=", "/gradio_api/call/",
    "/gradio_api/upload_progress?upload_id=", "/gradio_api/deep_link?session_hash=", "/gradio_api/vibe-edit/",
    "/gradio_api/component_server/", "/monitoring/", "/gradio_api/dev/reload?", "/pwa_icon/", "/theme.css?",
    "/config?", "/gradio_api/login_check", "/gradio_api/token", "/gradio_api/user", "/gradio_api/process_recording",
    "/.git/config",
]  # fmt: skip
#: What would be in the answer if one of them led to a file.
TELLTALES = ("root:", "SQLite format 3", "GRADIO_TEMP_DIR", "classes = [", "def ", "PRIVATE KEY", "meta-data")


def clean(text: str, site: Site) -> bool:
    return not any(
        sign in text for sign in (*TELLTALES, str(site.root), str(Path.home()) + "/", os.sep + "site-packages")
    )


def test_no_trick_in_any_route_as_an_administrator(site: Site) -> None:
    with site.visitor(ADMIN) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    asked = 0
    for before, trick in itertools.product([*BELOW, *GRADIO_ROUTES], TRICKS):
        if "heartbeat" in before:
            continue  # it takes any text for the name of a page, and lasts
        status, _, body = site.ask(before + trick.replace("\\", "%5c"), f"cookie: {cookie}", "accept: */*")
        assert clean(body, site), (before, trick, body[:300])
        if not before.startswith(("/theme.css?", "/config?")):
            assert status in {400, 403, 404, 405, 422}, (before, trick, status)
        asked += 1
    assert asked > 500


@pytest.mark.parametrize("name", ["mode", "now", "after", "v", "size", "true", "predicted", "session_hash", "view"])
def test_no_trick_in_any_parameter(site: Site, name: str) -> None:
    with site.visitor(ANNOTATOR) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    paths = [path for path, how in {**OWN, **GRADIO}.items() if "GET" in how and path != "/gradio_api/queue/data"]
    for path in [*paths, "/image/1", "/api/explain/1"]:
        for trick in ("../../../../etc/passwd", "/etc/passwd%00", "file:///etc/passwd", "%0d%0ax-injected:%20yes"):
            status, head, body = site.ask(f"{path}?{name}={trick}", f"cookie: {cookie}")
            assert status < 500
            assert "x-injected" not in head.lower()
            assert path == "/config" or path == "/" or clean(body, site), (path, trick)


def test_the_server_fetches_nothing_for_anybody(site: Site) -> None:
    """Gradio can fetch an address for a page (its proxy, its files by URL): server-side request forgery."""
    with socket.create_server(("127.0.0.1", 0)) as inside, site.visitor(ADMIN) as client:
        inside.settimeout(0.3)
        address = f"http://127.0.0.1:{inside.getsockname()[1]}/secret"
        for path in (
            f"/gradio_api/proxy={address}",
            f"/gradio_api/file={address}",
            f"/gradio_api/deep_link?x={address}",
        ):
            assert client.get(path).status_code == 404
        file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
        body = {"data": [file], "fn_index": 0, "session_hash": "ssrf"}
        assert client.post("/gradio_api/queue/join", json=body).status_code < 500
        assert client.post("/api/try", content=address.encode()).status_code in {400, 503}
        with pytest.raises(TimeoutError):
            inside.accept()


ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "%0d%0alocation:%20//x",
]


@pytest.mark.parametrize("where", ELSEWHERE)
def test_nobody_is_sent_anywhere_but_to_our_own_page(site: Site, where: str) -> None:
    """Open redirect: signing in and out lead to fixed places, whatever a link to them says."""
    with site.visitor() as client:
        for name in ("next", "url", "redirect", "return_to", "target", "continue"):
            answer = client.get(f"/?{name}={where}", headers={"accept": "text/html"})
            assert (answer.status_code, answer.headers["location"]) == (303, "/login")
            answer = client.post(f"/login?{name}={where}", data={"name": "x", "password": "y", name: where})
            assert "location" not in answer.headers
            assert "evil.example" not in answer.text
            answer = client.post(f"/logout?{name}={where}", headers={"accept": "text/html"})
            assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        for path in ("//evil.example/..", "/evil.example/%2f..", "/static/app//evil.example", "/%5cevil.example"):
            assert "location" not in client.get(path).headers
    for target in ("http://evil.example/", "//evil.example/"):
        _, head, _ = site.ask(target, "accept: text/html")
        assert "\nlocation: /login\r" in head.lower() or "\nlocation:" not in head.lower()
