"""The JSON endpoints: the batch, the decisions, the images. Gradio has no part in labelling.

All are plain functions, which FastAPI runs on its thread pool: a commit that waits for the disk holds nobody else up.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from labeler.domain import (
    Action,
    Answer,
    Flag,
    IllegalTransition,
    LabelerError,
    UnknownName,
    UnusableImage,
    VanishedFile,
)
from labeler.record import images as on_record
from labeler.review import images
from labeler.review.guard import ADMIN
from labeler.review.metrics import Metrics
from labeler.review.schema import (
    Acknowledgement,
    Acknowledgements,
    AfterRound,
    BatchView,
    Content,
    Decisions,
    ExplanationView,
    Fault,
    ImageId,
    Invalid,
    Operation,
    StatusView,
    WorkView,
    refused_with,
)
from labeler.rounds.batches import Mode

if TYPE_CHECKING:
    from labeler.rounds import Workspace

_log = logging.getLogger(__name__)

_FOREVER = "private, max-age=31536000, immutable"
#: Faults of a request that are told; whoever made more than that has made them all alike.
_MOST_FAULTS = 20
_LATER = "the workspace cannot store this now: try again (the server's log says why)"


_PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}


def router(workspace: Workspace, metrics: Metrics) -> APIRouter:
    """The endpoints over one open workspace; what they do is counted in ``metrics``."""
    routes = APIRouter()
    _labelling(routes, workspace, metrics)
    _looking(routes, workspace)
    return routes


def _labelling(routes: APIRouter, workspace: Workspace, metrics: Metrics) -> None:
    """What a person is handed, and what he sends back."""
    this = workspace_token(workspace)

    @routes.get("/api/batch")
    def batch(
        request: Request, response: Response, mode: Mode = Mode.LABEL, now: bool = False, after: AfterRound = None
    ) -> BatchView:
        """This person's batch with what has been answered so far.

        `now` does not wait for a model under training. `after` asks ahead of time for the batch that follows the
        round the person is still at; it is not ready where that would be chosen from an order soon out of date.
        """
        response.headers["cache-control"] = "no-store"
        user, role = user_of(request), role_of(request)
        with metrics.timed(metrics.handing):
            view = workspace.batch(user, mode.value, now=now, admin=role == ADMIN, after=after)
        return BatchView.model_validate(
            {**asdict(view), "user": user, "role": role, "workspace": this, "ready": view.ready}
        )

    @routes.post("/api/decisions", response_model=Acknowledgements, responses=refused_with(409))
    def decisions(request: Request, body: Decisions) -> Response:
        """Store what a person did; what is acknowledged without an error survives a power cut."""
        user = user_of(request)
        if body.expected_user != user or body.workspace != this:
            raise HTTPException(409, "these answers belong to another person or workspace")
        with metrics.timed(metrics.storing):
            acks = _decide(workspace, user, role_of(request) == ADMIN, body.ops, body.round)
        for ack in acks:
            metrics.answers.labels("refused" if ack.error else "stored" if ack.stored else "repeated").inc()
        # Made here: FastAPI would check once more what is right by construction.
        return Response(Acknowledgements(acks=acks).model_dump_json(), media_type="application/json")


def _looking(routes: APIRouter, workspace: Workspace) -> None:
    """The rest: the state of the work, the reasons, the pictures."""

    @routes.get("/api/status")
    def status(response: Response) -> StatusView:
        """Light enough to ask every few seconds."""
        response.headers["cache-control"] = "no-store"
        return StatusView.model_validate(asdict(workspace.live()))

    @routes.post("/api/round")
    def ask(_request: Request) -> WorkView:
        """Ask for a new ranking, also after a job that failed."""
        return WorkView.model_validate(asdict(workspace.request_round()))

    @routes.get("/api/explain/{image_id}", responses=refused_with(404))
    def explain(response: Response, image_id: ImageId, v: Content) -> ExplanationView:
        """Why an image was chosen; what the model says of it only where people are shown that."""
        response.headers["cache-control"] = "no-store"
        with workspace.store.read() as session:
            found = on_record.shas(session, [image_id]).get(image_id)
        if found != v:
            raise HTTPException(404, f"there is no image {image_id}")
        view = ExplanationView.model_validate(asdict(workspace.explain(image_id)))
        if workspace.settings.suggestion == "hide":
            view.probability = view.uncertainty = view.predicted = None
        return view

    @routes.get("/image/{image_id}", response_class=Response, responses=_PICTURE | refused_with(404, 410))
    def image(image_id: ImageId, v: Content, size: Literal["full", "grid", "thumb"] = "full") -> Response:
        """The image as JPEG, never larger than the page shows it."""
        try:
            content = images.picture(workspace, image_id, v, size)
        except UnknownName:
            raise HTTPException(404, f"there is no image {image_id}") from None
        except VanishedFile:
            raise HTTPException(410, f"the file of image {image_id} is gone") from None
        except UnusableImage as error:
            raise HTTPException(410, f"image {image_id} cannot be shown: {error.reason}") from None
        return Response(content, media_type="image/jpeg", headers={"cache-control": _FOREVER})


def user_of(request: Request) -> str:
    """The annotator the guard let in."""
    user: str = request.scope["state"]["user"]
    return user


def role_of(request: Request) -> str:
    """Admin or annotator; whoever uses the page without accounts owns the workspace."""
    role: str = request.scope["state"]["role"]
    return role


def workspace_token(workspace: Workspace) -> str:
    """A short name for this workspace that tells nothing about where it lies."""
    return hashlib.sha256(str(workspace.paths.root).encode()).hexdigest()[:16]


async def labeler_error(_request: Request, error: Exception) -> JSONResponse:
    """An error of the engine as an answer: 503, since a page may well try again. Its text may name a file: log only."""
    _log.error("%s", error)
    return JSONResponse({"detail": "the workspace cannot answer; the server's log says why"}, status_code=503)


async def invalid(_request: Request, error: Exception) -> JSONResponse:
    """What does not fit the schema: where and why. What was sent is not sent back, which could be ten times as much."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    faults = [
        Fault(type=fault["type"], loc=[_short(part) for part in fault["loc"]], msg=fault["msg"])
        for fault in found[:_MOST_FAULTS]
    ]
    return JSONResponse(Invalid(detail=faults).model_dump(), 422, {"cache-control": "no-store"})


