"""What monitors ask, and what the log tells of requests: health, metrics, request ids."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from labeler import heart, logs
from labeler.domain import RecordError, SettingError
from labeler.record import accounts
from labeler.review import health, openings, watching
from labeler.review.app import without_gradio
from labeler.rounds import Workspace

Client = Callable[..., TestClient]
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def visitor(workspace: Workspace) -> Client:
    """Somebody who asks, of a server with these settings."""

    def visiting(*, loopback: bool = True, pid: int | None = None, **settings: Any) -> TestClient:
        workspace.settings = workspace.settings.replace(**settings)
        app = without_gradio(workspace, loopback=loopback, worker_pid=lambda: pid)
        return TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=False)

    return visiting


@pytest.fixture
def with_account(workspace: Workspace) -> None:
    with workspace.store.write() as session:
        accounts.add(session, "anna", "no hash of any password", admin=True)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[dict[str, object]]]:
    """The fields of every line of that kind, with its level."""
    caplog.set_level(logging.DEBUG, "labeler")

    def find(event: str) -> list[dict[str, object]]:
        found = [record for record in caplog.records if record.getMessage() == event]
        return [{"level": record.levelname, **getattr(record, logs._FIELDS)} for record in found]

    return find


def figures(answer: Any) -> dict[str, float]:
    """Every sample of an answer, by its name and labels; in a form that Prometheus reads."""
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {"".join([one.name, *(f"|{value}" for value in one.labels.values())]): one.value for one in samples}


# ---------------------------------------------------------------------------------------------------------- health


def test_a_healthy_server_says_so(visitor: Client, workspace: Workspace) -> None:
    heart.Heart(workspace.paths).beat()
    answer = visitor(pid=os.getpid()).get("/healthz")
    document = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert (document["status"], document["record_writable"], document["moves_pending"]) == ("ok", True, 0)
    assert document["worker"]["alive"]
    assert 0 <= document["worker"]["heartbeat_s"] < 60
    assert document["disk_free_mb"] == pytest.approx(shutil.disk_usage(workspace.paths.db).free / 2**20, rel=0.2)
    assert str(workspace.paths.root) not in answer.text


@pytest.mark.usefixtures("with_account")
def test_a_stranger_is_told_the_status_alone(visitor: Client) -> None:
    assert visitor(loopback=False).get("/healthz").json() == {"status": "ok"}
    answer = visitor(loopback=False, least_free_mb=2**50).get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing"})


def test_a_worker_that_is_gone_is_told_and_fails_nothing(visitor: Client, workspace: Workspace) -> None:
    beats = heart.Heart(workspace.paths)
    beats.beat()
    os.utime(workspace.paths.db / heart._HEARTBEAT, (time.time() - 500, time.time() - 500))
    answer = visitor(pid=None).get("/healthz")
    assert answer.status_code == 200
    assert not answer.json()["worker"]["alive"]
    assert answer.json()["worker"]["heartbeat_s"] == pytest.approx(500, abs=60)


def test_a_nearly_full_disk_fails(visitor: Client, said: Callable[[str], list[dict[str, object]]]) -> None:
    client = visitor(least_free_mb=2**50)
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert "the disk is nearly full" in answer.json()["reasons"][0]
    assert answer.json()["record_writable"]
    client.get("/healthz")
    assert len(said("health failing")) == 1, "once, not with every question"


def test_a_record_that_is_gone_fails(
    visitor: Client, workspace: Workspace, said: Callable[[str], list[dict[str, object]]]
) -> None:
    """Also where the door cannot even ask whose request it is; and that is no bug, so there is no traceback."""
    client = visitor()
    workspace.close()
    workspace.paths.database.rename(workspace.paths.db / "elsewhere")
    for path in ("/healthz", "/api/status"):
        answer = client.get(path)
        assert answer.status_code == 503, path
        assert str(workspace.paths.root) not in answer.text
    failed = said("request failed")
    assert [one["status"] for one in failed] == [503, 503]
    assert all(one["reason"] for one in failed)
    found = health.Examiner(workspace).now()
    assert not found.record_writable
    assert found.reasons


def test_a_folder_that_takes_nothing_fails_and_leaves_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, visitor: Client
) -> None:
    before = sorted(workspace.paths.db.iterdir())
    assert visitor().get("/healthz").status_code == 200
    assert sorted(workspace.paths.db.iterdir()) == before

    def full(*_given: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labeler.review.health.tempfile.TemporaryFile", full)
    answer = visitor().get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["the record's folder cannot be written: No space left on device"]


def test_a_record_that_another_holds_fails_while_it_does(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, visitor: Client
) -> None:
    """The real lock of another connection; writes wait behind it, the question does not."""
    monkeypatch.setattr(health, "LOCKED_S", 0.2)
    monkeypatch.setattr(health, "KEPT_S", 0.0)
    client = visitor()
    with closing(sqlite3.connect(workspace.paths.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = [threading.Thread(target=workspace.request_round) for _ in range(2)]
        for thread in writing:
            thread.start()
        started = time.monotonic()
        time.sleep(0.5)
        answer = client.get("/healthz")
        held = time.monotonic() - started
        other.execute("ROLLBACK")
        for thread in writing:
            thread.join()
    assert answer.status_code == 503
    assert re.match(r"the record has been locked for \d+ s", answer.json()["reasons"][0])
    assert client.get("/healthz").status_code == 200
    waits = workspace.store.contention.waits()
    assert waits.waited_s > 1.6 * held, "one for the other process, one for its turn"
    assert (waits.waiting_s, waits.locked) == (0, 0)


def test_a_write_in_vain_is_counted_and_fails_until_one_succeeds(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, visitor: Client
) -> None:
    monkeypatch.setattr(health, "KEPT_S", 0.0)
    client = visitor()

    def write(statement: str) -> None:
        with workspace.store.write() as session:
            session.connection().exec_driver_sql("PRAGMA busy_timeout = 50")
            session.connection().exec_driver_sql(statement)

    write("PRAGMA query_only = ON")  # what follows is refused, as on a disk that is read only
    with pytest.raises(RecordError):
        workspace.request_round()
    assert workspace.store.contention.waits().refused == 1
    assert client.get("/healthz").status_code == 503
    with workspace.store.read() as session:
        session.connection().exec_driver_sql("PRAGMA query_only = OFF")
    workspace.request_round()
    assert client.get("/healthz").status_code == 200


def test_a_look_is_kept_for_a_second(visitor: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    live = workspace.live
    monkeypatch.setattr(workspace, "live", lambda: looked.append(1) or live())  # type: ignore[func-returns-value]
    monkeypatch.setattr(health, "KEPT_S", 3600.0)
    client = visitor()
    assert {client.get("/healthz").status_code for _ in range(5)} == {200}
    assert len(looked) == 1


def test_a_disk_that_hangs_is_no_healthy_one(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.1)
    examiner, hanging = health.Examiner(workspace), threading.Event()
    monkeypatch.setattr(examiner, "_examined", lambda: hanging.wait(30))
    found = asyncio.run(_look_and_let_go(examiner, hanging))
    assert not found.record_writable
    assert "has not answered" in found.reasons[0]


async def _look_and_let_go(examiner: health.Examiner, hanging: threading.Event) -> health.Health:
    try:
        return await examiner.look()
    finally:
        hanging.set()


# --------------------------------------------------------------------------------------------------------- metrics


@pytest.fixture
def token(workspace: Workspace) -> str:
    """Name of a file with a token, as the setting has it."""
    (workspace.paths.root / "scraper").write_text(f"{TOKEN}\n")
    return "scraper"


@pytest.mark.usefixtures("with_account")
def test_a_scraper_is_let_in_by_its_token_alone(visitor: Client, token: str) -> None:
    client = visitor(loopback=False, metrics_token_file=token)
    assert client.get("/metrics").status_code == 401
    for wrong in ("", TOKEN[:-1], TOKEN + "x", "Ä" * 32):
        answer = client.get("/metrics", headers={b"authorization": f"Bearer {wrong}".encode()})
        assert answer.status_code == 401
    answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}", "host": "10.0.0.5:7860"})
    assert "default-src" in answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert figures(answer)["labeler_pool_images"] == 12
    for path in ("/api/status", "/api/batch", "/metrics/"):
        assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code in (401, 404), path
    assert client.post("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code in (401, 405)


@pytest.mark.usefixtures("with_account")
def test_without_a_token_of_ours_none_is_good(visitor: Client) -> None:
    client = visitor(loopback=False)
    for given in ("Bearer", "Bearer ", "Bearer None", f"Bearer {TOKEN}"):
        assert client.get("/metrics", headers={"authorization": given}).status_code == 401


@pytest.mark.parametrize("content", [None, "", "short", "ö" * 40])
def test_a_token_that_is_none_is_one_clear_line(workspace: Workspace, content: str | None, visitor: Client) -> None:
    if content is not None:
        (workspace.paths.root / "scraper").write_text(content)
    with pytest.raises(SettingError, match="metrics_token_file"):
        visitor(metrics_token_file="scraper")


def test_the_metrics_tell_how_server_worker_and_record_stand(visitor: Client, workspace: Workspace) -> None:
    heart.Heart(workspace.paths).beat()
    client = visitor(pid=os.getpid())
    workspace.request_round()
    client.get("/api/status")
    client.get("/image/1?v=" + "0" * 64)
    found = figures(client.get("/metrics"))
    assert found["process_open_fds"] > 3
    assert found["process_resident_memory_bytes"] > 2**24
    assert found["labeler_worker_process_resident_memory_bytes"] > 2**24
    assert 0 <= found["labeler_worker_heartbeat_age_seconds"] < 60
    assert (found["labeler_worker_alive"], found["labeler_healthy"]) == (1, 1)
    assert found["labeler_record_writes_total"] >= 1
    assert (found["labeler_record_locked_total"], found["labeler_record_refused_total"]) == (0, 0)
    assert found["labeler_leases_open"] == 0
    assert found["labeler_request_seconds_count|/api/status|2xx"] == 1
    assert found["labeler_request_seconds_count|/image/*|4xx"] == 1
    assert "labeler_worker_process_open_fds" not in figures(visitor(pid=None).get("/metrics"))


def test_leases_are_counted(visitor: Client, propose: Callable[..., int]) -> None:
    propose(4)
    client = visitor()
    assert client.get("/api/batch").json()["ready"]
    assert figures(client.get("/metrics"))["labeler_leases_open"] == 4


def test_whatever_is_asked_for_there_are_few_names() -> None:
    """No visitor can make the metrics grow."""
    asked = ["/", *openings.OWN, *openings.GRADIO, *(prefix + "x" for prefix in openings.BELOW)]
    known = {watching.route_of(path) for path in asked}
    assert len(known) < 25
    assert watching.route_of("/image/1") == watching.route_of("/image/2") == "/image/*"
    for path in ("/wp-admin", "/image", "/api/batch/x", "/../etc/passwd", "//", "/api/\n"):
        assert watching.route_of(path) == "unknown"


# ------------------------------------------------------------------------------------------------------ request ids


def test_every_answer_has_an_id_and_a_sane_one_is_kept(visitor: Client) -> None:
    client = visitor()
    given = client.get("/api/status", headers={"x-request-id": "proxy-1.A_b"})
    assert given.headers.get_list("x-request-id") == ["proxy-1.A_b"]
    seen = set()
    for bad in ("", "x" * 65, "a b", "a;b", "ä", 'a"b', "a\x7f"):
        answer = client.get("/api/status", headers={b"x-request-id": bad.encode("latin-1")})
        (number,) = answer.headers.get_list("x-request-id")
        assert re.fullmatch(r"[0-9a-f]{16}", number)
        seen.add(number)
    assert len(seen) == 7
    for path in ("/nowhere", "/api/round", "/image/1", "/api/explain/0"):
        assert client.get(path).status_code >= 400
        assert client.get(path).headers["x-request-id"]


def test_one_line_for_each_refused_request(
    visitor: Client, said: Callable[[str], list[dict[str, object]]], caplog: pytest.LogCaptureFixture
) -> None:
    client = visitor()
    client.cookies.set("labeler-x", "SECRETCOOKIE")
    headers = {"authorization": "Bearer SECRETTOKEN"}
    client.get("/nowhere/Anna%20Example.jpg?token=SECRETQUERY", headers=headers)
    client.post("/api/decisions", json={"note": "SECRETNOTE"}, headers=headers)
    client.post(
        "/login", json={"name": "anna", "password": "SECRETPASSWORD"}, headers={"origin": "http://evil.example"}
    )
    client.get("/api/status")
    refused = said("request refused")
    assert [(one["level"], one["route"], one["status"]) for one in refused] == [
        ("INFO", "unknown", 404),
        ("INFO", "/api/decisions", 422),
        ("WARNING", "/login", 403),
    ]
    assert all(one["client"] for one in refused)
    everything = "\n".join(logs._Json("server").format(record) for record in caplog.records)
    assert "SECRET" not in everything
    assert [one["level"] for one in said("request")] == ["DEBUG"], "the ordinary one"


def test_paths_are_for_debugging(visitor: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "labeler")
    visitor().get("/static/app/Anna%0aExample.js")
    lines = [logs._Text("server").format(record) for record in caplog.records]
    assert len(lines) == 1
    assert "Anna" not in lines[0]
    caplog.set_level(logging.DEBUG, "labeler")
    visitor().get("/static/app/Anna%0aExample.js")
    assert 'path="/static/app/Anna\\\\nExample.js"' in logs._Text("server").format(caplog.records[-1])


def test_an_error_is_one_answer_and_its_traceback_has_the_request(
    visitor: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("SECRET of the program")

    monkeypatch.setattr(workspace, "live", broken)
    written: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(logs._Json("server"))
    monkeypatch.setattr(handler, "emit", lambda record: written.append(handler.format(record)))
    logging.getLogger("labeler").addHandler(handler)
    try:
        answer = visitor().get("/api/status", headers={"x-request-id": "broken-1"})
    finally:
        logging.getLogger("labeler").removeHandler(handler)
    assert answer.status_code == 500
    assert "SECRET" not in answer.text
    assert answer.headers["x-request-id"] == "broken-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    lines = [json.loads(line) for line in written]
    assert {line["request"] for line in lines} == {"broken-1"}
    assert any("ZeroDivisionError" in line.get("traceback", "") for line in lines)
    assert [(line["status"], line["route"]) for line in lines if line["event"] == "request failed"] == [
        (500, "/api/status")
    ]


def test_a_slow_request_is_told(visitor: Client, said: Callable[[str], list[dict[str, object]]]) -> None:
    visitor(slow_request_s=1e-9).get("/api/status")
    (slow,) = said("slow request")
    assert (slow["level"], slow["route"], slow["user"]) == ("INFO", "/api/status", "local")
    visitor(slow_request_s=0).get("/api/status")
    assert len(said("slow request")) == 1, "0 says never"


def test_lines_of_an_endpoint_carry_the_id_of_its_request(
    visitor: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Endpoints run on other threads."""
    seen: list[str] = []
    live = workspace.live
    monkeypatch.setattr(workspace, "live", lambda: seen.append(logs._request.get()) or live())  # type: ignore[func-returns-value]
    visitor().get("/api/status", headers={"x-request-id": "thread-1"})
    assert seen == ["thread-1"]
    assert logs._request.get() == ""


