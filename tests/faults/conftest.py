"""A workspace in the middle of its work: labels, a model, a round that waits for answers; made once, copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from labeler import Oracle
from labeler.rounds import Workspace
from tests.hostile.files import encoded, picture
from tests.sharing import once

LABELLED, K = 8, 8


@pytest.fixture(scope="session")
def working_once(tmp_path_factory: pytest.TempPathFactory, built: Path, truth: Path) -> Path:
    """The drawings with one round finished and a second one proposed, in ``w``."""

    def make(folder: Path) -> None:
        shutil.copytree(built, folder / "w")
        with Workspace.open(folder / "w", k=K) as ws:
            assert ws.round(annotator=Oracle.from_folder(truth), seed=1).model is not None
            assert ws.round(seed=1).state == "PROPOSED"

    return once(tmp_path_factory, "working", make) / "w"


@pytest.fixture
def working(working_once: Path, compiled: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies of it, at a folder of your choice; the network that makes vectors is linked, nobody writes to it."""

    def copy(root: Path | None = None) -> Path:
        root = root or tmp_path / "w"
        shutil.copytree(working_once, root, dirs_exist_ok=True)
        (root / "db" / "cache" / "compiled").symlink_to(compiled)
        return root

    return copy


@pytest.fixture(scope="session")
def more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures that no workspace has."""
    folder = tmp_path_factory.mktemp("more")
    for seed in range(20):
        (folder / f"more-{seed:02d}.png").write_bytes(encoded(picture(1000 + seed), "PNG") + bytes(20_000))
    return folder
