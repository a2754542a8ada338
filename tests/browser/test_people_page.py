"""Several people at one page: signed in and out, somebody else's answers, two tabs, the work in the background."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route
from sqlalchemy import delete

from labeler.record import accounts
from labeler.record.tables import Lease
from labeler.rounds import Workspace
from tests.browser.served import Server, Visitor, decisions

Visit = Callable[..., Visitor]
PASSWORD = "correct horse battery staple"  # of this test only


@pytest.fixture(scope="module")
def office(trained: Path, tmp_path_factory: pytest.TempPathFactory, browser: object) -> Iterator[Server]:
    """A server on which people sign in: ada is administrator, bo is not."""
    root = tmp_path_factory.mktemp("office") / "w"
    shutil.copytree(trained, root)
    hashed = accounts.hash_password(PASSWORD)
    with Workspace.open(root) as opened, opened.store.write() as session:
        accounts.add(session, "ada", hashed, admin=True)
        accounts.add(session, "bo", hashed, admin=False)
        session.execute(delete(Lease))  # of whoever set this up
    server = Server(root, k=20, overlap=2).start()
    yield server
    assert server.stop() == 0, "".join(server.log)


def sign_in(visitor: Visitor, name: str) -> Visitor:
    page = visitor.page
    page.goto(visitor.url)
    page.fill("[name=name]", name)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    return visitor.labelling()


def test_who_is_signed_in_and_the_way_out(office: Server, visit: Visit) -> None:
    visitor = sign_in(visit(office), "bo")
    page = visitor.page
    assert visitor.text("who-name") == "bo"
    assert page.locator("[data-to=disputed]").is_hidden(), "for administrators only"
    page.locator('[data-part="who-button"]').click()
    assert "Signed in as bo" in visitor.text("who-role")
    page.keyboard.press("Escape")
    assert not page.locator('[data-part="who-menu"]').is_visible()
    page.locator('[data-part="who-button"]').click()
    page.locator("[data-do=sign-out]").click()
    page.wait_for_url("**/login")
    page.goto(visitor.url)
    page.wait_for_url("**/login*")


def test_signing_out_everywhere_ends_the_other_browser_too(office: Server, visit: Visit) -> None:
    here, there = sign_in(visit(office), "bo"), sign_in(visit(office), "bo")
    here.page.locator('[data-part="who-button"]').click()
    here.page.locator("[data-do=sign-out-everywhere]").click()
    here.page.wait_for_url("**/login")
    there.press("1")
    there.wait_text("saved-text", "Signed out: 1 answer kept in this browser")
    assert there.page.locator('[data-part="sign-in"]').get_attribute("href") == "/login"


def test_answers_of_a_signed_out_tab_are_sent_once_after_signing_in_elsewhere(office: Server, visit: Visit) -> None:
    visitor = sign_in(visit(office), "ada")
    assert visitor.page.locator("[data-to=disputed]").is_visible()
    before = _stored(office)
    cookies = visitor.context.cookies()
    visitor.context.clear_cookies()
    visitor.press("1", "2", "s")
    visitor.wait_text("saved-text", "Signed out: 3 answers kept in this browser")
    assert cookies
    assert _stored(office) == before
    other = visitor.context.new_page()
    other.goto(f"{visitor.url}login")
    other.fill("[name=name]", "ada")
    other.fill("[name=password]", PASSWORD)
    other.press("[name=password]", "Enter")
    other.wait_for_selector('.lb[data-state="label"]')
    visitor.page.bring_to_front()
    visitor.wait_outbox(0)
    visitor.wait_text("saved-text", "all saved")
    assert len(_stored(office)) - len(before) == 3


def _stored(server: Server) -> list[str]:
    with Workspace.open(server.root) as opened:
        return [row.op_id for row in decisions(opened)]


def test_disputed_images_come_to_the_administrator(office: Server, visit: Visit) -> None:
    ada, bo = sign_in(visit(office), "ada"), sign_in(visit(office), "bo")
    ada.page.wait_for_selector(".lb-frame img")
    seen = {visitor: _first_open(visitor) for visitor in (ada, bo)}
    assert seen[ada]
    assert seen[bo]
    # Both answer the whole batch they share, differently.
    for visitor, key in ((ada, "1"), (bo, "2")):
        for _ in range(20):
            visitor.press(key)
        visitor.wait_outbox(0)
    ada.page.reload()
    ada.page.locator("[data-to=disputed]").click()
    ada.page.wait_for_selector('.lb[data-mode="disputed"][data-state="label"]')
    assert ada.text("suggesting") == "People disagree"
    with Workspace.open(office.root) as opened:
        waiting = len(opened.batch("ada", "disputed", admin=True).items)
    ada.press("1")
    ada.wait_outbox(0)
    with Workspace.open(office.root) as opened:
        assert len(opened.batch("ada", "disputed", admin=True).items) == waiting - 1


def _first_open(visitor: Visitor) -> str:
    return str(visitor.page.locator(".lb-frame img").get_attribute("data-image"))


def test_a_late_answer_is_said_to_be_a_second_opinion(visitor: Visitor) -> None:
    def late(route: Route) -> None:
        answer = route.fetch()
        acks = [{**ack, "opinion": True} for ack in answer.json()["acks"]]
        route.fulfill(response=answer, body=json.dumps({"acks": acks}))

    visitor.page.route("**/api/decisions", late)
    visitor.press("1")
    visitor.wait_text("notice", "kept as a second opinion")


def status_says(visitor: Visitor, **fields: object) -> None:
    """Change what the server says of the work in the background; the page looks when it is shown again."""

    def told(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=json.dumps({**answer.json(), **fields}))

    visitor.page.unroute("**/api/status")
    visitor.page.route("**/api/status", told)
    visitor.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_the_work_in_the_background_is_one_calm_line(visitor: Visitor, record: Workspace) -> None:
    job = {"id": 1, "kind": "refresh", "state": "running", "progress": 0.4, "message": "fitting"}
    status_says(visitor, job=job, ranking=1)
    visitor.wait_text("work-text", "learning 40 %")
    visitor.press("1")  # labelling goes on meanwhile
    visitor.saved(1, 20)
    status_says(visitor, job={**job, "state": "done", "progress": 1.0}, ranking=2)
    visitor.wait_text("work-text", "new model in")
    status_says(visitor, job={**job, "state": "failed", "message": "one class only"}, ranking=2)
    visitor.wait_text("work-text", "training failed: one class only")
    visitor.press("2")
    visitor.saved(2, 20)
    with visitor.page.expect_request("**/api/round") as asked:
        visitor.page.locator('[data-part="work-again"]').click()
    assert asked.value.method == "POST"
