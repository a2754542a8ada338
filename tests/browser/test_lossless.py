"""Nothing that was pressed is lost and nothing is stored twice: no network, reload, kill -9, two tabs, wrong place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route

from labeler.rounds import Workspace
from tests.browser.conftest import POOL, settled
from tests.browser.served import Server, Visitor, decisions
from tests.checks import assert_sound

Visit = Callable[..., Visitor]


@pytest.fixture
def own(trained: Path, tmp_path: Path, browser: object) -> Iterator[Server]:
    """A server that the test may kill."""
    shutil.copytree(trained, tmp_path / "w")
    server = Server(tmp_path / "w", cold=True).start()
    yield server
    server.kill()


def test_kill_in_the_middle(own: Server, visit: Visit) -> None:
    visitor = visit(own).open()
    pressed = ["1", "2", "2", "1", "s", "1", "2", "1"]
    visitor.press(*pressed[:4])
    visitor.pictures(12)  # nobody can label what they cannot see: those after the cut have to be here before it
    visitor.press(*pressed[4:])
    own.kill()
    acknowledged = dict(visitor.acknowledged)  # what was promised before the power cut
    visitor.press("2", "1", "2")
    visitor.wait_text("saved-text", "kept in this browser")
    own.start()
    visitor.saved(11, 20)
    with Workspace.open(own.root) as opened:
        number = opened.batch("local").round
        rows = decisions(opened, number)
        assert len({row.op_id for row in rows}) == len(rows) == 11
        assert set(acknowledged) <= {row.op_id for row in rows}
        assert {row.op_id for row in rows} >= set(visitor.acknowledged)
        meaning = {"1": "round", "2": "square", "s": None}
        assert [row.label for row in rows] == [meaning[key] for key in [*pressed, "2", "1", "2"]]
        assert [row.image_id for row in rows] == [item.image_id for item in opened.batch("local").items[:11]]
        settled(opened)
        assert_sound(opened, POOL)
    visitor.page.reload()
    visitor.labelling()
    assert visitor.text("count") == "11 of 20"


def test_offline_then_online(visitor: Visitor, record: Workspace) -> None:
    visitor.context.set_offline(True)
    visitor.press("1", "2", "1", "s", "2", "1")
    visitor.wait_text("saved-text", "offline, 6 kept in this browser")
    assert visitor.text("count") == "6 of 20"
    unsaved = visitor.page.locator('.lb-thumb[data-unsaved="true"]')
    assert unsaved.count() == 6
    assert unsaved.first.get_attribute("aria-label") == "Image 1: round, not yet saved"
    assert len(decisions(record, record.batch("local").round)) == 0
    visitor.context.set_offline(False)
    visitor.saved(6, 20)
    assert unsaved.count() == 0
    assert len(decisions(record, record.batch("local").round)) == 6


def test_what_could_not_be_sent_survives_a_reload(visitor: Visitor, record: Workspace) -> None:
    visitor.page.route("**/api/decisions", lambda route: route.fulfill(status=503))
    visitor.press("1", "2", "s")
    visitor.wait_text("saved-text", "3 kept in this browser")
    visitor.page.reload()
    visitor.labelling()
    assert visitor.text("count") == "3 of 20"
    assert visitor.page.locator('.lb-thumb[data-unsaved="true"]').count() == 3
    visitor.page.unroute("**/api/decisions")
    visitor.saved(3, 20)
    rows = decisions(record, record.batch("local").round)
    assert [row.label for row in rows] == ["round", "square", None]


def test_an_answer_whose_acknowledgement_was_lost_is_stored_once(visitor: Visitor, record: Workspace) -> None:
    """The server stores it, the line drops before the browser hears of it, the browser sends it again."""
    lost: list[int] = []

    def lose(route: Route) -> None:
        if len(lost) < 2:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    visitor.page.route("**/api/decisions", lose)
    visitor.press("1", "2")
    visitor.saved(2, 20)
    assert lost == [200, 200]
    rows = decisions(record, record.batch("local").round)
    assert [row.label for row in rows] == ["round", "square"]


def test_one_refused_answer_does_not_hold_up_the_rest(visitor: Visitor, record: Workspace) -> None:
    """What the server will never take (here: kept by a version that wrote nonsense) is said and put aside."""
    visitor.context.set_offline(True)
    visitor.press("1", "2")
    visitor.page.evaluate(
        """() => {
          const key = Object.keys(localStorage).filter((key) => key.startsWith("labeler:outbox:")).sort()[0];
          const entry = JSON.parse(localStorage.getItem(key));
          localStorage.setItem(`${key}-broken`, JSON.stringify({ ...entry, op: { ...entry.op, op_id: "!" } }));
        }"""
    )
    visitor.context.set_offline(False)
    visitor.page.reload()
    visitor.labelling()
    visitor.press("s")
    visitor.saved(3, 20)
    assert [row.label for row in decisions(record, record.batch("local").round)] == ["round", "square", None]


def test_two_tabs(shared: Server, record: Workspace, visit: Visit) -> None:
    first = visit(shared).open()
    second_page = first.context.new_page()
    second_page.goto(shared.url)
    second_page.wait_for_selector('.lb[data-state="label"] .lb-stage[data-picture="ready"]')
    first.context.set_offline(True)
    first.press("1", "2")
    first.wait_text("saved-text", "2 kept in this browser")
    first.context.set_offline(False)  # both tabs know of the two and both send them
    first.saved(2, 20)
    rows = decisions(record, record.batch("local").round)
    assert [row.label for row in rows] == ["round", "square"]


def test_answers_for_another_workspace_are_kept_not_given_away(visitor: Visitor, record: Workspace) -> None:
    """The tab is of a workspace that was served here before: the server refuses its answers, the tab says so."""

    def of_another_workspace(route: Route) -> None:
        body = {**(route.request.post_data_json or {}), "workspace": "0" * 16}
        route.continue_(post_data=json.dumps(body))

    visitor.page.route("**/api/decisions", of_another_workspace)
    visitor.press("1", "2")
    visitor.wait_text("saved-text", "another workspace")
    visitor.wait_outbox(2)
    assert len(decisions(record, record.batch("local").round)) == 0
    visitor.page.unroute("**/api/decisions")
    visitor.page.locator("[data-do=reload]").click()
    visitor.saved(2, 20)


def test_what_waits_for_one_workspace_is_not_sent_to_another(shared: Server, record: Workspace, visit: Visit) -> None:
    visitor = visit(shared)
    sha = record.batch("local").items[0].sha256
    op = {"op_id": "of-another-workspace", "sha256": sha, "action": "correct", "label": "round", "elapsed_ms": 1}
    entry = json.dumps({"round": record.batch("local").round, "op": op})
    visitor.page.add_init_script(f"localStorage.setItem('labeler:outbox:{'0' * 16}:local:1', {json.dumps(entry)})")
    visitor.open().press("2")
    visitor.wait_text("count", "1 of 20")
    visitor.wait_outbox(1)
    assert [row.label for row in decisions(record, record.batch("local").round)] == ["square"]
