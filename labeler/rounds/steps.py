"""The steps of the loop alone: train, evaluate, compare, and a look at the augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labeler.domain import LabelerError, Split
from labeler.record import images
from labeler.retrain.compare import names as contestants
from labeler.rounds import networks, predicting, reporting, tuning, views
from labeler.rounds.learning import Learner


def train(learner: Learner, *, seed: int | None, tensorboard: Path | None) -> dict[str, Any]:
    """Train the model that is set on every label; with ``refresh = finetune`` fine-tune the backbone after it.

    Raises:
        NotTrainable: no label, or labels of one class only.
    """
    material = learner.everything()
    seed = learner.settings.seed if seed is None else seed
    version, model = learner.train(material, seed=seed, tensorboard=tensorboard)
    learner.evaluate(version, model, material=material)
    notes: list[str] = []
    if learner.settings.refresh == "finetune":
        if learner.settings.model != "head":
            raise LabelerError(
                f"a {learner.settings.model} is trained whole and has no backbone to refresh", "leave --refresh out"
            )
        notes.append(tuning.refresh(learner, tensorboard=tensorboard))
    return views.trained(learner.store, notes)


def evaluate(learner: Learner, *, split: Split, report: Path | None, groups: Path | None) -> dict[str, Any]:
    """Metrics of the model in use on a split; an estimate, marked as one, where the split is empty.

    Raises:
        LabelerError: there is no model yet; or a report is asked for and the split has no labelled image.
    """
    if report is not None:
        return reporting.write(learner, report, split=split, groups_csv=groups)
    version, model = predicting.required(learner)
    return {"model": version.name, "metrics": dict(learner.evaluate(version, model, split=split))}


def compare(learner: Learner, chosen: Sequence[str], *, seeds: int, report: Path | None) -> dict[str, Any]:
    """Train models on the same images and test them on the same others.

    Returns:
        ``models`` (a row for each training), ``failures`` ([name, reason]), ``table`` (header and rows for people)
        and ``report``, the page's path or None.

    Raises:
        UnknownName: a model that does not exist. NotTrainable: nothing to train on.
    """
    from labeler.retrain import comparison

    if not chosen:
        raise LabelerError("no model to compare was named", f"choose from {', '.join(contestants())}")
    if report is not None:
        comparison.check(report)
    first = learner.settings.seed
    made = reporting.compare(learner, chosen, range(first, first + seeds))
    page = None
    if report is not None and made.contestants:
        page = str(comparison.write(report, made.contestants, made.failures, learner.settings.classes))
    return {
        "models": reporting.summary(made),
        "failures": [list(failure) for failure in made.failures],
        "table": comparison.table(made.contestants),
        "report": page,
    }


def show_augmentation(learner: Learner, file: Path, *, count: int, seed: int | None) -> dict[str, Any]:
    """Draw augmented views of some photographs, labelled ones first, as one picture.

    Raises:
        LabelerError: there is no photograph, or the file cannot be written.
    """
    from labeler.retrain.augment import Augmentation, contact_sheet
    from labeler.retrain.transfer import squares_of

    settings = learner.settings
    with learner.store.read() as session:
        refs = [ref for split in (Split.TRAIN, Split.UNLABELLED) for ref in images.refs(session, split)]
    refs = sorted(refs, key=lambda ref: (ref.label is None, ref.sha256))[:count]
    if not refs:
        raise LabelerError("there is no photograph to show", "import some: `labeler import FOLDER`")
    size = settings.input_size or learner.configured.input_size
    squares = squares_of(networks.files_of(learner, refs), size, settings)
    sheet = contact_sheet(
        squares,
        [ref.name for ref in refs],
        Augmentation.from_settings(settings),
        settings.seed if seed is None else seed,
        settings.views,
    )
    try:
        sheet.save(file)
    except (OSError, ValueError) as error:
        raise LabelerError(f"{file} cannot be written: {error}", "give a name that ends in .png or .jpg") from None
    return {"file": str(file), "images": len(refs), "views": settings.views}