# ---------------------------------------------------------------------------------------------------------- the end


class _Wire:
    """An ASGI connection whose visitor sends nothing more, and what was sent to it."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError("nobody waits so long")

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def _scope(path: str) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "client": ("127.0.0.1", 1)}


def test_at_the_end_streams_end_and_answers_do_not() -> None:
    """A page left open must not keep us from stopping; an answer under way is finished."""
    finish = asyncio.Event()

    async def application(scope: Any, _receive: Any, send: Any) -> None:
        kind = b"text/event-stream" if scope["path"] == "/" else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await finish.wait()
        await send({"type": "http.response.body", "body": b"last", "more_body": False})

    async def play() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        traffic = watching.Traffic(CollectorRegistry(), 1.0)
        watch = watching.Watch(application, traffic=traffic)
        stream, answer = _Wire(), _Wire()
        tasks = [
            asyncio.create_task(watch(_scope(path), wire.receive, wire.send))
            for path, wire in (("/", stream), ("/api/status", answer))
        ]
        await asyncio.sleep(0.05)
        traffic.end_streams()
        ended, _ = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert ended == {tasks[0]}
        finish.set()
        await asyncio.wait(tasks, timeout=5)
        return stream.sent, answer.sent

    stream, answer = asyncio.run(play())
    assert [message.get("body") for message in stream] == [None, b"first", b""]
    assert stream[-1]["more_body"] is False
    assert [message.get("body") for message in answer] == [None, b"first", b"last"]


def test_what_takes_too_long_at_the_end_is_refused_in_words() -> None:
    async def application(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.sleep(60)

    async def play() -> list[dict[str, Any]]:
        watch, wire = watching.Watch(application, traffic=watching.Traffic(CollectorRegistry(), 1.0)), _Wire()
        task = asyncio.create_task(watch(_scope("/api/decisions"), wire.receive, wire.send))
        await asyncio.sleep(0.05)
        task.cancel()  # as the web server does when its time is up
        await asyncio.wait([task])
        return wire.sent

    start, body = asyncio.run(play())
    assert start["status"] == 503
    assert b"stopping" in body["body"]
    assert any(name == b"x-request-id" for name, _ in start["headers"])
