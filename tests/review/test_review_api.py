"""The JSON endpoints against a real workspace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from labeler.domain import Action, Answer
from labeler.record.tables import DecisionRow, Job, Note, Round
from labeler.review import guard
from labeler.rounds import Workspace

Propose = Callable[..., int]
Send = Callable[..., Any]
Operation = Callable[..., dict[str, Any]]


def decisions(workspace: Workspace) -> int:
    with workspace.store.read() as session:
        return session.scalar(select(func.count()).select_from(DecisionRow)) or 0


def files(workspace: Workspace, folder: str) -> set[str]:
    return {file.name for file in (workspace.paths.pools / folder).iterdir()}


def shas(client: TestClient) -> list[str]:
    return [item["sha256"] for item in client.get("/api/batch").json()["items"]]


# -------------------------------------------------------------------------------------------------------- the batch


def test_batch_names_images_by_number_and_content_only(client: TestClient, propose: Propose) -> None:
    propose(12)
    answer = client.get("/api/batch")
    batch = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (batch["user"], batch["round"], batch["state"], batch["ready"]) == ("local", 1, "PROPOSED", True)
    assert batch["classes"] == ["withMask", "withoutMask"]
    assert [item["rank"] for item in batch["items"]] == list(range(1, 13))
    first = batch["items"][0]
    assert (first["probability"], first["predicted"], first["action"], first["label"]) == (0.6, "withMask", None, None)
    assert ".png" not in answer.text  # no file name, so none can be mistaken for markup


def test_batch_without_a_round(client: TestClient) -> None:
    batch = client.get("/api/batch").json()
    assert (batch["round"], batch["items"], batch["pool"], batch["labelled"]) == (None, [], 12, 0)
    assert batch["ready"] is False


def test_batch_shows_what_was_decided(client: TestClient, propose: Propose, send: Send, operation: Operation) -> None:
    number = propose()
    first, second, third, _ = shas(client)
    ops = operation(first), operation(second, "correct", "withoutMask"), operation(third, "skip", None)
    assert send(number, *ops).status_code == 200
    batch = client.get("/api/batch").json()
    shown = [(item["action"], item["label"]) for item in batch["items"]]
    assert shown == [("confirm", "withMask"), ("correct", "withoutMask"), ("skip", None), (None, None)]
    assert batch["state"] == "REVIEWING"


def test_cold_start_has_no_suggestion(client: TestClient, propose: Propose) -> None:
    propose(cold=True)
    item = client.get("/api/batch").json()["items"][0]
    assert item["probability"] is None
    assert item["predicted"] is None


# ---------------------------------------------------------------------------------------------------- the decisions


def test_acknowledged_means_on_record_and_moved(
    client: TestClient, workspace: Workspace, propose: Propose, send: Send, operation: Operation
) -> None:
    number = propose()
    sha, other, *_ = shas(client)
    answer = send(number, operation(sha), operation(other, "correct", "withoutMask"))
    acks = answer.json()["acks"]
    assert [(ack["op_id"], ack["stored"], ack["label"], ack["error"]) for ack in acks] == [
        ("operation-0001", True, "withMask", None),
        ("operation-0002", True, "withoutMask", None),
    ]
    assert decisions(workspace) == 2
    assert len(files(workspace, "Train/withMask")) == len(files(workspace, "Train/withoutMask")) == 1
    with workspace.store.read() as session:
        row = session.scalars(select(DecisionRow).order_by(DecisionRow.id)).first()
        assert row is not None
        assert (row.op_id, row.action, row.label, row.elapsed_ms) == ("operation-0001", "confirm", "withMask", 500)


def test_same_operation_again_is_stored_once(
    client: TestClient, workspace: Workspace, propose: Propose, send: Send, operation: Operation
) -> None:
    number = propose()
    op = operation(shas(client)[0])
    assert send(number, op).json()["acks"][0]["stored"] is True
    for _ in range(3):
        ack = send(number, op, op).json()["acks"][0]
        assert (ack["stored"], ack["label"], ack["error"]) == (False, "withMask", None)
    assert decisions(workspace) == 1


def test_one_refusal_does_not_fail_the_others(
    client: TestClient, workspace: Workspace, propose: Propose, send: Send, operation: Operation
) -> None:
    number = propose()
    first, second, third, fourth = shas(client)
    acks = send(
        number,
        operation(first),
        operation("0" * 64),
        operation(second, "correct", "noSuchClass"),
        operation(third, "correct", None),
        operation(fourth, "correct", "withoutMask"),
    ).json()["acks"]
    assert [ack["error"] is None for ack in acks] == [True, False, False, False, True]
    assert all(ack["final"] for ack in acks if ack["error"])
    assert "noSuchClass" in acks[2]["error"]
    assert decisions(workspace) == 2


def test_unknown_round_is_refused(client: TestClient, propose: Propose, send: Send, operation: Operation) -> None:
    propose()
    (ack,) = send(99, operation(shas(client)[0])).json()["acks"]
    assert ack["error"]
    assert ack["final"]


@pytest.mark.parametrize("changes", [{"expected_user": "somebody"}, {"workspace": "0" * 16}])
def test_answers_meant_for_another_place_are_not_taken(
    client: TestClient,
    workspace: Workspace,
    propose: Propose,
    send: Send,
    operation: Operation,
    changes: dict[str, str],
) -> None:
    number = propose()
    assert send(number, operation(shas(client)[0]), **changes).status_code == 409
    assert decisions(workspace) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"op_id": "short"},
        {"op_id": "x" * 65},
        {"op_id": "has space in it"},
        {"op_id": "../../etc/passwd"},
        {"op_id": "ünïcödé-op-id"},
        {"op_id": "ends-with-newline\n"},
        {"op_id": 12345678},
        {"sha256": "A" * 64},
        {"sha256": "0" * 63},
        {"action": "import"},
        {"action": "CONFIRM"},
        {"label": "x" * 65},
        {"label": ""},
        {"label": 1},
        {"elapsed_ms": -1},
        {"elapsed_ms": "500"},
        {"elapsed_ms": True},
        {"elapsed_ms": 1.5},
        {"elapsed_ms": 86_400_001},
        {"annotator": "somebody"},
    ],
)
def test_malformed_operations_are_refused_whole(
    workspace: Workspace, propose: Propose, send: Send, operation: Operation, changes: dict[str, Any]
) -> None:
    number = propose()
    assert send(number, operation("0" * 64, **changes)).status_code == 422
    assert decisions(workspace) == 0


def test_empty_and_overlong_lists_are_refused(propose: Propose, send: Send, operation: Operation) -> None:
    number = propose()
    assert send(number).status_code == 422
    assert send(number, *(operation("0" * 64) for _ in range(201))).status_code == 422


def test_only_json_is_read(client: TestClient, workspace: Workspace, propose: Propose, operation: Operation) -> None:
    """A foreign page can post text/plain without asking first; it must not be taken for JSON."""
    number = propose()
    token = client.get("/api/batch").json()["workspace"]
    body = {"round": number, "expected_user": "local", "workspace": token, "ops": [operation(shas(client)[0])]}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = client.post("/api/decisions", content=json.dumps(body), headers={"content-type": kind})
        assert answer.status_code == 422
    assert decisions(workspace) == 0


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"round": 1}', "[" * 100_000])
def test_broken_json_is_refused(client: TestClient, body: str) -> None:
    answer = client.post("/api/decisions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}


def test_oversize_bodies_are_refused(client: TestClient, workspace: Workspace) -> None:
    def endless() -> Iterator[bytes]:  # no Content-Length: it has to be counted
        while True:
            yield b" " * 65536

    headers = {"content-type": "application/json"}
    assert client.post("/api/decisions", content=b" " * (guard.MAX_BODY + 1), headers=headers).status_code == 413
    assert client.post("/api/decisions", content=b"{}", headers={"content-length": "x"}).status_code in {400, 413}
    assert decisions(workspace) == 0


def test_undo_brings_the_file_back(
    client: TestClient, workspace: Workspace, propose: Propose, send: Send, operation: Operation
) -> None:
    number = propose()
    sha = shas(client)[0]
    before = files(workspace, "Unlabelled")
    send(number, operation(sha))
    assert files(workspace, "Unlabelled") != before
    (ack,) = send(number, operation(sha, "undo", None, elapsed_ms=None)).json()["acks"]
    assert (ack["stored"], ack["label"]) == (True, None)
    assert files(workspace, "Unlabelled") == before
    assert client.get("/api/batch").json()["items"][0]["action"] is None


def test_last_decision_asks_for_the_next_round(
    client: TestClient, workspace: Workspace, propose: Propose, send: Send, operation: Operation
) -> None:
    number = propose(2)
    for sha in shas(client):
        send(number, operation(sha))
    batch = client.get("/api/batch").json()
    assert (batch["round"], batch["ready"], batch["wait"]) == (None, False, "model")
    assert batch["job"]["state"] == "queued"
    with workspace.store.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1


def test_asking_for_a_round(client: TestClient, workspace: Workspace, propose: Propose) -> None:
    first = client.post("/api/round", json={}).json()
    assert first["state"] == "queued"
    assert client.post("/api/round", json={}).json()["id"] == first["id"]
    with workspace.store.write() as session:
        session.execute(update(Job).values(state="failed", message="the disk was full"))
    assert client.get("/api/status").json()["job"]["message"] == "the disk was full"
    assert client.post("/api/round", json={}).json()["id"] != first["id"], "a failed one is run again"


def test_operations_may_arrive_after_their_round_is_over(
    client: TestClient, workspace: Workspace, propose: Propose, send: Send, operation: Operation
) -> None:
    """A browser that was offline sends what it kept; a correction of a finished round is still a correction."""
    number = propose(2)
    first, second = shas(client)
    send(number, operation(first), operation(second))
    with workspace.store.write() as session:
        session.scalars(select(Round)).one().state = "EVALUATED"
    (ack,) = send(number, operation(first, "correct", "withoutMask")).json()["acks"]
    assert (ack["stored"], ack["label"], ack["error"]) == (True, "withoutMask", None)


def test_what_the_page_stores_is_what_the_engine_stores(
    client: TestClient, workspace: Workspace, propose: Propose, send: Send, operation: Operation
) -> None:
    """The same op_id through the other door is known, too."""
    number = propose()
    sha = shas(client)[0]
    send(number, operation(sha))
    answer = Answer(sha, Action.CONFIRM, "withMask", "operation-0001")
    (receipt,) = workspace.decide("local", [answer], round=number)
    assert receipt.stored is False


# ------------------------------------------------------------------------------------------------------------- rest


def test_health_reads_the_record(client: TestClient) -> None:
    assert client.get("/healthz").json()["status"] == "ok"


def test_engine_errors_are_answers_without_a_trace(client: TestClient, workspace: Workspace) -> None:
    """A record that cannot be read is a 503 that says so, on every endpoint that needs it."""
    database = workspace.paths.database
    workspace.close()
    database.write_bytes(b"this is no database" * 1000)
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    answer = TestClient(client.app, base_url="http://127.0.0.1", raise_server_exceptions=False).get("/api/batch")
    assert answer.status_code in {500, 503}
    assert "Traceback" not in answer.text
    assert str(workspace.paths.root) not in answer.text


def test_openapi_describes_the_endpoints(client: TestClient) -> None:
    """The stable surface: what is here may not disappear or be renamed."""
    document = client.get("/api/openapi.json").json()
    assert {
        "/healthz",
        "/metrics",
        "/api/batch",
        "/api/status",
        "/api/decisions",
        "/api/round",
        "/api/explain/{image_id}",
        "/api/try",
        "/image/{image_id}",
        "/login",
        "/logout",
    } <= set(document["paths"])
    operation = document["components"]["schemas"]["Operation"]["properties"]
    assert set(operation) == {"op_id", "sha256", "action", "label", "note", "elapsed_ms"}
    ways = [(path, way.get("description")) for path, of_path in document["paths"].items() for way in of_path.values()]
    undescribed = [path for path, description in ways if not description]
    assert undescribed == []


def test_status_is_light_and_counts(client: TestClient, propose: Propose, send: Send, operation: Operation) -> None:
    before = client.get("/api/status").json()
    assert (before["pool"], before["labelled"], before["job"], before["ranking"]) == (12, 0, None, 0)
    number = propose()
    send(number, operation(shas(client)[0]))
    after = client.get("/api/status").json()
    assert (after["pool"], after["labelled"], after["pending"]) == (11, 1, 0)


def test_a_flag_is_kept_once_and_decides_nothing(
    client: TestClient, workspace: Workspace, propose: Propose, send: Send, operation: Operation
) -> None:
    number = propose()
    sha = shas(client)[0]
    flag = operation(sha, "flag", None, note="is this <b>one</b> a mask?")
    acks = send(number, operation(shas(client)[1]), flag).json()["acks"]
    assert [ack["error"] for ack in acks] == [None, None]
    assert [ack["stored"] for ack in send(number, flag).json()["acks"]] == [False]
    items = {item["sha256"]: item for item in client.get("/api/batch").json()["items"]}
    assert items[sha]["flagged"]
    assert items[sha]["action"] is None
    with workspace.store.read() as session:
        assert [note.text for note in session.scalars(select(Note))] == ["is this <b>one</b> a mask?"]
    unknown = send(number, operation("0" * 64, "flag", None)).json()["acks"][0]
    assert unknown["final"]
    assert "no image" in unknown["error"]
    assert send(number, operation(sha, "flag", None, note="x" * 501)).status_code == 422


def test_modes_that_need_a_model_or_a_dispute_are_empty_without(client: TestClient, propose: Propose) -> None:
    propose()
    for mode in ("mistakes", "disputed", "sorted"):
        view = client.get("/api/batch", params={"mode": mode}).json()
        assert (view["mode"], view["ready"], view["items"], view["round"]) == (mode, False, [], None)
    assert client.get("/api/batch", params={"mode": "everything"}).status_code == 422


def test_explaining_an_image(client: TestClient, propose: Propose) -> None:
    propose()
    item = client.get("/api/batch").json()["items"][0]
    content = {"v": item["sha256"]}
    reasons = client.get(f"/api/explain/{item['image_id']}", params=content).json()
    assert (reasons["why"], reasons["strategy"], reasons["neighbours"]) == ("undecided", "uncertainty", [])
    assert client.get("/api/explain/999", params=content).status_code == 404
    assert client.get(f"/api/explain/{item['image_id'] + 1}", params=content).status_code == 404
    assert client.get("/api/explain/0", params=content).status_code == 422
    assert client.get(f"/api/explain/{item['image_id']}").status_code == 422


def test_the_history_names_the_last_answers_newest_first(
    client: TestClient, propose: Propose, send: Send, operation: Operation
) -> None:
    number = propose()
    given = shas(client)[:3]
    for sha in given:
        send(number, operation(sha))
    history = client.get("/api/batch").json()["history"]
    assert [item["sha256"] for item in history] == given[::-1]
    assert {item["round"] for item in history} == {number}
    send(number, operation(given[2], "undo", None, elapsed_ms=None))
    assert [item["sha256"] for item in client.get("/api/batch").json()["history"]] == given[1::-1]


def test_metrics_count_what_was_done(client: TestClient, propose: Propose, send: Send, operation: Operation) -> None:
    number = propose()
    once = operation(shas(client)[0])
    send(number, once)
    send(number, once)
    send(number, operation("0" * 64))
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert lines['labeler_answers_total{outcome="stored"}'] == "1.0"
    assert lines['labeler_answers_total{outcome="repeated"}'] == "1.0"
    assert lines['labeler_answers_total{outcome="refused"}'] == "1.0"
    assert lines["labeler_decision_seconds_count"] == "3.0"
    assert lines["labeler_pool_images"] == "11.0"
    assert once["sha256"] not in answer.text


def test_no_file_name_enters_the_page(page: TestClient, script_name: str) -> None:
    assert script_name.split(">")[1] not in page.get("/").text
