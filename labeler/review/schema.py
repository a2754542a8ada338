"""What the JSON endpoints take and give; the OpenAPI document is made from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_OPERATIONS = 200

OpId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
AfterRound = Annotated[int | None, Query(ge=1, le=2**31)]
ImageId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
#: An image is asked for by its number and its content together: numbers can be guessed.
Content = Annotated[Sha256, Query(description="the image's sha256: the address names the content, not the row")]
#: PostgreSQL keeps no zero byte in a text.
Note = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]


class Problem(BaseModel):
    """Why a request was refused, in one line."""

    detail: str


class Fault(BaseModel):
    """One thing about a request that does not fit: where it stands, and why."""

    type: str
    loc: list[str | int]
    msg: str


class Invalid(BaseModel):
    """What of a request does not fit what is described here."""

    detail: list[Fault]


def refused_with(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the description of an endpoint: what else it may be refused with."""
    return {status: {"model": Problem} for status in statuses}


#: What any request may be refused with: it broke off, nobody is signed in, it comes from another site, it is too slow
#: or too large or not meant for this server, it does not fit, something failed, the workspace cannot answer now.
REFUSALS: dict[int | str, dict[str, Any]] = {
    **refused_with(400, 401, 403, 408, 413, 421, 500, 503),
    422: {"model": Invalid},
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Operation(_Strict):
    """One thing a person did. Sent again under the same ``op_id`` it is stored once.

    ``flag`` marks the image and decides nothing; ``note`` is what it says, and belongs to a flag only.
    """

    op_id: OpId
    sha256: Sha256
    action: Literal["confirm", "correct", "skip", "undo", "flag"]
    label: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    note: Note = ""
    elapsed_ms: Annotated[int, Field(ge=0, le=86_400_000)] | None = None


class Decisions(_Strict):
    """``round`` is the one the images were handed out in; None for a second look at images that have their label.

    ``expected_user`` and ``workspace`` name whom and what the page was showing when the answers were given: after
    another person signed in, or another workspace was served at this address, the answers are not taken."""

    round: Annotated[int, Field(ge=1, le=2**31)] | None
    expected_user: Annotated[str, StringConstraints(max_length=200)]
    workspace: Annotated[str, StringConstraints(max_length=64)]
    ops: Annotated[list[Operation], Field(min_length=1, max_length=MAX_OPERATIONS)]


class Acknowledgement(BaseModel):
    """``error`` is None once the operation is on record; ``final`` says that sending it again would not help.

    ``stored`` is False when it was on record already. ``opinion``: it is kept as one voice among several, because
    more people are to answer or somebody else has decided the image before; ``label`` is what counts.
    """

    op_id: str
    stored: bool = False
    label: str | None = None
    opinion: bool = False
    error: str | None = None
    final: bool = True


class Acknowledgements(BaseModel):
    acks: list[Acknowledgement]


class ItemView(BaseModel):
    image_id: int
    sha256: str
    rank: int
    probability: float | None
    uncertainty: float | None
    predicted: str | None
    why: str
    action: str | None
    label: str | None
    round: int | None
    flagged: bool


class WorkView(BaseModel):
    """What runs in the background; ``progress`` in [0, 1]."""

    id: int
    kind: str
    state: Literal["queued", "running", "done", "failed"]
    progress: float
    message: str


class SummaryView(BaseModel):
    """The last round that is over; ``decisions`` counts confirm, correct and skip."""

    number: int
    labelled: int
    decisions: dict[str, int]
    metrics: dict[str, Any] | None


class StatusView(BaseModel):
    """What changes behind a person's back. ``ranking`` is another number whenever a new order of the pool is in;
    ``pending`` counts files that wait to be moved."""

    job: WorkView | None
    pool: int
    labelled: int
    model: str | None
    ranking: int
    pending: int


class NeighbourView(BaseModel):
    image_id: int
    sha256: str
    label: str
    similarity: float


class ExplanationView(BaseModel):
    """Why an image was chosen; ``neighbours`` are the labelled images most like it, by the cosine of their vectors."""

    image_id: int
    probability: float | None
    uncertainty: float | None
    predicted: str | None
    why: str
    strategy: str
    neighbours: list[NeighbourView]


class BatchView(BaseModel):
    """What this person has before him, leased for ``lease_s`` seconds from the last sign of life.

    ``round`` is None where nothing is handed out (``wait`` and ``job`` then say why), and for a second look. ``pool``
    counts images without a label, ``labelled`` those a model may train on. ``history`` holds the person's last
    decisions that count, newest first. ``accounts``: people sign in here. ``suggestion``: show what the model
    suggests; otherwise the items do not tell. ``to_check`` counts the images drawn by lot from what the model sorted
    that nobody has looked at (mode "sorted").
    """

    user: str
    role: str
    workspace: str
    mode: str
    accounts: bool
    wait: Literal["model"] | None
    suggestion: bool
    explain: bool
    overlap: int
    lease_s: int
    to_check: int
    history: list[ItemView]
    round: int | None
    state: str | None
    k: int
    strategy: str
    pool: int
    labelled: int
    classes: list[str]
    items: list[ItemView]
    model: str | None
    job: WorkView | None
    previous: SummaryView | None
    ready: bool
