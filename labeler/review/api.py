"""The JSON endpoints: the batch, the decisions, the images. Gradio has no part in labelling.

All are plain functions, which FastAPI runs on its thread pool: a commit that waits for the disk holds nobody else up.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from labeler.domain import Action, Answer, IllegalTransition, LabelerError, UnknownName, UnusableImage, VanishedFile
from labeler.review import images

if TYPE_CHECKING:
    from labeler.record.jobs import JobView
    from labeler.rounds import Workspace
    from labeler.rounds.views import Batch

_log = logging.getLogger(__name__)

MAX_OPERATIONS = 200
_FOREVER = "private, max-age=31536000, immutable"

OpId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Operation(_Strict):
    """One thing a person did. Sent again under the same ``op_id`` it is stored once."""

    op_id: OpId
    sha256: Sha256
    action: Literal["confirm", "correct", "skip", "undo"]
    label: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    elapsed_ms: Annotated[int, Field(ge=0, le=86_400_000)] | None = None


class Decisions(_Strict):
    """``expected_user`` and ``workspace`` name whom and what the page was showing when the answers were given: after
    another person signed in, or another workspace was served at this address, the answers are not taken."""

    round: int | None
    expected_user: str
    workspace: str
    ops: Annotated[list[Operation], Field(min_length=1, max_length=MAX_OPERATIONS)]


class Acknowledgement(BaseModel):
    """``error`` is None once the operation is on record; ``final`` says that sending it again would not help."""

    op_id: str
    stored: bool = False
    label: str | None = None
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


class BatchView(BaseModel):
    """The open round's batch; ``round`` is None while none waits for answers, ``job`` then says why.

    ``state`` is that of the round under way, also while its answers are being learned from. ``pool`` counts images
    without a label, ``labelled`` those a model may train on.
    """

    user: str
    workspace: str
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


def router(workspace: Workspace) -> APIRouter:
    """The endpoints over one open workspace."""
    routes = APIRouter()
    this = workspace_token(workspace)

    @routes.get("/healthz")
    def healthz(request: Request) -> dict[str, str]:
        """Answers 200 once a read of the record succeeds."""
        workspace.batch(user_of(request))
        return {"status": "ok"}

    @routes.get("/api/batch")
    def batch(request: Request, response: Response) -> BatchView:
        """The open round's images with what has been answered so far."""
        response.headers["cache-control"] = "no-store"
        user = user_of(request)
        return _view(workspace.batch(user), user, this)

    @routes.post("/api/decisions")
    def decisions(request: Request, body: Decisions) -> Acknowledgements:
        """Store what a person did; what is acknowledged without an error survives a power cut."""
        user = user_of(request)
        if body.expected_user != user or body.workspace != this:
            raise HTTPException(409, "these answers belong to another person or workspace")
        return Acknowledgements(acks=_decide(workspace, user, body.ops, body.round))

    @routes.post("/api/round")
    def ask(request: Request) -> WorkView | None:
        """Ask for a round where there is none and none is on its way."""
        return _work(workspace.request_round())

    @routes.get("/image/{image_id}", response_class=Response)
    def image(
        image_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
        v: Annotated[Sha256, Query(description="the image's sha256: the address names the content, not the row")],
        size: Literal["full", "thumb"] = "full",
    ) -> Response:
        """The image as WebP, never larger than the page shows it."""
        try:
            content = images.webp(workspace, image_id, v, size)
        except UnknownName:
            raise HTTPException(404, f"there is no image {image_id}") from None
        except VanishedFile:
            raise HTTPException(410, f"the file of image {image_id} is gone") from None
        except UnusableImage as error:
            raise HTTPException(410, f"image {image_id} cannot be shown: {error.reason}") from None
        return Response(content, media_type="image/webp", headers={"cache-control": _FOREVER})

    return routes


def user_of(request: Request) -> str:
    """The annotator the guard let in."""
    user: str = request.scope["state"]["user"]
    return user


def workspace_token(workspace: Workspace) -> str:
    """A short name for this workspace that tells nothing about where it lies."""
    return hashlib.sha256(str(workspace.paths.root).encode()).hexdigest()[:16]


async def labeler_error(_request: Request, error: Exception) -> JSONResponse:
    """An error of the engine as an answer: 503, since a page may well try again. Its text may name a file: log only."""
    _log.error("%s", error)
    return JSONResponse({"detail": "the workspace cannot answer; the server's log says why"}, status_code=503)


def _decide(workspace: Workspace, user: str, ops: list[Operation], round: int | None) -> list[Acknowledgement]:
    """All in one transaction; when one of them is refused, each on its own so that the others are stored."""
    answers = [Answer(op.sha256, Action(op.action), op.label, op.op_id, op.elapsed_ms) for op in ops]
    try:
        receipts = workspace.decide(user, answers, round=round)
    except LabelerError as error:
        if len(answers) > 1:
            return [ack for op in ops for ack in _decide(workspace, user, [op], round)]
        final = isinstance(error, (UnknownName, IllegalTransition))
        return [Acknowledgement(op_id=ops[0].op_id, error=str(error), final=final)]
    return [Acknowledgement(op_id=r.op_id, stored=r.stored, label=r.label) for r in receipts]


def _view(batch: Batch, user: str, token: str) -> BatchView:
    return BatchView.model_validate({**asdict(batch), "user": user, "workspace": token, "ready": batch.ready})


def _work(job: JobView | None) -> WorkView | None:
    return WorkView.model_validate(asdict(job)) if job is not None else None
