"""Judging: with nobody alive, with everybody at rest, and with the worker idle too; and counting what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labeler.rounds import Workspace
from tests.crash import invariants
from tests.crash.book import Book
from tests.crash.evidence import copied, record_of
from tests.crash.invariants import Violation


@dataclass(slots=True)
class Tally:
    """What happened in a run.

    Attributes:
        kills: by their kind; reached: by fault point.
        in_recovery: servers that died at a point while they recovered from the kill before.
        checks, thorough: how often was judged with everybody at rest, and with an idle worker too.
        found_pending: moves that a death left half-way, all deaths together.
        unacknowledged: operations that were made and not acknowledged when a server died, likewise.
        acknowledged: operations that were, in the end.
        handed: images that were put before somebody.
    """

    kills: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    in_recovery: int = 0
    checks: int = 0
    thorough: int = 0
    found_pending: int = 0
    unacknowledged: int = 0
    acknowledged: int = 0
    handed: int = 0
    violations: list[Violation] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.kills.total()

    def count(self, kind: str) -> int:
        return sum(violation.kind == kind for violation in self.violations)

    def add(self, found: Iterable[Violation]) -> None:
        """Violations that are not on the list yet: a lost answer stays lost at every later look."""
        known = set(self.violations)
        self.violations += [violation for violation in found if violation not in known]


class Judge:
    """Looks at one workspace and what its clients wrote down.

    Args:
        expected: every image that must be there, by SHA-256; grows with what is imported.
    """

    def __init__(self, root: Path, scratch: Path, book: Book, expected: Mapping[str, str], tally: Tally) -> None:
        self._root, self._scratch, self._book, self._expected, self._tally = root, scratch, book, expected, tally

    def dead(self, *, everybody: bool) -> None:
        """Without a server: what was acknowledged is there, whole, and no image has lost its bytes.

        Args:
            everybody: the worker is dead too. Then a copy of the record is read, for opening the record itself would
                already repair it; while somebody writes, a copy of its files would be no record.
        """
        self._book.read()
        if everybody:
            with copied(self._root, self._scratch) as copy:
                record = record_of(copy)
        else:
            record = record_of(self._root)
        self._tally.add(Violation("damaged", line) for line in record.damage)
        self._tally.add(invariants.kept(record, self._book))
        self._tally.add(invariants.somewhere(self._root, self._expected))
        self._tally.found_pending += len(record.pending)

    def at_rest(self) -> None:
        """With everybody at rest, and the moves carried out."""
        self._book.read()
        record = record_of(self._root)
        self._tally.add(Violation("damaged", line) for line in record.damage)
        for found in (
            invariants.kept(record, self._book),
            invariants.in_order(record, self._book),
            invariants.all_answered(record, self._book),
            invariants.in_place(self._root, record, self._expected),
            invariants.stepped(record),
            invariants.handed_once(record, self._book),
        ):
            self._tally.add(found)
        self._tally.checks += 1

    def idle(self) -> None:
        """Also with an idle worker: no temporary file, nothing half-way, and the program's own `verify` agrees."""
        self.at_rest()
        self._tally.add(invariants.at_rest(self._root, record_of(self._root)))
        with Workspace.open(self._root) as opened:
            differences = opened.verify()["differences"]
        self._tally.add(Violation("half-done", f"verify: {found}") for found in differences)
        self._tally.thorough += 1

    def stopped(self, code: int) -> None:
        """After an orderly end: exit code 0, no move left."""
        if code != 0:
            self._tally.add([Violation("error", f"the server ended with {code} when it was asked to stop")])
        pending = record_of(self._root).pending
        if pending:
            self._tally.add([Violation("half-done", f"an orderly stop left {len(pending)} move(s)")])

    def count(self, said: str) -> Tally:
        """The last word.

        Args:
            said: everything the servers wrote.
        """
        self._book.read()
        self._tally.acknowledged = sum(sent.acknowledged for sent in self._book.sent.values())
        self._tally.handed = len(self._book.handings)
        for word in ("Traceback", "database is locked", "could not be written"):
            if word in said:
                self._tally.add([Violation("error", f"a server said {word!r}: see the logs in {self._scratch}")])
        return self._tally
