"""Refreshing the backbone: when it is tried, the contest with the model in use, and the change of places.

The rule of ``refresh = auto``. Fine-tuning takes a minute or more, and with few labels it has never gained anything,
so it is tried when all of this holds:

- 200 labels or more;
- half as many again as at the last try, won or lost;
- the model in use expects to be wrong on 2 % of the images or more: below that there is nothing to gain.

What is trained is a challenger. It takes over when the contest says that it is better on images that neither has
learned from: those of ``pools/Validation`` where there are enough, else the labelled ones, each judged by networks
and heads that were trained without it. A challenger that loses stays as a version of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler import faults
from labeler.domain import JobState, NotTrainable, Split
from labeler.rank.calibration import foldable
from labeler.rank.features import FeatureMap
from labeler.rank.head import QuickModel
from labeler.rank.readout import Readout, average, fitted_temperature
from labeler.record import jobs, models
from labeler.record.tables import ModelVersion, Round
from labeler.retrain import apart, contest
from labeler.rounds import networks, versioning
from labeler.rounds.handout import FINETUNE_JOB
from labeler.rounds.learning import Learner, Material
from labeler.rounds.networks import FINETUNE
from labeler.rounds.order import Timing
from labeler.rounds.version_files import CONTEST, HISTORY, NETWORK

LEAST_LABELS = 200
LABELS_APART = 1.5
LEAST_ERROR = 0.02
#: Validation images from which on they decide alone.
LEAST_VALIDATION = 100

Float64 = npt.NDArray[np.float64]


def due(learner: Learner) -> str | None:
    """Why the backbone should be refreshed now; None when it should not.

    Cheap: reads the record and nothing else.
    """
    settings = learner.settings
    if settings.refresh == "head" or settings.model != "head":
        return None
    with learner.store.read() as session:
        version = models.in_use(session)
        if version is None:
            return None
        tried = models.newest_of_kind(session, FINETUNE)
    if tried is not None and tried.last_decision_id >= version.last_decision_id:
        return None if _overruled(version, tried) else _unfinished(tried)
    if settings.refresh == "finetune":
        return "asked for"
    before = tried.labelled if tried is not None else 0
    if version.labelled < max(LEAST_LABELS, LABELS_APART * before):
        return None
    with learner.store.read() as session:  # a large row: read only where it decides
        error = expected_error(models.latest_metrics(session, version.id))
    if error is None or error < LEAST_ERROR:
        return None
    return f"{version.labelled} labels, {before} at the last try, {100 * error:.1f} % errors expected"


def _unfinished(tried: ModelVersion) -> str | None:
    """A challenger that won but has not taken over yet: its process was killed in between."""
    return "it won and has not taken over yet" if _waits(tried) else None


def _waits(tried: ModelVersion) -> bool:
    said = tried.settings.get(CONTEST) or {}
    return bool(said.get("won")) and not said.get("adopted") and tried.removed_at is None


def _overruled(current: ModelVersion, challenger: ModelVersion) -> bool:
    """Whether a person chose another model than the one that was beaten, after the challenger was made."""
    said = challenger.settings.get(CONTEST) or {}
    chosen = int(current.settings.get(models.CHOSEN_AT, -1))
    return chosen >= challenger.last_decision_id and current.name != said.get("champion_model")


def expected_error(metrics: Mapping[str, Any] | None) -> float | None:
    """The share of pool images the model in use expects to file wrongly, from its newest evaluation."""
    pool = (metrics or {}).get("pool") or {}
    if pool.get("pool"):
        return float(pool["expected_errors"]) / float(pool["pool"])
    accuracy = (metrics or {}).get("accuracy")
    return 1.0 - float(accuracy) if accuracy is not None else None


def after_round(learner: Learner, round_id: int) -> list[str]:
    """What a scripted round does at its end: refresh the backbone where that is due; returns lines for people."""
    learner.look_again()
    if due(learner) is None:
        return []
    timing = Timing()
    try:
        with timing.step("finetune"):
            said = refresh(learner, round_id)
    except NotTrainable as error:
        return [str(error)]
    with learner.store.write() as session:
        row = session.get_one(Round, round_id)
        row.timing = timing.added_to(row.timing)
    return [said]


def ask_if_due(learner: Learner) -> None:
    """Ask the worker's second process for it where it is due; one that failed is not asked for at every turn."""
    reason = due(learner)
    if reason is None:
        return
    with learner.store.write() as session:
        version, last = models.in_use(session), jobs.last(session, FINETUNE_JOB)
        labelled = version.labelled if version is not None else 0
        failed = last is not None and last.state == JobState.FAILED.value
        if failed and last is not None and labelled < LABELS_APART * int(last.payload.get("labelled", 0)):
            return
        if not jobs.any_running(session, FINETUNE_JOB):
            jobs.queue(session, FINETUNE_JOB, {"labelled": labelled, "reason": reason})


