"""A page of images at once: every one gets its own decision, and one press takes the whole page back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route

from labeler.record.tables import DecisionRow
from labeler.rounds import Workspace
from tests.browser.conftest import POOL, settled
from tests.browser.served import Server, Visitor, decisions
from tests.checks import assert_sound

Visit = Callable[..., Visitor]
OTHER = {"round": "square", "square": "round"}


@pytest.fixture(scope="module")
def pages(trained: Path, tmp_path_factory: pytest.TempPathFactory, browser: object) -> Iterator[Server]:
    """A server of this file's own, with small pages so that there are enough of them."""
    root = tmp_path_factory.mktemp("pages") / "w"
    shutil.copytree(trained, root)
    server = Server(root, grid=8, grid_confidence=0.5).start()
    yield server
    assert server.stop() == 0, "".join(server.log)


@pytest.fixture
def sheet(pages: Server, visit: Visit) -> Visitor:
    """A window on a page of the grid."""
    return visit(pages).open().grid()


def shown(page: Page) -> list[str]:
    """sha256 of the images on the page."""
    return list(
        page.locator(".lb-tile img").evaluate_all("all => all.map((one) => new URL(one.src).searchParams.get('v'))")
    )


def answered(root: Path, images: Sequence[str]) -> dict[str, list[DecisionRow]]:
    """What is on record of these images, oldest first."""
    with Workspace.open(root) as opened:
        rows = decisions(opened)
        with opened.store.read() as session:
            from labeler.record.images import images_by_sha

            ids = {image.id: sha for sha, image in images_by_sha(session, images).items()}
    found: dict[str, list[DecisionRow]] = {sha: [] for sha in images}
    for row in rows:
        if row.image_id in ids:
            found[ids[row.image_id]].append(row)
    return found


def test_one_press_confirms_a_page_and_every_image_has_its_decision(pages: Server, sheet: Visitor) -> None:
    page = sheet.page
    images = shown(page)
    assert len(images) == 8
    title = sheet.text("grid-title")
    suggested = next(label for label in OTHER if label in title)
    assert sheet.text("grid-go") == f"Confirm 8 as {suggested}"
    tiles = page.locator(".lb-tile")
    tiles.nth(1).click()
    assert tiles.nth(1).get_attribute("aria-pressed") == "true"
    assert tiles.nth(1).get_attribute("aria-label") == f"Image 2: marked {OTHER[suggested]}"
    sheet.press("ArrowRight", " ")
    sheet.press("ArrowRight", "s")
    sheet.press("ArrowRight", " ", " ")  # marked, and no longer
    assert sheet.text("grid-how") == f"2 marked {OTHER[suggested]}, 1 unsure"
    counts = {suggested: 5, OTHER[suggested]: 2}
    said = ", ".join(f"{counts[label]} as {label}" for label in ("round", "square"))
    assert sheet.text("grid-go") == f"Confirm {said}, 1 unsure"
    sheet.press("Enter")
    page.wait_for_function(
        "before => !document.querySelector(`.lb-tile img[src*='${before}']`)", arg=images[0], timeout=60_000
    )
    sheet.wait_outbox(0)
    rows = answered(pages.root, images)
    assert all(len(found) == 1 for found in rows.values())
    first = [rows[sha][0] for sha in images]
    assert [row.action for row in first] == ["confirm", "correct", "correct", "skip", *["confirm"] * 4]
    assert [row.label for row in first][:4] == [suggested, OTHER[suggested], OTHER[suggested], None]
    assert len({row.op_id for row in first}) == 8
    assert len({row.elapsed_ms for row in first}) == 1, "each has its share of the time"
    assert not set(shown(sheet.sheet().page)) & set(images)
    sheet.assert_clean()


