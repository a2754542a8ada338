"""Finishing the pool: the model files what it is sure of, by decisions of its own that can be taken back as a whole.

A run is written down as a plan first and then carried out in steps of :data:`STEP` images, each one short transaction
with its decisions and moves and the run's position. Cut off in the plan there has been no run; cut off later, the next
start goes on from the position. Taking a run back goes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from labeler import faults
from labeler.domain import (
    MACHINE,
    Action,
    LabelerError,
    NothingToDo,
    Progress,
    SortState,
    Split,
    UnknownName,
    WorkspaceBusy,
)
from labeler.record import images, moves, queries, sorting
from labeler.record.store import Session, Store
from labeler.record.tables import DecisionRow, Image, SortItem, SortRun, now
from labeler.rounds import decisions, journal, scan, sort_plan
from labeler.rounds.learning import Learner
from labeler.workspace import WorkspacePaths, exclusive

#: Images that are decided in one transaction: it holds the record for less than a tenth of a second.
STEP = 500
LOCK = "sort"
_FORTH = "sort-{run}-{image}"
_BACK = "unsort-{run}-{image}"
_LOCK_WAIT_S = 60.0

Report = Callable[[Progress], None] | None


def sort(learner: Learner, *, above: float, audit: int, seed: int) -> tuple[SortRun, list[str]]:
    """Sort the images of a plan made now; returns the run and what a person should know about it.

    Args:
        audit: images to be drawn by lot for a person.
        seed: of the lot.

    Raises:
        WorkspaceBusy: another run is under way.
        NothingToDo, LabelerError: as :func:`sort_plan.plan`; or the disk or the record refused: the next start goes on.
    """
    store, paths = learner.store, learner.paths
    with exclusive(paths, LOCK):
        notes = _finish(store, paths, learner.progress)
        notes += scan.scan(store, paths, learner.settings, learner.progress).notes
        made = sort_plan.plan(learner, above)
        run_id = sort_plan.write_down(learner, made, above=above, audit=audit, seed=seed)
        notes += [*made.notes, *_carry_out(store, paths, run_id, learner.progress)]
    with store.read() as session:
        return session.get_one(SortRun, run_id), notes


def undo(store: Store, paths: WorkspacePaths, number: int | None, progress: Report = None) -> tuple[SortRun, list[str]]:
    """Take a whole run back: what nobody has decided since goes home to the pool, the rest stays as it is.

    Args:
        number: the run; None means the newest that was not taken back.

    Raises:
        NothingToDo: there is no such run left. UnknownName: no run of that number.
    """
    with exclusive(paths, LOCK, wait_s=_LOCK_WAIT_S):
        notes = _finish(store, paths, progress)
        with store.write() as session:
            run = sorting.newest_done(session) if number is None else session.get(SortRun, number)
            if run is None and number is not None:
                raise UnknownName(f"there is no sorting run {number}", "see `labeler sort --status`")
            if run is None:
                raise NothingToDo("there is no sorting run to take back", "")
            if run.state != SortState.DONE.value:
                raise NothingToDo(f"sorting run {run.id} was taken back already", "")
            sorting.advance(session, run, SortState.UNDOING)
            run_id = run.id
        faults.point("sort.undoing")
        notes += _take_back(store, paths, run_id, progress)
    with store.read() as session:
        return session.get_one(SortRun, run_id), notes


def finish(store: Store, paths: WorkspacePaths, progress: Report = None) -> list[str]:
    """Go on with runs that were cut off; leaves them alone while a living process is at it. Cheap without any."""
    with store.read() as session:
        if not sorting.unfinished(session):
            return []
    try:
        with exclusive(paths, LOCK):
            return _finish(store, paths, progress)
    except WorkspaceBusy:
        return []


def cut_off(store: Store, paths: WorkspacePaths) -> list[int]:
    """The numbers of runs that were cut off and wait for :func:`finish`."""
    try:
        with exclusive(paths, LOCK), store.read() as session:
            return [run.id for run in sorting.unfinished(session)]
    except WorkspaceBusy:
        return []


# ------------------------------------------------------------------------------------------------- carrying it out


def _finish(store: Store, paths: WorkspacePaths, progress: Report) -> list[str]:
    """Bring every run that was cut off to its end; the caller holds the lock."""
    with store.read() as session:
        waiting = {run.id: SortState(run.state) for run in sorting.unfinished(session)}
    notes: list[str] = []
    for run_id, state in waiting.items():
        if state is SortState.PLANNING:
            with store.write() as session:
                sorting.discard(session, session.get_one(SortRun, run_id))
        elif state is SortState.SORTING:
            notes += _carry_out(store, paths, run_id, progress)
        else:
            notes += _take_back(store, paths, run_id, progress)
    return notes


def _carry_out(store: Store, paths: WorkspacePaths, run_id: int, progress: Report) -> list[str]:
    problems: list[LabelerError] = []
    while True:
        with store.write() as session:
            run = session.get_one(SortRun, run_id)
            position, planned = _sort_some(session, run), run.planned
            faults.point("sort.written")
        if position is None:
            break
        faults.point("sort.decided")
        problems += journal.drain(store, paths)
        faults.point("sort.moved")
        if progress is not None:
            progress(Progress("sorting", position, planned))
    with store.write() as session:
        run = session.get_one(SortRun, run_id)
        _draw(session, run)
        sorting.advance(session, run, SortState.DONE, finished_at=now())
    faults.point("sort.done")
    return _unmoved(problems)


def _sort_some(session: Session, run: SortRun) -> int | None:
    """Decide the next images of a run; None when there are none left."""
    items = sorting.items_after(session, run.id, run.sorted_to, STEP)
    if not items:
        return None
    found = sorting.images_of(session, items)
    in_force = queries.decisions_in_force(session, list(found))
    people = sorting.with_people(session)
    taken: list[SortItem] = []
    passed: list[SortItem] = []
    for item in items:
        free = _is_free(found[item.image_id], in_force.get(item.image_id), people)
        (taken if free else passed).append(item)
    sorting.pass_over(session, passed)
    machine = queries.annotator(session, MACHINE, MACHINE).id
    rows = [
        {
            "op_id": _FORTH.format(run=run.id, image=item.image_id),
            "image_id": item.image_id,
            "annotator_id": machine,
            "action": Action.SORT.value,
            "label": item.label,
            "supersedes": _number(in_force.get(item.image_id)),
            "sort_run_id": run.id,
        }
        for item in taken
    ]
    made = sorting.decide(session, rows)
    images.relabel_many(session, {item.image_id: (item.label, Split.SORTED) for item in taken})
    _ask_moves(session, made, ((found[item.image_id], Split.SORTED, item.label) for item in taken))
    run.sorted_to = items[-1].position
    run.passed_over += len(passed)
    return run.sorted_to


def _is_free(image: Image, counts: DecisionRow | None, people: set[int]) -> bool:
    """Looked at once more: since the plan somebody may have decided, skipped, or been handed the image."""
    skipped = counts is not None and counts.action == Action.SKIP.value
    return image.split == Split.UNLABELLED.value and not image.missing and not skipped and image.id not in people


def _draw(session: Session, run: SortRun) -> None:
    """Draw the run's audit by lot from what was sorted; the same seed draws the same again."""
    ids = sorting.sorted_ids(session, run.id)
    wanted = min(run.audit, len(ids))
    drawn = np.random.default_rng([run.seed, run.id]).choice(len(ids), size=wanted, replace=False)
    sorting.draw(session, [ids[at] for at in drawn.tolist()])


