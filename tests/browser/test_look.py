"""axe-core finds nothing, in light and dark, in everything a person may see; and nothing moves for who asked for it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Route

from labeler.rounds import Workspace
from tests.browser.served import Server, Visitor

Visit = Callable[..., Visitor]


def faults(visitor: Visitor) -> list[str]:
    """What axe-core has to say about the page as it is."""
    visitor.page.wait_for_timeout(50)
    result = Axe().run(visitor.page, context=None, options={"resultTypes": ["violations"]})
    return [
        f"{found['id']}: {node['target']} {node.get('failureSummary', '')}"
        for found in result.response["violations"]
        for node in found["nodes"]
    ]


def waiting_for_the_model(visitor: Visitor) -> None:
    """Change what the server says to a batch that waits for the model under training."""

    def waits(route: Route) -> None:
        answer = route.fetch()
        job = {"id": 1, "kind": "refresh", "state": "running", "progress": 0.4, "message": ""}
        body = {**answer.json(), "round": None, "items": [], "ready": False, "wait": "model", "job": job}
        route.fulfill(response=answer, body=json.dumps(body))

    visitor.page.route("**/api/batch*", waits)
    visitor.page.reload()
    visitor.page.wait_for_selector('[data-part="panel-now"]:visible')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(shared: Server, record: Workspace, visit: Visit, scheme: str) -> None:
    visitor = visit(shared, color_scheme=scheme).open()
    page = visitor.page
    found = {"one by one": faults(visitor)}
    visitor.press("1", "s")
    visitor.press("ArrowLeft", "ArrowLeft")
    visitor.press("e")
    page.wait_for_selector('[data-part="explain-list"] li')
    found["answered, with reasons"] = faults(visitor)
    visitor.press("?")
    found["help"] = faults(visitor)
    visitor.press("Escape")
    visitor.press("f")
    found["note"] = faults(visitor)
    page.keyboard.press("Escape")
    visitor.grid()
    page.locator(".lb-tile").nth(1).click()
    visitor.press("ArrowRight", "s")
    found["grid"] = faults(visitor)
    visitor.press("g")
    visitor.labelling()
    waiting_for_the_model(visitor)
    found["waiting"] = faults(visitor)
    assert {where: said for where, said in found.items() if said} == {}
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(245, 246, 248)" if scheme == "light" else "rgb(14, 18, 22)")
    visitor.assert_clean()


def test_go_on_without_the_model(visitor: Visitor) -> None:
    """The button asks for a batch that does not wait."""
    waiting_for_the_model(visitor)
    assert visitor.text("panel-title") == "Learning from your answers"
    assert visitor.page.locator('[data-part="job"]').get_attribute("aria-valuenow") == "40"
    visitor.page.unroute("**/api/batch*")
    with visitor.page.expect_request("**/api/batch*now=true*"):
        visitor.page.locator('[data-part="panel-now"]').click()
    visitor.labelling()


def test_little_moves_for_those_who_ask_for_it(shared: Server, record: Workspace, visit: Visit) -> None:
    visitor = visit(shared, reduced_motion="reduce").open()
    moving = visitor.page.locator(".lb *").evaluate_all(
        "all => all.filter((e) => parseFloat(getComputedStyle(e).transitionDuration) > 0).map((e) => e.className)"
    )
    assert moving == []


def test_system_fonts_only(visitor: Visitor) -> None:
    family = visitor.page.evaluate("getComputedStyle(document.querySelector('.lb')).fontFamily")
    assert family.startswith("system-ui")
    assert visitor.page.evaluate("[...document.fonts].map((font) => font.family)") == []
