"""What must hold after a crash. Every check says what it found as violations; none raises."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from labeler.domain import TRANSITIONS, RoundState
from tests.crash.book import Book, Sent
from tests.crash.clients import PEOPLE
from tests.crash.evidence import Decided, Record, Recorded, files_of

#: The kinds of violation, in the order of the report.
KINDS = ("lost", "doubled", "half-done", "misplaced", "skipped", "twice handed", "orphan", "damaged", "error")
_FOLDERS = {"train": "Train", "validation": "Validation", "test": "Test", "sorted": "Sorted"}
#: Every file a workspace may hold besides its images, models and what was set aside. All else is an orphan, so that a
#: new kind of temporary file is found without being named here.
_KNOWN_FILES = re.compile(
    r"labeler\.toml"
    r"|db/labeler\.db(-wal|-shm)?"
    r"|db/[\w-]+\.(lock|pid|alive)"
    r"|db/cache/vectors/[^/]+/[0-9a-f]{32}\.vectors"
    r"|db/cache/vectors/[^/]+/[\w.-]*lock"
    r"|db/cache/thumbnails/[0-9a-f]{2}/[0-9a-f]{64}-\d+\.jpg"
    r"|db/cache/compiled/[^/]+\.(tflite|lock)"
    r"|db/cache/page/.*"
)


@dataclass(frozen=True, slots=True)
class Violation:
    """``kind`` is one of :data:`KINDS`."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def kept(record: Record, book: Book) -> Iterator[Violation]:
    """Every acknowledged decision is on record exactly once, as it was sent; nobody's answers are made up."""
    by_op: dict[str, list[Decided]] = defaultdict(list)
    for row in record.decisions:
        by_op[row.op_id].append(row)
    for sent in book.sent.values():
        rows = by_op.get(sent.op_id, [])
        if len(rows) > 1:
            yield Violation("doubled", f"{_named(sent)} is on record {len(rows)} times")
        if sent.acknowledged and not rows and not _nothing_to_undo(sent, record, book):
            yield Violation("lost", f"{_named(sent)} was acknowledged and is not on record")
        for row in rows:
            if (row.sha256, row.label, row.who) != (sent.sha256, sent.label, sent.who) or not _same(sent, row):
                yield Violation("lost", f"{_named(sent)} is on record as {row.action} {row.label} by {row.who}")
    for row in record.decisions:
        if row.who in PEOPLE and row.op_id not in book.sent:
            yield Violation("doubled", f"decision {row.id} by {row.who} was never sent")
    for op in book.twice_made:
        yield Violation("error", f"the harness itself made operation {op} twice")


def _named(sent: Sent) -> str:
    return f"{sent.action} {sent.label or ''} of {sent.sha256[:8]} by {sent.who} ({sent.op_id[:8]})"


def _same(sent: Sent, row: Decided) -> bool:
    """Whether it confirms or corrects is for the record to say."""
    labels = {"confirm", "correct"}
    return sent.action == row.action or {sent.action, row.action} == labels


def _nothing_to_undo(sent: Sent, record: Record, book: Book) -> bool:
    """An undo that was acknowledged as not stored: somebody else had taken the answer back or replaced it before."""
    if sent.action != "undo" or sent.ack is None or sent.ack["stored"]:
        return False
    earlier = [
        other
        for other in book.sent.values()
        if (other.who, other.sha256) == (sent.who, sent.sha256) and other.place < sent.place and other.action != "undo"
    ]
    if not earlier:
        return False
    meant = max(earlier, key=lambda other: other.place).op_id
    target = next((row for row in record.decisions if row.op_id == meant), None)
    return target is not None and any(row.supersedes == target.id for row in record.decisions)


def in_order(record: Record, book: Book) -> Iterator[Violation]:
    """What one person did is on record in the order of the doing, also what had to be sent again."""
    for who in PEOPLE:
        rows = [row for row in record.decisions if row.op_id in book.sent and book.sent[row.op_id].who == who]
        for before, after in pairwise(rows):
            if book.sent[before.op_id].place > book.sent[after.op_id].place:
                yield Violation("half-done", f"{after.op_id} of {who} was made before {before.op_id}, and stored after")


def all_answered(record: Record, book: Book) -> Iterator[Violation]:
    """With everybody at rest each operation has its acknowledgement and nothing was refused."""
    for sent in book.sent.values():
        if sent.ack is None:
            yield Violation("half-done", f"{_named(sent)} never got an answer")
        elif sent.ack["error"] is not None:
            yield Violation("error", f"{_named(sent)} was refused: {sent.ack['error']}")
    for answer in book.answers:
        yield Violation("error", f"{answer['path']} answered {answer['status']} to {answer['who']}: {answer['body']}")


def somewhere(root: Path, expected: Mapping[str, str]) -> Iterator[Violation]:
    """Also in the middle of a move, with nobody alive, each image has its bytes under one name at least."""
    there = set(files_of(root).values())
    for sha in sorted(expected.keys() - there):
        yield Violation("lost", f"image {sha[:8]} has no file")


