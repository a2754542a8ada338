"""Handing out batches: which images a person gets now, so that nobody waits and no two get the same one.

A batch is a round leased to a person. Whoever comes gets, first, the rest of what he holds; then what other people
let lie, once their leases have run out; then a new round from the ranking in hand. The ranking is renewed by another
process, so handing out costs a few short statements and never a model.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from labeler.domain import JobState, Lane, RoundState
from labeler.record import accounts, jobs, leases, queries, rankings
from labeler.record.leases import Held
from labeler.record.rankings import Available
from labeler.record.store import Session, Store
from labeler.record.tables import Ranking, Round, now
from labeler.settings import Settings
from labeler.version import __version__

#: The strategy of rounds that are pages of the grid.
GRID = "grid"
#: The job that finishes decided rounds, trains, and renews the ranking.
REFRESH_JOB = "refresh"
#: The job that tries to refresh the backbone; in a process of its own, for it takes minutes.
FINETUNE_JOB = "finetune"
#: Images an order holds: what people can answer before the next ranking is in, with plenty to spare. More of them for
#: many people, but writing an order keeps answers waiting, 12 ms for a thousand.
RESERVE, MOST = 1_000, 10_000
#: A ranking is worth waiting for when what was answered since is more than this share of what it learned from.
STALE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Handed:
    """What a person gets.

    Attributes:
        round_id: the round, None where there is nothing to hand out now.
        held: its proposals that are the person's.
        waits: a model is under training that the next batch waits for.
    """

    round_id: int | None = None
    held: Held | None = None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what.

    Attributes:
        annotator_id: the person.
        lane: MAIN for one image after the other, GRID for a page of many.
        at_once: do not wait for a model under training.
        after: a round the person is still at: the batch is for later, and is none of the rounds up to that one.
    """

    annotator_id: int
    lane: Lane
    at_once: bool = False
    after: int | None = None


def hand_out(store: Store, settings: Settings, asked: Asked) -> Handed:
    """Give a person a batch, the same one again until all of it is answered."""
    with store.read() as session:
        too_long = leases.any_too_long(session, settings.lease_s)
        handed = _held(session, settings, asked)
        if handed is None and not too_long:
            nothing = _nothing(session, settings, asked)
            if nothing is not None:
                return nothing
    if handed is not None and handed.held is not None and _lasts(handed.held, settings):
        return handed
    with store.write() as session:
        if too_long:
            leases.shorten(session, settings.lease_s)
        handed = (
            _held(session, settings, asked) or _left_over(session, settings, asked) or _new(session, settings, asked)
        )
        if handed.held is not None:
            leases.take(session, handed.held.open, asked.annotator_id, settings.lease_s)
        return handed


def _lasts(held: Held, settings: Settings) -> bool:
    """Whether the lease needs no renewal yet: then nothing has to be written."""
    return held.expires_at > now() + dt.timedelta(seconds=settings.lease_s / 2)


def _held(session: Session, settings: Settings, asked: Asked) -> Handed | None:
    """The oldest open round of which something waits for this person."""
    known = leases.rounds_of(session, asked.annotator_id)
    for round_id in _open_rounds(session, asked) if known else ():
        if round_id in known:
            held = leases.held(session, round_id, asked.annotator_id, settings.overlap)
            if held is not None:
                return Handed(round_id, held)
    return None


