"""The tabs' listeners and the cell's endpoint: who sees what, and that the page has every component."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from labeler import Oracle
from labeler.review.app import create_app, without_gradio
from labeler.review.tabs import Asker, asker
from labeler.rounds import Workspace
from tests.workspaces import CLASSES


def test_the_images_behind_a_cell(opened: Workspace, truth: Path) -> None:
    client = TestClient(without_gradio(opened), base_url="http://127.0.0.1:7860")
    where = {"true": CLASSES[0], "predicted": CLASSES[0]}
    assert client.get("/api/figures/cell", params=where).json() == {"total": 0, "images": []}
    opened.round(annotator=Oracle.from_folder(truth))
    answer = client.get("/api/figures/cell", params=where)
    assert answer.json() == opened.figure_cell(CLASSES[0], CLASSES[0])
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["total"] > 0
    image = answer.json()["images"][0]
    shown = client.get(f"/image/{image['image_id']}", params={"v": image["sha256"], "size": "thumb"})
    assert shown.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("wrong", ["triangle", '"><script>alert(1)</script>', "../../etc/passwd"])
def test_a_cell_that_does_not_exist(opened: Workspace, wrong: str) -> None:
    client = TestClient(without_gradio(opened), base_url="http://127.0.0.1:7860")
    answer = client.get("/api/figures/cell", params={"true": wrong, "predicted": CLASSES[0]})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert client.get("/api/figures/cell", params={"true": CLASSES[0]}).status_code == 422
    assert client.get("/api/figures/cell", params={"true": "x" * 65, "predicted": "y"}).status_code == 422


def test_who_asks() -> None:
    assert asker({"state": {"user": "anna", "role": "annotator"}}) == Asker("anna", admin=False)
    assert asker({"state": {"user": "anna", "role": "admin"}}) == Asker("anna", admin=True)
    assert asker({"state": {"user": "nobody"}}) == Asker("nobody", admin=False), "no role is no right"


def components(page: TestClient) -> dict[str, dict[str, Any]]:
    config = page.get("/config").json()
    return {c["props"].get("elem_id"): c["props"] for c in config["components"] if c["props"].get("elem_id")}


def test_every_tab_is_there_and_its_skeleton_holds_no_data(page: TestClient) -> None:
    found = components(page)
    for name in ("label", "mistakes", "model", "try", "team"):
        assert f"tab-{name}" in found
    for name in ("mistakes-page", "flags-page", "model-page", "try-page", "team-page", "agreement-page"):
        assert found[name].get("value") is None
        assert "${" not in found[name]["html_template"]
    assert 'data-mode="mistakes"' in found["mistakes-page"]["html_template"]


def test_no_listener_can_be_called_by_name(page: TestClient, whole: tuple[FastAPI, Workspace]) -> None:
    config = page.get("/config").json()
    assert [d["api_visibility"] for d in config["dependencies"]] == ["private"] * len(config["dependencies"])
    assert len(config["dependencies"]) == 4


def test_the_team_listener_hides_the_others_from_an_annotator(opened: Workspace) -> None:
    """The role is that of who is asking. That Gradio hands the request over, a browser test sees."""
    from labeler.domain import Action, Answer
    from labeler.rounds.decisions import new_operation

    with opened.store.read() as session:
        from sqlalchemy import select

        from labeler.record.tables import Image

        shas = list(session.scalars(select(Image.sha256).where(Image.split == "unlabelled").limit(4)))
    for who, sha in (("anna", shas[0]), ("ben", shas[1])):
        opened.decide(who, [Answer(sha, Action.CORRECT, CLASSES[0], new_operation(), 800)], round=None)
    listener = team_listener(create_app(opened))
    seen = {role: listener(request_of("ben", role)) for role in ("annotator", "admin")}
    assert [person["name"] for person in seen["annotator"]["people"]] == ["ben"]
    assert seen["annotator"]["total"] == {"people": 2, "labels": 2}
    assert [person["name"] for person in seen["admin"]["people"]] == ["anna", "ben"]
    assert "anna" not in json.dumps(seen["annotator"])


def team_listener(app: FastAPI) -> Any:
    """The function behind the Team tab, as Gradio holds it."""
    mounted = next(route.app for route in app.routes if hasattr(getattr(route, "app", None), "blocks"))  # type: ignore[attr-defined]
    output = next(b for b in mounted.blocks.blocks.values() if getattr(b, "elem_id", None) == "team-page")
    return next(f.fn for f in mounted.blocks.fns.values() if output in f.outputs)


def request_of(user: str, role: str) -> Any:
    import gradio as gr

    scope = {"type": "http", "headers": [], "state": {"user": user, "role": role}}
    return gr.Request(request=Request(scope))
