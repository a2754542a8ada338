"""The page with three classes and with ten: keys, corrections, the grid, the confusion table, and a phone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from labeler import Oracle
from labeler import workspace as workspaces
from labeler.rounds import Workspace
from tests.browser.conftest import new_round, settled
from tests.browser.served import WAIT_MS, Server, Visitor, decisions
from tests.browser.test_tabs import READY, violations
from tests.checks import assert_sound
from tests.shapes import TEN, THREE, draw_all

Visit = Callable[..., Visitor]
K = 24
EACH = {THREE: 34, TEN: 15}
EACH_TEST = 4
COMMANDS = set("SUZFGE")
#: What is cut off: a name wider than its box, or a button that is not wholly inside the window or its own list.
CUT_OFF = """
(all) => all.filter((one) => {
  const box = one.getBoundingClientRect();
  const list = one.parentElement.getBoundingClientRect();
  const name = one.querySelector(".lb-name");
  const words = document.createRange();
  words.selectNodeContents(name);
  const lines = new Set([...words.getClientRects()].map((line) => Math.round(line.top)));
  return lines.size > 1 || name.scrollWidth > name.clientWidth + 1 || box.left < 0 || box.right > innerWidth
    || box.top < list.top - 1 || box.bottom > list.bottom + 1 || box.bottom > innerHeight;
}).map((one) => one.textContent)
"""
#: For tests of what only many classes put to the test.
TEN_ONLY = pytest.mark.parametrize("classes", [TEN], indirect=True, ids=["ten"])
TOO_SMALL = "all => all.filter((e) => Math.min(e.offsetWidth, e.offsetHeight) < 44).map((e) => e.outerHTML)"


@pytest.fixture(scope="module", params=[THREE, TEN], ids=["three", "ten"])
def classes(request: pytest.FixtureRequest) -> tuple[str, ...]:
    chosen: tuple[str, ...] = request.param
    return chosen


@pytest.fixture(scope="module")
def served(
    classes: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory, compiled: Path, browser: object
) -> Iterator[Server]:
    """A server of a workspace with a model that has seen every class a few times."""
    base = tmp_path_factory.mktemp(f"page{len(classes)}")
    paths = workspaces.create(base / "w", classes)
    shutil.copytree(compiled, paths.compiled)
    draw_all(base / "pool", classes, EACH[classes])
    draw_all(base / "test", classes, EACH_TEST, first=1000)
    flat = base / "flat"
    flat.mkdir()
    for file in sorted((base / "pool").glob("*/*.png")):
        shutil.copy(file, flat / file.name)
    with Workspace.open(paths.root, k=K) as opened:
        opened.import_images(flat, into="unlabelled")
        opened.import_images(base / "test", into="test")
        opened.round(2 * len(classes), Oracle(base / "pool", classes, seed=0))
    server = Server(paths.root, k=K, grid=12, grid_confidence=0.1).start()
    yield server
    assert server.stop() == 0, "".join(server.log)


@pytest.fixture
def record(served: Server) -> Iterator[Workspace]:
    """The server's workspace, opened beside it, with a new round of 24."""
    with Workspace.open(served.root, k=K) as opened:
        new_round(opened)
        yield opened


@pytest.fixture
def visitor(served: Server, record: Workspace, visit: Visit) -> Visitor:
    return visit(served).open()


@pytest.fixture
def phone(served: Server, record: Workspace, visit: Visit) -> Visitor:
    visitor = visit(served, has_touch=True)
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    return visitor.open()


def keys_on(page: Page) -> list[list[str]]:
    """What is written on each class's button, but for the Enter of the suggested one."""
    return [
        button.locator("kbd:not(.lb-enter):visible").all_inner_texts() for button in page.locator(".lb-class").all()
    ]


# ----------------------------------------------------------------------------------------------------------- keys


