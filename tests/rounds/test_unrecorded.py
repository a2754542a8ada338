"""Files of models that a killed process left: cleared away, and only those."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labeler import Oracle, faults
from labeler.rounds import Workspace, networks, versioning
from labeler.workspace import exclusive

TRAIN = "import sys; from labeler import Workspace\nwith Workspace.open(sys.argv[1]) as ws: ws.train()"


@pytest.fixture(scope="module")
def labelled(built: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labelled") / "w"
    shutil.copytree(built, root)
    with Workspace.open(root, k=8) as opened:
        opened.round(annotator=Oracle.from_folder(truth))
    return root


def names(root: Path) -> set[str]:
    return set(os.listdir(root / "db/models"))


@pytest.mark.parametrize(
    ("point", "kept"),
    [("rank.model_written", 1), ("rank.model_renamed", 1), ("train.saved", 1), ("train.recorded", 2)],
)
def test_what_never_got_on_record_goes_and_the_rest_stays(
    labelled: Path, tmp_path: Path, point: str, kept: int
) -> None:
    root = tmp_path / "w"
    shutil.copytree(labelled, root)
    (root / "db/models/my own notes.npz").touch()
    before = names(root)
    environment = {**os.environ, faults.ENVIRONMENT_NAME: point}
    killed = subprocess.run([sys.executable, "-c", TRAIN, str(root)], env=environment, capture_output=True, check=False)
    assert killed.returncode == faults.EXIT_CODE, killed.stderr
    assert names(root) > before
    with Workspace.open(root) as opened:
        with exclusive(opened.paths, versioning.LOCK):
            opened.resume()
            assert names(root) > before or kept == 2, "somebody is saving a model: left alone"
        opened.resume()
        assert len(names(root) - {"my own notes.npz"}) == kept
        assert names(root) >= before, "what nobody announced is not ours to remove"
        assert opened.verify()["clean"]
        opened.train()
    assert not [name for name in names(root) if name.startswith(".")]


def test_what_a_killed_training_left_goes_unless_one_is_under_way(labelled: Path, tmp_path: Path) -> None:
    root = tmp_path / "w"
    shutil.copytree(labelled, root)
    left = root / "db/cache/training/0123/start.npz"
    left.parent.mkdir(parents=True)
    left.touch()
    with Workspace.open(root) as opened:
        with exclusive(opened.paths, networks.LOCK):
            opened.resume()
            assert left.exists()
        opened.resume()
    assert not left.parent.parent.exists()
