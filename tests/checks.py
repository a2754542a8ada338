"""What must hold of a workspace at every moment when nothing is under way."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from labeler.domain import OPEN_STATES, TRANSITIONS, Action, MoveState, RoundState
from labeler.record import images, leases, moves, queries
from labeler.record.store import Session
from labeler.record.tables import DecisionRow, MoveRow
from labeler.rounds import Workspace


def assert_sound(opened: Workspace, expected_images: int) -> None:
    """Every image exactly once, where the record says, labelled by its last decision; nothing half-done."""
    on_disk = Counter(
        hashlib.sha256(file.read_bytes()).hexdigest()
        for file in opened.paths.pools.rglob("*")
        if file.is_file() and "Quarantine" not in file.parts
    )
    assert set(on_disk.values()) <= {1}, "an image lies in two places"
    assert len(on_disk) == expected_images
    with opened.store.read() as session:
        rows = images.every(session)
        decided: dict[int, list[DecisionRow]] = {}
        for decision in session.query(DecisionRow).filter_by(opinion=False):
            decided.setdefault(decision.image_id, []).append(decision)
        assert {row.sha256 for row in rows} == set(on_disk), "record and disk hold different images"
        for row in rows:
            file = opened.paths.absolute(row.path)
            assert hashlib.sha256(file.read_bytes()).hexdigest() == row.sha256
            if row.split in ("train", "test", "sorted"):
                assert Path(row.path).parts[1:3] == (row.split.capitalize(), row.label)
            else:
                assert row.label is None
                assert row.path.startswith("pools/Unlabelled/")
            counted = replayed(decided.get(row.id, []))
            assert row.label == (counted.label if counted is not None else None)
            by_model = counted is not None and counted.action == Action.SORT.value
            assert by_model == (row.split == "sorted"), "what the model sorted and what people labelled mix"
        assert moves.count_pending(session) == 0
        assert session.query(MoveRow).filter(MoveRow.state != MoveState.DONE.value).count() == 0
        assert_handed_out_once(session, opened.settings.overlap)
    assert opened.verify()["differences"] == []


def assert_handed_out_once(session: Session, overlap: int = 1) -> None:
    """No image is with more people than shall label it, and none waits in two rounds."""
    assert max(leases.holders(session).values(), default=0) <= overlap
    waiting: Counter[int] = Counter()
    for row in queries.rounds_in(session, OPEN_STATES):
        waiting.update(image for _, image in queries.open_images(session, row.id))
    assert set(waiting.values()) <= {1}, "an image waits in two rounds"


def replayed(rows: list[DecisionRow]) -> DecisionRow | None:
    """What counts after a list of decisions, worked out anew: a stack, an undo pops it."""
    stack: list[DecisionRow] = []
    for row in sorted(rows, key=lambda row: row.id):
        if row.action == Action.UNDO.value:
            stack.pop()
        else:
            stack.append(row)
    return stack[-1] if stack else None


def assert_steps(before: str, after: str) -> None:
    """``after`` can be reached from ``before`` and no state in between was left out."""
    reachable = {RoundState(before)}
    while True:
        more = reachable | {target for state in reachable for target in TRANSITIONS[state]}
        if more == reachable:
            break
        reachable = more
    assert RoundState(after) in reachable
