"""Options that commands of every group take, and how a command opens its workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labeler import console

if TYPE_CHECKING:
    from labeler.record.store import Store
    from labeler.rounds import Workspace
    from labeler.settings import Settings
    from labeler.workspace import WorkspacePaths

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("-w", "--workspace", metavar="DIR", help="Workspace; default LABELER_WORKSPACE, else this folder."),
]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="Record to use instead of db/labeler.db.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of everything random.")]
BackboneOption = Annotated[
    str | None, typer.Option("--backbone", metavar="NAME", help="Network that makes the vectors.")
]
WeightsOption = Annotated[str | None, typer.Option("--weights", metavar="NAME|FILE", help="imagenet, none or a file.")]
PrecisionOption = Annotated[str | None, typer.Option("--precision", metavar="NAME", help="float32 or int8.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="KIND", help="What ranks: head, cnn, ann or transfer.")
]
AuditOption = Annotated[
    str | None, typer.Option("--audit", metavar="SHARE", help="Share of each batch drawn by lot, e.g. 10%.")
]
RefreshOption = Annotated[str | None, typer.Option("--refresh", metavar="WHAT", help="auto, head or finetune.")]

_before: dict[str, Path | None] = {}


def remember(workspace: Path | None) -> None:
    """Note the workspace that was named before the command."""
    _before["workspace"] = workspace


def choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """See that an option has one of its values; wrong usage otherwise."""
    if value not in choices:
        raise typer.BadParameter(f"choose from {', '.join(choices)}", param_hint=option)


def share(option: str, text: str | None) -> float | None:
    """``10%`` or ``0.1`` as a number from 0 to 1, None where nothing was given; wrong usage otherwise."""
    if text is None:
        return None
    try:
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise typer.BadParameter("give a share such as 10% or 0.1", param_hint=option)
    return value


def given_before_the_command() -> Path | None:
    """``labeler -w DIR round`` means the same as ``labeler round -w DIR``."""
    return _before.get("workspace")


@contextmanager
def record(workspace: Path | None, database: str | None) -> Iterator[tuple[Store, WorkspacePaths, Settings]]:
    """Record, places and settings of a workspace, for commands that need no engine."""
    from labeler.record.store import Store, sqlite_url
    from labeler.settings import load
    from labeler.workspace import find

    paths = find(workspace or given_before_the_command())
    settings = load(paths.root)
    store = Store(database or settings.database or sqlite_url(paths.database))
    try:
        yield store, paths, settings
    finally:
        store.close()


@contextmanager
def opened(workspace: Path | None, quiet: bool, **overrides: Any) -> Iterator[Workspace]:
    """The workspace of a command with the given settings, progress drawn on stderr."""
    from labeler.heart import give_way
    from labeler.rounds import Workspace

    directory = workspace or given_before_the_command()
    given = {name: value for name, value in overrides.items() if value is not None}
    with console.progress(quiet) as report, Workspace.open(directory, progress=report, **given) as ws:
        give_way(ws.paths)
        yield ws
