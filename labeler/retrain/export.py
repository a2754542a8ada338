"""A model version as one file for other programs: from a photograph of any size to class probabilities.

The work is done by a child (:mod:`labeler.retrain.export_formats`), so that TensorFlow's half gigabyte stays out of the
process that labels. Every file is tried on two photographs before it is put in place: a converter that went wrong must
not be found out by a user.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labeler import faults
from labeler.domain import LabelerError, Progress
from labeler.durable import sync_file, sync_folder
from labeler.embed import heavy
from labeler.embed.backbones import INT8, Backbone
from labeler.rank.head import QuickModel
from labeler.retrain import export_examples
from labeler.retrain.export_formats import FORMATS

_SAVED_MODEL = "saved_model.pb"


@dataclass(frozen=True, slots=True)
class Exported:
    """What lies there now.

    Attributes:
        model, classes, example: the file or folder, the list of class names, and the program that shows its use.
        size: bytes of the model.
        agreement: greatest difference of a probability on the photographs it was tried on; None where the format's
            runtime is not installed here.
        notes: what its user should know.
    """

    model: Path
    classes: Path
    example: Path
    size: int
    agreement: float | None
    notes: Sequence[str] = ()


def export(
    backbone: Backbone,
    model_file: Path,
    digest: str,
    out: Path,
    *,
    form: str,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Exported:
    """Write a model version in one of :data:`FORMATS`; what is there is whole or not there.

    An int8 backbone is exported with the float32 arithmetic it was made from: its ranges hold for the square it is
    given, not for the resizing around it.

    Args:
        backbone: the one the model was made for.
        model_file: the version's ``.npz``.
        digest: SHA-256 the file must have.
        out: file, or for a SavedModel folder, to write; without an ending it gets the format's.
        force: replace what is there. A folder is replaced only if it is a SavedModel.
        progress: told before and after.

    Raises:
        LabelerError: something is in the way, the disk refuses, a package is missing, or the conversion failed.
        WeightsUnavailable: the backbone's weights are not here.
    """
    model = QuickModel.load(model_file, digest)  # here, for an early and plain error
    target = _targets(out, form)
    _check_free(target, force)
    what = f"export as {form}"
    if progress:
        progress(Progress(what, 0, 1))
    try:
        with _workshop(target.model) as folder:
            made = folder / f"model{FORMATS[form]}"
            job = {"backbone": dataclasses.asdict(backbone), "model": str(model_file), "digest": digest}
            agreement = _run_child({**job, "format": form, "out": str(made)})
            size = sum(file.stat().st_size for file in ([made] if made.is_file() else made.rglob("*")))
            example = example_of(out, form, backbone.input_size)
            _place(folder, target, made, "\n".join(model.classes) + "\n", example)
    except OSError as error:
        raise LabelerError(f"{out} cannot be written: {error.strerror}", "choose another place") from None
    if progress:
        progress(Progress(what, 1, 1))
    return Exported(target.model, target.classes, target.example, size, agreement, notes(backbone, agreement))


@contextlib.contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """An empty hidden folder beside ``target``; its name is always the same, so that the next export to there clears
    away what a killed one left."""
    folder = target.with_name(f".labeler-export-{target.name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def targets(out: Path, form: str) -> tuple[Path, Path, Path]:
    """Where the model, the class list and the example of an export to ``out`` lie."""
    found = _targets(out, form)
    return found.model, found.classes, found.example


def example_of(out: Path, form: str, side: int) -> str:
    """The text of the example that lies beside an export to ``out``; ``side`` of the square the network sees."""
    model, classes, example = targets(out, form)
    return export_examples.program(
        form, model_file=model.name, classes_file=classes.name, example_file=example.name, side=side
    )


@dataclass(frozen=True, slots=True)
class _Target:
    model: Path
    classes: Path
    example: Path


def _targets(out: Path, form: str) -> _Target:
    if form not in FORMATS:
        raise LabelerError(f"there is no model format {form!r}", f"choose from {', '.join(FORMATS)}")
    ending = FORMATS[form]
    out = Path(os.path.abspath(out))
    if ending and not out.suffix:
        out = out.with_name(out.name + ending)
    if form == "keras" and out.suffix != ending:
        raise LabelerError(f"Keras reads no file named {out.name}", "give it the ending .keras")
    stem = out.name.removesuffix(out.suffix) if ending else out.name
    return _Target(out, out.with_name(f"{stem}.classes.txt"), out.with_name(f"{stem}.example.py"))


def _check_free(target: _Target, force: bool) -> None:
    if not target.model.parent.is_dir():
        raise LabelerError(f"the folder {target.model.parent} does not exist", "make it first")
    there = [file for file in (target.model, target.classes, target.example) if os.path.lexists(file)]
    if there and not force:
        raise LabelerError(f"{there[0]} is there already", "choose another name, or replace it with --force")
    for file in there:
        is_model = file == target.model and (file / _SAVED_MODEL).is_file()
        if file.is_dir() and (file.is_symlink() or not is_model):
            raise LabelerError(f"{file} is a folder and no SavedModel: it is not replaced", "choose another name")


def _place(folder: Path, target: _Target, made: Path, classes: str, example: str) -> None:
    """Put the three in place by renaming, the model last: when it is there, all of it is."""
    for file, text in ((target.classes, classes), (target.example, example)):
        (folder / file.name).write_text(text, encoding="utf-8")
        (folder / file.name).replace(file)
    for file in [made] if made.is_file() else [file for file in made.rglob("*") if file.is_file()]:
        sync_file(file)
    faults.point("export.written")
    if target.model.is_dir():  # a folder cannot be renamed over another
        target.model.rename(folder / "replaced")
    elif made.is_dir() and target.model.exists():
        target.model.unlink()
    made.rename(target.model)
    sync_folder(target.model.parent)


def notes(backbone: Backbone, agreement: float | None) -> list[str]:
    """What the user of an export should know; ``agreement`` as in :class:`Exported`."""
    found = []
    if backbone.precision == INT8:
        found.append(
            "the workspace computes vectors in int8, the exported network in float32: probabilities differ from "
            "`labeler predict`; for a model that agrees train with precision float32"
        )
    if agreement is None:
        found.append("it was not tried: its runtime is not installed here")
    return found


def _run_child(job: Mapping[str, Any]) -> float | None:
    """Have the child write the model; returns how well it agrees."""
    agreement = heavy.run("labeler.retrain.export_formats", job, "the model could not be exported")["agreement"]
    return float(agreement) if agreement is not None else None
