"""The scripted annotator: it knows the truth, and errs or passes as often as it is told to."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from labeler.domain import Action, Answer, Proposal, TruthError
from labeler.pool import layouts
from labeler.pool.disk import sha256_of


class Oracle:
    """Answers proposals from a labelled copy of the images, found by content, whatever the files are called.

    Args:
        source: a folder with one subfolder per class, or a CSV ``path,label``.
        classes: the workspace's classes; folder names match them regardless of case, `_`, `-` and space. Without
            them the truth is read when the first question comes, which brings them.
        noise: share of answers that name a wrong class, in [0, 1].
        skip_rate: share of answers that are a skip, in [0, 1].
        seed: fixes which images are answered wrongly or skipped; the same image gets the same answer always.

    Raises:
        TruthError: a share is out of range, or (with classes) nothing labelled is there.
    """

    name = "oracle"
    kind = "oracle"

    def __init__(
        self,
        source: str | Path,
        classes: Sequence[str] | None = None,
        *,
        noise: float = 0.0,
        skip_rate: float = 0.0,
        seed: int = 0,
    ) -> None:
        if not (0 <= noise <= 1 and 0 <= skip_rate <= 1):
            raise TruthError(f"noise {noise} and skip rate {skip_rate} are shares", "give numbers from 0 to 1")
        self.source = Path(source)
        self.noise = noise
        self.skip_rate = skip_rate
        self.seed = seed
        self._by_size: dict[int, list[tuple[Path, str]]] = {}
        self._by_name: dict[str, set[str]] = {}
        self._labels: dict[str, str] = {}
        self._classes: tuple[str, ...] = ()
        if classes is not None:
            self._read(classes)

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        classes: Sequence[str] | None = None,
        *,
        noise: float = 0.0,
        skip_rate: float = 0.0,
        seed: int = 0,
    ) -> Oracle:
        """An oracle whose truth is a folder with one subfolder per class; see the class for the arguments."""
        return cls(folder, classes, noise=noise, skip_rate=skip_rate, seed=seed)

    @classmethod
    def from_csv(
        cls,
        file: str | Path,
        classes: Sequence[str] | None = None,
        *,
        noise: float = 0.0,
        skip_rate: float = 0.0,
        seed: int = 0,
    ) -> Oracle:
        """An oracle whose truth is a CSV ``path,label``; see the class for the arguments."""
        return cls(file, classes, noise=noise, skip_rate=skip_rate, seed=seed)

    def answer(self, proposals: Sequence[Proposal], root: Path, classes: Sequence[str]) -> list[Answer]:
        """What the truth says of each proposal.

        Raises:
            TruthError: the truth cannot be read, does not know an image, or has a class the workspace does not have.
        """
        self._read(classes)
        return [self._answer(proposal, root, classes) for proposal in proposals]

    def _answer(self, proposal: Proposal, root: Path, classes: Sequence[str]) -> Answer:
        label = self.label(proposal.sha256, root / proposal.path)
        # Drawn from the image and not from a running stream, so that the order of asking changes nothing.
        rng = np.random.default_rng([self.seed, int(proposal.sha256[:15], 16)])
        skips, errs = rng.random(2) < (self.skip_rate, self.noise)
        op_id = uuid.uuid4().hex
        if skips:
            return Answer(proposal.sha256, Action.SKIP, None, op_id)
        if errs:
            label = str(rng.choice([name for name in classes if name != label]))
        action = Action.CONFIRM if label == proposal.predicted else Action.CORRECT
        return Answer(proposal.sha256, action, label, op_id)

    def label(self, sha256: str, file: Path) -> str:
        """The true class of an image.

        Raises:
            TruthError: the truth does not know it, or knows it under two classes.
        """
        if sha256 not in self._labels:
            self._read_size(file.stat().st_size if file.exists() else -1)
        if sha256 in self._labels:
            return self._labels[sha256]
        named = self._by_name.get(file.name, set())
        if len(named) == 1:
            return next(iter(named))
        raise TruthError(f"{self.source} does not know {file.name}", "give the truth of every image in the pool")

    def _read(self, classes: Sequence[str]) -> None:
        if self._classes == tuple(classes):
            return
        self._by_size, self._by_name, self._labels = {}, {}, {}
        for file, label in layouts.read_truth(self.source, classes):
            try:
                self._by_size.setdefault(Path(file).stat().st_size, []).append((Path(file), label))
            except OSError:
                # A CSV may name files that have since been moved into the pool: those are found by name.
                self._by_name.setdefault(Path(file).name, set()).add(label)
        self._classes = tuple(classes)

    def _read_size(self, size: int) -> None:
        """Hash the truth's files of that size: only they can be the image, the others need not be read."""
        for file, label in self._by_size.pop(size, []):
            sha256 = sha256_of(file)
            if self._labels.setdefault(sha256, label) != label:
                raise TruthError(f"{self.source} has {file.name} under two classes", "keep one of them")
