"""``labeler simulate``: learning curves on labelled images, through the same engine as a live round."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labeler import console
from labeler.cli_options import (
    AuditOption,
    BackboneOption,
    JsonOption,
    PrecisionOption,
    QuietOption,
    SeedOption,
    WeightsOption,
    WorkspaceOption,
    given_before_the_command,
    share,
)
from labeler.domain import LabelerError, WorkspaceError

if TYPE_CHECKING:
    from labeler.rounds.simulate import Simulation
    from labeler.settings import Settings
    from labeler.workspace import WorkspacePaths


def simulate(
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="A folder for each class, or a CSV of path,label.")],
    k: Annotated[int | None, typer.Option("--k", metavar="N", min=1, help="Images in a round.")] = None,
    rounds: Annotated[int | None, typer.Option(metavar="N", min=1, help="Rounds of each run; default 10.")] = None,
    budget: Annotated[int | None, typer.Option(metavar="N", min=1, help="Labels at which a run ends.")] = None,
    strategies: Annotated[str, typer.Option(metavar="A,B,...", help="What chooses the images.")] = "auto,random",
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Runs of each strategy.")] = 3,
    test: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Images kept apart for testing; default a fifth.")
    ] = None,
    audit: AuditOption = None,
    examples: Annotated[
        int, typer.Option(metavar="N", min=0, help="Labelled images of each class given before the first round.")
    ] = 0,
    classes: Annotated[str | None, typer.Option(metavar="A,B", help="Class names in order.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a page with the curves there.")] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Draw the `random` curve beside the workspace's own on its page.")
    ] = False,
    jobs: Annotated[int, typer.Option(metavar="N", min=0, help="Processes; 0 means one per core.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do finished runs again.")] = False,
    seed: SeedOption = None,
    vectors: Annotated[str | None, typer.Option(metavar="NAME", help="multi-depth or pooled.")] = None,
    backbone: BackboneOption = None,
    weights: WeightsOption = None,
    precision: PrecisionOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learning curves on images whose labels are known; finished runs are kept, so it can be interrupted."""
    from labeler.rounds import simulate as engine
    from labeler.rounds.trial import Plan
    from labeler.settings import check_classes

    given: dict[str, Any] = {"k": k, "seed": seed, "audit": share("--audit", audit)}
    given |= {"vectors": vectors, "backbone": backbone, "weights": weights, "precision": precision}
    paths, settings = _place(workspace, {name: value for name, value in given.items() if value is not None})
    names = [name.strip() for name in strategies.split(",") if name.strip()]
    if not names:
        raise LabelerError("no strategy was named", "give e.g. --strategies auto,random")
    if reference and (paths is None or "random" not in names):
        raise LabelerError("--reference needs a workspace and the strategy random", "add -w DIR, and random")
    if report is not None:
        from labeler.retrain import simulation_report

        simulation_report.check(report)  # now, and not after an hour of simulation
    ordered = check_classes(classes.split(",")) if classes else engine.class_names(truth, [settings.classes])
    end = budget if budget is not None else settings.k * (rounds or 10)
    if budget is not None and rounds is not None:
        end = min(budget, settings.k * rounds)
    plan = Plan(
        strategy="",
        seed=0,
        k=settings.k,
        budget=end + examples * len(ordered),
        test=test or 0,
        audit=settings.audit,
        examples=examples,
    )
    with console.progress(quiet) as progress:
        made = engine.simulate(
            truth,
            classes=ordered,
            settings=settings,
            cache=paths.db / "cache" if paths is not None else user_cache(),
            strategies=list(dict.fromkeys(names)),
            seeds=range(settings.seed, settings.seed + seeds),
            plan=plan,
            jobs=jobs,
            fresh=fresh,
            progress=progress,
        )
    document = _document(made, settings)
    if reference and paths is not None:
        _write_reference(paths, document)
    if report is not None:
        document["report"] = str(simulation_report.write(report, document))
    if json:
        console.print_json(document)
    else:
        _show(document)


def user_cache() -> Path:
    """Where vectors and runs are kept outside any workspace: ``XDG_CACHE_HOME/labeler``, else ``~/.cache/labeler``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labeler"


def _place(workspace: Path | None, given: dict[str, Any]) -> tuple[WorkspacePaths | None, Settings]:
    """The workspace and its settings; outside of one the defaults, unless one was named."""
    from labeler.settings import load
    from labeler.workspace import ENVIRONMENT_NAME, find

    asked = workspace or given_before_the_command()
    try:
        paths = find(asked)
    except WorkspaceError:
        if asked is not None or os.environ.get(ENVIRONMENT_NAME):
            raise
        return None, load(Path()).replace(**given)
    return paths, load(paths.root).replace(**given)


def _document(made: Simulation, settings: Settings) -> dict[str, Any]:
    """The contract's document, and what the curves say together."""
    from dataclasses import asdict

    from labeler.retrain import curves

    rows = [asdict(curve) for curve in made.curves]
    by_strategy: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_strategy.setdefault(row["strategy"], []).append(row)
    return {
        "k": made.plan.k,
        "n_test": made.n_test,
        "images": made.images,
        "classes": list(made.classes),
        "audit": made.plan.audit,
        "examples": made.plan.examples,
        "settings": {name: getattr(settings, name) for name in ("backbone", "vectors", "precision", "head_c")},
        "curves": [{name: value for name, value in row.items() if name != "chosen"} for row in rows],
        "full_supervision": [{"seed": seed, "accuracy": value} for seed, value in made.full.items()],
        "strategies": [
            curves.summary(curves.together(name, of_name, made.full)) for name, of_name in by_strategy.items()
        ],
        "notes": list(made.notes),
    }


def _write_reference(paths: WorkspacePaths, document: dict[str, Any]) -> None:
    from json import dump

    from labeler.pool.disk import replacing

    with replacing(paths.db / "reference.json") as stream:
        dump({name: document[name] for name in ("k", "n_test", "curves", "full_supervision")}, stream)


def _show(document: dict[str, Any]) -> None:
    shown = document["strategies"]
    for note in document["notes"]:
        print(f"left out: {note}".encode("utf-8", "backslashreplace").decode())
    every = shown[0]["labels"]
    marks = sorted({every[round(at * (len(every) - 1) / 7)] for at in range(8)})
    rows = [[each["strategy"], *(_percent(each, mark) for mark in marks)] for each in shown]
    print("Accuracy on the test images, mean over seeds, by labels")  # a table's own title is broken at its width
    console.print_table("", ["strategy", *map(str, marks)], rows)
    heads = ["strategy", "labels to target", "10-90 %", "mean over the curve"]
    ends = [
        [
            each["strategy"],
            each["labels_to_target"] or f"> {each['labels'][-1]}",
            " to ".join(str(end or f"> {each['labels'][-1]}") for end in each["labels_to_target_interval"]),
            f"{100 * each['area']:.2f}",
        ]
        for each in shown
    ]
    print(f"\nTarget: full supervision minus 0.5 points, {100 * shown[0]['target']:.2f} %")
    console.print_table("", heads, ends)
    if "report" in document:
        print(f"Report: {document['report']}")


def _percent(each: dict[str, Any], labels: int) -> str:
    at = each["labels"].index(labels) if labels in each["labels"] else None
    return "-" if at is None else f"{100 * each['mean'][at]:.2f}"