def test_every_class_has_keys_of_its_own_and_they_answer(
    visitor: Visitor, record: Workspace, classes: tuple[str, ...]
) -> None:
    page = visitor.page
    assert page.locator(".lb-class .lb-name").all_inner_texts() == list(classes)
    shown = keys_on(page)
    assert all(shown), "a key is on every button"
    flat = [key for keys in shown for key in keys]
    assert len(set(flat)) == len(flat)
    assert not set(flat) & COMMANDS
    assert [keys[0] for keys in shown] == list("1234567890"[: len(classes)])
    told = [(button.get_attribute("aria-keyshortcuts") or "").split() for button in page.locator(".lb-class").all()]
    assert all(set(keys) <= set(known) for keys, known in zip(shown, told, strict=True))
    batch = record.batch("local")
    pressed = [key for place in range(2) for key in [keys[place] for keys in told]]
    visitor.press(*(key.lower() for key in pressed), delay_ms=40)
    visitor.saved(len(pressed), K)
    rows = decisions(record, batch.round)
    assert [row.label for row in rows] == [*classes, *classes]
    suggested = [item.predicted for item in batch.items]
    assert [row.action for row in rows] == [
        "confirm" if row.label == said else "correct" for row, said in zip(rows, suggested, strict=False)
    ]
    assert page.locator(".lb-thumb .lb-badge").nth(len(classes) - 1).get_attribute("data-key") == shown[-1][0]
    visitor.assert_clean()


@TEN_ONLY
def test_keys_of_any_number_of_classes(visitor: Visitor) -> None:
    """Told by the page's own module: initials first, no letter twice, and something left for the thirtieth."""
    given = visitor.page.evaluate(
        """async () => {
          const { keysFor } = await import("/static/app/keys.js");
          const many = [...Array(30)].map((_, index) => `sugar ${index}`);
          const few = [["withMask", "withoutMask", "incorrect"], ["flag", "zoom", "goes", "use"]];
          return [...few, ["маска", "ja", "jo"], many].map((names) => keysFor(names));
        }"""
    )
    assert given[0] == [["1", "w"], ["2", "t"], ["3", "i"]]
    assert given[1] == [["1", "l"], ["2", "o"], ["3", ""], ["4", ""]], "what is left is the digit"
    assert given[2] == [["1", ""], ["2", "j"], ["3", "o"]]
    for names in given:
        keys = [key for pair in names for key in pair if key]
        assert len(set(keys)) == len(keys)
        assert not {key.upper() for key in keys} & COMMANDS
        assert all(any(pair) for pair in names)


def test_a_correction_to_any_class_and_back(visitor: Visitor, record: Workspace, classes: tuple[str, ...]) -> None:
    batch = record.batch("local")
    page = visitor.page
    for number, label in enumerate(classes[-3:], start=1):
        page.locator(".lb-class").nth(classes.index(label)).click()
        assert page.locator(".lb-thumb").nth(number - 1).get_attribute("aria-label") is not None
        visitor.saved(number, K)
    visitor.press("u")
    visitor.saved(2, K)
    page.locator(".lb-class").nth(0).click()
    visitor.saved(3, K)
    settled(record)
    rows = [(row.action, row.label) for row in decisions(record, batch.round)]
    assert [label for _, label in rows[:3]] == list(classes[-3:])
    assert rows[3][0] == "undo"
    assert rows[4][1] == classes[0]
    assert_sound(record, len(classes) * (EACH[classes] + EACH_TEST))


@TEN_ONLY
def test_all_buttons_are_in_sight_on_a_desk(visitor: Visitor, classes: tuple[str, ...]) -> None:
    buttons = visitor.page.locator(".lb-class")
    assert buttons.count() == len(classes)
    assert buttons.evaluate_all(CUT_OFF) == []
    assert violations(visitor.page) == []
    visitor.press("?")
    assert visitor.text("last-key") == str(len(classes) % 10)
    visitor.press("Escape")
    shapes = buttons.locator(".lb-shape").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).clipPath + getComputedStyle(one).borderRadius)"
    )
    assert len(set(shapes)) == len(classes), "no class is told by its colour alone"


