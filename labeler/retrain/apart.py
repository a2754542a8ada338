"""Training in a process of its own, so that TensorFlow's half gigabyte stays out of the one that labels and ranks.

The two talk through a folder: the job and the arrays go in, the network and its figures come out, each written before
the child ends with code 0. Progress comes line by line on the child's stdout. A child whose parent has died ends by
itself within a second.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from labeler.domain import LabelerError, Progress
from labeler.embed import heavy
from labeler.embed.backbones import Backbone
from labeler.rank.features import FeatureMap
from labeler.settings import Settings

Report = Callable[[Progress], None] | None

JOB, START, NETWORK, ARRAYS, FIGURES = "job.json", "start.npz", "network.keras", "arrays.npz", "figures.json"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What the child is to train.

    Attributes:
        task: ``finetune``, or one of the networks of :func:`labeler.retrain.transfer.train_network`.
        files: n photographs, absolute paths; y: (n,) class numbers; shas: who they are.
        validation: photographs to judge a fine-tuned network by.
        backbone: what it starts from or stands on; None for networks from scratch.
        features, vectors: the recipe and the (n, D) vectors the new output begins on; only for ``finetune``.
        compiled: folder of converted backbones.
    """

    task: Literal["finetune", "cnn", "ann", "transfer"]
    files: Sequence[Path]
    y: npt.NDArray[np.integer]
    shas: Sequence[str]
    classes: Sequence[str]
    seed: int
    settings: Settings
    compiled: Path
    backbone: Backbone | None = None
    features: FeatureMap | None = None
    vectors: npt.NDArray[np.float32] | None = None
    validation: Sequence[Path] = ()
    tensorboard: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What came out.

    Attributes:
        network: the ``.keras`` file, in the job's folder.
        arrays: of a fine-tuning ``held_out``, ``head_held_out`` and ``validation``; of another network ``kernel`` and
            ``bias``.
        figures: ``input_size``, ``parts`` [[name, dimension, weight], ...], ``history``, ``parameters``.
    """

    network: Path
    arrays: Mapping[str, npt.NDArray[Any]]
    figures: Mapping[str, Any]


def train(job: Job, folder: Path, progress: Report = None) -> Made:
    """Run a job to its end.

    Args:
        job: what to train.
        folder: an empty one, for this job alone.
        progress: told what the child tells.

    Raises:
        NotTrainable, WeightsUnavailable, LabelerError: what the child raised, or that it died.
    """
    _write(job, folder)
    ended, last, said = _run(folder, progress)
    if ended == heavy.FAILED and said is not None:
        raise heavy.error_of(said)
    if ended != 0:
        raise LabelerError(
            f"the training ended with exit code {ended}: {last[:300]}", "check the free memory and disk, then try again"
        )
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    return Made(folder / NETWORK, found, json.loads((folder / FIGURES).read_text(encoding="utf-8")))


def _write(job: Job, folder: Path) -> None:
    fields = {
        "task": job.task,
        "files": [os.fspath(file) for file in job.files],
        "y": job.y.tolist(),
        "shas": list(job.shas),
        "classes": list(job.classes),
        "seed": job.seed,
        "settings": dataclasses.asdict(job.settings),
        "compiled": os.fspath(job.compiled),
        "backbone": dataclasses.asdict(job.backbone) if job.backbone is not None else None,
        "validation": [os.fspath(file) for file in job.validation],
        "tensorboard": os.fspath(job.tensorboard) if job.tensorboard is not None else None,
    }
    (folder / JOB).write_text(json.dumps(fields), encoding="utf-8")
    if job.features is not None and job.vectors is not None:
        parts = np.array(job.features.parts, dtype=np.float64)
        np.savez(folder / START, mean=job.features.mean, parts=parts, vectors=job.vectors)


def _run(folder: Path, progress: Report) -> tuple[int, str, dict[str, str] | None]:
    """Exit code, last line on stderr, and the error the child put into words."""
    command = heavy.command("labeler.retrain.child", os.fspath(folder), str(os.getpid()))
    said: dict[str, str] | None = None
    with (folder / "stderr.txt").open("w+", encoding="utf-8", errors="replace") as noise:
        child = subprocess.Popen(command, env=heavy.environment(), stdout=subprocess.PIPE, stderr=noise, text=True)
        try:
            for line in child.stdout or ():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    told = json.loads(line)
                    if "kind" in told:
                        said = told
                    elif progress:
                        progress(Progress(told["progress"], told["done"], told["total"]))
            ended = child.wait()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()
        noise.seek(0)
        lines = [line for line in noise.read().splitlines() if line.strip()]
    return ended, lines[-1] if lines else "no message", said
