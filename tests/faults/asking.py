"""Commands and workspaces as the tests of faults use them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from typer.testing import CliRunner

from labeler import Oracle, cli
from labeler.domain import Answer, LabelerError
from labeler.record import images
from labeler.rounds import Workspace
from tests.checks import assert_sound
from tests.faults.breaking import said
from tests.workspaces import CLASSES, POOL, TEST

ALL = POOL + TEST
Working = Callable[..., Path]


def command(*arguments: object) -> tuple[int, str, str]:
    """A command in this process; what it raised, if it raised, is part of what it said."""
    done = CliRunner().invoke(cli.app, [*map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def opened(root: Path) -> Workspace:
    return Workspace.open(root, k=8)


def labels(root: Path) -> dict[str, str]:
    """What the record says: SHA-256 -> label of every image that a person labelled."""
    with opened(root) as ws, ws.store.read() as session:
        return {row.sha256: row.label for row in images.every(session) if row.split == "train" and row.label}


@contextlib.contextmanager
def failing(problems: list[str]) -> Iterator[None]:
    """Whatever goes wrong inside is an error for people; it is noted."""
    try:
        yield
    except LabelerError as error:
        said(error)
        problems.append(str(error))


def assert_heals(root: Path, expected: int) -> None:
    """`verify --repair` and a start leave nothing to complain of."""
    code, out, _ = command("verify", "--repair", "-w", root, "-q")
    assert code == 0, out
    with opened(root) as ws:
        ws.resume()
        assert_sound(ws, expected)


def proposed_answers(ws: Workspace, truth: Path) -> list[Answer]:
    return list(Oracle.from_folder(truth).answer(ws.round().proposals, ws.paths.root, CLASSES))