def in_place(root: Path, record: Record, expected: Mapping[str, str]) -> Iterator[Violation]:
    """Each image lies exactly once on the disk, unchanged, where the record and its label say."""
    files = files_of(root)
    copies = Counter(files.values())
    for sha, count in sorted(copies.items()):
        if count > 1:
            paths = [path for path, found in files.items() if found == sha]
            yield Violation("misplaced", f"image {sha[:8]} lies in {count} places: {', '.join(paths)}")
        if sha not in expected:
            yield Violation("misplaced", f"a file with unknown bytes {sha[:8]}")
    for sha in sorted(expected.keys() - copies.keys()):
        yield Violation("lost", f"image {sha[:8]} has no file")
    recorded = {image.sha256: image for image in record.images}
    for sha in sorted(expected.keys() - recorded.keys()):
        yield Violation("lost", f"image {sha[:8]} is not on record")
    counts = _in_force(record)
    for image in record.images:
        if files.get(image.path) != image.sha256:
            yield Violation("misplaced", f"{image.path} on record, and the file is not there")
        yield from _labelled(image, counts.get(image.id))
    if record.pending:
        yield Violation("half-done", f"{len(record.pending)} move(s) were asked for and are not carried out")


def _labelled(image: Recorded, counted: Decided | None) -> Iterator[Violation]:
    label = counted.label if counted is not None else None
    if image.missing:
        yield Violation("misplaced", f"{image.path} is recorded as missing")
    if image.label != label:
        yield Violation("half-done", f"{image.path} has label {image.label}, decided was {label}")
    if counted is not None and counted.action == "import" and image.split == "train":
        yield Violation("half-done", f"{image.path} got its label from a folder that nobody put it in")
    parts = PurePosixPath(image.path).parts
    wanted = (_FOLDERS[image.split], image.label) if image.split in _FOLDERS else ("Unlabelled",)
    if parts[1 : 1 + len(wanted)] != wanted:
        yield Violation("misplaced", f"{image.path} is {image.split} {image.label}")


def _in_force(record: Record) -> dict[int, Decided]:
    """What counts for each image, worked out anew: a stack of decisions, an undo pops it."""
    stacks: dict[int, list[Decided]] = defaultdict(list)
    for row in record.decisions:
        if row.opinion:
            continue
        if row.action != "undo":
            stacks[row.image_id].append(row)
        elif stacks[row.image_id]:
            stacks[row.image_id].pop()
    return {image: stack[-1] for image, stack in stacks.items() if stack}


def stepped(record: Record) -> Iterator[Violation]:
    """Rounds took every step of their way, one after the other; decisions were only ever added."""
    at: dict[int, str] = {}
    for what, row, before, after in record.watched:
        if what == "decision":
            yield Violation("lost", f"decision {row} ({before}) was {'changed' if after else 'deleted'}")
        elif before is None:
            at[row] = str(after)
            if after != RoundState.PROPOSED.value:
                yield Violation("skipped", f"round {row} began as {after}")
        else:
            if RoundState(str(after)) not in TRANSITIONS[RoundState(before)] or at.get(row) != before:
                yield Violation("skipped", f"round {row} went from {before} to {after}, it was {at.get(row)}")
            at[row] = str(after)
    for row, state in at.items():
        if record.round_states.get(row) != state:
            yield Violation("skipped", f"round {row} is {record.round_states.get(row)} and went to {state}")


def handed_once(record: Record, book: Book) -> Iterator[Violation]:
    """No image waits in two rounds or is with two people; it goes on to another only after somebody decided."""
    for image, count in Counter(record.open_images).items():
        if count > 1:
            yield Violation("twice handed", f"image {image} waits in {count} rounds")
    for image, people in record.held.items():
        if len(people) > 1:
            yield Violation("twice handed", f"image {image} is with {len(people)} people")
    decided: dict[str, list[float]] = defaultdict(list)
    for row in record.decisions:
        decided[row.sha256].append(row.at)
    handed: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for handing in book.handings:
        handed[handing.sha256].append((handing.at, handing.asked, handing.who))
    for sha, given in handed.items():
        for (_, asked, first), (at, _, second) in pairwise(sorted(given)):
            if first != second and not any(asked <= moment <= at for moment in decided[sha]):
                yield Violation("twice handed", f"image {sha[:8]} was with {first}, and then with {second}")


def at_rest(root: Path, record: Record) -> Iterator[Violation]:
    """With the worker idle: nothing is half-way, and no file is left that nothing names."""
    for kind in record.running_jobs:
        yield Violation("half-done", f"a job {kind} waits or runs, and nobody works")
    for run in record.unfinished_sorts:
        yield Violation("half-done", f"sorting run {run} was cut off and not gone on with")
    between = {state.value for state in (RoundState.COMMITTING, RoundState.COMMITTED, RoundState.TRAINED)}
    for row, state in record.round_states.items():
        if state in between:
            yield Violation("half-done", f"round {row} has all its answers and is still {state}")
    named = {image.path for image in record.images} | record.model_files | record.quarantined
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root).as_posix()
        if not file.is_dir() and path not in named and not _KNOWN_FILES.fullmatch(path):
            yield Violation("orphan", path)