def refresh(learner: Learner, round_id: int | None = None, tensorboard: Path | None = None) -> str:
    """Train a challenger, hold the contest, and let it take over if it won; returns a line for people.

    Args:
        round_id: the round whose figures the new model's evaluation is.
        tensorboard: folder for the event files of the training.

    Raises:
        NotTrainable: there is no model to start from, or a class has a single label.
        LabelerError: the training failed; the model in use stays.
    """
    with learner.store.read() as session:
        tried = models.newest_of_kind(session, FINETUNE)
    if tried is None or not _waits(tried) or _superseded(learner, tried):
        tried = challenge(learner, tensorboard)
    said = tried.settings[CONTEST]
    if not said["won"]:
        return f"{tried.name} keeps to the side: {said['reason']}"
    if not adopt(learner, tried, round_id):
        return f"{tried.name} keeps to the side: another model was chosen meanwhile; {said['reason']}"
    return f"{tried.name} takes over: {said['reason']}"


def _superseded(learner: Learner, tried: ModelVersion) -> bool:
    """Whether the model it won against is no longer what it was."""
    with learner.store.read() as session:
        version = models.in_use(session)
    return version is None or version.last_decision_id > tried.last_decision_id or _overruled(version, tried)


def challenge(learner: Learner, tensorboard: Path | None = None) -> ModelVersion:
    """Train a challenger on every label, judge it, and put it on record as a version that is not in use."""
    with contextlib.ExitStack() as filing:
        return _challenge(learner, tensorboard, filing)


def _challenge(learner: Learner, tensorboard: Path | None, filing: contextlib.ExitStack) -> ModelVersion:
    settings = learner.settings
    found = learner.model()
    if found is None:
        raise NotTrainable("there is no model to start from", "label images of two classes, then run `labeler train`")
    champion_version = found[0]
    material = learner.everything()
    chosen = material.labelled
    refs = [material.refs[row] for row in chosen]
    y = material.y[chosen]
    if not len(y) or len(np.unique(y)) < 2 or not foldable(y):
        raise NotTrainable("fine-tuning needs two labels of each class", "label more images")
    taken = versioning.snapshot(learner, refs)
    champion = learner.head_on(material, settings.seed)
    base = _on_base(learner, material)
    judges = learner.material(Split.VALIDATION)
    validation = [judges.refs[row] for row in judges.labelled]
    with networks.scratch(learner.paths) as folder:
        job = apart.Job(
            task="finetune",
            files=networks.files_of(learner, refs),
            y=y,
            shas=[ref.sha256 for ref in refs],
            classes=settings.classes,
            seed=settings.seed,
            settings=settings,
            compiled=learner.paths.compiled,
            backbone=learner.configured,
            features=base.features,
            vectors=base.features.transform(_base_columns(learner, material.raw[chosen])),
            validation=networks.files_of(learner, validation),
            tensorboard=tensorboard,
        )
        made = apart.train(job, folder, learner.progress)
        faults.point("tuning.trained")
        filing.enter_context(versioning.filing(learner.paths))  # from here on until it is on record
        network = networks.keep(learner, made, model="head", name=learner.configured.name, base=learner.configured)
    readout = _readout(learner, made, y, [ref.sha256 for ref in refs])
    if len(validation) >= LEAST_VALIDATION:
        rows = judges.labelled
        truth = judges.y[rows]
        heads = base.predict_proba(_base_columns(learner, judges.raw[rows]))
        blended = average(heads, made.arrays["validation"], readout.temperature)
        outcome = contest.judge(truth, champion.predict_proba(judges.raw[rows]), blended, seed=settings.seed)
        ground = "validation"
    else:
        # Heads of the same folds on both sides: one that lacks one label knows more than a network that lacks a third.
        heads = made.arrays["head_held_out"]
        ours = champion.readout
        shas = [ref.sha256 for ref in refs]
        before = heads if ours is None else ours.blend_held_out(heads, material.raw[chosen], shas)
        outcome = contest.judge(y, before, average(heads, readout.held_out, readout.temperature), seed=settings.seed)
        ground = "cross-validation"
    challenger = _with_tuned_column(base, readout, networks.described(learner.paths, network).key)
    said = outcome.as_json() | {"champion_model": champion_version.name, "ground": ground, "adopted": False}
    return versioning.save(
        learner,
        challenger,
        taken,
        kind=FINETUNE,
        seed=settings.seed,
        network=network,
        extra={CONTEST: said, HISTORY: made.figures["history"], "parameters": made.figures["parameters"]}
        | _recipe(learner),
        use=False,
    )


