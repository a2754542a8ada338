"""Taking things out of a workspace: a model as a file, the labels and predictions as tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labeler.domain import LabelerError, NothingToDo, Split
from labeler.pool.csv_table import write_csv
from labeler.pool.disk import replacing
from labeler.record import labels
from labeler.record.labels import Labelled
from labeler.record.store import Store
from labeler.retrain import export
from labeler.retrain.export_formats import FORMATS
from labeler.rounds import versions
from labeler.rounds.learning import Report
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths

#: Format of labels -> ending of its file.
LABEL_FORMATS: Mapping[str, str] = {"csv": ".csv", "jsonl": ".jsonl", "label-studio": ".json"}
MODEL_FORMATS = tuple(FORMATS)
#: ``path``, ``label`` and ``split`` are what `labeler import` reads.
COLUMNS = (
    "path", "label", "split", "sha256", "annotator", "time", "round", "predicted", "probability", "uncertainty",
    "model", "missing",
)  # fmt: skip


def form_of(out: Path) -> str | None:
    """The format that a file's ending names; None where it names none."""
    endings = {ending: form for form, ending in {**LABEL_FORMATS, **FORMATS}.items() if ending}
    return endings.get(out.suffix.casefold())


# ----------------------------------------------------------------------------------------------------------- models


def export_model(
    store: Store,
    paths: WorkspacePaths,
    settings: Settings,
    out: Path,
    *,
    form: str,
    name: str | None = None,
    force: bool = False,
    progress: Report = None,
) -> dict[str, Any]:
    """Write a model version, by default the one in use, as one file from photograph to probabilities.

    Returns:
        What was written, as JSON-able values; ``agreement`` as in :class:`labeler.retrain.export.Exported`.

    Raises:
        UnknownName: no such version.
        LabelerError: there is no model, a file of it is damaged, something is in the way, or the conversion failed.
    """
    version, model = versions.load(store, paths, name)
    backbone = versions.backbone_of(version, paths, settings)
    file, digest = paths.root / version.path, version.digest
    done = export.export(backbone, file, digest, out, form=form, force=force, progress=progress)
    return {
        "format": form,
        "model": version.name,
        "file": str(done.model),
        "classes_file": str(done.classes),
        "example": str(done.example),
        "classes": list(model.classes),
        "size": done.size,
        "agreement": done.agreement,
        "notes": list(done.notes),
    }


# ----------------------------------------------------------------------------------------------------------- labels


def export_labels(store: Store, classes: Sequence[str], out: Path, *, form: str, force: bool = False) -> dict[str, Any]:
    """Write every label in force: as CSV, as JSON lines, or as tasks that Label Studio imports.

    Args:
        classes: the workspace's; how many there are says what a probability is of.
        form: one of :data:`LABEL_FORMATS`.

    Raises:
        NothingToDo: nothing is labelled.
        LabelerError: the file is there already, or cannot be written.
    """
    out = Path(os.path.abspath(out))
    if os.path.lexists(out) and not force:
        raise LabelerError(f"{out} is there already", "choose another name, or replace it with --force")
    with store.read() as session:
        rows = labels.in_force(session)
    if not rows:
        raise NothingToDo("nothing is labelled yet", "label images first")
    if form == "csv":
        write_csv(out, (_cells(_record(row).values()) for row in rows), header=COLUMNS)
    elif form == "jsonl":
        with replacing(out) as stream:
            stream.writelines(_json(_record(row)) + "\n" for row in rows)
    elif form == "label-studio":
        with replacing(out) as stream:
            stream.write("[\n" + ",\n".join(_json(task(row, classes)) for row in rows) + "\n]\n")
    else:
        raise LabelerError(f"there is no format {form!r} of labels", f"choose from {', '.join(LABEL_FORMATS)}")
    missing = sum(row.missing for row in rows)
    notes = [f"{missing} of the images are missing from the disk; their labels are written all the same"]
    return {"format": form, "file": str(out), "labels": len(rows), "notes": notes if missing else []}


def _record(row: Labelled) -> dict[str, Any]:
    """A label as a row of the CSV or a line of the JSON; keys in the order of :data:`COLUMNS`."""
    return {
        "path": row.path,
        "label": row.label,
        "split": row.split,
        "sha256": row.sha256,
        "annotator": row.annotator,
        "time": row.decided_at.isoformat(timespec="seconds") if row.decided_at is not None else None,
        "round": row.round,
        "predicted": row.predicted,
        "probability": row.probability,
        "uncertainty": row.uncertainty,
        "model": row.model,
        "missing": row.missing,
    }


def task(row: Labelled, classes: Sequence[str]) -> dict[str, Any]:
    """A labelled image as a Label Studio task, for a labelling interface with ``<Image name="image">`` and
    ``<Choices name="choice" toName="image">``.

    The picture is named as Label Studio's local storage wants it, relative to a document root that is the workspace.
    Who decided stands in ``data``: ``completed_by`` would have to be a user that Label Studio knows.
    """
    annotation: dict[str, Any] = {"result": [_choice(row.label)]}
    if row.decided_at is not None:
        annotation["created_at"] = row.decided_at.isoformat(timespec="seconds")
    if row.elapsed_ms is not None:
        annotation["lead_time"] = row.elapsed_ms / 1000
    record = {key: value for key, value in _record(row).items() if key not in ("predicted", "label")}
    data = {"image": f"/data/local-files/?d={quote(row.path)}", **record}
    by_model = row.split == Split.SORTED.value  # then it is nobody's annotation
    built: dict[str, Any] = {"data": data, "annotations": [] if by_model else [annotation]}
    if row.predicted is not None and row.probability is not None:
        two = len(classes) == 2  # then it is the first class's probability
        score = max(row.probability, 1.0 - row.probability) if two else row.probability
        built["predictions"] = [{"model_version": row.model, "result": [_choice(row.predicted)], "score": score}]
    return built


def _choice(label: str) -> dict[str, Any]:
    return {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": [label]}}


# ------------------------------------------------------------------------------------------------------ predictions


def prediction_table(rows: Iterable[Mapping[str, Any]], classes: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The rows of `labeler predict` as a table.

    Args:
        rows: from :func:`labeler.rounds.predicting.predict`.
        classes: in order; each gets a column ``p(<class>)``, so that none can be mistaken for another column.

    Returns:
        Header and cells: path, predicted, probability, uncertainty, one column per class, error. What a file that
        could not be read does not have is empty.
    """
    header = ["path", "predicted", "probability", "uncertainty", *(f"p({name})" for name in classes), "error"]
    table = []
    for row in rows:
        each = row.get("probabilities") or {}
        values = [row.get(name) for name in ("path", "predicted", "probability", "uncertainty")]
        table.append(_cells([*values, *(each.get(name) for name in classes), row.get("error")]))
    return header, table


def write_predictions(out: Path, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    """Write the rows of `labeler predict`: as JSON where the name ends in ``.json``, as CSV otherwise.

    An older file of that name is replaced: a prediction can be made again.

    Raises:
        LabelerError: the file cannot be written.
    """
    out = Path(os.path.abspath(out))
    if out.suffix.casefold() == ".json":
        with replacing(out) as stream:
            stream.write("[\n" + ",\n".join(_json(row) for row in rows) + "\n]\n")
    else:
        header, table = prediction_table(rows, classes)
        write_csv(out, table, header=header)


def _cells(values: Iterable[Any]) -> list[str]:
    return [_cell(value) for value in values]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
