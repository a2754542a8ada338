"""Trying the model on an image that is no part of the workspace: bytes in, what the model says of them out."""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from labeler.domain import LabelerError
from labeler.workspace import WorkspacePaths

if TYPE_CHECKING:
    from labeler.rounds import Workspace

MAX_BYTES = 20 * 1024 * 1024
WAIT_S = 10.0  # for the one before; an answer takes a second
_BODY = {"requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}


class TryView(BaseModel):
    """What the model says of an image; ``probabilities`` add up to 1, in the order of the classes."""

    predicted: str
    probabilities: dict[str, float]
    model: str


class Refusal(BaseModel):
    """Why there is no answer: one line, and a word that the page has its own text for."""

    detail: str
    code: str | None = None


class _Refused(Exception):
    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status, self.refusal = status, Refusal(detail=detail, code=code)
        super().__init__(detail)


def router(workspace: Workspace) -> APIRouter:
    """``POST /api/try``: the image's bytes as the body."""
    routes = APIRouter()
    turn = threading.Lock()
    clear_leftovers(workspace.paths)

    refusals: dict[int | str, dict[str, type[BaseModel]]] = {status: {"model": Refusal} for status in (400, 413, 503)}

    @routes.post("/api/try", response_model=TryView, responses=refusals, openapi_extra=_BODY)
    async def try_out(request: Request) -> Response:
        """What the model in use says of an image of at most 20 MiB. Nothing is kept of it."""
        try:
            content = await _body(request)
            said = await run_in_threadpool(_in_turn, workspace, turn, content)
        except _Refused as error:
            return JSONResponse(error.refusal.model_dump(), error.status)
        return JSONResponse(said.model_dump(), headers={"cache-control": "no-store"})

    return routes


def clear_leftovers(paths: WorkspacePaths) -> None:
    """Remove what a killed server left; only the server of a workspace writes there, and there is only one."""
    with contextlib.suppress(OSError):
        for file in _folder(paths).iterdir():
            file.unlink(missing_ok=True)


async def _body(request: Request) -> bytes:
    """The whole body.

    Raises:
        _Refused: 413 larger than :data:`MAX_BYTES`, 400 empty.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_BYTES:
            raise _Refused(413, "tooLarge", f"the image is larger than {MAX_BYTES // 2**20} MiB")
    if not content:
        raise _Refused(400, "empty", "there is no image in the request")
    return bytes(content)


def _in_turn(workspace: Workspace, turn: threading.Lock, content: bytes) -> TryView:
    """One at a time: each loads the network for itself and gives its memory back afterwards.

    Raises:
        _Refused: 400 no image, 503 no model yet or somebody else's image takes too long.
    """
    if not turn.acquire(timeout=WAIT_S):
        raise _Refused(503, "busy", "another image is being looked at: try again in a moment")
    try:
        with _private_file(workspace.paths, content) as file:
            return _predict(workspace, file)
    finally:
        turn.release()
        gc.collect()


def _predict(workspace: Workspace, file: Path) -> TryView:
    try:
        row = workspace.predict([file])[0]
    except LabelerError as error:
        raise _Refused(503, "noModel", error.what) from None
    if row["predicted"] is None:
        raise _Refused(400, "badImage", f"this cannot be read as an image: {row['error']}")
    return TryView(predicted=row["predicted"], probabilities=row["probabilities"], model=row["model"])


@contextlib.contextmanager
def _private_file(paths: WorkspacePaths, content: bytes) -> Iterator[Path]:
    """The bytes as a file that nobody else may read, gone when the block ends; its name tells nothing."""
    folder = _folder(paths)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / secrets.token_hex(16)
    try:
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
            stream.write(content)
        yield file
    except OSError as error:
        raise _Refused(503, "disk", f"the image could not be put aside: {error.strerror}") from None
    finally:
        file.unlink(missing_ok=True)


def _folder(paths: WorkspacePaths) -> Path:
    return paths.thumbnails.parent / "try"