def _left_over(session: Session, settings: Settings, asked: Asked) -> Handed | None:
    """Images of an open round that nobody has, or with an overlap not enough people."""
    partly = leases.rounds_with_free(session, asked.annotator_id) if settings.overlap == 1 else None
    if partly is not None and not partly:
        return None
    for round_id in _open_rounds(session, asked):
        if partly is None or round_id in partly:
            free = leases.free(session, round_id, asked.annotator_id, settings.overlap)
            if free:
                return Handed(round_id, Held(frozenset(free), tuple(free), now()))
    return None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do for somebody who holds nothing: open a round of ``items``, or ``ask`` the worker, or neither.

    Attributes:
        waits: what the person is told then.
    """

    ranking: Ranking | None = None
    items: Sequence[Available] = ()
    ask: bool = False
    waits: bool = False


def _plan(session: Session, settings: Settings, asked: Asked, most: int | None = None) -> _Plan:
    """By reading alone.

    Args:
        most: look for no more images than that: whether there is one is quick to say.
    """
    ranking = rankings.newest(session)
    if ranking is None or not _fits(ranking, settings):
        return _Plan(ask=True, waits=True)
    if asked.lane is Lane.MAIN and not asked.at_once and waits_for_model(session, settings, ranking, asked):
        return _Plan(waits=True)
    items = _choose(session, settings, asked.lane, ranking, most)
    if items or asked.lane is not Lane.MAIN:
        return _Plan(ranking, items)
    # A new order may hold what this one does not: it was made for fewer people, or they have got through it.
    wanted = min(ranking.pool, reserve(accounts.count(session), settings.k))
    short = rankings.length(session, Lane.MAIN) < wanted
    return _Plan(ask=short or bool(queries.count_since(session, ranking.last_decision_id)), waits=short)


def _nothing(session: Session, settings: Settings, asked: Asked) -> Handed | None:
    """What a person is told when there is nothing to give and nothing to ask for; None where that has to be written.

    Who has nothing asks again and again, and whoever answers waits for whoever writes.
    """
    if _left_over(session, settings, asked) is not None:
        return None
    plan = _plan(session, settings, asked, most=1)
    if plan.items:
        return None
    if not plan.ask:
        return Handed(waits=plan.waits)
    if _has_failed(session):
        return Handed()
    return Handed(waits=plan.waits) if jobs.any_waiting(session, (REFRESH_JOB,)) else None


def _new(session: Session, settings: Settings, asked: Asked) -> Handed:
    """A new round from the ranking; where there is none to be had, ask the worker for one."""
    plan = _plan(session, settings, asked)
    if plan.ranking is None or not plan.items:
        if plan.ask and not _ask(session):
            return Handed()
        return Handed(waits=plan.waits)
    row = rankings.open_round(session, _round(settings, asked.lane, plan.ranking, len(plan.items)), plan.items)
    free = leases.free(session, row.id, asked.annotator_id, settings.overlap)
    return Handed(row.id, Held(frozenset(free), tuple(free), now()))


def reserve(people: int, k: int) -> int:
    """How many images an order holds: two batches for each person, so that nobody waits while the next is made."""
    return min(MOST, max(RESERVE, 2 * k * people))


def _has_failed(session: Session) -> bool:
    last = jobs.last(session, REFRESH_JOB)
    return last is not None and last.state == JobState.FAILED.value


def _ask(session: Session) -> bool:
    """Ask the worker for a ranking, unless it failed at that: then a person has to say when to try again."""
    if _has_failed(session):
        return False
    jobs.queue(session, REFRESH_JOB)
    return True


def _fits(ranking: Ranking, settings: Settings) -> bool:
    """Whether the ranking was made with the backbone and the strategy that are set now."""
    made = ranking.parameters
    wanted = (settings.strategy, settings.backbone, settings.model)
    return (made.get("asked"), made.get("backbone", ranking.backbone), made.get("model", settings.model)) == wanted


def waits_for_model(session: Session, settings: Settings, ranking: Ranking, asked: Asked) -> bool:
    """Whether the next batch is worth waiting for: a model is coming that would change it much, and soon.

    A batch asked for ahead of time is not given out of an order that is about to be out of date.
    """
    if queries.count_since(session, ranking.last_decision_id) <= STALE_SHARE * ranking.labelled:
        return False
    if queries.others_since(session, ranking.last_decision_id, asked.annotator_id):
        return False  # with several people the order is renewed all the time, and somebody would always be waiting
    if asked.after is not None:
        return settings.patience_s > 0
    job = jobs.last(session, REFRESH_JOB)
    if job is None or job.state not in (JobState.QUEUED.value, JobState.RUNNING.value):
        return False
    # Counted from the person's own last answer: jobs may follow one another.
    since = queries.last_decided_at(session, asked.annotator_id)
    return since is not None and now() - since <= dt.timedelta(seconds=settings.patience_s)


def _choose(
    session: Session, settings: Settings, lane: Lane, ranking: Ranking, most: int | None
) -> Sequence[Available]:
    if lane is Lane.MAIN:
        return rankings.available(session, lane, ranking, most or settings.k)
    ahead = rankings.available(session, lane, ranking, most or 10 * settings.grid)
    by_class: dict[str, list[Available]] = {}
    for item in ahead:
        by_class.setdefault(item.predicted or "", []).append(item)
    # A page holds one class; the one with most to show, so that pages are full as long as they can be.
    return max(by_class.values(), key=len)[: settings.grid] if by_class else []


def _round(settings: Settings, lane: Lane, ranking: Ranking, k: int) -> Round:
    return Round(
        number=0,
        state=RoundState.PROPOSED.value,
        k=k,
        strategy=ranking.strategy if lane is Lane.MAIN else GRID,
        parameters={**ranking.parameters, "ranking": ranking.id},
        seed=ranking.seed,
        backbone=ranking.backbone,
        backbone_key=ranking.backbone_key,
        model_version_id=ranking.model_version_id,
        pool=ranking.pool,
        pool_hash=ranking.pool_hash,
        package_version=__version__,
        timing={},
    )


def _open_rounds(session: Session, asked: Asked) -> list[int]:
    """The open rounds of that lane, oldest first."""
    rows = queries.open_rounds(session, after=asked.after or 0)
    return [round_id for round_id, strategy in rows if (strategy == GRID) == (asked.lane is Lane.GRID)]


def ask_if_due(session: Session, settings: Settings, newest_decision: int, *, round_is_over: bool) -> None:
    """Ask for a new ranking after the last answer of a batch, or when enough was answered since the last one."""
    if not round_is_over:
        new = newest_decision - rankings.learned_up_to(session)
        if new < (settings.retrain_after or settings.k) or jobs.any_running(session, REFRESH_JOB):
            return
    jobs.queue(session, REFRESH_JOB)
