"""What one person has before him: a batch with everything the page needs at once."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from labeler.domain import AGREEMENT, Action, Lane
from labeler.record import accounts, images, jobs, models, moves, queries, rankings, sorting
from labeler.record.jobs import JobView
from labeler.record.leases import Held
from labeler.record.store import Session, Store
from labeler.record.tables import DecisionRow, Image, RankingItem, Round
from labeler.rounds import sort_audit, views
from labeler.rounds.handout import REFRESH_JOB, Asked, Handed, hand_out
from labeler.settings import Settings

HISTORY = 20
SECOND_LOOKS = 50


class Mode(enum.StrEnum):
    """What a person wants to work on: single images, a page of many, labels the model disputes, images people could
    not agree on, or those drawn by lot from what the model sorted."""

    LABEL = "label"
    GRID = "grid"
    MISTAKES = "mistakes"
    DISPUTED = "disputed"
    SORTED = "sorted"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One image as the page holds it; ``action`` and ``label`` are of the person's answer or, on a second look, of
    the decision that counts. ``round`` is the one to answer under, None for a second look."""

    image_id: int
    sha256: str
    rank: int
    probability: float | None
    uncertainty: float | None
    predicted: str | None
    why: str
    action: str | None
    label: str | None
    round: int | None = None
    flagged: bool = False


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """The last round that is over."""

    number: int
    labelled: int
    decisions: dict[str, int]
    metrics: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Live:
    """What changes behind a person's back; cheap to ask for."""

    job: JobView | None
    pool: int
    labelled: int
    model: str | None
    ranking: int
    pending: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything the labelling page needs at once; ``round`` is None where none is handed out, or for a second look.

    Attributes:
        wait: "model" while the next batch waits for one under training.
        accounts: whether people sign in here.
        suggestion, explain: whether to show what the model suggests, and why an image was chosen.
        to_check: images drawn by lot from what the model sorted that nobody has looked at.
        history: the person's last decisions that count, newest first: what an undo takes back.
    """

    mode: str
    round: int | None
    state: str | None
    k: int
    strategy: str
    pool: int
    labelled: int
    classes: tuple[str, ...]
    items: tuple[BatchItem, ...]
    model: str | None
    job: JobView | None
    previous: RoundSummary | None
    wait: str | None
    accounts: bool
    suggestion: bool
    explain: bool
    overlap: int
    lease_s: int
    to_check: int
    history: tuple[BatchItem, ...]

    @property
    def ready(self) -> bool:
        return bool(self.items)


def batch(
    store: Store, settings: Settings, name: str, mode: Mode, *, at_once: bool, admin: bool, after: int | None
) -> Batch:
    """The person's batch in that mode; images are leased to the person by it."""
    who = annotator_id(store, name)
    handed = Handed()
    if mode in (Mode.LABEL, Mode.GRID):
        lane = Lane.MAIN if mode is Mode.LABEL else Lane.GRID
        handed = hand_out(store, settings, Asked(who, lane, at_once, after))
    with store.read() as session:
        row = session.get(Round, handed.round_id) if handed.round_id is not None else None
        if row is not None and handed.held is not None:
            items = _leased(session, settings, row, handed.held, who)
        elif mode is Mode.MISTAKES:
            items = _mistakes(session)
        elif mode is Mode.DISPUTED and admin:
            items = _disputed(session)
        elif mode is Mode.SORTED:
            items = _sorted(session)
        else:
            items = []
        ranking = rankings.newest(session)
        state = live(session)
        return Batch(
            mode=mode.value,
            round=row.number if row is not None else None,
            state=row.state if row is not None else None,
            k=len(items) if row is not None else settings.k,
            strategy=(row or ranking or settings).strategy,
            pool=state.pool,
            labelled=state.labelled,
            classes=settings.classes,
            items=tuple(_shown(item, settings, mode) for item in _flagged(session, items)),
            model=state.model,
            job=state.job,
            previous=_previous(session),
            wait="model" if handed.waits else None,
            accounts=accounts.any_account(session),
            suggestion=settings.suggestion == "show",
            explain=settings.explain == "show",
            overlap=settings.overlap,
            lease_s=settings.lease_s,
            to_check=sorting.count_waiting(session),
            history=tuple(_shown(item, settings, mode) for item in _history(session, who)),
        )


def live(session: Session) -> Live:
    """The running job, counts, and which model and ranking are in use."""
    pool, labelled = views.totals(session)
    model, job, ranking = models.in_use(session), jobs.last(session, REFRESH_JOB), rankings.newest(session)
    return Live(
        job=jobs.view(job) if job is not None else None,
        pool=pool,
        labelled=labelled,
        model=model.name if model is not None else None,
        ranking=ranking.id if ranking is not None else 0,
        pending=moves.count_pending(session),
    )