# --------------------------------------------------------------------------------------------------- taking it back


def _take_back(store: Store, paths: WorkspacePaths, run_id: int, progress: Report) -> list[str]:
    problems: list[LabelerError] = []
    while True:
        with store.write() as session:
            run = session.get_one(SortRun, run_id)
            position, planned = _unsort_some(session, run), run.planned
            faults.point("sort.unwritten")
        if position is None:
            break
        faults.point("sort.undecided")
        problems += journal.drain(store, paths)
        if progress is not None:
            progress(Progress("taking back", position, planned))
    with store.write() as session:
        sorting.advance(session, session.get_one(SortRun, run_id), SortState.UNDONE, undone_at=now())
    faults.point("sort.undone")
    return _unmoved(problems)


def _unsort_some(session: Session, run: SortRun) -> int | None:
    """Take the next images of a run back; None when there are none left."""
    items = sorting.items_after(session, run.id, run.undone_to, STEP)
    if not items:
        return None
    found = sorting.images_of(session, items)
    before = sorting.still_sorted(session, run.id, list(found))
    machine = queries.annotator(session, MACHINE, MACHINE).id
    rows = [
        {
            "op_id": _BACK.format(run=run.id, image=image),
            "image_id": image,
            "annotator_id": machine,
            "action": Action.UNDO.value,
            "label": None,
            "supersedes": decision.id,
            "sort_run_id": run.id,
        }
        for image, decision in before.items()
    ]
    made = sorting.decide(session, rows)
    images.relabel_many(session, dict.fromkeys(before, (None, Split.UNLABELLED)))
    _ask_moves(session, made, ((found[image], Split.UNLABELLED, None) for image in before))
    run.undone_to = items[-1].position
    run.undone += len(before)
    return run.undone_to


# ---------------------------------------------------------------------------------------------------------- shared


def _ask_moves(session: Session, made: dict[int, int], wanted: Iterable[tuple[Image, Split, str | None]]) -> None:
    rows = [(image.id, made[image.id], *decisions.destination(image, split, label)) for image, split, label in wanted]
    moves.ask_many(session, rows)


def _number(row: DecisionRow | None) -> int | None:
    return row.id if row is not None else None


def _unmoved(problems: Sequence[LabelerError]) -> list[str]:
    """What is to be said of files that could not be moved; their moves stay in the journal."""
    if not problems:
        return []
    return [f"{len(problems)} file(s) could not be moved yet, the first: {problems[0]}"]
