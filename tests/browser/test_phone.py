"""Labelling with a thumb: 390 pixels wide, 44 pixel targets, swipes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labeler.rounds import Workspace
from tests.browser.served import Server, Visitor, decisions

Visit = Callable[..., Visitor]
OTHER = {"round": "square", "square": "round"}
TOO_SMALL = "all => all.filter((e) => Math.min(e.offsetWidth, e.offsetHeight) < 44).map((e) => e.outerHTML)"


@pytest.fixture
def phone(shared: Server, record: Workspace, visit: Visit) -> Visitor:
    visitor = visit(shared, has_touch=True)
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    return visitor.open()


def swipe(
    visitor: Visitor, right: float, down: float, *, end: str = "touchEnd", before: Callable[[], None] | None = None
) -> None:
    """A finger across the image, in fractions of it; `before` it is lifted something may be looked at."""
    box = visitor.page.locator(".lb-stage").bounding_box()
    assert box is not None
    line = visitor.context.new_cdp_session(visitor.page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    line.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 9):
        point = {"x": x + right * box["width"] * step / 8, "y": y + down * box["height"] * step / 8}
        line.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    if before is not None:
        before()
    line.send("Input.dispatchTouchEvent", {"type": end, "touchPoints": []})


def test_swipes_answer(phone: Visitor, record: Workspace) -> None:
    batch = record.batch("local")
    first, second = batch.items[:2]
    swipe(phone, 0.4, 0)
    phone.wait_text("count", "1 of 20")
    swipe(phone, -0.4, 0)
    phone.wait_text("count", "2 of 20")
    swipe(phone, 0, -0.4)
    phone.saved(3, 20)
    rows = decisions(record, batch.round)
    assert first.predicted is not None
    assert second.predicted is not None
    assert [row.label for row in rows] == [first.predicted, OTHER[second.predicted], None]
    assert [row.action for row in rows] == ["confirm", "correct", "skip"]


def test_a_swipe_says_what_it_would_answer_and_can_be_given_up(phone: Visitor, record: Workspace) -> None:
    first = record.batch("local").items[0]
    hint = phone.page.locator('[data-part="swipe"]')

    def told() -> None:
        assert hint.inner_text() == first.predicted
        assert hint.get_attribute("data-far") == "true"

    swipe(phone, 0.4, 0, end="touchCancel", before=told)
    swipe(phone, 0.12, 0)  # not far enough
    swipe(phone, 0, 0.4)  # down means nothing
    assert not hint.is_visible()
    phone.saved(0, 20)


def test_scrolling_is_not_an_answer(phone: Visitor, record: Workspace) -> None:
    """Where the page is taller than the screen, moving up is the browser's."""
    phone.page.set_viewport_size({"width": 390, "height": 420})
    phone.page.wait_for_selector('.lb[data-scrolls="true"]')
    swipe(phone, 0, -0.5)
    phone.page.wait_for_timeout(300)
    phone.saved(0, 20)


@pytest.mark.parametrize("mode", ["label", "grid"])
def test_fits_and_fingers_hit(phone: Visitor, mode: str) -> None:
    page = phone.page
    if mode == "grid":
        page.locator("[data-to=grid]").tap()
        phone.sheet()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.documentElement.scrollHeight") <= 844
    assert page.locator(".lb button:visible, .lb a:visible, [role=tab]:visible").evaluate_all(TOO_SMALL) == []
    page.locator("[data-do=help]:visible").tap()
    assert page.locator("dialog.lb-help").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    phone.assert_clean()


def test_tapping_marks_a_tile(phone: Visitor) -> None:
    phone.page.locator("[data-to=grid]").tap()
    phone.sheet()
    tile = phone.page.locator(".lb-tile").nth(3)
    tile.tap()
    assert tile.get_attribute("aria-pressed") == "true"
    phone.page.locator(".lb-grid-tools [data-do=skip]").tap()
    assert (tile.get_attribute("aria-label") or "").endswith("marked unsure")
    tile.tap()
    assert tile.get_attribute("aria-pressed") == "false"


def test_tapping_the_image_enlarges_and_a_finger_moves_it(phone: Visitor, record: Workspace) -> None:
    stage = phone.page.locator(".lb-stage")
    stage.tap()
    assert stage.get_attribute("data-zoomed") == "true"
    before = phone.page.locator(".lb-frame").get_attribute("style")
    swipe(phone, 0.4, 0)  # moves the picture now
    assert phone.page.locator(".lb-frame").get_attribute("style") != before
    phone.saved(0, 20)
