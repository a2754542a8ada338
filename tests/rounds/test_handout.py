"""Several people at once: who gets what, whose answer counts, and when the ranking is renewed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from labeler import worker
from labeler.domain import Action, Answer, JobState
from labeler.record import accounts, jobs, leases, rankings
from labeler.record.tables import DecisionRow, Job, Lease, Ranking, now
from labeler.rounds import Workspace, handout, journal, loop
from labeler.rounds.batches import Batch, BatchItem
from labeler.rounds.decisions import Receipt, new_operation
from tests.checks import assert_handed_out_once, assert_sound
from tests.workspaces import CLASSES, POOL, TEST

K = 5
Opener = Callable[..., Workspace]


@pytest.fixture
def start(fresh: Callable[[], Path]) -> Iterator[Opener]:
    """Opens a fresh workspace with a first ranking in hand."""
    made: list[Workspace] = []

    def starting(**settings: Any) -> Workspace:
        made.append(Workspace.open(fresh(), **{"k": K, **settings}))
        made[-1].run_round_job()
        return made[-1]

    yield starting
    for ws in made:
        ws.close()


def shas(batch: Batch) -> set[str]:
    return {item.sha256 for item in batch.items}


def truth_of(ws: Workspace, item: BatchItem) -> str:
    """The drawings alternate: even numbers are round."""
    return CLASSES[int(ws.image_file(item.image_id).stem.split("-")[1]) % 2]


def send(
    ws: Workspace, who: str, item: BatchItem, label: str | None = None, *, action: Action | None = None, **how: bool
) -> Receipt:
    action = action or (Action.SKIP if label is None else Action.CORRECT)
    return ws.decide(who, [Answer(item.sha256, action, label, new_operation(), 700)], round=item.round, **how)[0]


def finish(ws: Workspace, who: str) -> Batch:
    batch = ws.batch(who)
    for item in batch.items:
        send(ws, who, item, truth_of(ws, item))
    return batch


def expire(ws: Workspace) -> None:
    with ws.store.write() as session:
        session.execute(update(Lease).values(expires_at=now() - dt.timedelta(seconds=1)))


# ---------------------------------------------------------------------------------------------------- who gets what


def test_each_person_gets_a_batch_of_his_own_and_gets_it_again(start: Opener) -> None:
    ws = start()
    batches = {who: ws.batch(who) for who in ("ada", "ben", "cy")}
    assert [len(batch.items) for batch in batches.values()] == [K] * 3
    assert len(set().union(*map(shas, batches.values()))) == 3 * K, "one image is with two people"
    assert len({batch.round for batch in batches.values()}) == 3
    assert shas(ws.batch("ada")) == shas(batches["ada"])
    with ws.store.read() as session:
        assert_handed_out_once(session)


def test_an_order_holds_two_batches_for_everybody_who_has_an_account(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handout, "RESERVE", 2 * K)
    ws = start()
    people = ["ada", "ben", "cy"]
    with ws.store.write() as session:
        for name in people:
            accounts.add(session, name, accounts.hash_password("correct horse"), admin=False)
    ws.run_round_job()
    assert [len(finish(ws, name).items) for name in people * 2] == [K] * 6, "and nobody waited for another order"


def test_who_gets_nothing_asks_once_for_a_longer_order_and_then_writes_nothing(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order made before there were accounts is too short for everybody; who waits asks again and again."""
    monkeypatch.setattr(handout, "RESERVE", 2 * K)
    ws = start()
    with ws.store.write() as session:
        for name in ("ada", "ben", "cy"):
            accounts.add(session, name, accounts.hash_password("correct horse"), admin=False)
    assert [len(ws.batch(name).items) for name in ("ada", "ben")] == [K, K]
    first = ws.batch("cy")
    assert (first.items, first.wait) == ((), "model")
    written = ws.store.contention.waits().writes
    assert {ws.batch("cy").wait for _ in range(5)} == {"model"}
    assert ws.store.contention.waits().writes == written
    ws.run_round_job()
    assert len(ws.batch("cy").items) == K


