"""The commands for a bad day: a backup of the record, getting it back, and making it anew from the files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labeler import console
from labeler.cli_options import (
    DatabaseOption,
    JsonOption,
    QuietOption,
    WorkspaceOption,
    given_before_the_command,
    opened,
)

if TYPE_CHECKING:
    from labeler.workspace import WorkspacePaths

_PHOTOGRAPHS = "The photographs are not in it: copy pools/ with a tool of your own, e.g.\n  rsync -a {pools}/ {copy}/"


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to, e.g. labels.zip; made with mode 0600.")],
    with_models: Annotated[bool, typer.Option("--with-models", help="Also the model versions.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a backup of that name.")] = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the record to one file, while people go on labelling; the photographs stay in pools/."""
    with opened(workspace, quiet, database=database) as ws:
        made = ws.backup(file, with_models=with_models, force=force)
        pools = ws.paths.pools
    if json:
        console.print_json(made)
    elif not quiet:
        print(
            f"{made['file']}: {made['images']} images, {made['labelled']} labelled, {made['decisions']} decisions, "
            f"{made['models']['files']} files of models, {max(1, made['bytes'] // 1000):,} kB."
        )
        for note in made["notes"]:
            console.say(f"  note      {note}")
        print(_PHOTOGRAPHS.format(pools=pools, copy="/path/of/the/copy/pools"))


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `labeler backup` wrote.")],
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Put a backup in the place of the record, which is kept; later labels are taken back from the folders."""
    from labeler.rounds import restoring

    with console.progress(quiet) as report:
        document = restoring.restore(_place(workspace), file, database=database, progress=report)
    if json:
        console.print_json(document)
    elif not quiet:
        _print_restored(document)


def rebuild(
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Class names in order, where labeler.toml is lost too.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also when the record can be used; it is kept aside.")] = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a lost record anew from pools/: labels from the folders; what cannot be known is said."""
    from labeler.rounds import rebuilding
    from labeler.settings import check_classes

    given = check_classes(classes.split(",")) if classes is not None else None
    with console.progress(quiet) as report:
        document = rebuilding.rebuild(_place(workspace), classes=given, force=force, database=database, progress=report)
    if json:
        console.print_json(document)
    elif not quiet:
        _print_rebuilt(document)


def _place(workspace: Path | None) -> WorkspacePaths:
    """The workspace of a command that also works where ``db/`` is lost; the current folder only if it looks like one.

    Raises:
        WorkspaceError: no folder was named, and this one has neither db/ nor pools/.
    """
    from labeler.domain import WorkspaceError
    from labeler.workspace import ENVIRONMENT_NAME, WorkspacePaths

    named = workspace or given_before_the_command() or os.environ.get(ENVIRONMENT_NAME)
    paths = WorkspacePaths(Path(os.path.abspath(named or ".")))
    if not named and not paths.db.is_dir() and not paths.pools.is_dir():
        raise WorkspaceError(f"{paths.root} is no workspace: it has no db/ and pools/", "name one with -w DIR")
    return paths


# -------------------------------------------------------------------------------------------------------------- print


def _print_restored(document: Mapping[str, Any]) -> None:
    told = document["backup"]
    when = f" of {told['created_at']}" if told["created_at"] else ""
    print(
        f"The record{when} is back: {document['images']} images, {document['labelled']} labelled, "
        f"{document['missing']} missing."
    )
    later = document["after_backup"]
    print(
        f"From the folders: {later['labels']} labels decided after the backup, {later['unlabelled']} taken back, "
        f"{later['added']} new images. Who decided them, and skips and flags since, only the lost record knew."
    )
    if document["kept"] is not None:
        print(f"The record that was there is in {document['kept']}.")
    for number in document["rounds_given_up"]:
        print(f"  note      round {number} was given up: some of its images have got their label since")
    _print_rest(document)


def _print_rebuilt(document: Mapping[str, Any]) -> None:
    print(f"The record is made anew: {document['images']} images, {document['labels']} labels from the folders.")
    for item in document["quarantined"]:
        console.say(f"  set aside {item['path']}: {item['reason']}")
    if document["kept"] is not None:
        print(f"What was there is in {document['kept']}.")
    print("What no folder tells is lost:")
    for line in document["unknown"]:
        print(f"  - {line}")
    _print_rest(document)


def _print_rest(document: Mapping[str, Any]) -> None:
    for note in document["notes"]:
        console.say(f"  note      {note}")
    if document["clean"]:
        print("Record and disk agree.")
    else:
        print(f"{len(document['differences'])} difference(s) are left: see `labeler verify`.")
