"""What was sent and what was acknowledged, written down by the clients and by nobody else.

Each client appends to a file of its own, a line before it sends and a line when it has an answer; the invariants are
judged by what stands in these files, never by the record's own word.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Page:
    """The file of one client; append-only, whole lines."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stream = file.open("a", encoding="utf-8")
        self._turn = threading.Lock()

    def write(self, kind: str, **what: Any) -> None:
        with self._turn:
            self._stream.write(json.dumps({"at": time.time(), "kind": kind, **what}) + "\n")
            self._stream.flush()

    def close(self) -> None:
        self._stream.close()


@dataclass(slots=True)
class Sent:
    """One operation as its sender knows it.

    Attributes:
        place: its number among the sender's operations, in the order they were made.
        ack: the last acknowledgement that came, None while there is none.
        acks: how many came; the same operation is sent again when an answer was lost.
    """

    who: str
    place: int
    at: float
    op_id: str
    sha256: str
    action: str
    label: str | None
    round: int | None
    ack: dict[str, Any] | None = None
    acks: int = 0

    @property
    def acknowledged(self) -> bool:
        return self.ack is not None and self.ack["error"] is None


@dataclass(slots=True)
class Handing:
    """An image that was put before somebody to be answered; ``asked`` is when the request for it was sent."""

    at: float
    asked: float
    who: str
    sha256: str
    round: int


@dataclass(slots=True)
class Book:
    """All pages read together, as far as they go now."""

    folder: Path
    sent: dict[str, Sent] = field(default_factory=dict)
    handings: list[Handing] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)  # of the server, that were not 200
    twice_made: list[str] = field(default_factory=list)
    _read_to: dict[Path, int] = field(default_factory=dict)

    def page(self, name: str) -> Page:
        return Page(self.folder / f"{name}.jsonl")

    def read(self) -> None:
        """Take in what was written since the last call."""
        for file in sorted(self.folder.glob("*.jsonl")):
            for line in self._lines(file):
                self._take(file.stem, json.loads(line))

    def _lines(self, file: Path) -> Iterator[bytes]:
        start = self._read_to.get(file, 0)
        with file.open("rb") as stream:
            stream.seek(start)
            whole, mark, _ = stream.read().rpartition(b"\n")
        self._read_to[file] = start + len(whole) + len(mark)
        yield from whole.splitlines()

    def _take(self, who: str, said: dict[str, Any]) -> None:
        if said["kind"] == "sent":
            op = said["op"]
            if op["op_id"] in self.sent:
                self.twice_made.append(op["op_id"])
            self.sent[op["op_id"]] = Sent(
                who, said["place"], said["at"], op["op_id"], op["sha256"], op["action"], op["label"], said["round"]
            )
        elif said["kind"] == "ack":
            row = self.sent[said["ack"]["op_id"]]
            row.acks += 1
            # The first acknowledgement without an error is the promise that has to be kept.
            if not row.acknowledged:
                row.ack = said["ack"]
        elif said["kind"] == "handed":
            self.handings += [Handing(said["at"], said["asked"], who, sha, said["round"]) for sha in said["shas"]]
        else:
            self.answers.append({**said, "who": who})
