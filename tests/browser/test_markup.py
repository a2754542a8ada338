"""A person's name full of markup on the real page: it is shown letter by letter, and nothing of it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from labeler.domain import Action, Answer, Flag
from labeler.record.tables import DecisionRow, Image
from labeler.rounds import Workspace
from labeler.rounds.decisions import new_operation
from tests.browser.served import WAIT_MS, Server, Visitor

#: `labeler users add` takes no such name; a program that writes decisions under a name of its own can.
PERSON = '"><script>window.ran = 1</script><img src=x onerror="window.ran = 2">${window.ran = 3}{{value}}'


@pytest.fixture
def marked(shared: Server, record: Workspace) -> Iterator[str]:
    """That person has labelled an image and marked another; afterwards the label is taken back."""
    with record.store.read() as session:
        first, second = session.scalars(select(Image).where(Image.split == "train").order_by(Image.id).limit(2)).all()
    record.flag(PERSON, [Flag(second.sha256, f"{PERSON} says so", new_operation())])
    record.decide(PERSON, [Answer(first.sha256, Action.CORRECT, first.label, new_operation())], round=None)
    yield PERSON
    record.decide(PERSON, [Answer(first.sha256, Action.UNDO, None, new_operation())], round=None)
    with record.store.read() as session:
        assert decided(session) == 2


def decided(session: Session) -> int:
    from labeler.record import queries

    found = queries.find_annotator(session, PERSON)
    assert found is not None
    return len(session.scalars(select(DecisionRow).where(DecisionRow.annotator_id == found.id)).all())


def test_markup_in_a_name_and_a_note_is_text(marked: str, shared: Server, visit: Callable[..., Visitor]) -> None:
    visitor = visit(shared).open()
    page = visitor.page
    page.locator("[role=tab]:visible", has_text="Team").first.click()
    page.wait_for_selector("#team-page td, #team-page th", timeout=WAIT_MS)
    page.get_by_text(marked, exact=False).first.wait_for(timeout=WAIT_MS)
    page.locator("[role=tab]:visible", has_text="Mistakes").first.click()
    page.locator("#flags-page .lb-note", has_text=f"{marked} says so").wait_for(timeout=WAIT_MS)
    assert page.evaluate("window.ran") is None
    assert page.locator("img[src=x]").count() == 0
    visitor.assert_clean()
