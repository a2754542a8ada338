"""What an import takes, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

from labeler import workspace
from labeler.rounds import Workspace
from tests.workspaces import CLASSES, draw


def test_a_folder_around_the_workspace_is_imported_without_the_workspace(tmp_path: Path) -> None:
    """`labeler init` and `labeler import . --mode move` in the folder of the photographs."""
    for seed in range(4):
        draw(tmp_path / "drawn", seed, CLASSES[seed % 2])
    paths = workspace.create(tmp_path, CLASSES)
    before = paths.database
    for expected in (4, 0):
        with Workspace.open(tmp_path) as ws:
            result = ws.import_images(tmp_path, into="unlabelled", mode="move")
            assert (result.imported, result.quarantined, result.twins) == (expected, [], [])
            assert ws.verify()["clean"]
    assert before.is_file()
    assert (tmp_path / "labeler.toml").is_file()
    assert sum(1 for _ in (tmp_path / "pools/Unlabelled").iterdir()) == 4
    assert not any((tmp_path / "pools/Quarantine").glob("*"))
