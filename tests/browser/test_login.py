"""Signing in with a real browser: the page, staying signed in over a killed server, and signing out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page

from labeler.record import accounts
from labeler.rounds import Workspace
from tests.browser.served import Server, Visitor, decisions

axe_api = pytest.importorskip("axe_playwright_python.sync_playwright")

PASSWORD = "correct horse"
Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def peopled(trained: Path, tmp_path_factory: pytest.TempPathFactory, browser: object) -> Iterator[Server]:
    """A server of its own with anna, an administrator, and bob."""
    root = tmp_path_factory.mktemp("peopled") / "w"
    shutil.copytree(trained, root)
    hashed = accounts.hash_password(PASSWORD)
    with Workspace.open(root) as opened, opened.store.write() as session:
        for name in ("anna", "bob"):
            accounts.add(session, name, hashed, admin=False)
    server = Server(root).start()
    yield server
    assert server.stop() == 0, "".join(server.log)


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def arrive(visitor: Visitor, name: str = "anna") -> Visitor:
    visitor.page.goto(visitor.url)
    assert visitor.page.url.endswith("/login")
    sign_in(visitor.page, name)
    visitor.page.wait_for_url(visitor.url)
    return visitor.labelling()


def test_signed_in_over_a_killed_server_and_out_again(peopled: Server, visit: Visit) -> None:
    visitor = arrive(visit(peopled))
    with Workspace.open(peopled.root) as opened:
        before = len(decisions(opened))
        visitor.press("1", "2")
        visitor.wait_text("saved-text", "all saved")
        visitor.wait_outbox(0)
        peopled.kill()
        visitor.press("1")
        peopled.start()
        visitor.wait_outbox(0)
        visitor.page.reload()
        visitor.labelling()
        assert visitor.page.url == visitor.url
        rows = decisions(opened)[before:]
        assert len(rows) == len({row.op_id for row in rows}) == 3
        with opened.store.read() as session:
            person = accounts.require(session, "anna").id
        assert {row.annotator_id for row in rows} == {person}
    assert visitor.page.evaluate("document.cookie") == ""
    answer = visitor.page.evaluate("fetch('/logout', {method: 'POST'}).then((answer) => answer.status)")
    assert answer == 200
    visitor.page.goto(visitor.url)
    assert visitor.page.url.endswith("/login")
    assert visitor.foreign == []


def test_a_form_signs_out_too(peopled: Server, visit: Visit) -> None:
    """Its origin is told, which some settings of a page would keep to itself."""
    visitor = arrive(visit(peopled), "bob")
    visitor.page.evaluate(
        """() => {
          const form = Object.assign(document.createElement("form"), {method: "post", action: "/logout"});
          document.body.append(form);
          form.submit();
        }"""
    )
    visitor.page.wait_for_url("**/login")
    assert visitor.context.request.get(f"{visitor.url}api/batch").status == 401


def test_the_model_tab_works_for_somebody_who_is_signed_in(peopled: Server, visit: Visit) -> None:
    visitor = arrive(visit(peopled), "bob")
    with visitor.page.expect_response(lambda answer: "/gradio_api/queue/join" in answer.url) as asked:
        visitor.page.get_by_role("tab", name="Model").click()
    assert asked.value.status == 200
    visitor.page.wait_for_selector("#model-page table", state="attached")
    assert visitor.foreign == []


def test_a_wrong_password_is_said_and_the_name_kept(peopled: Server, visit: Visit) -> None:
    visitor = visit(peopled)
    visitor.page.goto(f"{visitor.url}login")
    assert visitor.page.evaluate("document.activeElement.id") == "name"
    sign_in(visitor.page, "<b>bob</b>", "wrong")
    assert visitor.page.get_by_role("alert").inner_text() == "Name or password is wrong."
    assert visitor.page.get_by_label("Name").input_value() == "<b>bob</b>"
    assert visitor.page.get_by_label("Password").input_value() == ""
    assert visitor.page.locator("b").count() == 0
    assert [text for text in visitor.console if "401" not in text] == []  # the browser says what it was answered
    visitor.page.get_by_label("Name").fill("bob")
    visitor.page.get_by_label("Password").fill(PASSWORD)
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_url(visitor.url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("problem", [False, True])
def test_axe_finds_nothing(peopled: Server, visit: Visit, scheme: Literal["light", "dark"], problem: bool) -> None:
    visitor = visit(peopled, color_scheme=scheme)
    visitor.page.goto(f"{visitor.url}login")
    if problem:
        sign_in(visitor.page, "stranger", "wrong")
        visitor.page.wait_for_selector(".problem:not(:empty)")
    background = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(245, 246, 248)" if scheme == "light" else "rgb(14, 18, 22)")
    found = axe_api.Axe().run(visitor.page).response
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
    assert len(found["passes"]) > 10


def test_on_a_phone(peopled: Server, visit: Visit) -> None:
    visitor = visit(peopled, has_touch=True, is_mobile=True)
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.page.goto(f"{visitor.url}login")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") == 390
    for part in visitor.page.locator("input, button").all():
        box = part.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["width"] >= 200
    assert visitor.page.evaluate(
        "[...document.querySelectorAll('input')].every((e) => parseFloat(getComputedStyle(e).fontSize) >= 16)"
    )
    assert visitor.console == []