def test_whoever_is_done_gets_the_next_batch_though_nobody_has_trained(start: Opener) -> None:
    ws = start(patience_s=0)
    first = finish(ws, "ada")
    second = ws.batch("ada")
    assert second.round is not None
    assert second.round > (first.round or 0)
    assert not shas(first) & shas(second)


def test_a_batch_that_was_let_lie_goes_to_the_next_person_half_done(start: Opener) -> None:
    ws = start()
    first = ws.batch("ada")
    send(ws, "ada", first.items[0], CLASSES[0])
    expire(ws)
    taken = ws.batch("ben")
    assert taken.round == first.round
    assert shas(taken) == shas(first) - {first.items[0].sha256}
    assert not shas(ws.batch("ada")) & shas(taken), "what ben has is ada's no longer"


def test_a_lease_that_nobody_wanted_is_still_good(start: Opener) -> None:
    ws = start()
    first = ws.batch("ada")
    expire(ws)
    assert shas(ws.batch("ada")) == shas(first)
    assert not shas(ws.batch("ben")) & shas(first), "and is renewed"


def test_answering_renews_the_lease(start: Opener) -> None:
    ws = start(lease_s=100)
    batch = ws.batch("ada")
    with ws.store.write() as session:
        session.execute(update(Lease).values(expires_at=now() + dt.timedelta(seconds=20)))
    send(ws, "ada", batch.items[0], CLASSES[0])
    with ws.store.read() as session:
        ends = [row.expires_at for row in session.query(Lease)]
    assert min(ends) > now() + dt.timedelta(seconds=90)


def test_a_round_from_the_shell_is_handed_out_before_a_new_one(start: Opener) -> None:
    ws = start()
    proposed = ws.round()
    assert shas(ws.batch("ada")) == {p.sha256 for p in proposed.proposals}


def test_the_whole_pool_is_handed_out_once_and_then_nothing_is_left(start: Opener) -> None:
    ws = start(patience_s=0, k=8)
    seen: set[str] = set()
    for turn in range(20):
        batch = ws.batch("ada" if turn % 2 else "ben")
        if not batch.ready:
            break
        assert not seen & shas(batch)
        seen |= shas(batch)
        for item in batch.items:
            send(ws, "ada" if turn % 2 else "ben", item, truth_of(ws, item))
    assert len(seen) == POOL
    ws.run_round_job()
    assert not ws.batch("ada").ready
    assert_sound(ws, POOL + TEST)


# ----------------------------------------------------------------------------------------------- whose answer counts


def test_a_late_answer_counts_when_nobody_else_has_decided(start: Opener) -> None:
    ws = start()
    item = ws.batch("ada").items[0]
    expire(ws)
    ws.batch("ben")
    receipt = send(ws, "ada", item, CLASSES[1])
    assert (receipt.stored, receipt.label, receipt.opinion) == (True, CLASSES[1], False)


def test_a_late_answer_to_a_decided_image_is_a_second_opinion(start: Opener) -> None:
    ws = start()
    item = ws.batch("ada").items[0]
    expire(ws)
    ws.batch("ben")
    send(ws, "ben", item, CLASSES[0])
    receipt = send(ws, "ada", item, CLASSES[1])
    assert (receipt.stored, receipt.label, receipt.opinion) == (True, CLASSES[0], True)
    assert ws.image_file(item.image_id).parent.name == CLASSES[0]
    taken_back = send(ws, "ada", item, action=Action.UNDO)
    assert (taken_back.stored, taken_back.label) == (True, CLASSES[0]), "her own opinion, not his decision"
    assert_sound(ws, POOL + TEST)


def test_only_an_administrator_takes_back_what_others_decided(start: Opener) -> None:
    ws = start()
    item = ws.batch("ada").items[0]
    send(ws, "ada", item, CLASSES[0])
    assert not send(ws, "ben", item, action=Action.UNDO, admin=False).stored
    assert ws.image_file(item.image_id).parent.name == CLASSES[0]
    assert send(ws, "ben", item, action=Action.UNDO, admin=True).stored
    assert "Unlabelled" in ws.image_file(item.image_id).parts


