"""Taking decisions back from the shell, many at a time, while others label."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from labeler.domain import Action, Answer
from labeler.record import images
from labeler.record.store import Session
from labeler.rounds import Workspace, engine
from labeler.rounds.decisions import new_operation
from tests.checks import assert_sound
from tests.workspaces import CLASSES, POOL, TEST


def answer_all(opened: Workspace, who: str) -> list[str]:
    batch = opened.batch(who)
    for item in batch.items:
        answer = Answer(item.sha256, Action.CORRECT, CLASSES[0], new_operation())
        opened.decide(who, [answer], round=batch.round)
    return [item.sha256 for item in batch.items]


def test_many_are_taken_back_newest_first_in_short_transactions(
    opened: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.run_round_job()
    monkeypatch.setattr(engine, "UNDO_STEP", 3)
    answered = answer_all(opened, "ann")
    again = Answer(answered[0], Action.CORRECT, CLASSES[1], new_operation())
    opened.decide("ann", [again], round=None)
    taken = opened.undo(8)
    assert [row["sha256"] for row in taken] == [answered[0], *answered[:0:-1]]
    assert taken[0]["now"] == CLASSES[0], "what it replaced counts again"
    assert [row["sha256"] for row in opened.undo(5)] == [answered[0]], "and is taken back by the next"
    assert_sound(opened, POOL + TEST)


def test_what_is_decided_meanwhile_is_not_taken_back(opened: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.run_round_job()
    monkeypatch.setattr(engine, "UNDO_STEP", 1)
    answered = answer_all(opened, "ann")
    write, turns = opened.store.write, iter(range(100))

    def writing() -> AbstractContextManager[Session]:
        if next(turns) == 1:  # between the first decision that is taken back and the second
            with Workspace.open(opened.paths.root) as other:
                other.decide("bea", [Answer(answered[0], Action.CORRECT, CLASSES[1], "meanwhile")], round=None)
        return write()

    monkeypatch.setattr(opened.store, "write", writing)
    taken = opened.undo(2)
    assert [row["sha256"] for row in taken] == answered[:-3:-1]
    with opened.store.read() as session:
        assert images.images_by_sha(session, answered[:1])[answered[0]].label == CLASSES[1]


def test_an_image_that_is_taken_back_is_free_for_everybody(opened: Workspace) -> None:
    """Who answered it in a round that is over does not have it before him any more, so he must not keep it."""
    opened.run_round_job()
    answered = answer_all(opened, "ann")
    opened.run_round_job()
    opened.undo(len(answered))
    opened.run_round_job()
    handed = set()
    while batch := opened.batch("bea").items:
        handed |= {item.sha256 for item in batch}
        answer_all(opened, "bea")
        opened.run_round_job()
    assert handed >= set(answered)
    assert_sound(opened, POOL + TEST)


def test_an_undo_that_found_nothing_finds_nothing_when_it_is_sent_again(opened: Workspace) -> None:
    """The acknowledgement was lost, so both are sent again: the second time there is an answer to take back."""
    opened.run_round_job()
    batch = opened.batch("ann")
    sha = batch.items[0].sha256
    both = [
        Answer(sha, Action.UNDO, None, "undo-of-nothing"),
        Answer(sha, Action.CORRECT, CLASSES[1], "given-instead"),
    ]
    for stored in (True, False):
        receipts = opened.decide("ann", both, round=batch.round)
        assert [(receipt.stored, receipt.label) for receipt in receipts][1] == (stored, CLASSES[1])
        assert not receipts[0].stored