def annotator_id(store: Store, name: str) -> int:
    """The row of the annotator of that name, made when there is none."""
    with store.read() as session:
        found = queries.find_annotator(session, name)
    if found is not None:
        return found.id
    with store.write() as session:
        return queries.annotator(session, name).id


# -------------------------------------------------------------------------------------------------------- items


def _leased(session: Session, settings: Settings, row: Round, held: Held, who: int) -> list[BatchItem]:
    """The proposals of the round that are the person's, each with the answer given so far."""
    mine = set(queries.images_of(session, held.proposals))
    proposals = [proposal for proposal in queries.proposals(session, row.id) if proposal.image_id in mine]
    ids = [proposal.image_id for proposal in proposals]
    answers: dict[int, DecisionRow] = {
        image: decision
        for image, decision in queries.decisions_in_force(session, ids).items()
        if decision.round_id == row.id
    }
    if settings.overlap > 1:  # a person sees his own voice, not what others said or what was agreed on
        given = queries.voices(session, row.id, ids)
        answers = {image: voices[who] for image, voices in given.items() if who in voices}
    return [
        BatchItem(
            image_id=p.image_id,
            sha256=p.sha256,
            rank=p.rank,
            probability=p.probability,
            uncertainty=p.uncertainty,
            predicted=p.predicted,
            why=p.why,
            action=answers[p.image_id].action if p.image_id in answers else None,
            label=answers[p.image_id].label if p.image_id in answers else None,
            round=row.number,
        )
        for p in proposals
    ]


def _mistakes(session: Session) -> list[BatchItem]:
    found = rankings.disputes(session, SECOND_LOOKS)
    return [_second_look(item, image, rank) for rank, (item, image) in enumerate(found, start=1)]


def _second_look(item: RankingItem, image: Image, rank: int) -> BatchItem:
    return BatchItem(
        image_id=image.id,
        sha256=image.sha256,
        rank=rank,
        probability=item.probability,
        uncertainty=item.uncertainty,
        predicted=item.predicted,
        why=item.why,
        action=Action.CORRECT.value,
        label=image.label,
    )


def _disputed(session: Session) -> list[BatchItem]:
    """Images that enough people have answered, but not alike."""
    rule = queries.find_annotator(session, AGREEMENT)
    if rule is None:
        return []
    rows = queries.newest_decisions(session, limit=SECOND_LOOKS, annotator_id=rule.id, action=Action.SKIP)
    found = []
    for rank, row in enumerate(rows, start=1):
        image = session.get_one(Image, row.image_id)
        found.append(BatchItem(image.id, image.sha256, rank, None, None, None, "disputed", None, None))
    return found


def _sorted(session: Session) -> list[BatchItem]:
    """The audit of what the model sorted: its word is a suggestion here, and a person's answer a label."""
    return [
        BatchItem(
            image_id=image.id,
            sha256=image.sha256,
            rank=rank,
            probability=item.probability,
            uncertainty=item.uncertainty,
            predicted=item.label,
            why=sort_audit.WHY,
            action=None,
            label=None,
        )
        for rank, (item, image) in enumerate(sorting.waiting(session)[:SECOND_LOOKS], start=1)
    ]


def _history(session: Session, who: int) -> list[BatchItem]:
    rows = queries.newest_decisions(session, limit=HISTORY, annotator_id=who)
    shas = images.shas(session, [row.image_id for row in rows])
    said = queries.proposals_of(session, [(row.round_id, row.image_id) for row in rows if row.round_id is not None])
    found = []
    for row in rows:
        number, proposal = said.get((row.round_id, row.image_id), (None, None))
        found.append(
            BatchItem(
                image_id=row.image_id,
                sha256=shas[row.image_id],
                rank=0,
                probability=proposal.probability if proposal is not None else None,
                uncertainty=proposal.uncertainty if proposal is not None else None,
                predicted=proposal.predicted if proposal is not None else None,
                why=proposal.why if proposal is not None else "",
                action=row.action,
                label=row.label,
                round=number,
            )
        )
    return found


def _flagged(session: Session, items: Sequence[BatchItem]) -> list[BatchItem]:
    flagged = images.flagged(session, [item.image_id for item in items])
    return [replace(item, flagged=item.image_id in flagged) for item in items]


def _shown(item: BatchItem, settings: Settings, mode: Mode) -> BatchItem:
    """Without the model's opinion where it shall not lead the person; a page of the grid is nothing but that."""
    if settings.suggestion == "show" or mode is Mode.GRID:
        return item
    return replace(item, probability=None, uncertainty=None, predicted=None)


def _previous(session: Session) -> RoundSummary | None:
    row = queries.last_evaluated(session)
    if row is None:
        return None
    decisions = queries.decision_counts(session, row.id)
    labelled = decisions["confirm"] + decisions["correct"]
    return RoundSummary(row.number, labelled, decisions, views.round_metrics(session, row))
