"""A real workspace, a real record, real images; only the ranking is left out: rounds are put on record directly."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image as Pillow
from sqlalchemy import select
from starlette.testclient import TestClient

from labeler import workspace as workspaces
from labeler.record.tables import Image, ProposalRow, Round
from labeler.review import api
from labeler.review.app import create_app, without_gradio
from labeler.rounds import Workspace

Draw = Callable[..., None]


@pytest.fixture(scope="session")
def script_name() -> str:
    """A file name that would run in a page that takes it for markup or for a template."""
    return '"><img src=x onerror=alert(1)>${alert(2)}{{value}}.png'


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Draws a picture that no other seed has."""

    def drawing(file: Path, seed: int, size: tuple[int, int] = (96, 64)) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        Pillow.fromarray(pixels).resize(size, Pillow.Resampling.NEAREST).save(file, format="PNG")

    return drawing


@pytest.fixture(scope="session")
def twelve(tmp_path_factory: pytest.TempPathFactory, draw: Draw, script_name: str) -> Path:
    """A workspace of twelve unlabelled images and no round, to be copied."""
    source, root = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("work")
    for seed in range(11):
        draw(source / f"photo {seed}.png", seed)
    draw(source / script_name, 11)
    workspaces.create(root)
    with Workspace.open(root) as opened:
        assert opened.import_images(source, into="unlabelled").imported == 12
    return root


@pytest.fixture
def workspace(tmp_path: Path, twelve: Path) -> Iterator[Workspace]:
    """A copy of that workspace."""
    shutil.copytree(twelve, tmp_path / "work")
    with Workspace.open(tmp_path / "work") as opened:
        yield opened


@pytest.fixture
def propose(workspace: Workspace) -> Callable[..., int]:
    """Put a round of the first k images of the pool on record; returns its number."""

    def proposing(k: int = 4, *, cold: bool = False) -> int:
        with workspace.store.write() as session:
            query = select(Image).where(Image.split == "unlabelled").order_by(Image.sha256).limit(k)
            pool = list(session.scalars(query))
            number = len(list(session.scalars(select(Round.id)))) + 1
            row = Round(
                number=number,
                state="PROPOSED",
                k=k,
                strategy="cold-start" if cold else "uncertainty",
                seed=0,
                backbone="none",
                backbone_key="none",
                pool=len(pool),
                pool_hash="0" * 64,
                package_version="0",
            )
            session.add(row)
            session.flush()
            for rank, image in enumerate(pool, start=1):
                values = {"round_id": row.id, "image_id": image.id, "rank": rank, "path": image.path}
                if not cold:
                    values |= {"probability": 0.6, "uncertainty": 0.8, "predicted": "withMask", "why": "undecided"}
                session.add(ProposalRow(**values))
            return number

    return proposing


@pytest.fixture
def client(workspace: Workspace) -> TestClient:
    """Asks the endpoints as a browser on this machine would."""
    return TestClient(without_gradio(workspace), base_url="http://127.0.0.1:7860")


@pytest.fixture(scope="session")
def whole(twelve: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FastAPI, Workspace]]:
    """The whole application, Gradio and all, over a workspace that nobody changes."""
    root = tmp_path_factory.mktemp("whole") / "work"
    shutil.copytree(twelve, root)
    with Workspace.open(root) as opened:
        yield create_app(opened), opened


@pytest.fixture
def page(whole: tuple[FastAPI, Workspace]) -> TestClient:
    """Asks the whole application."""
    return TestClient(whole[0], base_url="http://127.0.0.1:7860")


@pytest.fixture
def operation() -> Callable[..., dict[str, Any]]:
    """One operation as the page sends it, under an op_id of its own."""
    numbers = itertools.count(1)

    def made(sha: str, action: str = "confirm", label: str | None = "withMask", **changes: Any) -> dict[str, Any]:
        op = {"op_id": f"operation-{next(numbers):04d}", "sha256": sha, "action": action, "label": label}
        return {**op, "elapsed_ms": 500, **changes}

    return made


@pytest.fixture
def send(client: TestClient, workspace: Workspace) -> Callable[..., Any]:
    """Post operations of a round and return the answer."""

    def sending(round_number: int | None, *ops: dict[str, Any], **changes: Any) -> Any:
        body = {"round": round_number, "expected_user": "local", "workspace": api.workspace_token(workspace)}
        return client.post("/api/decisions", json={**body, "ops": list(ops), **changes})

    return sending
