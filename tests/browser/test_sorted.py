"""Images drawn by lot from what the model sorted come before a person in a mode of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from labeler.rounds import Workspace
from tests.browser.conftest import settled
from tests.browser.served import Server, Visitor, decisions

AUDIT = 3
BUTTON = '.lb-modes [data-to="sorted"]'


@pytest.fixture
def sorted_run(record: Workspace) -> Iterator[int]:
    """A run of the model on the shared workspace, taken back afterwards."""
    done = record.sort(0.5, audit=AUDIT)
    yield done["run"]
    record.unsort(done["run"])


def test_without_a_run_there_is_nothing_to_check(visitor: Visitor) -> None:
    assert visitor.page.locator(BUTTON).is_hidden()


def test_checking_what_the_model_sorted(
    shared: Server, record: Workspace, sorted_run: int, visit: Callable[..., Visitor]
) -> None:
    visitor = visit(shared).open()
    items = record.batch("local", "sorted").items
    assert len(items) == AUDIT
    visitor.page.locator(BUTTON).click()
    visitor.page.wait_for_selector('.lb[data-mode="sorted"][data-state="label"] .lb-stage[data-picture="ready"]')
    visitor.wait_text("suggesting", "The model sorted this as")
    visitor.wait_text("guess", str(items[0].predicted))
    visitor.press("Enter")
    visitor.press("1" if items[1].predicted == "square" else "2")
    visitor.press("s")
    visitor.wait_outbox(0)
    visitor.page.wait_for_selector('.lb[data-mode="sorted"][data-state="wait"]')
    settled(record)
    rows = decisions(record)[-AUDIT:]
    assert [row.image_id for row in rows] == [item.image_id for item in items]
    assert [row.action for row in rows] == ["confirm", "correct", "skip"]
    assert rows[0].label == items[0].predicted
    assert {row.round_id for row in rows} == {None}
    [run] = [run for run in record.sort_runs() if run["run"] == sorted_run]
    assert [run["audit"][name] for name in ("right", "wrong", "unsure", "waiting")] == [1, 1, 1, 0]
    visitor.assert_clean()
