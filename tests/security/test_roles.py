"""What an annotator reaches who wants to be more: administrators' pages, Gradio's functions, other people's images."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from labeler.domain import Action, Answer, IllegalTransition
from labeler.record.tables import DecisionRow, Image
from labeler.rounds import Workspace
from tests.security.site import ADMIN, ANNOTATOR, OTHER, WAIT_S, Site, listen

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def record(site: Site) -> Iterator[Workspace]:
    """The served workspace, looked at from beside."""
    with Workspace.open(site.root) as opened:
        yield opened


def batch_of(site: Site, name: str) -> list[dict[str, Any]]:
    """A person's images; the worker may have to rank first."""
    until = time.monotonic() + WAIT_S
    with site.visitor(name) as client:
        while True:
            view = client.get("/api/batch", params={"now": True}).json()
            if view["items"] or time.monotonic() > until:
                return [{**item, "round": view["round"]} for item in view["items"]]
            time.sleep(0.1)


def send(site: Site, name: str, sha: str, action: str, round_number: int | None, label: str | None = None) -> Any:
    with site.visitor(name) as client:
        op = {"op_id": f"roles-{next(_numbers):06d}", "sha256": sha, "action": action, "label": label}
        body = {"round": round_number, **site.identity(client), "ops": [op]}
        [ack] = client.post("/api/decisions", json=body).json()["acks"]
        return ack


# ------------------------------------------------------------------------------------------------------- pages, routes


def test_what_is_for_administrators(site: Site) -> None:
    with site.visitor(ADMIN) as admin, site.visitor(ANNOTATOR) as annotator, site.visitor() as nobody:
        assert [client.get("/metrics").status_code for client in (admin, annotator, nobody)] == [200, 403, 401]
        for header in (
            {"authorization": "Bearer x"},
            {"authorization": "Bearer None"},
            {"authorization": "Basic eDp4"},
        ):
            assert annotator.get("/metrics", headers=header).status_code == 403
            assert nobody.get("/metrics", headers=header).status_code == 401
        disputed = annotator.get("/api/batch", params={"mode": "disputed"}).json()
        assert disputed["items"] == []
        assert disputed["role"] == "annotator"
        assert nobody.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    "more", [{"role": "admin"}, {"user": ADMIN}, {"admin": True}, {"expected_user": ADMIN}, {"annotator": ADMIN}]
)
def test_nobody_says_who_he_is_but_by_his_session(site: Site, more: dict[str, Any]) -> None:
    sha = batch_of(site, ANNOTATOR)[0]["sha256"]
    with site.visitor(ANNOTATOR) as client:
        op = {"op_id": f"roles-{next(_numbers):06d}", "sha256": sha, "action": "confirm", "label": "round"}
        body = {"round": 1, **site.identity(client), "ops": [op], **more}
        assert client.post("/api/decisions", json=body).status_code in {409, 422}
        headers = {"x-user": ADMIN, "x-role": "admin", "x-forwarded-user": ADMIN, "remote-user": ADMIN}
        view = client.get("/api/batch", headers=headers, params=more).json()
        assert (view["user"], view["role"]) == (ANNOTATOR, "annotator")


# ---------------------------------------------------------------------------------------------------------- Gradio


def functions(client: httpx.Client) -> list[dict[str, Any]]:
    """What Gradio's page is told of the functions there are."""
    found: list[dict[str, Any]] = client.get("/config").json()["dependencies"]
    return found


def called(client: httpx.Client, function: int) -> tuple[int, str]:
    session = f"s{next(_numbers):010d}"
    body = {"data": [], "fn_index": function, "session_hash": session}
    answer = client.post("/gradio_api/queue/join", json=body)
    return answer.status_code, json.dumps(listen(client, session)) if answer.status_code == 200 else ""