def test_undo_of_an_earlier_batch_gives_the_image_back_to_the_same_person(start: Opener) -> None:
    ws = start(patience_s=0)
    batch = finish(ws, "ada")
    ws.run_round_job()
    newest = ws.batch("ada").history[0]
    assert newest.sha256 == batch.items[-1].sha256
    assert (newest.round, newest.label) == (batch.round, truth_of(ws, batch.items[-1]))
    send(ws, "ada", newest, action=Action.UNDO)
    ws.run_round_job()
    while (other := ws.batch("ben")).ready:
        assert newest.sha256 not in shas(other), "it is with ada"
        for item in other.items:
            send(ws, "ben", item, truth_of(ws, item))
    assert send(ws, "ada", newest, CLASSES[0]).label == CLASSES[0]
    assert ws.batch("ada").history[0].label == CLASSES[0]
    assert_sound(ws, POOL + TEST)


def test_a_second_look_replaces_the_label_and_is_learned(start: Opener) -> None:
    ws = start(k=20, patience_s=0)
    batch = ws.batch("ada")
    wrong = batch.items[3]
    for item in batch.items:
        label = truth_of(ws, item)
        send(ws, "ada", item, CLASSES[1 - CLASSES.index(label)] if item is wrong else label)
    ws.run_round_job()
    suspects = ws.batch("ben", mode="mistakes")
    assert suspects.round is None
    found = next(item for item in suspects.items if item.sha256 == wrong.sha256)
    assert found.label != truth_of(ws, wrong)
    assert found.predicted == truth_of(ws, wrong)
    assert send(ws, "ben", found, truth_of(ws, wrong)).label == truth_of(ws, wrong)
    assert wrong.sha256 not in shas(ws.batch("ben", mode="mistakes")), "looked at"
    before = ws.status()["model"]["name"]
    ws.run_round_job()
    assert ws.status()["model"]["name"] != before
    assert_sound(ws, POOL + TEST)


# ------------------------------------------------------------------------------------------------------------ overlap


def test_two_people_label_the_same_images_and_what_both_say_counts(start: Opener) -> None:
    ws = start(overlap=2)
    ada, ben, cy = (ws.batch(who) for who in ("ada", "ben", "cy"))
    assert shas(ada) == shas(ben)
    assert not shas(cy) & shas(ada), "a third one is not needed"
    item = ada.items[0]
    first = send(ws, "ada", item, CLASSES[0])
    assert (first.opinion, first.label) == (True, None)
    assert "Unlabelled" in ws.image_file(item.image_id).parts
    assert ws.batch("ben").items[0].label is None, "ben does not see what ada said"
    send(ws, "ben", item, CLASSES[0])
    assert ws.image_file(item.image_id).parent.name == CLASSES[0]
    assert ws.batch("ada").items[0].label == CLASSES[0]
    assert_sound(ws, POOL + TEST)


def test_images_people_differ_about_wait_for_an_administrator(start: Opener) -> None:
    ws = start(overlap=2)
    item = ws.batch("ada").items[0]
    ws.batch("ben")
    send(ws, "ada", item, CLASSES[0])
    send(ws, "ben", item, CLASSES[1])
    assert "Unlabelled" in ws.image_file(item.image_id).parts
    assert ws.batch("ada", mode="disputed", admin=False).items == ()
    (disputed,) = ws.batch("root", mode="disputed").items
    assert (disputed.sha256, disputed.round) == (item.sha256, None)
    assert send(ws, "root", disputed, CLASSES[1]).label == CLASSES[1]
    assert ws.batch("root", mode="disputed").items == ()
    assert_sound(ws, POOL + TEST)


def test_a_changed_mind_makes_agreement_and_an_undo_ends_it(start: Opener) -> None:
    ws = start(overlap=2)
    item = ws.batch("ada").items[0]
    ws.batch("ben")
    send(ws, "ada", item, CLASSES[0])
    send(ws, "ben", item, CLASSES[1])
    send(ws, "ben", item, CLASSES[0])
    assert ws.image_file(item.image_id).parent.name == CLASSES[0]
    assert ws.batch("root", mode="disputed").items == ()
    send(ws, "ada", item, action=Action.UNDO, admin=False)
    assert "Unlabelled" in ws.image_file(item.image_id).parts
    assert_sound(ws, POOL + TEST)