# ----------------------------------------------------------------------------------------------------------- grid


def test_a_page_of_the_grid_with_any_class(visitor: Visitor, record: Workspace, classes: tuple[str, ...]) -> None:
    page = visitor.grid().page
    tiles, chips = page.locator(".lb-tile"), page.locator(".lb-chip")
    assert chips.locator(".lb-name").all_inner_texts() == list(classes)
    images = tiles.locator("img").evaluate_all("all => all.map((one) => new URL(one.src).searchParams.get('v'))")
    assert len(images) > 2
    predicted = said_of(record, images)
    others = [name for name in classes if name != predicted[0]]
    tiles.nth(0).click()  # the next class, then the one chosen
    assert tiles.nth(0).get_attribute("aria-label") == f"Image 1: marked {others[0]}"
    chips.nth(classes.index(others[-1])).click()
    assert tiles.nth(0).get_attribute("aria-label") == f"Image 1: marked {others[-1]}"
    expect(chips.and_(page.locator('[aria-pressed="true"]'))).to_have_text(
        [f"{others[-1]}{digit(classes, others[-1])}"]
    )
    visitor.press("ArrowRight", digit(classes, classes[-1]), "ArrowRight", "s")
    assert "1 unsure" in visitor.text("grid-go")
    visitor.press("Enter")
    page.wait_for_function(
        "sha => !document.querySelector(`.lb-tile img[src*='${sha}']`)", arg=images[0], timeout=WAIT_MS
    )
    visitor.wait_outbox(0)
    labels = {row.image_id: row.label for row in decisions(record)[-len(images) :]}
    assert labels_of(record, images, labels) == [others[-1], classes[-1], None, *predicted[3:]]
    visitor.press("u")
    visitor.sheet()
    visitor.wait_outbox(0)
    assert [row.action for row in decisions(record)[-len(images) :]] == ["undo"] * len(images)
    assert tiles.nth(0).get_attribute("aria-label") == f"Image 1: marked {others[-1]}"
    visitor.press("g")
    visitor.assert_clean()


def digit(classes: tuple[str, ...], label: str) -> str:
    return "1234567890"[classes.index(label)]


def said_of(record: Workspace, images: list[str]) -> list[str]:
    items = {item.sha256: item for item in record.batch("local", "grid").items}
    return [str(items[sha].predicted) for sha in images]


def labels_of(record: Workspace, images: list[str], labels: dict[int, str | None]) -> list[str | None]:
    from labeler.record.images import images_by_sha

    with record.store.read() as session:
        found = images_by_sha(session, images)
        return [labels[found[sha].id] for sha in images]


# ------------------------------------------------------------------------------------------------------ model, try


def test_the_confusion_table_of_the_model_tab(visitor: Visitor, record: Workspace, classes: tuple[str, ...]) -> None:
    page = visitor.page
    page.locator("[role=tab]:visible", has_text="Model").first.click()
    page.wait_for_selector(READY["Model"], timeout=WAIT_MS)
    table = page.locator("#model-page .lb-confusion")
    assert table.locator("tbody th").all_inner_texts() == list(classes)
    numbers = [int(text) for text in table.locator(".lb-cell").all_inner_texts()]
    assert numbers == [n for row in record.figures()["confusion"]["table"] for n in row]
    assert sum(numbers) == len(classes) * EACH_TEST
    box = table.locator("xpath=..")
    assert box.evaluate("one => one.scrollWidth <= one.clientWidth"), "on a desk the whole table is in sight"
    assert page.locator("#model-page .lb-balance tbody tr").count() == len(classes)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box.evaluate("one => one.scrollTo(1e6, 0)")
    name = table.locator("tbody th").last
    where = name.bounding_box()
    assert where is not None
    assert where["x"] >= 0, "whose row it is stays in sight"
    assert table.locator("caption").evaluate("one => one.getBoundingClientRect().right <= innerWidth")
    assert violations(page) == []
    visitor.assert_clean()