def test_every_function_gives_an_annotator_no_more_than_his_own(site: Site) -> None:
    """All that the tabs can ask for, asked for by number; what names other people comes to administrators alone."""
    with site.visitor(ADMIN) as admin, site.visitor(ANNOTATOR) as annotator:
        sha = batch_of(site, ANNOTATOR)[0]["sha256"]
        send(site, ANNOTATOR, sha, "flag", None)
        numbers = [function["id"] for function in functions(admin)]
        assert len(numbers) >= 4
        assert functions(annotator) == functions(admin)  # there is no second set to be found out
        said = {number: (called(admin, number), called(annotator, number)) for number in numbers}
    everything = json.dumps(said)
    assert str(site.root) not in everything
    assert "Traceback" not in everything
    for (admin_status, to_admin), (status, to_annotator) in said.values():
        assert admin_status == status == 200
        assert OTHER not in to_annotator
        assert ADMIN not in to_annotator
        assert '"success": true' in to_admin
    assert any(ANNOTATOR in to_admin for (_, to_admin), _ in said.values())  # the figures do hold names


@pytest.mark.parametrize("number", [-1, 10**9, 99])
def test_functions_that_do_not_exist(site: Site, number: int) -> None:
    with site.visitor(ANNOTATOR) as client:
        assert called(client, number)[0] == 404


def test_functions_are_called_in_no_other_way(site: Site) -> None:
    with site.visitor(ADMIN) as admin:
        names = {str(function.get("api_name")) for function in functions(admin)} | {"predict", "listener", "0"}
        for name in names:
            for path in (f"/gradio_api/call/{name}", f"/gradio_api/run/{name}", f"/gradio_api/api/{name}",
                         f"/gradio_api/call/v2/{name}", f"/run/{name}", f"/api/{name}", f"/call/{name}"):  # fmt: skip
                assert admin.post(path, json={"data": []}).status_code == 404, path
        for body in ({"component_id": 1, "fn_name": "postprocess", "data": []}, {}):
            assert admin.post("/gradio_api/component_server", json=body).status_code == 404
        joined = admin.post("/gradio_api/queue/join", json={"data": [], "api_name": "/listener", "session_hash": "x"})
        assert joined.status_code in {400, 404, 422}


def test_the_page_tells_nobody_how_it_is_built_who_is_not_signed_in(site: Site) -> None:
    paths = ["/config", "/gradio_api/info", "/api/openapi.json", "/openapi.json", "/static/app/words.json"]
    paths += ["/gradio_api/app_id", "/gradio_api/queue/data?session_hash=x", "/theme.css", "/assets/x"]
    with site.visitor() as nobody:
        for path in paths:
            assert nobody.get(path).status_code in {401, 404}, path
    with site.visitor(ANNOTATOR) as annotator:
        config = annotator.get("/config").text
        for secret in (str(site.root), "scrypt", "GRADIO_TEMP_DIR", OTHER, ADMIN):
            assert secret not in config


# ---------------------------------------------------------------------------------------------------------- images


def test_an_image_is_not_found_by_counting(site: Site, record: Workspace) -> None:
    """Numbers can be guessed, contents cannot: without the SHA-256 that a batch names, no picture and no reasons."""
    mine = {item["image_id"] for item in batch_of(site, ANNOTATOR)}
    with record.store.read() as session:
        rows = [(image.id, image.sha256) for image in session.scalars(select(Image))]
    others = [(number, sha) for number, sha in rows if number not in mine][:10]
    known = next(sha for number, sha in rows if number in mine)
    with site.visitor(ANNOTATOR) as client:
        for number, _ in others:
            for guess in ({}, {"v": ""}, {"v": "0" * 64}, {"v": str(number)}, {"v": "%"}):
                assert client.get(f"/image/{number}", params=guess).status_code in {404, 422}
                assert client.get(f"/api/explain/{number}", params=guess).status_code in {404, 422}
            assert client.get(f"/api/explain/{number}", params={"v": known}).status_code == 404
        for number in (0, -1, len(rows) + 1, 2**63 - 1, 2**63, 10**30):
            assert client.get(f"/image/{number}", params={"v": known}).status_code in {404, 422}
    with site.visitor() as nobody:
        assert nobody.get(f"/image/{others[0][0]}", params={"v": others[0][1]}).status_code == 401