def test_a_round_of_two_is_over_when_both_are_done(start: Opener) -> None:
    ws = start(overlap=2, patience_s=0)
    first = finish(ws, "ada")
    assert ws.batch("ada").round != first.round, "ada goes on"
    finish(ws, "ben")
    ws.run_round_job()
    states = {row["round"]: row["state"] for row in ws.overview()["rounds"]}
    assert states[first.round] == "EVALUATED"
    assert_sound(ws, POOL + TEST)


# ------------------------------------------------------------------------------------------------- never waiting long


def test_the_next_batch_waits_for_a_model_that_would_change_it_much_but_not_for_long(start: Opener) -> None:
    ws = start(patience_s=60)
    finish(ws, "ada")
    waiting = ws.batch("ada")
    assert (waiting.ready, waiting.wait) == (False, "model")
    assert ws.batch("ada", now=True).ready, "who does not want to wait need not"
    ws.run_round_job()
    with ws.store.write() as session:  # as the worker would have
        session.execute(update(Job).values(state="done"))
    finish(ws, "ada")
    ws.run_round_job()
    assert ws.batch("ada").items[0].predicted is not None, "chosen by the new model"


def test_patience_ends(start: Opener) -> None:
    ws = start(patience_s=60)
    finish(ws, "ada")
    assert not ws.batch("ada").ready
    with ws.store.write() as session:
        session.execute(update(DecisionRow).values(created_at=now() - dt.timedelta(seconds=61)))
    assert ws.batch("ada").ready


def test_a_ranking_is_asked_for_at_the_end_of_a_batch_or_after_so_many_answers(start: Opener) -> None:
    ws = start(retrain_after=3)

    def waiting() -> bool:
        with ws.store.read() as session:
            return jobs.any_waiting(session, ["refresh"])

    batch = ws.batch("ada")
    for number, item in enumerate(batch.items[:3], start=1):
        send(ws, "ada", item, truth_of(ws, item))
        assert waiting() == (number >= 3)
    assert worker.work_once(ws)
    with ws.store.read() as session:
        ranking = rankings.newest(session)
        assert ranking is not None
        assert ranking.labelled == 3
        assert not leases.leased_images(session) & {item.image_id for item in batch.items[:3]}
    assert shas(ws.batch("ada")) == shas(batch), "the batch in hand stays as it is"
    for item in batch.items[3:]:
        send(ws, "ada", item, truth_of(ws, item))
    assert waiting()


def test_labelling_all_the_time_does_not_keep_the_ranking_from_being_renewed(start: Opener) -> None:
    ws = start(patience_s=0, retrain_after=2)
    rankings_seen = []
    for _ in range(4):
        for item in ws.batch("ada").items[:2]:
            send(ws, "ada", item, truth_of(ws, item))
        assert worker.work_once(ws)
        rankings_seen.append(ws.live().ranking)
    assert rankings_seen == sorted(set(rankings_seen))


# --------------------------------------------------------------------------------------------------------------- grid


def test_a_page_of_the_grid_holds_one_suggestion_and_no_image_of_anybody_else(start: Opener) -> None:
    ws = start(k=10, grid=6, patience_s=0)
    assert not ws.batch("ada", mode="grid").ready, "without a model there is nothing to presume"
    finish(ws, "ada")
    ws.run_round_job()
    single = ws.batch("ben")
    page = ws.batch("ada", mode="grid")
    assert 1 <= len(page.items) <= 6
    assert len({item.predicted for item in page.items}) == 1
    assert not shas(page) & shas(single)
    assert shas(ws.batch("ada", mode="grid")) == shas(page)
    answers = [Answer(i.sha256, Action.CONFIRM, i.predicted, new_operation()) for i in page.items]
    assert all(r.stored for r in ws.decide("ada", answers, round=page.round))
    again = ws.batch("ada", mode="grid")
    assert again.round != page.round
    assert_sound(ws, POOL + TEST)


