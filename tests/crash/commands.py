"""The commands that are killed while people label: a round with an oracle, import, undo, sort, prune."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from labeler import faults
from labeler.pool.disk import sha256_of
from tests.crash import kills
from tests.crash.invariants import Violation
from tests.crash.kills import Kill
from tests.crash.programs import Program, Programs, family, kill, wait_for
from tests.crash.template import draw

#: Exit codes of a command that was not killed: done, or nothing to do.
FINE = (0, 3)
KILLED = (faults.EXIT_CODE, -signal.SIGKILL)
COMMAND_S = 240.0
_IMAGES = 4
_ANOTHER_DEVICE = Path("/dev/shm")  # noqa: S108  # a tmpfs on Linux; where it is none, files move by rename


def run(
    programs: Programs, argv: Sequence[str], environment: dict[str, str] | None = None, *, delay: float | None = None
) -> tuple[int, Path, float]:
    """Run a command, to its end or until it is killed ``delay`` seconds after its start.

    Returns:
        Exit code, its log, and how long it took.
    """
    log = programs.new_log(argv[2] if argv[0] == "--workspace" else argv[0])
    began = time.monotonic()
    program: Program = programs.start(list(argv), environment=environment, log=log)
    if delay is not None:
        with contextlib.suppress(AssertionError):  # it is still at work
            wait_for(lambda: program.code is not None, "its end", delay)
        kill(family(program.pid) if program.code is None else [])
    wait_for(lambda: program.code is not None, f"the end of {' '.join(argv)}", COMMAND_S)
    assert program.code is not None
    return program.code, log, time.monotonic() - began


def failed(argv: Sequence[str], code: int, log: Path) -> list[Violation]:
    """A violation when a command that nobody killed did not do its work."""
    if code in FINE:
        return []
    said = log.read_text(encoding="utf-8", errors="replace").strip()[-400:]
    return [Violation("error", f"labeler {' '.join(argv)} ended with {code}: {said}")]


class Commands:
    """Commands in the workspace that a server serves.

    Args:
        expected: every image that must be there, by SHA-256, with its class; grows with what is imported.
    """

    def __init__(self, programs: Programs, root: Path, scratch: Path, expected: dict[str, str], seed: int) -> None:
        self._programs, self._root, self._scratch, self.expected = programs, root, scratch, expected
        self.truth: dict[str, str] = {}  # of every drawing, also of one that is on its way in
        for file in (scratch / "truth").rglob("*.png"):
            self.truth[sha256_of(file)] = file.parent.name
        self._next = 10_000 * (seed + 1)
        self._took: dict[str, float] = {}
        self._incoming: dict[str, str] = {}
        self._source: Path | None = None
        self._said: list[Violation] = []

    # ---------------------------------------------------------------------------------------------------------- kill

    def kill(self, planned: Kill, rng: random.Random) -> int:
        """Start the command of a plan and have it die; returns its exit code, which says whether it did."""
        how = planned.how
        if how == kills.UNSORT:
            self._run(["sort", "--above", "0.0", "--audit", "2"])
        if how in (kills.IMPORT, kills.IMPORT_MOVE):
            self._draw(how)
        argv = self._argv(how, None if planned.point else rng)
        if planned.point:
            code, log, took = run(self._programs, self._in(argv), {faults.ENVIRONMENT_NAME: planned.fault})
        else:
            delay = rng.uniform(0.02, self._took.get(how, 0.6))
            code, log, took = run(self._programs, self._in(argv), delay=delay)
        if code in FINE:
            self._took[how] = took
        self._said = failed(argv, code, log) if code not in KILLED else []
        return code

    def again(self, planned: Kill, code: int) -> list[Violation]:
        """After a kill and whatever else died with it: the same command, to its end."""
        found = list(self._said)
        how = planned.how
        if code in KILLED:
            argv = {kills.SORT: ["sort", "--undo"], kills.UNDO: ["undo", "1"]}.get(how) or self._argv(how, None)
            if self._source is None or any(self._source.rglob("*.png")):
                found += self._run(argv)
        elif how == kills.SORT:
            found += self._run(["sort", "--undo"])
        if self._source is not None:
            self.expected.update(self._incoming)
            shutil.rmtree(self._source)
            self._source = None
        return found

    def _argv(self, how: str, rng: random.Random | None) -> list[str]:
        truth = str(self._scratch / "truth")
        mode = "copy" if rng is None or rng.random() < 0.7 else "link"
        source = str(self._source)
        return {
            kills.ROUND: ["round", "--k", "8", "--oracle", truth],
            kills.IMPORT: ["import", source, "--into", "unlabelled", "--mode", mode],
            kills.IMPORT_MOVE: ["import", source, "--into", "unlabelled", "--mode", "move"],
            kills.UNDO: ["undo", "12"],
            kills.SORT: ["sort", "--above", "0.0", "--audit", "2"],
            kills.UNSORT: ["sort", "--undo"],
            kills.PRUNE: ["models", "prune", "--keep", "2"],
        }[how]

    def _draw(self, how: str) -> None:
        """New images to take in: where they are to be moved, on another device, so that their bytes are copied."""
        elsewhere = how == kills.IMPORT_MOVE and _ANOTHER_DEVICE.is_dir()
        self._source = Path(tempfile.mkdtemp(prefix="crash-", dir=_ANOTHER_DEVICE if elsewhere else self._scratch))
        self._incoming = {}
        for _ in range(_IMAGES):
            sha, label = draw(self._scratch / "truth", self._next)
            file = self._scratch / "truth" / label / f"{self._next:05d}.png"
            shutil.copyfile(file, self._source / f"new-{self._next}.png")
            self._incoming[sha] = self.truth[sha] = label
            self._next += 1

    # --------------------------------------------------------------------------------------------------- without kill

    def feed(self) -> None:
        """Import a few new images, which the worker then has to look at."""
        self._draw(kills.IMPORT)
        found = self._run(self._argv(kills.IMPORT, None))
        assert not found, found
        self.again(Kill(kills.IMPORT), 0)

    def take_back(self, count: int) -> list[Violation]:
        """Undo many decisions, so that there is something to label again."""
        return self._run(["undo", str(max(1, count))])

    def verify(self) -> tuple[int, str]:
        """`labeler verify`, started from nothing: exit code and what it said."""
        log = self._programs.new_log("verify")
        program = self._programs.start(self._in(["verify"]), cold=True, log=log)
        wait_for(lambda: program.code is not None, "the end of labeler verify", COMMAND_S)
        return program.code or 0, log.read_text(encoding="utf-8")

    def _run(self, argv: list[str]) -> list[Violation]:
        code, log, _ = run(self._programs, self._in(argv))
        return failed(argv, code, log)

    def _in(self, argv: Sequence[str]) -> list[str]:
        return ["--workspace", str(self._root), *argv]

    def close(self) -> None:
        if self._source is not None:
            shutil.rmtree(self._source, ignore_errors=True)
