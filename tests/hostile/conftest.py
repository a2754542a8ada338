"""A workspace with a model, for what is asked about files."""

from __future__ import annotations

from pathlib import Path

import pytest

from labeler import workspace
from labeler.rounds import Workspace
from tests.hostile.files import encoded, picture


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """Nobody writes to it; the network that makes vectors is linked."""
    home = tmp_path_factory.mktemp("trained")
    for number in range(12):
        folder = home / "labelled" / ("withMask", "withoutMask")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encoded(picture(2900 + number), "PNG"))
    root = workspace.create(home / "w").root
    (root / "db" / "cache").mkdir()
    (root / "db" / "cache" / "compiled").symlink_to(compiled)
    with Workspace.open(root) as ws:
        ws.import_images(home / "labelled", into="train")
        ws.train()
    return root
