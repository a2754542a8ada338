"""Options that commands of every group take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("-w", "--workspace", metavar="DIR", help="Workspace; default LABELER_WORKSPACE, else this folder."),
]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="Record to use instead of db/labeler.db.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
