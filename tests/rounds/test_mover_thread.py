"""Files are moved behind the answers: soon, all of them, and also those an earlier process left."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from labeler.domain import Action, Answer, Split
from labeler.record import images, moves
from labeler.rounds import Workspace, networks
from labeler.rounds.decisions import new_operation
from labeler.rounds.mover_thread import MoverThread
from labeler.workspace import exclusive
from tests.checks import assert_sound
from tests.workspaces import CLASSES, POOL, TEST


def answer_all(ws: Workspace) -> list[int]:
    batch = ws.batch("ann")
    for item in batch.items:
        ws.decide("ann", [Answer(item.sha256, Action.CORRECT, CLASSES[0], new_operation())], round=batch.round)
    return [item.image_id for item in batch.items]


def pending(ws: Workspace) -> int:
    with ws.store.read() as session:
        return moves.count_pending(session)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_answers_do_not_wait_for_their_files_and_none_is_forgotten(opened: Workspace) -> None:
    opened.round()
    with MoverThread(opened):
        with exclusive(opened.paths, "moves"):  # whoever moves files now has to wait, whoever answers has not
            decided = answer_all(opened)
            assert pending(opened) == len(decided)
        wait_for(lambda: pending(opened) == 0)
    assert all(opened.image_file(image).parent.name == CLASSES[0] for image in decided)
    assert_sound(opened, POOL + TEST)


def test_the_end_of_the_thread_leaves_nothing_to_move(opened: Workspace) -> None:
    opened.round()
    with MoverThread(opened):
        decided = answer_all(opened)
    assert pending(opened) == 0
    assert opened.move_later is None
    assert all(opened.image_file(image).parent.name == CLASSES[0] for image in decided)


def test_what_an_earlier_process_left_is_moved_at_the_start(opened: Workspace) -> None:
    opened.round()
    opened.move_later = lambda: None  # as if it had died before it came to that
    decided = answer_all(opened)
    assert pending(opened) == len(decided)
    with MoverThread(opened):
        wait_for(lambda: pending(opened) == 0)
    assert_sound(opened, POOL + TEST)


def test_a_file_that_is_gone_holds_up_no_other(opened: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    opened.round()
    first, second = opened.batch("ann").items[:2]
    opened.image_file(first.image_id).unlink()
    moved = opened.paths.pools / "Train" / CLASSES[1] / opened.image_file(second.image_id).name
    with MoverThread(opened):
        for item in (first, second):
            answer = Answer(item.sha256, Action.CORRECT, CLASSES[1], new_operation())
            opened.decide("ann", [answer], round=item.round)
        wait_for(moved.is_file)
    assert caplog.text.count("files could not be moved") == 1, "said, and said once"
    assert "has vanished" not in caplog.text, "and not whose it was"


def test_a_training_is_given_files_that_are_on_their_way_where_they_arrive(opened: Workspace) -> None:
    """People answer while the worker refreshes the backbone; its child reads the files ten seconds later."""
    opened.round()
    opened.move_later = lambda: None
    decided = answer_all(opened)
    with opened.store.read() as session:
        refs = images.refs(session, Split.TRAIN)
    assert len(refs) == len(decided) == pending(opened)
    for _ in range(2):  # the second time from references that are out of date
        files = networks.files_of(opened.learner, refs)
        assert all(file.parent.name == CLASSES[0] and file.is_file() for file in files)
        assert pending(opened) == 0
