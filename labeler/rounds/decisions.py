"""Putting answers on record: the decision, the move it asks for and the round's next state in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from labeler.domain import OPEN_STATES, Action, Answer, RoundState, Split, UnknownName
from labeler.record import images, queries
from labeler.record.store import Session
from labeler.record.tables import DecisionRow, Image, MoveRow, Round


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one answer.

    Attributes:
        op_id: the sender's own name for it.
        stored: False when that op_id was on record already, or there was nothing to undo.
        label: the image's label now.
    """

    op_id: str
    stored: bool
    label: str | None


def record(
    session: Session, annotator_id: int, answers: Sequence[Answer], round_row: Round | None, classes: Sequence[str]
) -> list[Receipt]:
    """Write the answers, their moves and the round's state; the caller commits.

    An op_id that is on record is acknowledged again and changes nothing, so a sender may repeat itself.

    Raises:
        UnknownName: an image or a class that does not exist.
    """
    known = queries.known_operations(session, [answer.op_id for answer in answers])
    known_images = images.images_by_sha(session, [answer.sha256 for answer in answers])
    in_force = queries.decisions_in_force(session, [image.id for image in known_images.values()])
    ids = [image.id for image in known_images.values()]
    predicted = queries.predictions(session, round_row.id, ids) if round_row is not None else {}
    receipts = []
    for answer in answers:
        image = known_images.get(answer.sha256)
        if image is None:
            raise UnknownName(f"no image {answer.sha256[:12]} in this workspace", "reload the page")
        row = None
        if answer.op_id not in known:
            row = _decide(session, annotator_id, answer, image, in_force, round_row, predicted, classes)
        if row is not None:
            known[answer.op_id] = row
        receipts.append(Receipt(answer.op_id, row is not None, image.label))
    if round_row is not None:
        _advance(session, round_row)
    return receipts


def _decide(
    session: Session,
    annotator_id: int,
    answer: Answer,
    image: Image,
    in_force: dict[int, DecisionRow],
    round_row: Round | None,
    predicted: Mapping[int, str | None],
    classes: Sequence[str],
) -> DecisionRow | None:
    """Write one decision; None when there is nothing to undo."""
    before = in_force.get(image.id)
    action, label = answer.action, answer.label
    after: DecisionRow | None = None
    if action is Action.UNDO:
        if before is None or before.action == Action.IMPORT.value:
            return None
        after = session.get(DecisionRow, before.supersedes) if before.supersedes is not None else None
        label = after.label if after is not None else None
    elif action is Action.SKIP:
        label = None
    else:
        if label not in classes:
            raise UnknownName(f"no class {label!r}", f"the classes are {', '.join(classes)}")
        if action is not Action.IMPORT:
            # Whether it confirms or corrects is a fact, not the sender's opinion.
            action = Action.CONFIRM if label == predicted.get(image.id) else Action.CORRECT
    row = DecisionRow(
        op_id=answer.op_id,
        image_id=image.id,
        round_id=round_row.id if round_row is not None else None,
        annotator_id=annotator_id,
        action=action.value,
        label=None if action is Action.UNDO else label,
        supersedes=before.id if before is not None else None,
        elapsed_ms=answer.elapsed_ms,
    )
    session.add(row)
    session.flush()
    if action is not Action.UNDO:
        in_force[image.id] = row
    elif after is not None:
        in_force[image.id] = after
    else:
        in_force.pop(image.id, None)
    relabel(session, image, label, row.id)
    return row


def new_operation() -> str:
    """A fresh op_id for a decision that starts here and not in a browser."""
    return f"op-{uuid.uuid4().hex}"


def record_placed(session: Session, annotator_id: int, image: Image, label: str | None) -> None:
    """Put on record a label that the file's folder already shows, so that nothing has to move."""
    before = queries.decisions_in_force(session, [image.id]).get(image.id)
    row = DecisionRow(
        op_id=new_operation(),
        image_id=image.id,
        annotator_id=annotator_id,
        action=Action.IMPORT.value,
        label=label,
        supersedes=before.id if before is not None else None,
    )
    session.add(row)
    image.label = label
    session.flush()


def relabel(session: Session, image: Image, label: str | None, decision_id: int) -> None:
    """Give the image its label and journal the move that follows from it, if any."""
    if label == image.label:
        return
    split = Split(image.split)
    if label is None:
        split = Split.UNLABELLED
    elif split is Split.UNLABELLED:
        split = Split.TRAIN
    folder, name = destination(image, split, label)
    image.label, image.split = label, split.value
    session.add(MoveRow(image_id=image.id, decision_id=decision_id, folder=folder, file_name=name))
    session.flush()


def destination(image: Image, split: Split, label: str | None) -> tuple[str, str]:
    """Folder (workspace-relative) and file name where an image with that label belongs."""
    home = PurePosixPath(image.home)
    pool = PurePosixPath("pools", Split.UNLABELLED.folder)
    if label is not None:
        return str(PurePosixPath("pools", split.folder, label)), home.name
    return (str(home.parent) if pool in home.parents else str(pool)), home.name


def _advance(session: Session, round_row: Round) -> None:
    """PROPOSED -> REVIEWING at the first decision, -> COMMITTING at the last."""
    state = RoundState(round_row.state)
    if state not in OPEN_STATES:
        return
    if state is RoundState.PROPOSED:
        queries.advance(session, round_row.id, RoundState.PROPOSED, RoundState.REVIEWING)
    if queries.undecided(session, round_row.id) == 0:
        queries.advance(session, round_row.id, RoundState.REVIEWING, RoundState.COMMITTING)
    session.refresh(round_row)
