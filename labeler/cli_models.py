"""``labeler models``: the versions a workspace has had; and ``labeler export``, which takes one, or the labels, out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labeler import console
from labeler.cli_options import DatabaseOption, JsonOption, WorkspaceOption, record

if TYPE_CHECKING:
    from labeler.record.store import Store
    from labeler.rounds.versions import Removed
    from labeler.settings import Settings
    from labeler.workspace import WorkspacePaths

app = typer.Typer(
    help="Every model version: list, show, use (go back to one), remove, prune.",
    rich_markup_mode=None,
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A version, e.g. m0003.")]
AllOption = Annotated[bool, typer.Option("--all", help="Also those whose file was removed.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on success, no progress on stderr.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    all_: AllOption = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the versions when nothing else is asked for."""
    if context.invoked_subcommand is None:
        list_(context, all_, workspace, database, json, quiet)


@app.command("list")
def list_(
    context: typer.Context,
    all_: AllOption = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Every version, oldest first, with its newest figures."""
    from labeler.rounds import version_views

    with _opened(context, workspace, database) as (store, _, _):
        everything = version_views.listed(store, removed=True)
    rows = [row for row in everything if _asked(context, "all_", all_) or row["removed_at"] is None]
    if _asked(context, "json", json):
        console.print_json(rows)
        return
    if not everything:
        print("no model yet: label images of two classes, then run `labeler train`")
        return
    columns = ["name", "kind", "parent", "labels", "accuracy", "made", ""]
    cells = [
        [row["name"], row["kind"], row["parent"], row["labelled"], _accuracy(row), row["created_at"][:16], _mark(row)]
        for row in rows
    ]
    console.print_table("", columns, cells)
    if len(rows) < len(everything):
        print(f"{len(everything) - len(rows)} more were removed: `labeler models list --all`")


@app.command()
def show(
    context: typer.Context,
    name: NameArgument,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Everything about a version: what it learned from, its settings, figures, digest, and its contest."""
    from labeler.rounds import version_views

    with _opened(context, workspace, database) as (store, paths, _):
        found = version_views.details(store, paths, name)
    if _asked(context, "json", json):
        console.print_json(found)
        return
    for title, text in _described(found):
        print(f"{title:<10} {text}")
    if found["accuracy"] is not None:
        console.print_metrics(found["metrics"])


@app.command()
def use(
    context: typer.Context,
    name: NameArgument,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Go back to a version: it proposes and predicts from now on, until somebody labels on."""
    from labeler.rounds import versions

    with _opened(context, workspace, database) as (store, paths, settings):
        done = versions.use(store, paths, settings, name)
    if _asked(context, "json", json):
        console.print_json(done)
    elif not quiet:
        print(f"{done['model']} is in use (before: {done['before'] or 'none'}); a new ranking is asked for.")
        after = f", {done['newer']} of them decided after it," if done["newer"] else ""
        print(
            f"It stays until somebody labels on. The next training then learns from every label in force, now "
            f"{done['labelled']}{after} where {done['model']} learned from {done['learned']}."
        )


@app.command()
def remove(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Versions, e.g. m0001 m0002.")],
    force: Annotated[bool, typer.Option("--force", help="Even if something refers to one; it is said what.")] = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete the files of versions; what is on record about them stays."""
    from labeler.rounds import versions

    with _opened(context, workspace, database) as (store, paths, _):
        _say(context, versions.remove(store, paths, names, force=force), json, quiet)


@app.command()
def prune(
    context: typer.Context,
    keep: Annotated[int | None, typer.Option("--keep", metavar="N", min=1, help="Newest to keep; default 10.")] = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete the files of old versions that nothing needs."""
    from labeler.rounds import versions

    with _opened(context, workspace, database) as (store, paths, _):
        _say(context, versions.prune(store, paths, keep=keep or versions.KEEP), json, quiet)


def export(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; a folder for savedmodel.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="A model as keras, savedmodel, litert or onnx; the labels as csv, jsonl or label-studio. Default: by "
            "the ending of OUT.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Default: the one in use.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take the model out as one file from photograph to probabilities, or the labels as a table."""
    from labeler.rounds import exporting

    chosen = form or exporting.form_of(out)
    if chosen not in (*exporting.MODEL_FORMATS, *exporting.LABEL_FORMATS):
        formats = ", ".join((*exporting.MODEL_FORMATS, *exporting.LABEL_FORMATS))
        raise typer.BadParameter(f"choose from {formats}", param_hint="--format")
    if model is not None and chosen in exporting.LABEL_FORMATS:
        raise typer.BadParameter(f"{chosen} takes the labels out, no model", param_hint="--model")
    with _opened(context, workspace, database) as (store, paths, settings), console.progress(quiet) as report:
        if chosen in exporting.LABEL_FORMATS:
            done = exporting.export_labels(store, settings.classes, out, form=chosen, force=force)
        else:
            done = exporting.export_model(
                store, paths, settings, out, form=chosen, name=model, force=force, progress=report
            )
    if json:
        console.print_json(done)
    elif not quiet:
        _print_export(done)


# ----------------------------------------------------------------------------------------------------- what is shown


def _print_export(done: Mapping[str, Any]) -> None:
    if "labels" in done:
        print(f"{done['labels']} labels written to {done['file']}")
    else:
        print(f"Model {done['model']} written to {done['file']} ({done['size'] / 1e6:.1f} MB)")
        print(f"  classes   {done['classes_file']}")
        print(f"  example   python {done['example']} PHOTO...")
        if done["agreement"] is not None:
            print(f"  tried     differs from this program's own probabilities by {done['agreement']:.0e} at most")
    for note in done["notes"]:
        print(f"  note      {note}")


def _say(context: typer.Context, done: Removed, json: bool, quiet: bool) -> None:
    if _asked(context, "json", json):
        console.print_json({"removed": list(done.names), "freed": done.freed, "notes": list(done.notes)})
    elif not quiet:
        for note in done.notes:
            print(f"note: {note}")
        print(f"{', '.join(done.names) or 'nothing'} removed, {done.freed / 1e6:.1f} MB freed; what is on record stays")


def _accuracy(row: Mapping[str, Any]) -> str | None:
    if row["accuracy"] is None:
        return None
    return f"{'about ' if row['estimated'] else ''}{row['accuracy']:.1%}"


def _mark(row: Mapping[str, Any]) -> str:
    if row["in_use"]:
        return "in use"
    return f"removed {row['removed_at'][:10]}" if row["removed_at"] is not None else ""


def _described(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from labeler.rounds import version_views

    mark = _mark(found)
    yield "model", f"{found['name']}, {found['kind']}{f', {mark}' if mark else ''}"
    yield "made", f"{found['created_at']} with seed {found['seed']}"
    yield "from", " <- ".join(found["ancestors"]) or "no earlier version"
    learned = version_views.ranges(found["decisions"], found["last_decision"])
    yield "learned", f"{found['labelled']} labels: {learned}"
    yield "classes", ", ".join(found["classes"])
    yield "backbone", f"{found['backbone']} ({found['backbone_key']})"
    yield "settings", _pairs(found["settings"])
    yield "file", f"{found['file']}, {found['file_state']}"
    yield "digest", found["digest"]
    for title in ("network", "contest", "history"):
        if found[title] is not None:
            yield title, _pairs(found[title])
    for title, key in (("proposed", "proposed_rounds"), ("made in", "trained_in_rounds")):
        if found[key]:
            yield title, "round " + ", ".join(str(number) for number in found[key])


def _pairs(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items()) or "-"
    return _short(value)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return f"({_pairs(value)})"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_short(item) for item in value)
    return str(value)


# --------------------------------------------------------------------------------------------------- what was asked


@contextmanager
def _opened(
    context: typer.Context, workspace: Path | None, database: str | None
) -> Iterator[tuple[Store, WorkspacePaths, Settings]]:
    """Record, places and settings of the workspace that was named, also before the command."""
    with record(_asked(context, "workspace", workspace), _asked(context, "database", database)) as found:
        yield found


def _asked(context: typer.Context, option: str, given: Any) -> Any:
    """An option of this command, else the same one given before it: ``labeler -w DIR models --json list``."""
    at = context.parent
    while at is not None and not given:
        given = at.params.get(option)
        at = at.parent
    return given
