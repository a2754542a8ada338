"""Putting answers on record: the decision, the move it asks for and the round's next state in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from labeler.domain import (
    AGREEMENT,
    MACHINE,
    OPEN_STATES,
    Action,
    Answer,
    IllegalTransition,
    RoundState,
    SortState,
    Split,
    UnknownName,
)
from labeler.record import images, leases, moves, queries
from labeler.record.store import Session
from labeler.record.tables import DecisionRow, Image, Round, SortRun


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one answer.

    Attributes:
        op_id: the sender's own name for it.
        stored: False when that op_id was on record already, or there was nothing to undo.
        label: the image's label now.
        opinion: it is on record as one voice among several and decided nothing by itself.
    """

    op_id: str
    stored: bool
    label: str | None
    opinion: bool = False


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who answers, and by what rules.

    Attributes:
        id: the annotator's row.
        admin: may take back what others decided.
        overlap: people whose answers must agree before an image of a round is decided.
        lease_s: for how long an image whose answer is taken back stays with this person.
    """

    id: int
    admin: bool = True
    overlap: int = 1
    lease_s: float = 0.0


def record(
    session: Session, who: Reviewer, answers: Sequence[Answer], round_row: Round | None, classes: Sequence[str]
) -> list[Receipt]:
    """Write the answers, their moves and the round's state; the caller commits.

    An op_id that is on record is acknowledged again and changes nothing, so a sender may repeat itself. An answer
    that comes after somebody else decided the image is kept as an opinion. Without a round an answer is a second
    look at one image, and replaces whatever counts.

    Raises:
        UnknownName: an image or a class that does not exist.
        IllegalTransition: a second look at an image without a label, where several people have to agree on one.
    """
    known = queries.known_operations(session, [answer.op_id for answer in answers])
    by_sha = images.images_by_sha(session, [answer.sha256 for answer in answers])
    ids = [image.id for image in by_sha.values()]
    heard = round_row is not None and (who.overlap > 1 or any(a.action is Action.UNDO for a in answers))
    desk = _Desk(
        session,
        who,
        round_row,
        classes,
        queries.decisions_in_force(session, ids),
        queries.predictions(session, round_row.id, ids) if round_row is not None else {},
        queries.voices(session, round_row.id, ids) if round_row is not None and heard else {},
    )
    receipts = []
    before = set(known)
    for at, answer in enumerate(answers):
        image = by_sha.get(answer.sha256)
        if image is None:
            raise UnknownName(f"no image {answer.sha256[:12]} in this workspace", "reload the page")
        # An undo that found nothing leaves no row. When what was sent after it is on record, it has had its turn: taken
        # again it would take back the answer that was given instead.
        spent = answer.action is Action.UNDO and any(later.op_id in before for later in answers[at + 1 :])
        row = desk.take(answer, image) if answer.op_id not in known and not spent else None
        if row is not None:
            known[answer.op_id] = row
        on_record = known.get(answer.op_id)
        receipts.append(
            Receipt(answer.op_id, row is not None, image.label, on_record is not None and on_record.opinion)
        )
    if round_row is not None:
        _advance(session, round_row)
    return receipts


@dataclass(slots=True)
class _Desk:
    """The answers of one call, one after the other: what counts for each image now, and who said what."""

    session: Session
    who: Reviewer
    round_row: Round | None
    classes: Sequence[str]
    in_force: dict[int, DecisionRow]
    predicted: Mapping[int, str | None]
    voices: dict[int, dict[int, DecisionRow]]

    def take(self, answer: Answer, image: Image) -> DecisionRow | None:
        """Write one answer and what follows from it; None when there is nothing to undo."""
        if answer.action is Action.UNDO:
            return self._undo(answer, image)
        label = None if answer.action is Action.SKIP else answer.label
        if answer.action is not Action.SKIP and label not in self.classes:
            raise UnknownName(f"no class {answer.label!r}", f"the classes are {', '.join(self.classes)}")
        if self._evades_the_others(image):
            raise IllegalTransition(f"{image.sha256[:12]} has no label to look at again", "answer it in its batch")
        if self._is_one_of_several:
            return self._voice(answer, image, label)
        if self._is_late(image):
            return self._write(answer, image, self._action(answer, image, label), label, opinion=True)
        row = self._write(answer, image, self._action(answer, image, label), label)
        self._count(image, row, label)
        return row

    # ------------------------------------------------------------------------------------------------ several people

    def _evades_the_others(self, image: Image) -> bool:
        """Where several have to agree, a second look by one of them must not be the first."""
        return self.who.overlap > 1 and not self.who.admin and self.round_row is None and image.label is None

    @property
    def _is_one_of_several(self) -> bool:
        return self.who.overlap > 1 and self.round_row is not None and RoundState(self.round_row.state) in OPEN_STATES

    def _is_late(self, image: Image) -> bool:
        """Somebody else decided this image in the same round or a later one: the first answer stands."""
        before = self.in_force.get(image.id)
        if before is None or self.round_row is None or before.annotator_id == self.who.id:
            return False
        if before.action not in queries.REVIEWED:
            return False
        return before.round_id is None or before.round_id >= self.round_row.id

    def _voice(self, answer: Answer, image: Image, label: str | None) -> DecisionRow:
        row = self._write(answer, image, self._action(answer, image, label), label, opinion=True)
        of_image = self.voices.setdefault(image.id, {})
        of_image[self.who.id] = row
        if len(of_image) >= self.who.overlap:
            self._agree(image, {voice.label for voice in of_image.values()})
        return row

    def _agree(self, image: Image, labels: set[str | None]) -> None:
        """All have answered: what all say counts; where they differ the image waits for an administrator."""
        label = labels.pop() if len(labels) == 1 else None
        before = self.in_force.get(image.id)
        rule = queries.annotator(self.session, AGREEMENT, kind="rule")
        if before is not None and before.annotator_id == rule.id and before.label == label:
            return
        answer = Answer(image.sha256, Action.SKIP if label is None else Action.CORRECT, label, new_operation())
        row = self._write(answer, image, self._action(answer, image, label), label, annotator_id=rule.id)
        self._count(image, row, label)

    # ---------------------------------------------------------------------------------------------------------- undo

    def _undo(self, answer: Answer, image: Image) -> DecisionRow | None:
        voice = self.voices.get(image.id, {}).pop(self.who.id, None)
        before = self.in_force.get(image.id)
        if voice is not None:
            row = self._write(answer, image, Action.UNDO, None, opinion=True, supersedes=voice)
            if before is not None and self._is_agreed(before):  # it was agreed on with this voice
                self._take_back(Answer(image.sha256, Action.UNDO, None, new_operation()), image, before)
            return row
        if before is None or before.action in (Action.IMPORT.value, Action.SORT.value):
            return None
        if before.annotator_id != self.who.id and not self.who.admin:
            return None
        return self._take_back(answer, image, before)

    def _is_agreed(self, row: DecisionRow) -> bool:
        rule = queries.annotator(self.session, AGREEMENT, kind="rule")
        return row.annotator_id == rule.id and self.round_row is not None and row.round_id == self.round_row.id

    def _take_back(self, answer: Answer, image: Image, before: DecisionRow) -> DecisionRow:
        row = self._write(answer, image, Action.UNDO, None)
        after = self._goes_back_to(image, before)
        sorted_by_machine = after is not None and after.action == Action.SORT.value
        relabel(self.session, image, after.label if after is not None else None, row.id, machine=sorted_by_machine)
        if self.round_row is not None and self.who.lease_s > 0:
            leases.take_again(self.session, self.round_row.id, image.id, self.who.id, self.who.lease_s)
        return row

    def _goes_back_to(self, image: Image, before: DecisionRow) -> DecisionRow | None:
        """What counts once ``before`` is taken back: never the model's word of a run that was undone meanwhile."""
        after = self.session.get(DecisionRow, before.supersedes) if before.supersedes is not None else None
        if after is None:
            self.in_force.pop(image.id, None)
            return None
        self.in_force[image.id] = after
        if after.action != Action.SORT.value:
            return after
        run = self.session.get_one(SortRun, after.sort_run_id)
        if run.state not in (SortState.UNDOING.value, SortState.UNDONE.value):
            return after
        queries.add_decision(
            self.session,
            op_id=new_operation(),
            image_id=image.id,
            annotator_id=queries.annotator(self.session, MACHINE, MACHINE).id,
            action=Action.UNDO.value,
            label=None,
            supersedes=after.id,
            opinion=False,
            sort_run_id=run.id,
        )
        return self._goes_back_to(image, after)

    # --------------------------------------------------------------------------------------------------------- write

    def _action(self, answer: Answer, image: Image, label: str | None) -> Action:
        """Whether it confirms or corrects is a fact, not the sender's opinion."""
        if label is None or answer.action is Action.IMPORT:
            return answer.action
        before = self.in_force.get(image.id)
        by_model = before.label if before is not None and before.action == Action.SORT.value else None
        return Action.CONFIRM if label == self.predicted.get(image.id, by_model) else Action.CORRECT

    def _write(
        self,
        answer: Answer,
        image: Image,
        action: Action,
        label: str | None,
        *,
        opinion: bool = False,
        supersedes: DecisionRow | None = None,
        annotator_id: int | None = None,
    ) -> DecisionRow:
        before = supersedes if opinion else self.in_force.get(image.id)
        return queries.add_decision(
            self.session,
            op_id=answer.op_id,
            image_id=image.id,
            round_id=self.round_row.id if self.round_row is not None else None,
            annotator_id=annotator_id or self.who.id,
            action=action.value,
            label=label,
            supersedes=before.id if before is not None else None,
            elapsed_ms=answer.elapsed_ms,
            opinion=opinion,
        )

    def _count(self, image: Image, row: DecisionRow, label: str | None) -> None:
        self.in_force[image.id] = row
        relabel(self.session, image, label, row.id)


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


def relabel(session: Session, image: Image, label: str | None, decision_id: int, *, machine: bool = False) -> None:
    """Give the image its label and journal the move that follows from it, if any.

    Args:
        machine: the label is the model's own, so that it is sorted and not labelled.
    """
    split = Split(image.split)
    if label is None:
        split = Split.UNLABELLED
    elif machine:
        split = Split.SORTED
    elif split in (Split.UNLABELLED, Split.SORTED):
        split = Split.TRAIN
    if (label, split.value) == (image.label, image.split):
        return
    folder, name = destination(image, split, label)
    images.relabel(session, image, label, split)
    moves.ask(session, image.id, decision_id, folder, name)


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
        session.refresh(round_row)
    if queries.undecided(session, round_row.id) == 0:
        queries.advance(session, round_row.id, RoundState.REVIEWING, RoundState.COMMITTING)
        session.refresh(round_row)
