"""`labeler demo`: the whole job on faces it draws itself, so that anyone can see it run without a photograph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from labeler import workspace
from labeler.domain import LabelerError, NothingToDo, Progress
from labeler.oracle import Oracle
from labeler.rounds import Workspace

CLASSES = ("withMask", "withoutMask")
ROUNDS = 3
K = 30
POOL, TEST = 400, 200
_DRAWN = "drawn"


def run(directory: Path, *, seed: int, progress: Callable[[Progress], None] | None = None) -> dict[str, Any]:
    """Draw faces, import them, and let an oracle answer three rounds; called again it runs three more.

    Args:
        directory: becomes a workspace; the drawings with their truth lie in ``drawn/`` inside it.
        seed: of the drawings and of the rounds.
        progress: called with every step.

    Returns:
        ``workspace`` and ``rounds``: round, labels, strategy, test accuracy and seconds of each.

    Raises:
        LabelerError: the folder holds something that is no demo.
    """
    drawn = directory / _DRAWN
    if directory.exists() and any(directory.iterdir()) and not (drawn / "truth.csv").is_file():
        raise LabelerError(f"{directory} is not empty and holds no demo", "choose another folder: `labeler demo DIR`")
    if not (drawn / "truth.csv").is_file():
        from labeler.demo import write_dataset

        write_dataset(drawn, pool=POOL, test=TEST, seed=seed, classes=CLASSES, progress=progress)
    workspace.create(directory, CLASSES)
    with Workspace.open(directory, progress=progress, k=K, seed=seed) as opened:
        opened.import_images(drawn / "pool", into="unlabelled")
        opened.import_images(drawn / "test", into="test")
        oracle = Oracle(drawn / "truth.csv", CLASSES)
        for number in range(1, ROUNDS + 1):
            if progress is not None:
                progress(Progress("rounds with the oracle", number - 1, ROUNDS))
            try:
                opened.round(annotator=oracle)
            except NothingToDo:
                break
        return {"workspace": str(directory), "rounds": _curve(opened)}


def _curve(opened: Workspace) -> list[dict[str, Any]]:
    return [
        {
            "round": row["round"],
            "labelled": row["labelled"],
            "strategy": row["strategy"],
            "accuracy": row["metrics"]["accuracy"],
            "seconds": sum(row["timing"].values()),
        }
        for row in opened.overview()["rounds"]
        if row["metrics"] is not None
    ]