def _recipe(learner: Learner) -> dict[str, Any]:
    wanted = ("epochs", "batch", "learning_rate", "optimizer", "class_weights", "views")
    values = asdict(learner.settings)
    return {name: value for name, value in values.items() if name in wanted or name.startswith("augment_")}


def _on_base(learner: Learner, material: Material) -> QuickModel:
    """The head alone, on the frozen backbone's part of the vectors."""
    return QuickModel.fit(
        _base_columns(learner, material.raw),
        material.y,
        parts=[(part.dimension, part.weight) for part in learner.configured.parts],
        classes=learner.settings.classes,
        backbone_key=learner.configured.key,
        C=learner.settings.head_c,
        seed=learner.settings.seed,
    )


def _base_columns(learner: Learner, raw: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """A tuned network gives the frozen backbone's parts first, unchanged."""
    return raw[:, : learner.configured.dimension]


def _readout(learner: Learner, made: apart.Made, y: npt.NDArray[np.integer], shas: list[str]) -> Readout:
    held_out = made.arrays["held_out"]
    order = np.argsort(shas)
    start = learner.configured.dimension
    seen = np.array([list(bytes.fromhex(shas[at])) for at in order], dtype=np.uint8)
    stop = start + held_out.shape[1]
    return Readout(start, stop, fitted_temperature(held_out, y), seen, held_out[order])


def _held_out(model: QuickModel) -> Float64:
    if model.head.out_of_fold is None:
        raise NotTrainable("too few labels to hold any out", "label more images")
    return model.head.out_of_fold


def _with_tuned_column(base: QuickModel, readout: Readout, key: str) -> QuickModel:
    """The challenger as a model on the tuned network's vectors: the head passes the new columns over."""
    columns = readout.stop - readout.start
    features, head = base.features, base.head
    mean = np.concatenate([features.mean, np.zeros(columns, np.float32)])
    weights = np.concatenate([head.weights, np.zeros((columns, head.weights.shape[1]), np.float32)])
    bounds = (*features.parts, (readout.start, readout.stop, 0.0))
    # The images stand in the order of their SHA-256 everywhere, here and in the readout.
    held_out = average(_held_out(base), readout.held_out, readout.temperature)
    head = replace(head, weights=weights, out_of_fold=held_out)
    return QuickModel(FeatureMap(mean, bounds), head, base.classes, key, readout)


def adopt(learner: Learner, version: ModelVersion, round_id: int | None = None) -> bool:
    """Make vectors of all images by the challenger's network, then let it take over; a killed run goes on later.

    Returns:
        False where a person chose another model meanwhile: that one stays.
    """
    backbone = networks.described(learner.paths, version.settings[NETWORK])
    learner.material(Split.UNLABELLED, Split.TRAIN, Split.SORTED, Split.TEST, backbone=backbone)
    faults.point("tuning.embedded")
    with learner.store.write() as session:
        current, row = models.in_use(session), session.get_one(ModelVersion, version.id)
        if current is not None and _overruled(current, row):
            return False
        row.settings = {**row.settings, CONTEST: {**row.settings[CONTEST], "adopted": True}}
        models.use(session, row)
        if round_id is not None:
            session.get_one(Round, round_id).trained_version_id = row.id
    faults.point("tuning.adopted")
    learner.look_again()
    found = learner.model()
    if found is not None:
        learner.evaluate(*found, round_id=round_id)
    return True
