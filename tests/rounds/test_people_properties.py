"""Random sequences of several people, lost time, undo, the worker and kills: nobody ever gets what another has, and
the record stays whole."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select, update

from labeler import faults
from labeler.domain import Action, Answer, LabelerError
from labeler.record import queries
from labeler.record.tables import DecisionRow, Lease, now
from labeler.rounds import Workspace
from labeler.rounds.decisions import new_operation
from tests.checks import assert_handed_out_once, assert_sound
from tests.rounds.test_properties import EXAMPLES
from tests.workspaces import CLASSES, POOL, TEST

PEOPLE = ("ada", "ben", "cy")
people = st.sampled_from(PEOPLE)
labels = st.sampled_from([*CLASSES, None])
POINTS = ["ranking.made", "ranking.written", "ranking.swapped", "journal.moved", "commit.committed", "train.recorded"]


class Killed(BaseException):
    """Stands for the process's death."""


class People(RuleBasedStateMachine):
    """Three people, a worker, and leases that run out whenever it suits nobody."""

    source: ClassVar[Path]
    overlap: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="labeler-people-"))
        shutil.copytree(self.source, self.folder / "w")
        self.open()
        self.acknowledged: set[str] = set()

    def open(self) -> None:
        self.ws = Workspace.open(self.folder / "w", k=4, patience_s=0, overlap=self.overlap)

    def teardown(self) -> None:
        self.ws.resume()
        assert_sound(self.ws, POOL + TEST)
        self.ws.close()
        shutil.rmtree(self.folder)

    @initialize()
    def first_ranking(self) -> None:
        self.ws.run_round_job()

    # ------------------------------------------------------------------------------------------------- what happens

    @rule(who=people, at=st.integers(0, 3), label=labels)
    def answer(self, who: str, at: int, label: str | None) -> None:
        batch = self.ws.batch(who)
        if at < len(batch.items):
            self.send(who, batch.items[at].sha256, label, batch.items[at].round)

    @rule(who=people, label=st.sampled_from(CLASSES))
    def answer_all(self, who: str, label: str) -> None:
        for item in self.ws.batch(who).items:
            if item.action is None:
                self.send(who, item.sha256, label, item.round)

    @rule(who=people, at=st.integers(0, 3), label=labels)
    def answer_late(self, who: str, at: int, label: str | None) -> None:
        """The page held a batch; its leases ran out and everybody else came first."""
        batch = self.ws.batch(who)
        self.time_passes()
        for other in PEOPLE:
            if other != who:
                for item in self.ws.batch(other).items[:2]:
                    self.send(other, item.sha256, CLASSES[0], item.round)
        if at < len(batch.items):
            self.send(who, batch.items[at].sha256, label, batch.items[at].round)

    @rule(who=people, at=st.integers(0, 5))
    def undo(self, who: str, at: int) -> None:
        history = self.ws.batch(who).history
        if at < len(history):
            item = history[at]
            answer = Answer(item.sha256, Action.UNDO, None, new_operation())
            self.ws.decide(who, [answer], round=item.round, admin=False)

    @rule()
    def time_passes(self) -> None:
        with self.ws.store.write() as session:
            session.execute(update(Lease).values(expires_at=now() - dt.timedelta(seconds=1)))

    @rule()
    def work(self) -> None:
        self.ws.run_round_job()

    @rule(point=st.sampled_from(POINTS))
    def killed_while_working(self, point: str) -> None:
        def die(name: str) -> None:
            if name == point:
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(faults, "point", die)
            with contextlib.suppress(Killed, LabelerError):
                self.ws.run_round_job()
        self.ws.close()
        self.open()
        self.ws.resume()

    def send(self, who: str, sha: str, label: str | None, number: int | None) -> None:
        answer = Answer(sha, Action.SKIP if label is None else Action.CORRECT, label, new_operation(), 300)
        receipt = self.ws.decide(who, [answer], round=number)[0]
        assert receipt.stored
        self.acknowledged.add(answer.op_id)
        assert not self.ws.decide(who, [answer], round=number)[0].stored, "stored twice"

    # -------------------------------------------------------------------------------------------- what always holds

    @invariant()
    def no_image_is_with_more_people_than_asked_for(self) -> None:
        with self.ws.store.read() as session:
            assert_handed_out_once(session, self.overlap)

    @invariant()
    def nothing_acknowledged_is_lost(self) -> None:
        with self.ws.store.read() as session:
            known: set[Any] = set(queries.known_operations(session, sorted(self.acknowledged)))
            assert known == self.acknowledged

    @invariant()
    def an_opinion_decides_nothing(self) -> None:
        with self.ws.store.read() as session:
            for row in session.scalars(select(DecisionRow).where(DecisionRow.opinion)):
                counted = queries.decisions_in_force(session, [row.image_id]).get(row.image_id)
                assert counted is None or not counted.opinion
            if self.overlap == 1:
                return
            by_people = select(func.count()).select_from(DecisionRow).where(~DecisionRow.opinion)
            rule = queries.find_annotator(session, "agreement")
            mine = by_people.where(DecisionRow.annotator_id != (rule.id if rule else 0))
            assert session.scalar(mine.where(DecisionRow.action.in_(["confirm", "correct"]))) == 0


class Pairs(People):
    """The same where two must agree."""

    overlap = 2


@pytest.mark.parametrize("machine", [People, Pairs])
def test_people_and_time_never_break_the_record(built: Path, machine: type[People]) -> None:
    machine.source = built
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(3, EXAMPLES // 2),
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
