"""The child of :mod:`labeler.retrain.apart`: ``python -m labeler.retrain.child FOLDER PARENT``."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from labeler.domain import LabelerError, Progress
from labeler.embed import heavy
from labeler.embed.backbones import Backbone, Part
from labeler.rank.features import FeatureMap
from labeler.rank.readout import PART
from labeler.retrain import apart, finetune, transfer
from labeler.settings import Settings

_PROGRESS_EVERY_S = 0.2
_LOOK_EVERY_S = 0.5


def main(folder: Path, parent: int) -> int:
    channel = _own_stdout()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        job = json.loads((folder / apart.JOB).read_text(encoding="utf-8"))
        _train(job, folder, _reporter(channel))
    except LabelerError as error:
        print(heavy.in_words(error), file=channel, flush=True)
        return heavy.FAILED
    return 0


def _own_stdout() -> TextIO:
    """The channel to the parent, kept apart from whatever a library prints."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(heavy.FAILED)


def _reporter(channel: TextIO) -> Callable[[Progress], None]:
    told = 0.0

    def report(progress: Progress) -> None:
        nonlocal told
        if progress.done != progress.total and time.monotonic() - told < _PROGRESS_EVERY_S:
            return
        told = time.monotonic()
        said = {"progress": progress.what, "done": progress.done, "total": progress.total}
        print(json.dumps(said), file=channel, flush=True)

    return report


def _train(job: dict[str, Any], folder: Path, report: Callable[[Progress], None]) -> None:
    settings = Settings(**{**job["settings"], "classes": tuple(job["settings"]["classes"])})
    common: dict[str, Any] = {
        "settings": settings,
        "seed": job["seed"],
        "backbone": _backbone(job["backbone"]),
        "progress": report,
        "tensorboard": Path(job["tensorboard"]) if job["tensorboard"] else None,
    }
    files, y = [Path(file) for file in job["files"]], np.array(job["y"], dtype=np.int64)
    train = _finetune if job["task"] == "finetune" else _network
    network, arrays, figures = train(job, folder, files, y, common)
    # Keras itself stamps the time into the file; the digest is taken of what was written, so that does not matter.
    network.save(folder / apart.NETWORK)
    np.savez(folder / apart.ARRAYS, **arrays)
    (folder / apart.FIGURES).write_text(json.dumps(figures), encoding="utf-8")


def _backbone(fields: dict[str, Any] | None) -> Backbone | None:
    return Backbone(**{**fields, "parts": tuple(Part(**part) for part in fields["parts"])}) if fields else None


def _finetune(
    job: dict[str, Any], folder: Path, files: list[Path], y: np.ndarray[Any, Any], common: dict[str, Any]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    backbone = common["backbone"]
    with np.load(folder / apart.START, allow_pickle=False) as start:
        mean, vectors = start["mean"], start["vectors"]
        parts = tuple((int(first), int(stop), float(weight)) for first, stop, weight in start["parts"])
    tuned = finetune.tune(
        files,
        y,
        job["shas"],
        vectors,
        features=FeatureMap(mean, parts),
        compiled=Path(job["compiled"]),
        validation=[Path(file) for file in job["validation"]],
        **common,
    )
    columns = int(tuned.held_out.shape[1])
    figures = {
        "input_size": backbone.input_size,
        "parts": [*map(dataclasses.astuple, backbone.parts), (PART, columns, 0.0)],
        "history": tuned.history.as_json(),
        "parameters": int(tuned.network.count_params()),
    }
    return tuned.network, _judged(tuned), figures


def _judged(tuned: finetune.Tuned) -> dict[str, Any]:
    return {"held_out": tuned.held_out, "head_held_out": tuned.head_held_out, "validation": tuned.validation}


def _network(
    job: dict[str, Any], folder: Path, files: list[Path], y: np.ndarray[Any, Any], common: dict[str, Any]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    made = transfer.train_network(
        job["task"],
        files,
        y,
        classes=job["classes"],
        shas=job["shas"],
        compiled=Path(job["compiled"]),
        **common,
    )
    figures = {
        "input_size": made.input_size,
        "parts": [("features", int(made.kernel.shape[0]), 1.0)],
        "history": made.history.as_json(),
        "parameters": made.parameters,
        "trainable": made.trainable,
    }
    return made.model, {"kernel": made.kernel, "bias": made.bias}, figures


if __name__ == "__main__":
    heavy.spare("matplotlib", "sklearn")
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