def _short(part: str | int) -> str | int:
    return part[:64] if isinstance(part, str) else part


def _decide(
    workspace: Workspace, user: str, admin: bool, ops: list[Operation], round: int | None
) -> list[Acknowledgement]:
    """All in one transaction; when one of them is refused, each on its own so that the others are stored."""
    flags = [op for op in ops if op.action == "flag"]
    if flags:
        others = [op for op in ops if op.action != "flag"]
        acks = {ack.op_id: ack for ack in _flag(workspace, user, flags)}
        acks |= {ack.op_id: ack for ack in _decide(workspace, user, admin, others, round)} if others else {}
        return [acks[op.op_id] for op in ops]
    answers = [Answer(op.sha256, Action(op.action), op.label, op.op_id, op.elapsed_ms) for op in ops]
    try:
        receipts = workspace.decide(user, answers, round=round, admin=admin)
    except LabelerError as error:
        if len(answers) > 1:
            return [ack for op in ops for ack in _decide(workspace, user, admin, [op], round)]
        return [_refused(ops[0], error)]
    return [Acknowledgement(op_id=r.op_id, stored=r.stored, label=r.label, opinion=r.opinion) for r in receipts]


def _flag(workspace: Workspace, user: str, ops: list[Operation]) -> list[Acknowledgement]:
    try:
        stored = workspace.flag(user, [Flag(op.sha256, op.note, op.op_id) for op in ops])
    except LabelerError as error:
        if len(ops) > 1:
            return [ack for op in ops for ack in _flag(workspace, user, [op])]
        return [_refused(ops[0], error)]
    return [Acknowledgement(op_id=op.op_id, stored=done) for op, done in zip(ops, stored, strict=True)]


def _refused(op: Operation, error: LabelerError) -> Acknowledgement:
    """Why it is not on record; an error of the machine may name a file of it, which only the log is told."""
    final = isinstance(error, (UnknownName, IllegalTransition))
    if not final:
        _log.error("%s", error)
    return Acknowledgement(op_id=op.op_id, error=str(error) if final else _LATER, final=final)