def test_undo_takes_the_whole_page_back_as_it_was_marked(pages: Server, sheet: Visitor) -> None:
    images = shown(sheet.page)
    sheet.page.locator(".lb-tile").nth(2).click()
    sheet.press("Enter")
    sheet.sheet()
    sheet.press("u")
    sheet.sheet()
    assert shown(sheet.page) == images
    assert sheet.page.locator('.lb-tile[aria-pressed="true"]').count() == 1
    sheet.wait_outbox(0)
    rows = answered(pages.root, images)
    assert all([row.action for row in found][1:] == ["undo"] for found in rows.values())
    sheet.press("Enter")
    sheet.sheet()
    sheet.wait_outbox(0)
    rows = answered(pages.root, images)
    assert [rows[sha][-1].action for sha in images].count("correct") == 1
    with Workspace.open(pages.root) as opened:
        settled(opened)
        assert_sound(opened, POOL)


def test_undo_of_a_page_after_a_reload(pages: Server, sheet: Visitor) -> None:
    images = shown(sheet.page)
    sheet.page.locator(".lb-tile").nth(5).click()
    sheet.press("Enter")
    sheet.wait_outbox(0)
    sheet.page.reload()
    sheet.sheet()  # the mode is remembered, too
    sheet.press("u")
    sheet.sheet()
    assert shown(sheet.page) == images
    assert sheet.page.locator('.lb-tile[aria-pressed="true"]').count() == 1
    sheet.wait_outbox(0)
    assert all(found[-1].action == "undo" for found in answered(pages.root, images).values())
    sheet.press("Enter")
    sheet.wait_outbox(0)


def test_a_held_key_confirms_one_page(pages: Server, sheet: Visitor) -> None:
    before = len(_all(pages))
    for _ in range(5):
        sheet.page.keyboard.down("Enter")
        sheet.page.wait_for_timeout(150)
    sheet.page.keyboard.up("Enter")
    sheet.wait_outbox(0)
    assert len(_all(pages)) == before + 8


def _all(server: Server) -> Sequence[DecisionRow]:
    with Workspace.open(server.root) as opened:
        return decisions(opened)


def test_nothing_is_confirmed_unseen(pages: Server, visit: Visit) -> None:
    visitor = visit(pages).open()
    visitor.page.route("**/image/*size=grid*", lambda route: route.abort())
    visitor.press("g")
    visitor.page.wait_for_selector('.lb[data-state="label"][data-mode="grid"] .lb-tile')
    visitor.press("Enter")
    visitor.wait_text("notice", "not here yet")
    visitor.wait_outbox(0)
    visitor.page.unroute("**/image/*size=grid*")
    visitor.sheet()  # they come by themselves


def test_a_picture_that_is_gone_is_set_aside(pages: Server, visit: Visit) -> None:
    visitor = visit(pages).open()
    visitor.page.route("**/image/*size=grid*", lambda route: _gone_or(route, visitor))
    visitor.press("g")
    visitor.page.wait_for_selector('.lb-tile[data-class="skip"]')
    tile = visitor.page.locator(".lb-tile").first
    tile.click()  # it stays so: nobody can know what it shows
    assert tile.get_attribute("aria-label") == "Image 1: marked unsure"


def _gone_or(route: Route, visitor: Visitor) -> None:
    first = visitor.page.evaluate("document.querySelector('.lb-tile img')?.src ?? ''")
    if not first or route.request.url == first:
        route.fulfill(status=410, body="{}", content_type="application/json")
    else:
        route.continue_()


def test_more_than_two_classes(sheet: Visitor) -> None:
    """Clicks go round the other classes, digits set one; told by the page's own module in the browser."""
    found = sheet.page.evaluate(
        """async () => {
          const { Sheet } = await import("/static/app/sheet.js");
          const item = { image_id: 1, sha256: "a", predicted: "b", probability: 0.9, action: null };
          const sheet = new Sheet({ round: 3, classes: ["a", "b", "c"], items: [item] });
          const [only] = sheet.items;
          const seen = [];
          for (let i = 0; i < 4; i++) { seen.push(sheet.labelOf(only)); sheet.cycle(only); }
          sheet.choose(only, "c"); seen.push(sheet.answers()[0].action, sheet.labelOf(only));
          sheet.doubt(only); seen.push(sheet.answers()[0].action);
          sheet.choose(only, "b"); seen.push(sheet.answers()[0].action);
          return seen;
        }"""
    )
    assert found == ["b", "a", "c", "b", "correct", "c", "skip", "confirm"]