def test_a_hidden_suggestion_is_not_told(start: Opener) -> None:
    ws = start(k=10, suggestion="hide", patience_s=0)
    finish(ws, "ada")
    ws.run_round_job()
    batch = ws.batch("ada")
    assert not batch.suggestion
    assert all(item.predicted is None and item.probability is None for item in batch.items)


def test_an_image_is_explained_by_its_nearest_labelled_neighbours(start: Opener) -> None:
    ws = start(k=10, patience_s=0)
    labelled = shas(finish(ws, "ada"))
    ws.run_round_job()
    item = ws.batch("ada").items[0]
    reasons = ws.explain(item.image_id)
    assert (reasons.probability, reasons.why) == (item.probability, item.why)
    assert len(reasons.neighbours) == 3
    assert {n.sha256 for n in reasons.neighbours} <= labelled
    similar = [n.similarity for n in reasons.neighbours]
    assert similar == sorted(similar, reverse=True)
    assert all(-1.001 <= value <= 1.001 for value in similar)


# ------------------------------------------------------------------------------------------------------ ahead of time


def test_the_next_page_can_be_had_before_this_one_is_done(start: Opener) -> None:
    ws = start(k=10, grid=4, patience_s=60)
    finish(ws, "ada")
    ws.run_round_job()
    page = ws.batch("ada", mode="grid")
    ahead = ws.batch("ada", mode="grid", after=page.round)
    assert ahead.round != page.round
    assert not shas(ahead) & shas(page)
    assert shas(ws.batch("ada", mode="grid")) == shas(page), "this one first"
    for item in page.items:
        send(ws, "ada", item, truth_of(ws, item))
    assert shas(ws.batch("ada", mode="grid")) == shas(ahead)


def test_no_batch_is_given_ahead_from_an_order_that_is_about_to_be_out_of_date(start: Opener) -> None:
    ws = start(patience_s=60)
    batch = ws.batch("ada")
    for item in batch.items[:3]:
        send(ws, "ada", item, truth_of(ws, item))
    assert not ws.batch("ada", after=batch.round).ready
    assert shas(ws.batch("ada")) == shas(batch)


def test_a_worker_that_failed_is_not_asked_again_and_again(start: Opener) -> None:
    ws = start(backbone="efficientnet_lite0")
    with ws.store.write() as session:
        session.execute(update(Job).values(state="failed"))
        jobs.settle(session, jobs.queue(session, "refresh").id, JobState.FAILED, "the disk was full")
        session.execute(update(Ranking).values(parameters={"asked": "another"}))
    view = ws.batch("ada")
    assert (view.ready, view.wait) == (False, None)
    assert view.job is not None
    assert (view.job.state, view.job.message) == ("failed", "the disk was full")
    ws.request_round()
    assert ws.batch("ada").wait == "model"


def test_a_mind_changed_while_the_last_files_move_does_not_stop_the_round(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = start()
    ws.move_later = lambda: None
    batch = finish(ws, "ada")
    drain, item = journal.drain, batch.items[0]

    def and_then(*given: Any, **how: Any) -> Any:
        problems = drain(*given, **how)
        monkeypatch.setattr(journal, "drain", drain)
        send(ws, "ada", item, next(label for label in CLASSES if label != truth_of(ws, item)))
        return problems

    monkeypatch.setattr(journal, "drain", and_then)
    assert batch.round in loop.finish_decided(ws.learner)
    assert_sound(ws, POOL + TEST)


def test_the_shell_and_the_worker_may_finish_the_same_round(start: Opener) -> None:
    ws = start()
    finish(ws, "ada")
    with ThreadPoolExecutor(3) as both:
        done = [both.submit(loop.finish_decided, ws.learner) for _ in range(3)]
    assert sorted(len(one.result()) for one in done) == [0, 0, 1]
    assert_sound(ws, POOL + TEST)


def test_while_others_label_nobody_waits_for_the_model(start: Opener) -> None:
    ws = start(patience_s=60)
    ben = ws.batch("ben")
    send(ws, "ben", ben.items[0], CLASSES[0])
    finish(ws, "ada")
    assert ws.batch("ada").ready
