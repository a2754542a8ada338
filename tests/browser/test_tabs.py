"""The tabs beside the labelling page in a real browser: what they show, for whom, in light and dark and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from labeler.domain import Action, Answer, Split
from labeler.record.tables import Annotator, Image, Note
from labeler.rounds import Workspace
from labeler.rounds.decisions import new_operation
from tests.browser.conftest import TRAP, truth
from tests.browser.served import WAIT_MS, Server, Visitor
from tests.workspaces import CLASSES, draw

axe = pytest.importorskip("axe_playwright_python.sync_playwright")

Visit = Callable[..., Visitor]
TABS = ("Mistakes", "Model", "Try", "Team")
NOTE = "<img src=x onerror=alert(1)>${alert(2)} which one?"
#: What shows that a tab has its figures.
READY = {
    "Mistakes": '#mistakes-page .lb:not([data-state="loading"])',
    "Model": "#model-page .lb-confusion",
    "Try": "#try-page .lb-drop label strong:not(:empty)",
    "Team": "#agreement-page .lb-facts dd",
}


@pytest.fixture(scope="module")
def seasoned(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tested, trained twice, labelled by two people who sometimes differ, and with marked images."""
    base = tmp_path_factory.mktemp("seasoned")
    root = base / "w"
    shutil.copytree(trained, root)
    for seed in range(5000, 5016):
        draw(base / "test" / CLASSES[seed % 2], seed, CLASSES[seed % 2])
    with Workspace.open(root, k=20) as opened:
        assert opened.import_images(base / "test", into="test").imported == 16
        opened.train()
        batch = opened.batch("local")
        _answer(opened, "local", [item.image_id for item in batch.items], batch.round, 1)
        _answer(opened, "zoë", [item.image_id for item in batch.items[:12]], batch.round, 3)
        opened.run_round_job()
        opened.train()
        with opened.store.write() as session:
            who = session.scalars(select(Annotator).where(Annotator.name == "zoë")).one()
            trap = session.scalars(select(Image).where(Image.path.endswith(TRAP[-20:]))).first()
            other = session.scalars(select(Image).where(Image.split == Split.TRAIN.value)).first()
            for image, text in ((trap, NOTE), (other, "")):
                assert image is not None
                session.add(Note(op_id=new_operation(), image_id=image.id, annotator_id=who.id, text=text))
    return root


def _answer(opened: Workspace, who: str, images: list[int], number: int | None, wrong_every: int) -> None:
    with opened.store.read() as session:
        shas = {row.id: row.sha256 for row in session.scalars(select(Image))}
    answers = []
    for at, image in enumerate(images, start=1):
        label = truth(opened, image)
        if wrong_every > 1 and at % wrong_every == 0:
            label = CLASSES[1 - CLASSES.index(label)]
        answers.append(Answer(shas[image], Action.CORRECT, label, new_operation(), 900 + at))
    opened.decide(who, answers, round=number)


@pytest.fixture(scope="module")
def tabs(seasoned: Path, browser: object) -> Iterator[Server]:
    server = Server(seasoned).start()
    yield server
    assert server.stop() == 0, "".join(server.log)


def go(page: Page, tab: str) -> None:
    page.locator("[role=tab]:visible", has_text=tab).first.click()
    page.wait_for_selector(READY[tab], timeout=WAIT_MS)


