"""One turn of the loop, step by step. Every step starts from what is on record and ends by putting its result there,
so that a process may die between any two of them and the next start goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from labeler import faults
from labeler.domain import (
    IllegalTransition,
    ImageRef,
    NothingToDo,
    NotTrainable,
    RecordError,
    RoundState,
    Split,
)
from labeler.rank import registry, strategies
from labeler.rank.head import QuickModel
from labeler.rank.strategies import Pool, Selection
from labeler.record import images, queries
from labeler.record.tables import ModelVersion, ProposalRow, Round
from labeler.rounds import journal, scan
from labeler.rounds.learning import Learner, Material
from labeler.version import __version__


class Timing:
    """Seconds by step; the steps of one round add up over the processes that worked on it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def added_to(self, stored: Mapping[str, float]) -> dict[str, float]:
        names = [*stored, *(name for name in self.seconds if name not in stored)]
        return {name: stored.get(name, 0.0) + self.seconds.get(name, 0.0) for name in names}


def propose(learner: Learner, *, k: int, strategy: str, seed: int) -> tuple[Round, list[str]]:
    """Scan the pool, rank it and put a new round on record.

    Returns:
        The round, and what a person should know about it.

    Raises:
        NothingToDo: nothing in the pool waits for a label.
        RecordError: a round is under way already.
    """
    timing, settings = Timing(), learner.settings
    if strategy != "auto":
        registry.get(strategy)  # an unknown name must not cost the embedding of a pool first
    with timing.step("scan"):
        notes = scan.scan(learner.store, learner.paths, settings, learner.progress).notes
        with learner.store.read() as session:
            unlabelled = bool(images.counts(session)[Split.UNLABELLED.value])
            skipped = images.skipped_ids(session)
    if not unlabelled:
        raise NothingToDo("the pool is empty: every image has its label", "import more images, or evaluate the model")
    with timing.step("embed"):
        material = learner.material(Split.UNLABELLED, Split.TRAIN)
    notes += material.notes
    with timing.step("fit"):
        version, model = _model_for(learner, material, seed, notes)
    with timing.step("rank"):
        rows = _candidates(material, skipped)
        if not len(rows):
            raise NothingToDo("no image in the pool can be read", "run `labeler verify`")
        name = _strategy(strategy, k, model, material)
        probabilities, selection = _rank(model, material, rows, name, k, learner, _derived(seed, learner))
        chosen = rows[selection.indices]
    row = Round(
        number=0,
        state=RoundState.PROPOSED.value,
        k=k,
        strategy=name,
        parameters={"asked": strategy},
        seed=seed,
        backbone=learner.backbone.name,
        backbone_key=learner.backbone.key,
        model_version_id=version.id if version is not None else None,
        pool=int((material.y < 0).sum()),
        pool_hash=_pool_hash([material.refs[index] for index in rows]),
        package_version=__version__,
        timing=timing.seconds,
    )
    batch = [
        _proposal(rank, material.refs[index], probability, selection, at, settings.classes)
        for rank, (index, at, probability) in enumerate(
            zip(chosen, selection.indices, probabilities[selection.indices], strict=True), start=1
        )
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


def _candidates(material: Material, skipped: set[int]) -> npt.NDArray[np.int64]:
    """Rows of the material that may be proposed; skipped images only when nothing else is left."""
    unlabelled = np.flatnonzero(material.y < 0)
    fresh = np.array([row for row in unlabelled.tolist() if material.refs[row].id not in skipped], dtype=np.int64)
    return fresh if len(fresh) else unlabelled


def _strategy(asked: str, k: int, model: QuickModel | None, material: Material) -> str:
    if asked != "auto" and (model is not None or not registry.get(asked).needs_model):
        return asked
    return strategies.default_strategy(k=k, has_model=model is not None, labelled=len(material.labelled))


def _derived(seed: int, learner: Learner) -> int:
    """A seed of this round's own, so that two rounds of one workspace do not draw alike."""
    with learner.store.read() as session:
        last = queries.last_round(session)
    number = last.number + 1 if last is not None else 1
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _rank(
    model: QuickModel | None,
    material: Material,
    rows: npt.NDArray[np.int64],
    strategy: str,
    k: int,
    learner: Learner,
    seed: int,
) -> tuple[npt.NDArray[np.float64], Selection]:
    """Score the candidate rows and choose k of them; probabilities are NaN columns before a first model."""
    features = model.features if model is not None else learner.feature_map(material)
    labelled = material.labelled
    vectors = features.transform(material.raw[rows])
    probabilities = model.head.predict_proba(vectors) if model is not None else None
    pool = Pool(
        vectors=vectors,
        ids=np.array([material.refs[index].sha256 for index in rows]),
        probabilities=probabilities,
        labelled_vectors=features.transform(material.raw[labelled]),
        labelled_y=material.y[labelled],
    )
    selection = strategies.select(strategy, pool, k, seed=seed)
    if probabilities is None:
        probabilities = np.full((len(rows), len(learner.settings.classes)), np.nan)
    return probabilities, selection


def _proposal(
    rank: int,
    ref: ImageRef,
    probabilities: npt.NDArray[np.float64],
    selection: Selection,
    at: int,
    classes: tuple[str, ...],
) -> ProposalRow:
    known = bool(np.isfinite(probabilities).all())
    best = int(np.argmax(probabilities)) if known else 0
    column = 0 if len(classes) == 2 else best
    return ProposalRow(
        image_id=ref.id,
        rank=rank,
        probability=float(probabilities[column]) if known else None,
        uncertainty=float(selection.utilities[at]) if known else None,
        predicted=classes[best] if known else None,
        path=ref.path,
        why=selection.why[rank - 1] if selection.why else "",
    )


def _pool_hash(refs: list[ImageRef]) -> str:
    digest = hashlib.sha256()
    for ref in refs:
        digest.update(bytes.fromhex(ref.sha256))
    return digest.hexdigest()


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


def finish(learner: Learner, round_id: int) -> None:
    """Bring a decided round to EVALUATED: carry out its moves, train on its decisions, evaluate the model.

    Raises:
        IllegalTransition: the round is not decided yet, or is over.
        LabelerError: a file could not be moved; everything decided is kept and the next call goes on from there.
    """
    timing = Timing()
    state = _state(learner, round_id)
    if state is RoundState.COMMITTING:
        with timing.step("commit"):
            _commit(learner, round_id)
        state = RoundState.COMMITTED
    if state is RoundState.COMMITTED:
        with timing.step("retrain"):
            _train(learner, round_id)
        state = RoundState.TRAINED
    if state is not RoundState.TRAINED:
        raise IllegalTransition(f"round {round_id} is {state}", "decide every image of its batch first")
    with timing.step("evaluate"):
        _evaluate(learner, round_id)
    with learner.store.write() as session:
        row = session.get_one(Round, round_id)
        row.timing = timing.added_to(row.timing)
        queries.advance(session, round_id, RoundState.TRAINED, RoundState.EVALUATED)
    faults.point("round.evaluated")


def _state(learner: Learner, round_id: int) -> RoundState:
    with learner.store.read() as session:
        return RoundState(session.get_one(Round, round_id).state)


def _commit(learner: Learner, round_id: int) -> None:
    problems = journal.drain(learner.store, learner.paths)
    with learner.store.read() as session:
        if queries.count_blocking(session, round_id):
            raise problems[0] if problems else RecordError("a move of this round is pending", "run the round again")
    faults.point("commit.drained")
    with learner.store.write() as session:
        queries.advance(session, round_id, RoundState.COMMITTING, RoundState.COMMITTED)
    faults.point("commit.committed")


def _train(learner: Learner, round_id: int) -> None:
    version_id: int | None = None
    with contextlib.suppress(NotTrainable):  # one class so far: the next round goes on looking for the other
        material = learner.material(Split.UNLABELLED, Split.TRAIN)
        with learner.store.read() as session:
            seed = session.get_one(Round, round_id).seed
        version_id = learner.train(material, seed=seed)[0].id
    with learner.store.write() as session:
        session.get_one(Round, round_id).trained_version_id = version_id
        session.flush()
        queries.advance(session, round_id, RoundState.COMMITTED, RoundState.TRAINED)
    faults.point("round.trained")


def _evaluate(learner: Learner, round_id: int) -> None:
    with learner.store.read() as session:
        version_id = session.get_one(Round, round_id).trained_version_id
    found = learner.model()
    if version_id is not None and found is not None:
        learner.evaluate(*found, round_id=round_id)