@TEN_ONLY
def test_the_try_tab_says_a_share_for_every_class(visitor: Visitor, served: Server, classes: tuple[str, ...]) -> None:
    page = visitor.page
    page.locator("[role=tab]:visible", has_text="Try").first.click()
    page.wait_for_selector(READY["Try"], timeout=WAIT_MS)
    file = next((served.root / "pools/Test" / classes[-1]).glob("*.png"))
    page.set_input_files("#lb-try-file", file)
    page.wait_for_selector("#try-page [data-part=answer]:not([hidden])", timeout=WAIT_MS)
    assert page.locator("#try-page .lb-shares dt").all_inner_texts() == list(classes)
    colours = page.locator("#try-page .lb-share-bar").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).getPropertyValue('--lb-class'))"
    )
    assert len(set(colours)) == len(classes)


# ---------------------------------------------------------------------------------------------------------- phone


def test_a_phone_shows_every_class(phone: Visitor, classes: tuple[str, ...]) -> None:
    page = phone.page
    assert page.locator(".lb-class").evaluate_all(CUT_OFF) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.documentElement.scrollHeight") <= 844
    assert page.locator(".lb button:visible, [role=tab]:visible").evaluate_all(TOO_SMALL) == []
    stage = page.locator(".lb-stage").bounding_box()
    assert stage is not None
    assert stage["height"] >= 180, "the image is what is looked at"
    phone.press("e")
    page.wait_for_selector('[data-part="explain-list"] li')
    assert_stacked(page, "stage", "suggestion", "classes", "explain", "strip")
    phone.press("e")
    assert violations(page) == []
    phone.assert_clean()


def assert_stacked(page: Page, *names: str) -> None:
    """One below the other, none on another, and the image large enough to look at."""
    boxes = page.evaluate(
        """(names) => names.map((part) => {
          const box = document.querySelector(`.lb [data-part=${part}]`).getBoundingClientRect();
          return [box.top, box.bottom];
        })""",
        list(names),
    )
    assert all(above[1] <= below[0] + 1 for above, below in pairwise(boxes)), dict(zip(names, boxes, strict=True))
    assert boxes[0][1] - boxes[0][0] >= 180


def test_a_small_phone_scrolls_and_cuts_nothing_off(phone: Visitor, classes: tuple[str, ...]) -> None:
    page = phone.page
    page.set_viewport_size({"width": 360, "height": 600})
    assert_stacked(page, "stage", "suggestion", "classes", "strip")
    page.locator(".lb-class").last.scroll_into_view_if_needed()
    lists = page.locator(".lb-classes")
    assert lists.evaluate("one => one.scrollHeight <= one.clientHeight + 1")
    page.locator(".lb-class").last.tap()
    phone.wait_text("count", f"1 of {K}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_thumb_marks_any_class_on_the_grid(phone: Visitor, classes: tuple[str, ...]) -> None:
    page = phone.page
    page.locator("[data-to=grid]").tap()
    phone.sheet()
    chips = page.locator(".lb-chip")
    assert chips.evaluate_all(CUT_OFF) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.documentElement.scrollHeight") <= 844
    assert page.locator(".lb button:visible").evaluate_all(TOO_SMALL) == []
    tile = page.locator(".lb-tile").nth(1)
    for chip in (chips.last, chips.first):
        tile.tap()
        chip.tap()
        label = chip.locator(".lb-name").inner_text()
        assert (tile.get_attribute("aria-label") or "") in (f"Image 2: marked {label}", f"Image 2: {label}")
        assert chip.get_attribute("aria-pressed") == "true"
    assert violations(page) == []
    page.locator("[data-to=label]").tap()
    phone.labelling()
