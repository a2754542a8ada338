"""A workspace in the middle of its life, made once per run and copied: what backups and rebuilds are tested on."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from labeler import Oracle, faults
from labeler.domain import Action, Answer, Flag, Proposal
from labeler.record import accounts
from labeler.rounds import Workspace
from tests.sharing import once

PASSWORD = "correct horse"
BROKEN = b"\xff\xd8\xff\xe0 not really"
K = 8


def answers(ws: Workspace, proposals: Sequence[Proposal], truth: Path, prefix: str) -> list[Answer]:
    """What the oracle says of the proposals, under op_ids of ours."""
    said = Oracle.from_folder(truth).answer(proposals, ws.paths.root, ws.settings.classes)
    return [Answer(a.sha256, a.action, a.label, f"{prefix}-{number}") for number, a in enumerate(said)]


def live(root: Path, truth: Path) -> None:
    """A round trained on, another half answered; an account that is signed in, a flag, a file set aside."""
    (root.parent / "broken.jpg").write_bytes(BROKEN)
    with Workspace.open(root, k=K) as ws:
        ws.round(annotator=Oracle.from_folder(truth))
        ws.import_images(root.parent / "broken.jpg")
        with ws.store.write() as session:
            accounts.add(session, "ann", accounts.hash_password(PASSWORD), admin=True)
        with ws.store.write() as session:
            found = accounts.credentials(session, "ann")
            assert found is not None
            assert accounts.begin(session, found, 24)
        proposals = list(ws.round().proposals)
        ws.decide("ann", answers(ws, proposals[:3], truth, "before"), round=2)
        ws.flag("ann", [Flag(proposals[4].sha256, "blurred?", "flag-1")])


@pytest.fixture(scope="session")
def lived_once(tmp_path_factory: pytest.TempPathFactory, built: Path, truth: Path) -> Path:
    def make(folder: Path) -> None:
        shutil.copytree(built, folder / "w")
        live(folder / "w", truth)

    return once(tmp_path_factory, "lived", make) / "w"


@pytest.fixture
def lived(lived_once: Path, tmp_path: Path) -> Callable[[], Path]:
    """Copies of the workspace, as many as a test wants."""
    count = iter(range(1000))

    def copy() -> Path:
        root = tmp_path / f"lived{next(count)}"
        shutil.copytree(lived_once, root)
        return root

    return copy


def labels(root: Path) -> dict[str, str | None]:
    """SHA-256 -> label of every present image, as the record has it."""
    with closing(sqlite3.connect(root / "db/labeler.db")) as raw:
        return dict(raw.execute("SELECT sha256, label FROM image WHERE NOT missing"))


def on_disk(root: Path) -> dict[str, str]:
    """SHA-256 -> class folder (or split) of every file in the pools but those set aside."""
    found: dict[str, str] = {}
    for file in (root / "pools").rglob("*"):
        if file.is_file() and "Quarantine" not in file.parts and not file.name.startswith("."):
            sha = hashlib.sha256(file.read_bytes()).hexdigest()
            assert sha not in found, f"{file} is there twice"
            found[sha] = file.parent.name
    return found


def relabel(ws: Workspace, sha: str, label: str) -> None:
    """A second look at an image."""
    ws.decide("ann", [Answer(sha, Action.CORRECT, label, f"again-{sha[:12]}-{label}")], round=None)


def killed_at(point: str, run: Callable[[], object]) -> None:
    """Run it in a fork of this process that dies at that point, as a power cut would have it."""
    child = os.fork()
    if child == 0:
        faults._armed, faults._left = point, 1
        try:
            run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == faults.EXIT_CODE, f"{point} was not passed"


def temporaries(root: Path) -> list[Path]:
    """What somebody left half-done."""
    return list(root.rglob(".labeler-tmp-*"))
