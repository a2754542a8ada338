"""Random sequences of propose, decide, undo, commit, sort, kill and resume keep the promises of the record."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from labeler import faults
from labeler.domain import Action, Answer, LabelerError, NothingToDo
from labeler.record import images
from labeler.rounds import Workspace
from labeler.rounds.decisions import new_operation
from tests.checks import assert_sound, assert_steps
from tests.workspaces import CLASSES, POOL, TEST

#: `LABELER_EXAMPLES=200 pytest tests/rounds/test_properties.py` looks longer.
EXAMPLES, STEPS = int(os.environ.get("LABELER_EXAMPLES", "12")), 15

POINTS = [
    "move.start",
    "move.linked",
    "journal.moved",
    "journal.marked",
    "commit.drained",
    "commit.committed",
    "train.saved",
    "train.recorded",
    "round.trained",
    "round.evaluated",
    "propose.written",
    "propose.committed",
]
SORTING = [
    "sort.planning",
    "sort.planned",
    "sort.written",
    "sort.decided",
    "sort.done",
    "sort.unwritten",
    "sort.undone",
]


class Killed(BaseException):
    """Stands for the process's death: no handler of ours catches it, and whatever follows starts from disk."""


class Machine(RuleBasedStateMachine):
    """A person, a worker and an unreliable power supply."""

    source: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="labeler-machine-"))
        shutil.copytree(self.source, self.folder / "w")
        self.ws = Workspace.open(self.folder / "w", k=5)
        self.labels: dict[str, list[str | None]] = {}
        self.state: str | None = None
        self.rounds = 0
        self.maybe: tuple[str, list[str | None]] | None = None
        self.sound = True

    def teardown(self) -> None:
        self.ws.close()
        shutil.rmtree(self.folder)

    @initialize()
    def first_round(self) -> None:
        self.ws.round()

    # ------------------------------------------------------------------------------------------------- what happens

    @rule(at=st.integers(0, 4), label=st.sampled_from(CLASSES), twice=st.booleans())
    def decide(self, at: int, label: str, twice: bool) -> None:
        self.send(at, Action.CORRECT, label, twice)

    @rule(at=st.integers(0, 4))
    def skip(self, at: int) -> None:
        self.send(at, Action.SKIP, None, twice=False)

    @rule(at=st.integers(0, 4), twice=st.booleans())
    def undo(self, at: int, twice: bool) -> None:
        self.send(at, Action.UNDO, None, twice)

    @rule(data=st.data())
    def decide_the_rest(self, data: st.DataObject) -> None:
        for at, item in enumerate(self.ws.batch("ann").items):
            if item.action is None:
                self.send(at, Action.CORRECT, data.draw(st.sampled_from(CLASSES)), twice=False)

    @rule()
    def work(self) -> None:
        self.ws.run_round_job()

    @rule(above=st.sampled_from([0.0, 0.9, 0.99]))
    def sort(self, above: float) -> None:
        with contextlib.suppress(LabelerError):  # no model yet, or nothing to sort
            self.ws.sort(above, audit=3)

    @rule()
    def unsort(self) -> None:
        with contextlib.suppress(NothingToDo):
            self.ws.unsort()

    @rule(at=st.integers(0, 2), label=st.sampled_from([*CLASSES, None]))
    def check_sorted(self, at: int, label: str | None) -> None:
        items = self.ws.batch("ann", "sorted").items
        if at < len(items):
            answer = Answer(items[at].sha256, Action.CORRECT if label else Action.SKIP, label, new_operation())
            assert self.ws.decide("ann", [answer], round=None)[0].label == label
            self.labels.setdefault(answer.sha256, []).append(label)

    @rule(point=st.sampled_from(SORTING))
    def killed_while_sorting(self, point: str) -> None:
        self.killed(point, self.sort_and_back)

    def sort_and_back(self) -> None:
        self.ws.sort(0.5, audit=3)
        self.ws.unsort()

    @rule(point=st.sampled_from(POINTS), at=st.integers(0, 4), label=st.sampled_from(CLASSES))
    def killed_while_deciding(self, point: str, at: int, label: str) -> None:
        self.killed(point, lambda: self.send(at, Action.CORRECT, label, twice=False))

    @rule(point=st.sampled_from(POINTS))
    def killed_while_working(self, point: str) -> None:
        self.killed(point, self.ws.run_round_job)

    @precondition(lambda self: not self.sound)
    @rule()
    def resume(self) -> None:
        self.ws.resume()
        self.sound = True

    # --------------------------------------------------------------------------------------------------- how it does

    def send(self, at: int, action: Action, label: str | None, twice: bool) -> None:
        batch = self.ws.batch("ann")
        if at >= len(batch.items):
            return
        sha = batch.items[at].sha256
        answer = Answer(sha, action, label, new_operation())
        stack = self.labels.setdefault(sha, [])
        # Written down before the call: a call that is cut off may be on record, an acknowledged one must be.
        stack_after = stack[:-1] if action is Action.UNDO else [*stack, label]
        self.maybe = (sha, stack_after)
        receipts = self.ws.decide("ann", [answer], round=batch.round)
        self.labels[sha] = stack_after
        self.forget()
        assert receipts[0].label == (stack_after[-1] if stack_after else None)
        if twice:
            assert not self.ws.decide("ann", [answer], round=batch.round)[0].stored

    def forget(self) -> None:
        """Nothing is half-said any more."""
        self.maybe = None

    def killed(self, point: str, action: Any) -> None:
        def die(name: str) -> None:
            if name == point:
                raise Killed

        self.forget()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(faults, "point", die)
            try:
                action()
            except Killed:
                pass
            except (LabelerError, NothingToDo):
                pass
        self.ws.close()
        self.ws = Workspace.open(self.folder / "w", k=5)
        if self.maybe is not None:
            sha, stack_after = self.maybe
            with self.ws.store.read() as session:
                row = images.by_sha(session, sha)
                assert row is not None
                if row.label == (stack_after[-1] if stack_after else None):
                    self.labels[sha] = stack_after
        self.sound = False

    # -------------------------------------------------------------------------------------------- what always holds

    @invariant()
    def record_and_disk_agree(self) -> None:
        if self.sound:
            assert_sound(self.ws, POOL + TEST)

    @invariant()
    def the_label_is_the_last_decision(self) -> None:
        with self.ws.store.read() as session:
            for sha, row in images.images_by_sha(session, list(self.labels)).items():
                stack = self.labels[sha]
                assert row.split == "sorted" if not stack and row.label else row.label == (stack or [None])[-1]

    @invariant()
    def no_state_is_skipped(self) -> None:
        overview = self.ws.overview()["rounds"]
        now = overview[-1]["state"] if overview else None
        if self.state is not None and now is not None and len(overview) == self.rounds:
            assert_steps(self.state, now)
        self.state, self.rounds = now, len(overview)


def test_random_sequences_keep_the_promises(built: Path) -> None:
    Machine.source = built
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