def violations(page: Page) -> list[Any]:
    found = axe.Axe().run(page).response["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_a_phone(tabs: Server, visit: Visit, scheme: str) -> None:
    visitor = visit(tabs, color_scheme=scheme)
    visitor.open()
    for tab in TABS:
        go(visitor.page, tab)
        assert violations(visitor.page) == [], tab
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    for tab in TABS:
        go(visitor.page, tab)
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    assert violations(visitor.page) == []
    visitor.assert_clean()


def test_the_model_tab_shows_the_figures_and_the_images_behind_them(tabs: Server, visit: Visit) -> None:
    with Workspace.open(tabs.root) as opened:
        figures = opened.figures()
    visitor = visit(tabs).open()
    page = visitor.page
    go(page, "Model")
    cells = page.locator("#model-page .lb-cell").all_inner_texts()
    assert [int(text) for text in cells] == [n for row in figures["confusion"]["table"] for n in row]
    assert figures["model"]["name"] in page.locator("#model-page .lb-facts").inner_text()
    assert page.locator("#model-page .lb-stopping h2").inner_text() == "It cannot be told yet whether you can stop"
    curve = page.locator("#model-page [data-part=curve] svg")
    assert curve.locator("polyline").count() == 2
    assert curve.locator(".lb-band").count() == 2
    page.locator("#model-page [data-part=curve] summary").click()
    assert page.locator("#model-page [data-part=curve] tbody tr").count() == len(figures["curve"]["points"])
    button = page.locator("#model-page button.lb-cell").first
    button.focus()
    page.keyboard.press("Enter")
    thumbs = page.locator(".lb-gallery .lb-thumbs img")
    thumbs.first.wait_for(timeout=WAIT_MS)
    assert thumbs.count() == int(button.inner_text())
    assert violations(page) == []
    thumbs.first.click()
    large = page.locator(".lb-gallery .lb-large-frame img")
    expect(large).to_have_js_property("complete", True)
    assert large.evaluate("image => image.naturalWidth") > 0
    first = large.get_attribute("src")
    page.keyboard.press("ArrowRight")
    assert page.locator(".lb-gallery .lb-large-frame img").get_attribute("src") != first
    page.keyboard.press("Escape")
    expect(page.locator(".lb-gallery")).to_have_count(0)
    assert page.evaluate("document.activeElement.className") == "lb-cell"
    visitor.assert_clean()


def test_marked_images_show_their_notes_as_text(tabs: Server, visit: Visit) -> None:
    visitor = visit(tabs).open()
    page = visitor.page
    go(page, "Mistakes")
    notes = page.locator("#flags-page .lb-note")
    expect(notes).to_have_count(2, timeout=WAIT_MS)
    assert notes.all_inner_texts() == ["no note", NOTE]
    page.locator("#flags-page .lb-flags button").nth(1).click()
    assert NOTE in page.locator(".lb-gallery [data-part=text]").inner_text()
    assert TRAP[-20:] in page.locator(".lb-gallery [data-part=name]").inner_text()
    assert violations(page) == []
    page.locator(".lb-gallery").get_by_role("button", name="Close").click()
    visitor.assert_clean()


def test_an_image_of_ones_own(tabs: Server, visit: Visit, tmp_path: Path) -> None:
    file = draw(tmp_path, 7001, CLASSES[0])
    with Workspace.open(tabs.root) as opened:
        said = opened.predict([file])[0]
    visitor = visit(tabs).open()
    page = visitor.page
    go(page, "Try")
    page.locator("#lb-try-file").focus()  # reachable by keyboard: the label is drawn for it
    assert page.evaluate("document.activeElement.id") == "lb-try-file"
    page.set_input_files("#lb-try-file", file)
    page.wait_for_selector("#try-page [data-part=answer]:not([hidden])", timeout=WAIT_MS)
    assert page.locator("#try-page .lb-try-guess").inner_text() == f"looks like {said['predicted']}"
    assert page.locator("#try-page .lb-shares dt").all_inner_texts() == list(CLASSES)
    assert page.locator("#try-page [data-part=picture]").evaluate("image => image.naturalWidth") == 96
    assert violations(page) == []
    visitor.assert_clean()


def test_a_bad_file_gets_one_calm_line(tabs: Server, visit: Visit, tmp_path: Path) -> None:
    bad = tmp_path / "notes.jpg"
    bad.write_text("this is no image")
    visitor = visit(tabs).open()
    page = visitor.page
    go(page, "Try")
    page.set_input_files("#lb-try-file", bad)
    line = page.locator("#try-page [data-part=say]")
    expect(line).to_have_text("This file cannot be read as an image.", timeout=WAIT_MS)
    assert page.locator("#try-page [data-part=answer]").is_hidden()
    assert violations(page) == []


def test_the_team_tab_names_people_and_how_far_they_agree(tabs: Server, visit: Visit) -> None:
    visitor = visit(tabs).open()
    page = visitor.page
    go(page, "Team")
    rows = page.locator("#team-page tbody th").all_inner_texts()
    assert rows == ["local (you)", "zoë"]
    with Workspace.open(tabs.root) as opened:
        figures = opened.agreement("local", everyone=True)
    assert figures is not None
    shown = page.locator("#agreement-page .lb-facts dt + dd").all_inner_texts()
    assert shown == [f"{figures['alpha']:.2f}", "12"]
    assert page.locator("#agreement-page [data-part=pairs] tbody tr").count() == 1
    assert "66.7 %" in page.locator("#agreement-page [data-part=pairs] tbody").inner_text()
    visitor.assert_clean()
