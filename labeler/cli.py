"""The command line: parse, one call, exit code. Heavy imports wait until a command needs them."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from labeler import cli_models, cli_pool, cli_record, cli_simulate, cli_training, cli_users, console
from labeler.cli_options import (
    AuditOption,
    BackboneOption,
    DatabaseOption,
    JsonOption,
    ModelOption,
    PrecisionOption,
    QuietOption,
    RefreshOption,
    SeedOption,
    WeightsOption,
    WorkspaceOption,
    choice,
    given_before_the_command,
    opened,
    remember,
    share,
)
from labeler.domain import LabelerError
from labeler.pool.names import shown
from labeler.version import __version__

# Before numpy is imported: the ranking's matrices are small, and threads that wait for each other on busy cores made
# a round take 12 s instead of 3. Decoding and the network have threads of their own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

INTERRUPTED = 130
DEBUG = "LABELER_DEBUG"


class _Commands(TyperGroup):
    """Turns what went wrong into one line and an exit code, so that nobody is shown a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # Typer's own name of the same class
        try:
            return super().invoke(ctx)
        except LabelerError as error:
            console.print_error(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            sys.stderr.write("labeler: interrupted; everything decided is kept\n")
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except (OSError, MemoryError) as error:
            console.print_error(_of_the_system(error))
            raise typer.Exit(1) from None
        except Exception as error:
            if os.environ.get(DEBUG) or type(error).__module__.startswith("typer"):
                raise
            what = f"unexpected {type(error).__name__}: {error}"
            console.print_error(LabelerError(what, f"this is a bug; {DEBUG}=1 shows where, please report it"))
            raise typer.Exit(1) from None


_REMEDIES = {
    errno.ENOSPC: "free some space, then run the command again",
    errno.EDQUOT: "free some space, then run the command again",
    errno.EFBIG: "raise the limit of file sizes, then run the command again",
    errno.EROFS: "make the disk writable, then run the command again",
    errno.EACCES: "give yourself access to it, then run the command again",
    errno.EPERM: "give yourself access to it, then run the command again",
    errno.EMFILE: "raise the limit of open files, e.g. `ulimit -n 4096`",
    errno.EIO: "look at the disk, then run the command again",
}


def _of_the_system(error: OSError | MemoryError) -> LabelerError:
    """What the operating system refused, as an error that names the file."""
    if os.environ.get(DEBUG):
        raise error
    if isinstance(error, MemoryError):
        return LabelerError("there is not enough memory", "stop other programs, or set LABELER_THREADS=1")
    where = f"{shown(os.fsdecode(error.filename))}: " if isinstance(error.filename, (str, bytes)) else ""
    remedy = _REMEDIES.get(error.errno or 0, f"{DEBUG}=1 shows where")
    return LabelerError(f"{where}{error.strerror or error}", f"{remedy}; what is recorded is kept")


app = typer.Typer(
    name="labeler",
    cls=_Commands,
    help="Unlabelled photographs in, a trained image classifier out, with as few human labels as possible.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"labeler {__version__}")
        raise typer.Exit


@app.callback()
def root(
    workspace: WorkspaceOption = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    remember(workspace)


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path(),
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Class names in order, for two P(first) is kept.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a workspace: db/, pools/ and labeler.toml."""
    from labeler import workspace
    from labeler.settings import check_classes, load

    paths = workspace.create(directory, check_classes(classes.split(",")) if classes is not None else None)
    names = load(paths.root, environment={}).classes
    if json:
        console.print_json({"workspace": str(paths.root), "classes": list(names)})
    elif not quiet:
        print(f"Workspace {paths.root} for {', '.join(names)}.")
        print(f"Next: `labeler -w {directory} import FOLDER` takes your photographs in.")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A file, folder, labelled tree or CSV of path,label.")],
    into: Annotated[str, typer.Option(metavar="SPLIT", help="unlabelled, train, validation, test or auto.")] = "auto",
    mode: Annotated[str, typer.Option(metavar="HOW", help="copy, move or link.")] = "copy",
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take images in; what cannot be used is set aside with a reason."""
    choice("--into", into, ("unlabelled", "train", "validation", "test", "auto"))
    if mode not in ("copy", "move", "link"):
        raise typer.BadParameter("choose from copy, move, link", param_hint="--mode")
    with opened(workspace, quiet, database=database) as ws:
        result = ws.import_images(source, into=into, mode=mode)  # type: ignore[arg-type]  # checked above
    if json:
        console.print_json(result.as_json())
        return
    for item in result.quarantined:
        console.say(f"set aside: {item['path']}: {item['reason']}")
    print(
        f"{result.imported} imported ({result.labelled} with a label), {len(result.twins)} duplicates, "
        f"{result.near_duplicates} near-duplicates, {len(result.quarantined)} set aside."
    )


@app.command()
def round(
    k: Annotated[int | None, typer.Option("--k", metavar="N", min=1, help="Images to propose.")] = None,
    strategy: Annotated[str | None, typer.Option(metavar="NAME", help="How to choose them.")] = None,
    audit: AuditOption = None,
    oracle: Annotated[Path | None, typer.Option(metavar="TRUTH", help="Answer from a labelled folder or CSV.")] = None,
    oracle_noise: Annotated[float, typer.Option(metavar="SHARE", help="Share of wrong answers.")] = 0.0,
    oracle_skip: Annotated[float, typer.Option(metavar="SHARE", help="Share of skipped images.")] = 0.0,
    seed: SeedOption = None,
    model: ModelOption = None,
    refresh: RefreshOption = None,
    backbone: BackboneOption = None,
    weights: WeightsOption = None,
    precision: PrecisionOption = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Resume the open round or propose one; with an oracle also answer, commit, retrain and evaluate it."""
    from labeler.oracle import Oracle

    chosen = {"backbone": backbone, "weights": weights, "precision": precision, "database": database, "model": model}
    with opened(workspace, quiet, audit=share("--audit", audit), **chosen) as ws:
        annotator = None
        if oracle is not None:
            seeded = ws.settings.seed if seed is None else seed
            classes = ws.settings.classes
            annotator = Oracle(oracle, classes, noise=oracle_noise, skip_rate=oracle_skip, seed=seeded)
        result = ws.round(k, annotator, strategy=strategy, seed=seed, refresh=refresh).as_json()
    if json:
        console.print_json(result)
    else:
        console.print_round(result)


@app.command()
def undo(
    count: Annotated[int, typer.Argument(metavar="[N]", min=1, help="How many decisions to take back.")] = 1,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take back the newest decisions; their files move back."""
    with opened(workspace, quiet, database=database) as ws:
        taken_back = ws.undo(count)
    if json:
        console.print_json({"undone": taken_back})
        return
    for item in taken_back:
        print(f"{item['sha256'][:12]}: {item['label'] or item['action']} taken back, now {item['now'] or 'unlabelled'}")


@app.command()
def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Heal what is certain; touch nothing else.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every file again: finds what a failing disk changed.")
    ] = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare the record with the files, both ways."""
    from labeler.rounds.verification import tidy

    with opened(workspace, quiet, database=database) as ws:
        report = ws.verify(repair=repair, deep=deep)
    if json:
        console.print_json(report)
    else:
        for item in report["differences"]:
            console.say(f"{item['kind']}: {item['path']}: {item['detail']}")
        for note in report["notes"]:
            console.say(f"note: {note}")
        print(tidy(report))
    if not report["clean"]:
        if json:
            raise typer.Exit(1)
        left = len(report["differences"])
        raise LabelerError(
            f"{left} difference(s) between record and disk", "" if repair else "run `labeler verify --repair`"
        )


@app.command()
def status(
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """What is where: images by split and class, the round under way, the model in use."""
    with opened(workspace, quiet, database=database) as ws:
        report = ws.status()
    if json:
        console.print_json(report)
        return
    rows = [[split, label or "-", n] for split, labels in report["counts"].items() for label, n in labels.items()]
    console.print_table("", ["split", "class", "images"], rows)
    under_way = report["round"]
    if under_way is None:
        print("no round is open")
    else:
        waiting = f"{under_way['undecided']} of {under_way['k']} to decide"
        print(f"round {under_way['round']} is {under_way['state']}: {waiting}")
    model = report["model"]
    print(f"model {model['name']}, {model['labelled']} labels, {model['backbone']}" if model else "no model yet")
    console.print_metrics(model["metrics"] if model else None)
    print(f"  advice    {report['stopping']['sentence']}")
    if report["sort"] is not None:
        cli_pool.print_run(report["sort"])
    print(
        f"{report['quarantined']} set aside, {report['missing']} missing, {report['near_duplicates']} near-duplicates"
    )


@app.command()
def settings(workspace: WorkspaceOption = None, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Every setting: its value here, its default, its environment variable."""
    from labeler import settings as table
    from labeler.domain import WorkspaceError
    from labeler.workspace import find

    try:
        values = table.load(find(workspace or given_before_the_command()).root)
    except WorkspaceError:
        values = table.load(Path())
    rows = table.rows(values)
    if json:
        console.print_json(rows)
        return
    for row in rows:
        changed = "" if row["value"] == row["default"] else f" (default {row['default']})"
        print(f"{row['name']} = {row['value']}{changed}\n    {row['help']}; {row['environment']}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 picks a free one.")] = None,
    k: Annotated[int | None, typer.Option("--k", metavar="N", min=1, help="Images in a round.")] = None,
    strategy: Annotated[str | None, typer.Option(metavar="NAME", help="How to choose them.")] = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    quiet: QuietOption = False,
) -> None:
    """Serve the review page; a worker process retrains while people label."""
    from labeler.review import server
    from labeler.settings import load
    from labeler.workspace import find

    paths = find(workspace or given_before_the_command())
    given = {"host": host, "port": port, "k": k, "strategy": strategy, "database": database}
    overrides = {name: value for name, value in given.items() if value is not None}
    values = load(paths.root).replace(**overrides)
    server.serve(paths, host=values.host, port=values.port, settings_overrides=overrides)


app.command()(cli_training.train)
app.command()(cli_training.evaluate)
app.command()(cli_training.compare)
app.command()(cli_training.predict)
app.command()(cli_simulate.simulate)
app.add_typer(cli_users.app, name="users")
app.add_typer(cli_models.app, name="models")
app.command()(cli_models.export)
app.command()(cli_pool.sort)
app.command("review-labels")(cli_pool.review_labels)
app.command()(cli_record.backup)
app.command()(cli_record.restore)
app.command()(cli_record.rebuild)


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path("labeler-demo"),
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the drawings and the rounds.")] = 0,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw a pool of faces, run three rounds with an oracle and print the learning curve."""
    from labeler.demonstration import run

    with console.progress(quiet) as report:
        result = run(directory, seed=seed, progress=report)
    if json:
        console.print_json(result)
    else:
        console.print_demo(result)


def main() -> None:
    """The entry point of the ``labeler`` command."""
    app()
