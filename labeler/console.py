"""What the shell shows a person: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from labeler.domain import LabelerError, Progress
from labeler.pool.names import shown


def print_json(document: Any) -> None:
    """One JSON document on stdout and nothing else there.

    A file name that is no UTF-8 is written as JSON writes lone surrogates, which :func:`os.fsencode` turns back.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """One line on stdout, whatever is in it: a file name may hold what a terminal obeys."""
    print(shown(line))


def print_error(error: LabelerError) -> None:
    """The one line of an error: ``labeler: <what> (<remedy>)``."""
    line = " ".join(str(error).split())
    sys.stderr.write(f"labeler: {shown(line)}\n")


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A callback that draws progress bars on stderr, one per kind of work; None when it should be quiet.

    Quiet it is where nobody watches, too: to a file or a pipe the bars would leave nothing but an empty line.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Bars(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, Any] = {}

    def report(step: Progress) -> None:
        bars.start()  # only now: a command without long work leaves stderr clean
        if step.what not in tasks:
            tasks[step.what] = bars.add_task(step.what, total=step.total)
        bars.update(tasks[step.what], completed=step.done, total=step.total)

    try:
        yield report
    finally:
        if tasks:
            bars.stop()


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout; the first column to the left, the others to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    Console(markup=False, highlight=False).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else shown(str(value))


def print_round(document: Mapping[str, Any]) -> None:
    """A round for a person: what was proposed and decided, and how good the model is."""
    decisions = document["decisions"]
    print(
        f"Round {document['round']} is {document['state']}: "
        f"{len(document['proposals'])} images by {document['strategy']}"
    )
    print(
        f"  decided   {decisions['confirm']} confirmed, {decisions['correct']} corrected, {decisions['skip']} skipped"
    )
    print(f"  labelled  {document['labelled']}, {document['pool']} left in the pool")
    print_metrics(document["metrics"])
    timing = document["timing"]
    print("  seconds   " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in timing.items()))
    for note in document.get("notes", ()):
        say(f"  note      {note}")
    if document["state"] in ("PROPOSED", "REVIEWING"):
        print("Next: `labeler serve` and label them, or `labeler round --oracle TRUTH`.")


def print_metrics(metrics: Mapping[str, Any] | None) -> None:
    """One line of metrics; an estimate is called one."""
    if metrics is None:
        print("  accuracy  no model yet")
    elif metrics.get("accuracy") is None:
        print("  accuracy  not known: there are no test images, and too little to estimate it from")
    elif metrics.get("estimated"):
        print(f"  accuracy  about {metrics['accuracy']:.1%}{_bounds(metrics)}, estimated (no test images)")
    else:
        rest = ", ".join(
            f"{name.replace('_', ' ')} {metrics[name]:.3f}"
            for name in ("precision", "recall", "f1", "roc_auc", "ece")
            if metrics.get(name) is not None
        )
        print(f"  accuracy  {metrics['accuracy']:.1%} on {metrics['n']} {metrics['split']} images ({rest})")
        if metrics.get("estimate"):
            expected = metrics["estimate"]["accuracy"]
            print(f"  estimate  about {expected:.1%}{_bounds(metrics)}, had there been no test images")


def _bounds(metrics: Mapping[str, Any]) -> str:
    """Between which an estimated accuracy lies, and how many images drawn by lot stand behind it."""
    found = metrics.get("estimate")
    if not found:
        return ""
    audited = f", {found['audited']} audited" if found["audited"] else ""
    return f" ({found['low']:.1%} to {found['high']:.1%} with 90 % certainty{audited})"


def print_demo(result: Mapping[str, Any]) -> None:
    """The demo's learning curve and what to type next."""
    rows = [[r["round"], r["labelled"], r["strategy"], f"{r['accuracy']:.1%}", r["seconds"]] for r in result["rounds"]]
    print_table("Learning curve on the drawn faces", ["round", "labels", "strategy", "test accuracy", "seconds"], rows)
    directory = result["workspace"]
    print(f"\nThe workspace is {directory}. Next, label a round yourself:\n\n  labeler -w {directory} serve\n")
