"""The words of the tool: the values its rooms exchange and every error they raise.

Nothing here touches a disk, a database or a model. A room that needs to tell another something says it with a
value from this file, so that no room has to import its neighbour.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

# --------------------------------------------------------------------------------------------------- vocabulary


class Split(enum.StrEnum):
    """Which part of the workspace an image belongs to; the value is the name in the record."""

    UNLABELLED = "unlabelled"
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    SORTED = "sorted"  # by the model, not by anybody: never trained on unless a setting says so

    @property
    def folder(self) -> str:
        """The folder below ``pools/``, e.g. ``Unlabelled``."""
        return self.value.capitalize()


class Action(enum.StrEnum):
    """What somebody did with an image.

    CONFIRM, CORRECT, SKIP and UNDO come from a reviewer; IMPORT is a label that came with the file (a labelled
    folder, or a file a person dragged into a class folder); SORT is the model's own decision, by `labeler sort`.
    """

    CONFIRM = "confirm"
    CORRECT = "correct"
    SKIP = "skip"
    UNDO = "undo"
    IMPORT = "import"
    SORT = "sort"


#: The annotator in whose name several people's equal answers count.
AGREEMENT = "agreement"

#: The annotator in whose name the model sorts.
MACHINE = "machine"

#: Names that no person may take: they stand for the rule of agreement, for the scripted annotator, for labels that
#: came with the files, and for the model.
RESERVED_NAMES = frozenset({AGREEMENT, MACHINE, "oracle", "files"})


class RoundState(enum.StrEnum):
    """Where a round stands. Only the transitions in :data:`TRANSITIONS` exist."""

    PROPOSED = "PROPOSED"
    REVIEWING = "REVIEWING"
    COMMITTING = "COMMITTING"
    COMMITTED = "COMMITTED"
    TRAINED = "TRAINED"
    EVALUATED = "EVALUATED"
    ABANDONED = "ABANDONED"


TRANSITIONS: Mapping[RoundState, frozenset[RoundState]] = {
    RoundState.PROPOSED: frozenset({RoundState.REVIEWING, RoundState.ABANDONED}),
    RoundState.REVIEWING: frozenset({RoundState.COMMITTING, RoundState.ABANDONED}),
    RoundState.COMMITTING: frozenset({RoundState.COMMITTED}),
    RoundState.COMMITTED: frozenset({RoundState.TRAINED}),
    RoundState.TRAINED: frozenset({RoundState.EVALUATED}),
    RoundState.EVALUATED: frozenset(),
    RoundState.ABANDONED: frozenset(),
}

#: Why an image was chosen that was drawn by lot, to know how good the model is on images nobody picked.
AUDIT = "audit"

OPEN_STATES = (RoundState.PROPOSED, RoundState.REVIEWING)
UNFINISHED_STATES = (*OPEN_STATES, RoundState.COMMITTING, RoundState.COMMITTED, RoundState.TRAINED)


class MoveState(enum.StrEnum):
    """A row of the move journal: intended, or carried out and fsynced."""

    PENDING = "pending"
    DONE = "done"


class SortState(enum.StrEnum):
    """Where a run of `labeler sort` stands.

    PLANNING: what it will sort is being written down; cut off here there has been no run. SORTING and UNDOING are
    carried out in steps, and gone on with after a crash.
    """

    PLANNING = "planning"
    SORTING = "sorting"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"


class Lane(enum.StrEnum):
    """What a queue of the ranking is for.

    MAIN is the order in which images are put before people one by one; GRID holds those the model is fairly sure of,
    for pages of many at once; MISTAKES holds labelled images whose label the model most disputes.
    """

    MAIN = "main"
    GRID = "grid"
    MISTAKES = "mistakes"


class JobState(enum.StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


# ------------------------------------------------------------------------------------------------------- images


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What one full decode of a file tells about it.

    Attributes:
        sha256: hex digest of the file's bytes; the identity of the image everywhere.
        width, height: pixels after the EXIF rotation was applied.
        format: Pillow's name of the content's type, e.g. ``JPEG``; never taken from the file name.
        size: bytes on disk.
        dhash: 64-bit difference hash as 16 hex digits (near-duplicate signature).
    """

    sha256: str
    width: int
    height: int
    format: str
    size: int
    dhash: str


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image as the rooms hand it round: who it is and where its file lies now.

    Attributes:
        id: row number in the record; ties in a ranking break by ``sha256``, never by this.
        sha256: identity.
        path: workspace-relative POSIX path.
        label: class name, or None while unlabelled.
    """

    id: int
    sha256: str
    path: str
    label: str | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True)
class Proposal:
    """One image put before a reviewer, with what the model said of it at that moment.

    ``probability`` is P(first class) for two classes, else P(predicted class); None before a first model exists.
    ``uncertainty`` is 1 - |2p - 1| for two classes, else 1 - (p1 - p2).
    """

    sha256: str
    path: str
    rank: int
    probability: float | None
    uncertainty: float | None
    predicted: str | None
    image_id: int = 0
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """The form fixed by ``labeler round --json``."""
        return {
            "sha256": self.sha256,
            "path": self.path,
            "rank": self.rank,
            "probability": self.probability,
            "uncertainty": self.uncertainty,
            "predicted": self.predicted,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What an annotator says about one proposal, before it is on record.

    Attributes:
        sha256: the image.
        action: CONFIRM, CORRECT, SKIP or UNDO.
        label: class name for CONFIRM and CORRECT, None otherwise.
        op_id: a unique text made by the sender; the same op_id is stored once however often it is sent.
        elapsed_ms: milliseconds the image was on screen, when known.
    """

    sha256: str
    action: Action
    label: str | None
    op_id: str
    elapsed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """A remark about an image; it decides nothing. ``op_id`` as for an :class:`Answer`."""

    sha256: str
    text: str
    op_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of long work: ``done`` of ``total`` (None when unknown), and what is being done."""

    what: str
    done: int
    total: int | None = None


@dataclass(slots=True)
class RoundResult:
    """One round as the shell prints it and the Python API returns it (``labeler round --json``)."""

    round: int
    state: str
    k: int
    strategy: str
    backbone: str
    pool: int
    labelled: int
    proposals: Sequence[Proposal]
    decisions: Mapping[str, int]
    metrics: Mapping[str, Any] | None
    timing: Mapping[str, float]
    model: str | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        return {
            "round": self.round,
            "state": self.state,
            "k": self.k,
            "strategy": self.strategy,
            "backbone": self.backbone,
            "pool": self.pool,
            "labelled": self.labelled,
            "proposals": [p.as_json() for p in self.proposals],
            "decisions": dict(self.decisions),
            "metrics": dict(self.metrics) if self.metrics is not None else None,
            "timing": {name: round(seconds, 4) for name, seconds in self.timing.items()},
            "model": self.model,
            "notes": list(self.notes),
        }


# ------------------------------------------------------------------------------------------------------- errors


class LabelerError(Exception):
    """Something the user can act on: printed as ``labeler: <what> (<remedy>)``, exit code 1."""

    exit_code = 1

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} ({remedy})" if remedy else what)


class WorkspaceError(LabelerError):
    """The folder is no workspace, or cannot be made one."""


class WorkspaceBusy(LabelerError):
    """Another process holds the workspace."""


class SettingError(LabelerError):
    """A setting has an unknown name or a value that does not fit."""


class UnusableImage(LabelerError):
    """A file that cannot become an image of the pool; ``what`` names the file and ``reason`` is the short cause."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}", "replace or remove the file")


