"""One turn of the loop, step by step. Every step starts from what is on record and ends by putting its result there,
so that a process may die between any two of them and the next start goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from labeler import faults
from labeler.domain import (
    NothingToDo,
    NotTrainable,
    RecordError,
    RoundState,
    Split,
)
from labeler.rank import registry
from labeler.rank.head import QuickModel
from labeler.record import images, moves, queries
from labeler.record.tables import ModelVersion, ProposalRow, Round
from labeler.rounds import journal, scan
from labeler.rounds.learning import Learner, Material
from labeler.rounds.order import Timing, candidates, derived, ordered, pool_hash
from labeler.version import __version__
from labeler.workspace import exclusive

FINISH_WAIT_S = 600.0
#: People may decide anew about images of a round while its last files are moved; then there is one more to move.
DRAINS = 20
#: A round with all its answers, on its way to EVALUATED.
FINISHING = (RoundState.COMMITTING, RoundState.COMMITTED, RoundState.TRAINED)


def propose(learner: Learner, *, k: int, strategy: str, seed: int) -> tuple[Round, list[str]]:
    """Scan the pool, rank it and put a new round on record.

    Returns:
        The round, and what a person should know about it.

    Raises:
        NothingToDo: nothing in the pool waits for a label.
        RecordError: a round is under way already.
    """
    timing = Timing()
    if strategy != "auto":
        registry.get(strategy)  # an unknown name must not cost the embedding of a pool first
    with timing.step("scan"):
        notes = scan.scan(learner.store, learner.paths, learner.settings, learner.progress).notes
        with learner.store.read() as session:
            unlabelled = bool(images.counts(session)[Split.UNLABELLED.value])
            skipped = images.skipped_ids(session)
            last = queries.last_round(session)
    if not unlabelled:
        raise NothingToDo("the pool is empty: every image has its label", "import more images, or evaluate the model")
    with timing.step("embed"):
        material = learner.everything()
    notes += material.notes
    with timing.step("fit"):
        version, model = _model_for(learner, material, seed, notes)
        if version is not None:
            material = learner.fitting(material, version)
    with timing.step("rank"):
        rows = candidates(material, skipped)
        if not len(rows):
            raise NothingToDo("no image in the pool can be read", "run `labeler verify`")
        order = ordered(learner, material, model, rows, derived(seed, last.number + 1 if last is not None else 1))
        chosen = order.choose(strategy, k)
    row = Round(
        number=0,
        state=RoundState.PROPOSED.value,
        k=k,
        strategy=chosen.strategy,
        parameters={"asked": strategy},
        seed=seed,
        backbone=version.backbone if version is not None else learner.configured.name,
        backbone_key=material.backbone_key,
        model_version_id=version.id if version is not None else None,
        pool=len(material.waiting),
        pool_hash=pool_hash([material.refs[index] for index in rows]),
        package_version=__version__,
        timing=timing.seconds,
    )
    batch = [
        ProposalRow(rank=rank, path=order.ref(at).path, why=why, **order.said(at))
        for rank, (at, why) in enumerate(zip(chosen.indices.tolist(), chosen.why, strict=True), start=1)
    ]
    _store(learner, row, batch)
    return row, notes


def _model_for(
    learner: Learner, material: Material, seed: int, notes: list[str]
) -> tuple[ModelVersion | None, QuickModel | None]:
    """The model in use, else one fitted now from labels that came with the files, else none: a cold start."""
    found = learner.model()
    if found is not None:
        return found
    if not len(material.labelled):
        return None, None
    try:
        return learner.train(material, seed=seed)
    except NotTrainable as error:
        notes.append(f"{error.what}: the images are still chosen for their variety")
        return None, None


def _store(learner: Learner, row: Round, batch: list[ProposalRow]) -> None:
    with learner.store.write() as session:
        if queries.unfinished_round(session) is not None:
            raise RecordError("a round is under way already", "finish it, or look at `labeler status`")
        last = queries.last_round(session)
        row.number = last.number + 1 if last is not None else 1
        session.add(row)
        session.flush()
        for proposal in batch:
            proposal.round_id = row.id
        session.add_all(batch)
        faults.point("propose.written")
    faults.point("propose.committed")


def _finish(learner: Learner, states: Mapping[int, RoundState]) -> None:
    """Bring decided rounds, oldest first, to EVALUATED: carry out their moves, train once on all of them, evaluate."""
    timing = Timing()
    with timing.step("commit"):
        for round_id, state in states.items():
            if state is RoundState.COMMITTING:
                _commit(learner, round_id)
    untrained = [round_id for round_id, state in states.items() if state is not RoundState.TRAINED]
    material = None
    if untrained:
        with timing.step("retrain"):
            material = _train(learner, untrained)
    with timing.step("evaluate"):
        _evaluate(learner, list(states)[-1], material)
    with learner.store.write() as session:
        for round_id in states:
            row = session.get_one(Round, round_id)
            row.timing = timing.added_to(row.timing)
            queries.advance(session, round_id, RoundState.TRAINED, RoundState.EVALUATED)
    faults.point("round.evaluated")


def finish_decided(learner: Learner) -> list[int]:
    """Finish every round whose last image has been decided: moves carried out, a model trained on it and evaluated.

    The shell and the worker may both want to: one does, and the other finds it done.

    Returns:
        The numbers of the rounds.

    Raises:
        LabelerError: a file could not be moved; everything decided is kept and the next call goes on from there.
    """
    with exclusive(learner.paths, "finish", wait_s=FINISH_WAIT_S):
        with learner.store.write() as session:
            for row in queries.rounds_in(session, [RoundState.REVIEWING]):
                if not queries.undecided(session, row.id):  # the last file it waited for has vanished
                    queries.advance(session, row.id, RoundState.REVIEWING, RoundState.COMMITTING)
        with learner.store.read() as session:
            decided = queries.rounds_in(session, FINISHING)
        if decided:
            _finish(learner, {row.id: RoundState(row.state) for row in decided})
    return [row.number for row in decided]


def _commit(learner: Learner, round_id: int) -> None:
    for _ in range(DRAINS):
        problems = journal.drain(learner.store, learner.paths)
        with learner.store.read() as session:
            blocking = moves.count_blocking(session, round_id)
        if not blocking:
            break
        if problems:
            raise problems[0]
    else:
        raise RecordError("a move of this round is pending", "run the round again")
    faults.point("commit.drained")
    with learner.store.write() as session:
        queries.advance(session, round_id, RoundState.COMMITTING, RoundState.COMMITTED)
    faults.point("commit.committed")


def _train(learner: Learner, round_ids: Sequence[int]) -> Material:
    """Train on everything there is; returns it, for the evaluation wants it too."""
    version_id: int | None = None
    material = learner.everything()
    with contextlib.suppress(NotTrainable):  # one class so far: the next round goes on looking for the other
        with learner.store.read() as session:
            seed = session.get_one(Round, round_ids[-1]).seed
        version_id = learner.train(material, seed=seed)[0].id
    with learner.store.write() as session:
        for round_id in round_ids:
            session.get_one(Round, round_id).trained_version_id = version_id
            session.flush()
            queries.advance(session, round_id, RoundState.COMMITTED, RoundState.TRAINED)
    faults.point("round.trained")
    return material


def _evaluate(learner: Learner, round_id: int, material: Material | None) -> None:
    with learner.store.read() as session:
        version_id = session.get_one(Round, round_id).trained_version_id
    found = learner.model()
    if version_id is not None and found is not None:
        learner.evaluate(*found, round_id=round_id, material=material)
