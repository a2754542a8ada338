"""Programs of ours that load TensorFlow, run as children: its half gigabyte stays out of the process that labels."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labeler.domain import LabelerError, NotTrainable, WeightsUnavailable

FAILED = 3  # the exit code of a child that has said why
KINDS: Mapping[str, type[LabelerError]] = {"weights": WeightsUnavailable, "labels": NotTrainable}


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a module of ours.

    -P: a keras.py that happens to lie in the current folder must not be imported.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def spare(*packages: str) -> None:
    """For a child, before it imports Keras: as if these were not installed.

    Keras imports scikit-learn and Matplotlib where they are, and 2.5 s of processor go by before the work begins.
    """
    for name in packages:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # what the import system takes for "not there"


def environment() -> dict[str, str]:
    """What such a child needs around it: this package, Keras on TensorFlow, quiet, and the processor alone."""
    root = str(Path(__file__).resolve().parents[2])
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def in_words(error: LabelerError) -> str:
    """The line in which a child says what went wrong; :func:`error_of` makes an error of it again."""
    kind = next((name for name, known in KINDS.items() if isinstance(error, known)), "other")
    return json.dumps({"kind": kind, "what": error.what, "remedy": error.remedy})


def error_of(said: Mapping[str, Any]) -> LabelerError:
    """The error a child put into words."""
    return KINDS.get(str(said.get("kind")), LabelerError)(said["what"], said["remedy"])


def run(module: str, job: Mapping[str, Any], failed: str) -> dict[str, Any]:
    """Run a module with a job as its one argument, JSON, to its end.

    Args:
        failed: what to say when it died without a word, e.g. ``the model could not be exported``.

    Returns:
        The JSON object on the last line of its stdout; empty where there is none.

    Raises:
        WeightsUnavailable, LabelerError: what the child said (:func:`in_words`), or that it died.
    """
    done = subprocess.run(
        command(module, json.dumps(job)),
        env=environment(),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said: dict[str, Any] = {}
    with contextlib.suppress(ValueError, IndexError):
        said = json.loads(done.stdout.strip().splitlines()[-1])
    if done.returncode == 0:
        return said
    if "what" in said:
        raise error_of(said)
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise LabelerError(
        f"{failed} (exit code {done.returncode}): {last[:300]}", "check the free disk space and memory, then try again"
    )
