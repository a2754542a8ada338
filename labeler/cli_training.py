"""The commands that train, measure, compare and ask models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from labeler import console
from labeler.cli_options import (
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
    opened,
)
from labeler.domain import LabelerError

SHOWN = 6  # photographs on the contact sheet
NAMED = 4  # classes whose names fit side by side above a table in a terminal; more go by number


def train(
    model: ModelOption = None,
    refresh: RefreshOption = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the training's event files there.")
    ] = None,
    show_augmentation: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw augmented views of some photographs; train nothing.")
    ] = None,
    seed: SeedOption = None,
    backbone: BackboneOption = None,
    weights: WeightsOption = None,
    precision: PrecisionOption = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train the model that is set on every label there is; it becomes the one in use."""
    chosen: dict[str, Any] = {"backbone": backbone, "weights": weights, "precision": precision, "database": database}
    with opened(workspace, quiet, model=model, refresh=refresh, **chosen) as ws:
        if show_augmentation is not None:
            shown = ws.show_augmentation(show_augmentation, count=SHOWN, seed=seed)
            if json:
                console.print_json(shown)
            else:
                print(f"{shown['views']} views of {shown['images']} photographs in {shown['file']}")
            return
        result = ws.train(seed=seed, tensorboard=tensorboard)
    if json:
        console.print_json(result)
        return
    print(f"Model {result['model']} ({result['kind']}) trained on {result['labelled']} labels.")
    for note in result["notes"]:
        print(note)
    console.print_metrics(result["metrics"])


def evaluate(
    split: Annotated[str, typer.Option(metavar="SPLIT", help="test, validation or train.")] = "test",
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a page with figures there.")] = None,
    groups: Annotated[
        Path | None, typer.Option(metavar="CSV", help="path,group: the report shows the hard groups.")
    ] = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure the model in use on labelled images, or estimate where there are none."""
    choice("--split", split, ("test", "validation", "train"))
    with opened(workspace, quiet, database=database) as ws:
        result = ws.evaluate(split=split, report=report, groups=groups)
    if json:
        console.print_json(result)
        return
    print(f"Model {result['model']}")
    console.print_metrics(result["metrics"])
    confusion = result["metrics"].get("confusion")
    if confusion:
        console.print_table("", *_confusion(ws.settings.classes, confusion))
    if report is not None:
        print(f"Report: {result['report']}")


def _confusion(classes: Sequence[str], table: Sequence[Sequence[int]]) -> tuple[list[str], list[list[Any]]]:
    """Heads and rows: the truth down, what was predicted across."""
    numbered = [f"{number} {name}" for number, name in enumerate(classes, start=1)]
    few = len(classes) <= NAMED
    heads = list(classes) if few else [str(number) for number in range(1, len(classes) + 1)]
    rows = [[name, *row] for name, row in zip(classes if few else numbered, table, strict=True)]
    return ["truth \\ predicted", *heads], rows


def compare(
    backbones: Annotated[str, typer.Option(metavar="A,B,...", help="Backbones, and head, cnn, ann.")],
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Trainings of each, for the error bars.")] = 3,
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", min=0, help="Side of what they see; 0: what suits each.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the page with the figures there.")] = None,
    weights: WeightsOption = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train each model on the same images, test it on the same others: one table, and the plots."""
    names = [name.strip() for name in backbones.split(",") if name.strip()]
    with opened(workspace, quiet, database=database, weights=weights, input_size=size) as ws:
        result = ws.compare(names, seeds=seeds, report=report)
    if json:
        console.print_json({key: value for key, value in result.items() if key != "table"})
    else:
        console.print_table("", *result["table"])
        if report is not None:
            print(f"Report: {result['report']}")
    for name, reason in result["failures"]:
        console.print_error(LabelerError(f"{name} was left out: {reason}"))
    if not result["models"]:
        raise typer.Exit(1)


def predict(
    files: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Image files or folders of them.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rows there: as JSON if it ends in .json, else CSV.")
    ] = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what the model in use makes of any image files."""
    with opened(workspace, quiet, database=database) as ws:
        rows = ws.predict(files, out=out)
    if json:
        console.print_json(rows)
    elif out is not None:
        print(f"{len(rows)} rows in {out}")
    else:
        shown = [[r["path"], r["predicted"] or r["error"], r["probability"]] for r in rows]
        console.print_table("", ["file", "predicted", "probability"], shown)
    if rows and all(row["predicted"] is None for row in rows):
        raise LabelerError("none of the files could be read", "give image files")
