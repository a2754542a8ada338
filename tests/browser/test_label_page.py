"""Labelling with the keyboard, the mouse and one's thumbs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labeler.domain import ImageRef, Split
from labeler.record import images
from labeler.rounds import Workspace
from tests.browser.conftest import POOL, settled, truth
from tests.browser.served import Server, Visitor, decisions
from tests.checks import assert_sound

Visit = Callable[..., Visitor]


@pytest.fixture
def cold(proposed: Path, tmp_path: Path, browser: object) -> Iterator[Server]:
    """A server of its own on a workspace without a model."""
    shutil.copytree(proposed, tmp_path / "w")
    server = Server(tmp_path / "w", k=50).start()
    yield server
    server.stop()


def test_a_whole_batch_by_keyboard_and_the_next_one_appears(cold: Server, visit: Visit) -> None:
    visitor = visit(cold).open()
    assert visitor.text("guess") == "no suggestion yet"
    visitor.press("Enter")
    assert "Choose a class" in visitor.text("stage-note")
    with Workspace.open(cold.root) as opened:
        labels = [truth(opened, item.image_id) for item in opened.batch("local").items]
        wanted = {item.sha256: label for item, label in zip(opened.batch("local").items, labels, strict=True)}
        for label in labels:
            visitor.press("1" if label == "round" else "2")
        visitor.page.wait_for_selector('.lb[data-state="wait"]')
        visitor.wait_text("panel-facts", "50 labelled")
        visitor.labelling(2)
        assert visitor.text("guess").startswith("looks like ")
        assert visitor.text("percent").endswith("%")
        visitor.saved(0, 50)
        rows = decisions(opened, 1)
        assert len(rows) == len({row.op_id for row in rows}) == 50
        stored = {item.sha256: item.label for item in _labelled(opened)}
        assert stored == wanted
        settled(opened)
        assert_sound(opened, POOL)
        visitor.page.get_by_role("tab", name="Model").click()
        visitor.page.wait_for_selector("#model-page dd")
        visitor.assert_clean()


def _labelled(opened: Workspace) -> list[ImageRef]:
    with opened.store.read() as session:
        return images.refs(session, Split.TRAIN)


def test_confirm_correct_skip(visitor: Visitor, record: Workspace) -> None:
    batch = record.batch("local")
    first, second, third, fourth = batch.items[:4]
    suggested = visitor.page.locator('.lb-class[data-suggested="true"]')
    assert suggested.locator(".lb-name").inner_text() == first.predicted
    assert visitor.text("guess") == f"looks like {first.predicted}"
    visitor.press("Enter", " ")
    visitor.press("2" if third.predicted == "round" else "1")
    visitor.press("1" if fourth.predicted == "round" else "2")
    visitor.press("s")
    visitor.saved(5, 20)
    rows = decisions(record, batch.round)
    assert [row.action for row in rows] == ["confirm", "confirm", "correct", "confirm", "skip"]
    assert [row.label for row in rows[:2]] == [first.predicted, second.predicted]
    assert rows[2].label != third.predicted
    assert all(row.elapsed_ms is not None for row in rows)
    visitor.press("ArrowLeft", "ArrowLeft")
    assert visitor.page.locator('.lb-class[aria-pressed="true"] .lb-name').inner_text() == rows[3].label
    assert visitor.text("verdict") == f"Answered: {rows[3].label}"
    marks = visitor.page.locator(".lb-thumb").evaluate_all("all => all.slice(0, 6).map((e) => e.ariaLabel)")
    assert marks[4:] == ["Image 5: unsure", "Image 6: no answer yet"]
    assert marks[0] == f"Image 1: {first.predicted}"
    visitor.assert_clean()


def test_a_held_key_counts_once(visitor: Visitor, record: Workspace) -> None:
    for _ in range(6):
        visitor.page.keyboard.down("1")  # from the second on the browser marks them as repeats
    visitor.page.keyboard.up("1")
    visitor.saved(1, 20)
    assert len(decisions(record, record.batch("local").round)) == 1


def test_twenty_presses_in_a_hurry_on_a_slow_line(visitor: Visitor, record: Workspace) -> None:
    """20 presses at 20 ms with 100 ms round trip: all stored, in the order pressed, and the next round comes."""
    batch = record.batch("local")
    line = visitor.context.new_cdp_session(visitor.page)
    conditions = {"offline": False, "latency": 100, "downloadThroughput": -1, "uploadThroughput": -1}
    line.send("Network.emulateNetworkConditions", conditions)
    keys = ["1", "2", "s", "2"] * 5
    visitor.press(*keys, delay_ms=20)
    visitor.wait_outbox(0)
    rows = decisions(record, batch.round)
    assert [row.label for row in rows] == ["round", "square", None, "square"] * 5
    assert [row.image_id for row in rows] == [item.image_id for item in batch.items]
    assert set(visitor.acknowledged) <= {row.op_id for row in rows}
    assert batch.round is not None
    visitor.labelling(batch.round + 1)


def test_undo_here_and_after_a_reload(visitor: Visitor, record: Workspace) -> None:
    before = record.batch("local")
    visitor.press("1", "2", "1")
    visitor.press("ArrowLeft", "ArrowLeft", "ArrowLeft", "2")  # the first again, corrected: now the last answered
    visitor.saved(3, 20)
    visitor.page.reload()
    visitor.labelling()
    visitor.press("u")  # takes back the correction of the first
    visitor.wait_outbox(0)
    assert record.batch("local").items[0].label == "round"
    assert visitor.page.locator(".lb-thumb").first.get_attribute("aria-label") == "Image 1: round"
    visitor.press("ArrowRight", "ArrowRight", "ArrowRight", "u")  # nothing here: so the last answered, image 1
    visitor.press("Control+z", "Control+z")
    visitor.saved(0, 20)
    assert record.batch("local").labelled == before.labelled
    assert [row.action for row in decisions(record, before.round)][4:] == ["undo"] * 4
    settled(record)
    assert_sound(record, POOL)


def test_a_key_that_bounces_counts_once(visitor: Visitor, record: Workspace) -> None:
    """Pressed again without having been let go of, though the browser does not call it a repeat."""
    bounce = """() => {
      for (let i = 0; i < 3; i++)
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "1", code: "Digit1", bubbles: true }));
      document.body.dispatchEvent(new KeyboardEvent("keyup", { key: "1", code: "Digit1", bubbles: true }));
    }"""
    visitor.page.evaluate(bounce)
    visitor.page.evaluate(bounce)
    visitor.saved(2, 20)
    assert len(decisions(record, record.batch("local").round)) == 2


def test_letters_of_the_classes(visitor: Visitor, record: Workspace) -> None:
    keys = visitor.page.locator(".lb-class").evaluate_all("all => all.map((e) => e.getAttribute('aria-keyshortcuts'))")
    assert keys == ["1 R", "2 Q"]  # s and u of "square" are commands
    visitor.press("r", "q", "R")
    visitor.saved(3, 20)
    rows = decisions(record, record.batch("local").round)
    assert [row.label for row in rows] == ["round", "square", "round"]


def test_undo_reaches_into_the_batch_before_also_after_a_reload(visitor: Visitor, record: Workspace) -> None:
    before = record.batch("local")
    visitor.press(*["1", "2"] * 10)
    visitor.labelling((before.round or 0) + 1)
    visitor.wait_outbox(0)
    visitor.page.reload()
    visitor.labelling((before.round or 0) + 1)
    visitor.press("u")
    visitor.wait_text("stage-note", "answer this image again")
    last = before.items[-1]
    assert visitor.page.locator(".lb-frame img").get_attribute("data-image") == str(last.image_id)
    assert visitor.text("count") == "0 of 21"
    visitor.press("r")
    visitor.wait_text("count", "1 of 21")
    visitor.wait_outbox(0)
    rows = [row for row in decisions(record) if row.image_id == last.image_id][-3:]
    assert [(row.action == "undo", row.label) for row in rows] == [(False, "square"), (True, None), (False, "round")]
    settled(record)
    assert_sound(record, POOL)


def test_flag_with_a_note(visitor: Visitor, record: Workspace) -> None:
    page = visitor.page
    visitor.press("f")
    page.keyboard.type("1 blurred?")  # letters and digits are text here
    visitor.press("Escape")
    visitor.press("f")
    assert page.locator('[data-part="flag-note"]').input_value() == ""
    page.keyboard.type("two people")
    visitor.press("Enter")
    visitor.wait_outbox(0)
    assert visitor.text("count") == "0 of 20", "a flag decides nothing"
    assert page.locator(".lb-thumb").first.get_attribute("aria-label") == "Image 1: no answer yet, flagged"
    assert visitor.text("flagged") == "Flagged"
    assert record.flagged()[0]["note"] == "two people"
    visitor.press("2")
    visitor.saved(1, 20)


def test_time_with_the_tab_hidden_does_not_count(visitor: Visitor, record: Workspace) -> None:
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    visitor.press("1")
    visitor.page.evaluate(hide, True)
    visitor.page.wait_for_timeout(1500)
    visitor.page.evaluate(hide, False)
    visitor.press("1")
    visitor.saved(2, 20)
    elapsed = decisions(record, record.batch("local").round)[1].elapsed_ms
    assert elapsed is not None
    assert elapsed < 1500


def test_why_this_image(visitor: Visitor) -> None:
    page = visitor.page
    assert page.locator('[data-part="explain"]').is_hidden()
    visitor.press("e")
    page.wait_for_selector('[data-part="explain-list"] li')
    assert page.locator('[data-part="explain-list"] li').count() == 3
    labels = page.locator(".lb-near-name").all_inner_texts()
    assert set(labels) <= {"round", "square"}
    assert "alike" in page.locator('[data-part="explain-list"]').inner_text()
    visitor.press("e")
    assert page.locator('[data-part="explain"]').is_hidden()
    visitor.assert_clean()


def test_the_suggestion_can_be_hidden_and_the_reason_shown(trained: Path, tmp_path: Path, visit: Visit) -> None:
    shutil.copytree(trained, tmp_path / "w")
    server = Server(tmp_path / "w", k=20, suggestion="hide", explain="show").start()
    try:
        visitor = visit(server).open()
        assert visitor.page.locator('[data-part="suggestion"]').is_hidden()
        assert visitor.page.locator('.lb-class[data-suggested="true"]').count() == 0
        visitor.press("Enter")
        assert "Choose a class" in visitor.text("stage-note")
        visitor.page.wait_for_selector('[data-part="explain-list"] li')
        assert "%" not in visitor.text("explain-text")
        visitor.press("1")
        visitor.saved(1, 20)
    finally:
        server.stop()


def test_a_second_look_at_mistakes(visitor: Visitor, record: Workspace) -> None:
    """The Mistakes tab is the same page: Enter keeps the label, a digit corrects it."""
    page = visitor.page
    page.get_by_role("tab", name="Mistakes").click()
    root = page.locator('.lb[data-mode="mistakes"]')
    root.locator('[data-part="count"]').wait_for()
    items = record.batch("local", "mistakes").items
    if not items:
        pytest.skip("the model disputes no label here")
    assert items[0].label is not None
    assert root.locator('[data-part="guess"]').inner_text() == f"labelled {items[0].label}"
    visitor.press("Enter")
    visitor.press("1" if items[1].label == "square" else "2")
    visitor.wait_outbox(0)
    rows = decisions(record)[-2:]
    assert [row.image_id for row in rows] == [item.image_id for item in items[:2]]
    assert rows[0].label == items[0].label
    assert rows[1].label != items[1].label
    assert {row.round_id for row in rows} == {None}


def test_mouse_lets_go_of_the_button(visitor: Visitor, record: Workspace) -> None:
    """After a click Space confirms the suggestion; it does not press the clicked button again."""
    second = record.batch("local").items[1]
    other = 1 if second.predicted == "round" else 0
    visitor.page.locator(".lb-class").nth(other).click()
    visitor.press(" ")
    visitor.saved(2, 20)
    assert decisions(record, record.batch("local").round)[1].label == second.predicted


def test_browsing_zoom_and_help(visitor: Visitor) -> None:
    page = visitor.page
    alt = page.locator(".lb-frame img")
    visitor.press("ArrowRight", "ArrowRight")
    assert alt.get_attribute("alt") == "Image 3 of 20"
    assert page.locator(".lb-thumb[aria-current]").get_attribute("aria-label") == "Image 3: no answer yet"
    visitor.press("ArrowLeft")
    assert alt.get_attribute("alt") == "Image 2 of 20"
    assert page.locator('.lb-class[aria-pressed="true"]').count() == 0
    page.locator(".lb-thumb").nth(4).click()
    assert alt.get_attribute("alt") == "Image 5 of 20"
    visitor.press("z")
    assert page.locator(".lb-stage").get_attribute("data-zoomed") == "true"
    frame = page.locator(".lb-frame")
    before = frame.get_attribute("style")
    visitor.press("ArrowRight")  # moves the picture now
    moved = frame.get_attribute("style")
    assert moved != before
    box = page.locator(".lb-stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 360, box["y"] + 240, steps=3)
    page.mouse.up()
    assert frame.get_attribute("style") != moved
    assert page.locator(".lb-stage").get_attribute("data-zoomed") == "true", "a drag is no click"
    page.mouse.wheel(0, -200)
    assert alt.get_attribute("alt") == "Image 5 of 20"
    visitor.press("z")
    assert page.locator(".lb-stage").get_attribute("data-zoomed") == "false"
    visitor.press("?")
    assert page.locator("dialog.lb-help").is_visible()
    visitor.press("1")  # not an answer while the list is open
    visitor.press("Escape")
    assert not page.locator("dialog.lb-help").is_visible()
    visitor.saved(0, 20)
    visitor.assert_clean()


def test_keys_mean_nothing_on_the_model_tab(visitor: Visitor, record: Workspace) -> None:
    visitor.page.get_by_role("tab", name="Model").click()
    visitor.page.wait_for_selector("#model-page dd")
    visitor.press("1", "2", "Enter", "s")
    visitor.page.get_by_role("tab", name="Label").click()
    visitor.labelling()
    visitor.press("Enter")  # the tab let go of the focus
    visitor.saved(1, 20)
    assert len(decisions(record, record.batch("local").round)) == 1


def test_empty_workspace_says_what_to_do(tmp_path: Path, browser: object, visit: Visit) -> None:
    from labeler import workspace

    workspace.create(tmp_path / "w")
    server = Server(tmp_path / "w").start()
    try:
        visitor = visit(server)
        visitor.page.goto(server.url)
        visitor.wait_text("panel-title", "No images yet")
        assert visitor.text("panel-command").strip() == "labeler import DIR"
        visitor.assert_clean()
    finally:
        assert server.stop() == 0


def test_an_image_that_is_gone_can_only_be_skipped(visitor: Visitor, record: Workspace) -> None:
    item = record.batch("local").items[12]  # far enough ahead not to be here yet
    file = record.image_file(item.image_id)
    file.rename(file.with_name("away"))
    try:
        visitor.page.locator(".lb-thumb").nth(12).click()
        visitor.page.wait_for_selector('.lb-stage[data-picture="gone"]')
        visitor.press("1", "Enter")
        assert "cannot be shown" in visitor.text("stage-note")
        assert visitor.text("count") == "0 of 20"
        visitor.press("s")
        visitor.saved(1, 20)
    finally:
        file.with_name("away").rename(file)
    assert decisions(record, record.batch("local").round)[0].action == "skip"