def test_two_people_never_hold_one_image(site: Site) -> None:
    mine = {item["sha256"] for item in batch_of(site, ANNOTATOR)}
    theirs = {item["sha256"] for item in batch_of(site, OTHER)}
    assert mine
    assert theirs
    assert not mine & theirs


def test_nobody_takes_back_what_another_said(site: Site, record: Workspace) -> None:
    """But an administrator. A second opinion is kept beside the first and changes nothing."""
    item = batch_of(site, ANNOTATOR)[-1]
    assert send(site, ANNOTATOR, item["sha256"], "correct", item["round"], "square")["stored"]
    for number in (item["round"], None):
        ack = send(site, OTHER, item["sha256"], "undo", number)
        assert (ack["stored"], ack["label"]) == (False, "square")
    ack = send(site, OTHER, item["sha256"], "correct", item["round"], "round")
    assert (ack["opinion"], ack["label"]) == (True, "square")
    ack = send(site, ADMIN, item["sha256"], "undo", item["round"])
    assert (ack["stored"], ack["label"]) == (True, None)
    with record.store.read() as session:
        image = session.scalars(select(Image).where(Image.sha256 == item["sha256"])).one()
        rows = session.scalars(select(DecisionRow).where(DecisionRow.image_id == image.id)).all()
    assert len(rows) == 3  # every word of it is kept, with who said it
    assert len({row.annotator_id for row in rows}) == 3


def test_one_of_several_does_not_decide_alone(fresh: Callable[[], Path]) -> None:
    """With `overlap` a second look replaces what counts: not by an annotator before the others have answered."""
    with Workspace.open(fresh(), k=4, overlap=2) as opened:
        number = opened.round().round
        with opened.store.read() as session:
            [sha, *_] = [image.sha256 for image in session.scalars(select(Image).where(Image.split == "unlabelled"))]
        answer = Answer(sha, Action.CORRECT, "round", "alone-0001")
        with pytest.raises(IllegalTransition):
            opened.decide("bob", [answer], round=None, admin=False)
        assert number == 1
        assert opened.live().labelled == 0
        opened.decide("anna", [answer], round=None, admin=True)
        assert opened.live().labelled == 1
        again = Answer(sha, Action.CORRECT, "square", "alone-0002")
        opened.decide("bob", [again], round=None, admin=False)  # a label that is there may be looked at again
        assert opened.live().labelled == 1


def test_an_operation_is_its_senders(site: Site) -> None:
    """An op_id that somebody else used names nothing of his: it is stored once, and by whom stays as it was."""
    first, second = batch_of(site, ANNOTATOR)[:2]
    with site.visitor(ANNOTATOR) as client:
        op = {"op_id": "roles-shared-id", "sha256": first["sha256"], "action": "flag", "label": None, "note": "mine"}
        body = {"round": None, **site.identity(client), "ops": [op]}
        assert client.post("/api/decisions", json=body).json()["acks"][0]["stored"]
    with site.visitor(OTHER) as client:
        op = {**op, "sha256": second["sha256"], "note": "theirs"}
        body = {"round": None, **site.identity(client), "ops": [op]}
        [ack] = client.post("/api/decisions", json=body).json()["acks"]
    assert not ack["stored"]


def test_what_the_model_says_is_not_told_where_it_shall_not_lead(alone: Workspace) -> None:
    """With `suggestion = hide` the reasons keep it back too: a page that asks for them anyway learns nothing."""
    from starlette.testclient import TestClient

    from labeler.review.app import without_gradio
    from tests.security.proposals import propose_one

    item = propose_one(alone)
    for setting, told in (("show", "withMask"), ("hide", None)):
        alone.settings = alone.settings.replace(suggestion=setting)
        client = TestClient(without_gradio(alone), base_url="http://127.0.0.1:7860")
        view = client.get(f"/api/explain/{item.id}", params={"v": item.sha256}).json()
        assert view["predicted"] == told
        assert (view["probability"] is None) == (told is None)
        assert (view["uncertainty"] is None) == (told is None)
