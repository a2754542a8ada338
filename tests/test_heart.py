"""Commands beside a page at which people label leave them the processor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labeler import heart, workspace
from labeler.workspace import WorkspacePaths

SAYS = """
import os, sys
from pathlib import Path
from labeler.cli_options import opened
with opened(Path(sys.argv[1]), True):
    print(os.nice(0))
"""


@pytest.fixture
def paths(tmp_path: Path) -> WorkspacePaths:
    return workspace.create(tmp_path / "w", ("a", "b"))


def niceness_of_a_command(paths: WorkspacePaths) -> int:
    said = subprocess.run([sys.executable, "-c", SAYS, str(paths.root)], capture_output=True, text=True, check=True)
    return int(said.stdout)


def test_a_command_gives_way_to_people_who_label(paths: WorkspacePaths) -> None:
    before = os.nice(0)
    assert niceness_of_a_command(paths) == before, "nobody is served"
    (paths.db / heart._HEARTBEAT).touch()
    os.utime(paths.db / heart._HEARTBEAT, (time.time() + 300, time.time() + 300))  # alive for as long as this takes
    assert niceness_of_a_command(paths) == max(heart.NICENESS, before)
    os.utime(paths.db / heart._HEARTBEAT, (time.time() - 60, time.time() - 60))
    assert niceness_of_a_command(paths) == before, "that page is closed"


def test_a_heart_beats_once_a_second_at_most(paths: WorkspacePaths) -> None:
    assert heart.heartbeat_s(paths) is None
    beats = heart.Heart(paths)
    beats.beat()
    file = paths.db / heart._HEARTBEAT
    os.utime(file, (1.0, 1.0))
    beats.beat()
    assert file.stat().st_mtime == 1.0
    heart.Heart(paths).beat()
    seen = heart.heartbeat_s(paths)
    assert seen is not None
    assert seen < 60
