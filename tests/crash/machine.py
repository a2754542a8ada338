"""The crash machine: eight people work, something is killed, it is started again, and everything is counted.

One turn kills once. A server that dies is started again, the people send what was not acknowledged, and the
invariants are judged against what they wrote down; a command that dies is run again, as a person would. Servers that
are to die at a fault point have it armed from their start, so some die in the middle of recovering from the kill
before.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from labeler import faults
from tests.crash import kills
from tests.crash.alone import Alone
from tests.crash.book import Book
from tests.crash.clients import Crew, Lost
from tests.crash.commands import Commands
from tests.crash.evidence import record_of
from tests.crash.invariants import Violation
from tests.crash.judge import Judge, Tally
from tests.crash.kills import Kill
from tests.crash.programs import ASK_S, PATIENCE_S, Programs, Server, StuckError, wait_for

#: A server passes an armed point within so many jobs of its worker and so many answers, if at all; and the seconds
#: that these may take.
POINT_JOBS, POINT_ANSWERS, POINT_S = 3, 12, 20.0
#: A server says half a second later that its worker has died.
POINT_SAID_S = 2.0
#: Seconds to wait for answers before a kill at random.
ANSWERS_S = 5.0
#: Turns from one thorough check to the next: those wait for the worker to have nothing to do.
THOROUGH_EVERY = 5


class Machine:
    """One soak over one workspace. Use it in a ``with`` statement.

    Args:
        scratch: an empty folder; the workspace, the logs and the clients' pages lie there afterwards.
        template: what :func:`tests.crash.template.build` made; copied.
        seed: of the plan, the people and the moments.
        source: folder that holds the package under test.
        gradio: whether the servers have the tabs too.
        moves_s: how long moves may take after a start before they count as never carried out.
        first_only: stop at the first violation.
        say: told a line after every kill.
    """

    def __init__(
        self,
        scratch: Path,
        template: Path,
        seed: int,
        *,
        source: Path | None = None,
        gradio: bool = True,
        moves_s: float = PATIENCE_S,
        first_only: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.scratch, self.seed, self.say = scratch, seed, say
        self.rng = random.Random(f"machine {seed}")
        self.root = scratch / "w"
        shutil.copytree(template / "w", self.root)
        shutil.copytree(template / "truth", scratch / "truth")
        (scratch / "book").mkdir()
        given = {"source": source} if source is not None else {}
        self.programs = Programs(scratch / "logs", **given, gradio=gradio)
        self.server = Server(self.programs, self.root)
        self.book = Book(scratch / "book")
        self.expected = {image.sha256: image.label or "" for image in record_of(self.root).images}
        self.commands = Commands(self.programs, self.root, scratch, self.expected, seed)
        self.crew = Crew(self.book, self.server.port, self.commands.truth, seed)
        self.alone = Alone(self.programs, template, scratch / "alone")
        self.moves_s, self.first_only = moves_s, first_only
        self.tally = Tally()
        self.judge = Judge(self.root, scratch, self.book, self.expected, self.tally)
        self._turns = self._told = 0
        self._thorough_at = THOROUGH_EVERY
        self._unchecked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.crew.ended = True
        if self.server.alive:
            self.server.kill("group")
        self.crew.end()
        self.programs.__exit__()
        self.alone.close()
        self.commands.close()

    # ---------------------------------------------------------------------------------------------------------- a run

    def run(self, planned: list[Kill], until: float) -> Tally:
        """Carry out a plan, as far as it goes before the moment ``until`` of ``time.monotonic``; then end well."""
        count = len(planned)
        waiting = list(planned)
        began = time.monotonic()
        self._bring_up()
        self.crew.sign_in()
        while self.tally.total < count and time.monotonic() < until:
            kill = waiting.pop(0) if waiting else Kill("group")
            try:
                died = self._turn(kill)
            except StuckError as error:
                self.tally.add([Violation("half-done", f"stuck after {kill.kind} {kill.fault}: {error}")])
                return self._counted()
            self._note(kill, died, waiting)
            self._tell_violations()
            what = f"{died or 'no kill: ' + kill.kind} {kill.fault}".rstrip()
            self.say(f"{time.monotonic() - began:6.1f} s  {self.tally.total}/{count} {what}")
            if self.first_only and self.tally.violations:
                return self._counted()
        self._end()
        return self._counted()

    def _tell_violations(self) -> None:
        for violation in self.tally.violations[self._told :]:
            self.say(f"  {violation}")
        self._told = len(self.tally.violations)

    def _note(self, kill: Kill, died: str, waiting: list[Kill]) -> None:
        """Count a kill; a point that was missed is tried again later, in another command where there is one."""
        if died:
            self.tally.kills[died] += 1
        if not kill.point:
            if not died:
                waiting.append(Kill("group"))
            return
        if died.endswith("at a point"):
            self.tally.reached[kill.point] += 1
            return
        if kill.tries + 1 < kills.tries(kill.point) and not self.tally.reached[kill.point]:
            if died and Kill("group") in waiting:  # it was killed all the same: one less of those
                waiting.remove(Kill("group"))
            again = kills.at_point(kill.point, self.rng, kill.tries + 1)
            waiting.insert(self.rng.randint(0, min(12, len(waiting))), again)
        elif not died:
            waiting.append(Kill("group"))

    def _turn(self, kill: Kill) -> str:
        """One kill; returns the kind of it, empty when nothing died."""
        self._turns += 1
        if kill.how == kills.SERVE:
            return self._armed(kill)
        self._ready()
        self.crew.let_loose()
        if kill.how in kills.AT_RANDOM:
            return self._struck(kill)
        if self.alone.takes(kill.how):
            died, found = self.alone.kill(kill, self.rng)
            self.tally.add(found)
            return died
        return self._command(kill)

    def _struck(self, kill: Kill) -> str:
        """SIGKILL to server, worker or both at a moment that nobody chose."""
        self._answers(self.rng.randint(1, 24))
        time.sleep(self.rng.uniform(0.0, 0.4))
        if not self.server.kill(kill.how):
            return ""
        if not self.server.alive:
            self._died()
        else:
            self._unchecked = True
        return kill.kind

    def _answers(self, count: int) -> None:
        """Wait until so many more answers were acknowledged; a pool that is empty or a slow machine ends the wait."""
        enough = self.crew.acknowledged + count
        until = time.monotonic() + ANSWERS_S
        while self.crew.acknowledged < enough and time.monotonic() < until:
            time.sleep(0.01)

    def _armed(self, kill: Kill) -> str:
        """A server that dies, or whose worker dies, at a point; where it never gets there it is killed all the same."""
        if self.server.alive:
            self._ready()
            self._stop()
        new_images = kill.point.startswith("cache.")
        if new_images:
            self.commands.feed()
        recovered = self.server.start(kill.fault) and self._recovered()
        if recovered:
            with contextlib.suppress(Lost):
                self._refill()
                self.crew.let_loose()
            self._wait_for_point()
        who = self.server.died_at_point()
        self.tally.in_recovery += bool(who) and not recovered
        self.server.kill("group")
        self._died()
        return f"{who}, at a point" if who else Kill("group").kind

    def _command(self, kill: Kill) -> str:
        """A command beside the server is killed; often the machine goes down with it; then it is run again."""
        self._answers(self.rng.randint(0, 12))
        try:
            code = self.commands.kill(kill, self.rng)
        except Lost as error:
            raise StuckError("a command could not be prepared") from error
        died = code in (faults.EXIT_CODE, -9)
        if died and self.rng.random() < 0.3:
            self.server.kill("group")
            self._died()
            self._bring_up()
        self.tally.add(self.commands.again(kill, code))
        self._unchecked = True
        return kill.kind if died else ""

    # ------------------------------------------------------------------------------------------------------- recovery

    def _bring_up(self) -> None:
        """A server without a fault; one start in ten from nothing, as a person does it."""
        self.server.start(cold=bool(self._turns) and self.rng.random() < 0.1)
        self._unchecked = True

    def _ready(self) -> None:
        """A server that runs, with everything before it judged, and images to label."""
        if not self.server.alive:
            self._bring_up()
        if self._unchecked and not self._recovered():
            raise StuckError("a server without a fault died")
        if self._turns >= self._thorough_at:
            self._thorough()
        self._refill()

    def _recovered(self) -> bool:
        """The people have sent what they had and the moves are carried out: judge. False when the server died."""
        if self.crew.clients[0].thread.ident is None:
            return True
        if not self.crew.rest(lambda: self.server.alive) or not self._moved():
            return False
        self.judge.at_rest()
        self._unchecked = False
        return True

    def _moved(self) -> bool:
        def done() -> bool:
            with contextlib.suppress(Lost):
                return self.crew.status().get("pending") == 0
            return not self.server.alive

        with contextlib.suppress(StuckError):  # the check says how many are left
            wait_for(done, "the end of the moves", self.moves_s, ASK_S)
        return self.server.alive

    def _wait_for_point(self) -> None:
        """Until somebody died at the armed point, or it is plain that nobody passes it."""
        until = time.monotonic() + POINT_S
        first, answers = 0, self.crew.acknowledged + POINT_ANSWERS
        with contextlib.suppress(Lost):  # it died
            self.crew.ask_for_ranking()
            while not self.server.died_at_point() and time.monotonic() < until:
                job = self.crew.status().get("job") or {}
                first = first or job.get("id", 0)
                if job.get("id", 0) >= first + POINT_JOBS and self.crew.acknowledged >= answers:
                    until = min(until, time.monotonic() + POINT_SAID_S)
                time.sleep(ASK_S)

    def _refill(self) -> None:
        """When little is left to label, much of what was labelled is taken back."""
        status = self.crew.status()
        if "pool" in status and status["pool"] < len(self.expected) // 3:
            self.tally.add(self.commands.take_back(int(status["labelled"] * 0.5)))

    def _stop(self) -> None:
        """SIGTERM, as a person or a service manager ends it."""
        self.judge.stopped(self.server.stop())

    def _died(self) -> None:
        self.judge.dead(everybody=not self.server.orphans())
        self.tally.unacknowledged += self.crew.unacknowledged
        self._unchecked = True

    def _thorough(self) -> None:
        """Let the worker finish everything, and judge."""
        self.crew.rest(lambda: self.server.alive)
        self.crew.ask_for_ranking()

        def idle() -> bool:
            return (self.crew.status().get("job") or {}).get("state") in ("done", "failed")

        wait_for(idle, "an idle worker", step=ASK_S)
        self._moved()
        self.judge.idle()
        self._unchecked = False
        self._thorough_at = self._turns + THOROUGH_EVERY

    def _end(self) -> None:
        """The last server is started, judged and stopped; `labeler verify` has the last word."""
        try:
            self._ready()
            self._thorough()
            self._stop()
        except StuckError as error:
            self.tally.add([Violation("half-done", f"stuck at the end: {error}")])
            return
        code, said = self.commands.verify()
        if code != 0:
            self.tally.add([Violation("half-done", f"labeler verify ended with {code}: {said}")])

    def _counted(self) -> Tally:
        return self.judge.count(self.server.said())
