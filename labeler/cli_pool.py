"""The commands that finish a pool: the model sorts what it is sure of, and labels it disputes are looked at again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from labeler import console
from labeler.cli_options import DatabaseOption, JsonOption, QuietOption, SeedOption, WorkspaceOption, opened
from labeler.domain import NothingToDo


def sort(
    run: Annotated[int | None, typer.Argument(metavar="RUN", min=1, help="With --undo: which run.")] = None,
    above: Annotated[
        float | None, typer.Option(metavar="P", min=0, max=1, help="Least probability of the predicted class.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sorted; write nothing.")] = False,
    audit: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Images of the run drawn by lot for a person; 0: none.")
    ] = None,
    oracle: Annotated[
        Path | None, typer.Option(metavar="TRUTH", help="Answer the audit from a labelled folder or CSV.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take a whole run back, the newest by default.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Every run, and what its audit says.")] = False,
    seed: SeedOption = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let the model file the images it is sure of into pools/Sorted, by decisions that can be taken back."""
    if undo + status + dry_run > 1:
        raise typer.BadParameter("choose one of --undo, --status and --dry-run")
    if run is not None and not undo:
        raise typer.BadParameter("a run is named with --undo only", param_hint="[RUN]")
    with opened(workspace, quiet, database=database) as ws:
        if status:
            document: dict[str, Any] = {"runs": ws.sort_runs()}
        elif undo:
            document = ws.unsort(run)
        else:
            annotator = None
            if oracle is not None:
                from labeler.oracle import Oracle

                annotator = Oracle(oracle, ws.settings.classes)
            document = ws.sort(above, annotator, audit=audit, seed=seed, dry_run=dry_run)
    if json:
        console.print_json(document)
    elif status:
        _print_runs(document["runs"])
    elif dry_run:
        _print_dry_run(document)
    else:
        print_run(document)
        _print_next(document)


def review_labels(
    top: Annotated[int, typer.Option(metavar="N", min=1, max=200, help="How many at most.")] = 50,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """The labels the model most disputes, and look-alikes that bear different labels."""
    with opened(workspace, quiet, database=database) as ws:
        found = ws.review_labels(top)
    if json:
        console.print_json(found)
        return
    rows = [
        [item["path"], item["label"], item["predicted"], item["label_probability"], item["annotator"]]
        for item in found["disputed"]
    ]
    if rows:
        title = f"Labels that {found['model']} disputes, held out ({len(rows)} of {found['labelled']} labels)"
        console.print_table(title, ["file", "label", "model says", "p(label)", "by"], rows)
        print("Look at them again on the page, under Mistakes.")
    else:
        print(f"The model {found['model']} disputes none of the {found['labelled']} labels.")
    if found["near_duplicates"]:
        alike = [[item["path"], item["label"]] for group in found["near_duplicates"] for item in group]
        console.print_table("\nLook-alikes with different labels", ["file", "label"], alike)


# ---------------------------------------------------------------------------------------------------------- print


def print_run(document: Mapping[str, Any]) -> None:
    """A sorting run in a few lines."""
    said = (
        f"sorting run {document['run']}: {_sorted(document)} at {document['above']:g} or surer, by {document['model']}"
    )
    if document["state"] == "undone":
        kept = document["sorted"] - document["undone"]
        said += f"; taken back: {document['undone']} to the pool, {kept} decided by people since"
    elif document["state"] != "done":
        said += f"; {document['state']}, the next start goes on"
    print(said)
    if document["state"] != "undone":
        _print_expected(document["expected_errors"])
    audit = document["audit"]
    if sum(audit[name] for name in ("right", "wrong", "unsure", "waiting")):
        print(f"  audit     {_audited(audit)}")
    for note in document.get("notes", ()):
        print(f"  note      {note}")


def _print_dry_run(document: Mapping[str, Any]) -> None:
    print(f"{_sorted(document)} would be sorted at {document['above']:g} or surer, by {document['model']}")
    _print_expected(document["expected_errors"])
    for note in document["notes"]:
        print(f"  note      {note}")


def _print_next(document: Mapping[str, Any]) -> None:
    if document["state"] == "done" and document["audit"]["waiting"]:
        print("Next: `labeler serve`, and look through the images drawn by lot, under Check sorted.")


def _print_runs(runs: list[Mapping[str, Any]]) -> None:
    if not runs:
        raise NothingToDo("nothing was sorted yet", "see `labeler sort --dry-run`")
    for run in runs:
        print_run(run)


def _sorted(document: Mapping[str, Any]) -> str:
    each = ", ".join(f"{name} {n}" for name, n in document["by_class"].items())
    return f"{document['sorted']} of {document['pool']} images ({each})"


def _print_expected(expected: Mapping[str, Mapping[str, float]]) -> None:
    for name, words in (("before", "all of the pool"), ("sorted", "those sorted"), ("left", "those left")):
        found = expected[name]
        print(
            f"  errors    {found['expected']:.1f} to expect among {words} ({found['images']}), "
            f"{found['low']:.0f} to {found['high']:.0f} with 90 % certainty"
        )


def _audited(audit: Mapping[str, Any]) -> str:
    answered = audit["right"] + audit["wrong"]
    said = f"{audit['wrong']} of {answered} wrong" if answered else "nothing answered"
    if audit["errors"] is not None:
        low, high = audit["errors"]["low"], audit["errors"]["high"]
        said += f", so {low:.0f} to {high:.0f} of the run with 90 % certainty"
    rest = [f"{audit[name]} {name}" for name in ("unsure", "waiting") if audit[name]]
    return ", ".join([said, *rest])