class NothingToDo(LabelerError):
    """The pool is empty: exit code 3."""

    exit_code = 3


class RecordError(LabelerError):
    """The record cannot be read, is newer than this program, or holds something it must not."""


class IllegalTransition(RecordError):
    """A round was asked to go from one state to another that does not follow it, or somebody else moved it first."""


class MoveError(LabelerError):
    """A file could not be put where the record wants it; the journal keeps the move pending."""


class DiskRefused(MoveError):
    """The disk is full or read-only: it would refuse the next file, too."""


class VanishedFile(MoveError):
    """The file of an image is neither where it was nor where it was going."""


class WeightsUnavailable(LabelerError):
    """A backbone's weights are not on this machine and could not be fetched."""


class UnknownName(LabelerError):
    """A strategy, backbone, class or model that does not exist."""


class NotTrainable(LabelerError):
    """Too few labels, or labels of one class only."""


class InvalidScores(LabelerError):
    """A model gave NaN or infinity, or an array of the wrong shape, where a score was asked for."""


class TruthError(LabelerError):
    """The oracle's truth cannot be read, or does not know an image it was asked about."""


# ------------------------------------------------------------------------------------------------------- secrets


def without_password(url: str) -> str:
    """The address of a database as it may be shown: in a list of settings, a message or a log."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url))
