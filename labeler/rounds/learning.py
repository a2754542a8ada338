"""From decisions to a model and from a model to figures: gathers vectors, fits, saves and evaluates versions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from labeler.domain import ImageRef, LabelerError, NotTrainable, Progress, Split
from labeler.embed import backbones, service
from labeler.rank.features import FeatureMap
from labeler.rank.head import QuickModel
from labeler.record import images, models, statistics
from labeler.record.store import Store
from labeler.record.tables import Evaluation, ModelVersion
from labeler.retrain import evaluate
from labeler.rounds import measures, networks, versioning
from labeler.rounds.version_files import NETWORK
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths

Report = Callable[[Progress], None] | None


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Images with their backbone activations.

    Attributes:
        refs: n images, ordered by SHA-256.
        raw: (n, D) activations, float16 or float32.
        y: (n,) class numbers, -1 where there is no label.
        backbone_key: whose activations they are.
        notes: images left out, and why.
        filed: (n,) bool, images the model has filed: they belong to the whole that the vectors are centred on, but
            nobody is asked about them. None where there are none.
    """

    refs: Sequence[ImageRef]
    raw: npt.NDArray[np.floating]
    y: npt.NDArray[np.int64]
    backbone_key: str
    notes: Sequence[str] = ()
    filed: npt.NDArray[np.bool_] | None = None

    @property
    def labelled(self) -> npt.NDArray[np.int64]:
        return np.flatnonzero(self.y >= 0)

    @property
    def waiting(self) -> npt.NDArray[np.int64]:
        """Rows of the pool: no label, and not filed by the model."""
        return np.flatnonzero(self.y < 0 if self.filed is None else (self.y < 0) & ~self.filed)


class _Embedding(TypedDict):
    """How images become vectors here, whichever they are."""

    root: Path
    vectors: Path
    compiled: Path
    backbone: backbones.Backbone
    threads: int
    max_pixels: int
    progress: Report


class Learner:
    """The learning half of a workspace; holds no state but what it has read from disk."""

    def __init__(self, store: Store, paths: WorkspacePaths, settings: Settings, progress: Report = None) -> None:
        self.store, self.paths, self.settings, self.progress = store, paths, settings, progress
        #: Version, images and classes of the last fit: the rows of its held-out predictions.
        self.fitted: tuple[int, Sequence[ImageRef], npt.NDArray[np.int64]] | None = None
        #: The backbone for which images of the pool without a vector are passed over; "" for none: see `at_hand`.
        self._at_hand = ""

    @cached_property
    def configured(self) -> backbones.Backbone:
        """The frozen backbone of the settings."""
        s = self.settings
        return backbones.resolve(s.backbone, weights=s.weights, vectors=s.vectors, precision=s.precision)

    @cached_property
    def backbone(self) -> backbones.Backbone:
        """What the model in use stands on: a network that was trained here, else the frozen backbone."""
        with self.store.read() as session:
            version = models.in_use(session)
        trained = networks.of_version(version, self) if version is not None else None
        return trained or self.configured

    def look_again(self) -> None:
        """Forget which model was in use: it has just changed."""
        self.__dict__.pop("backbone", None)

    # -------------------------------------------------------------------------------------------------- vectors

    def material(self, *splits: Split, backbone: backbones.Backbone | None = None) -> Material:
        """The present images of the splits with their activations; a file that cannot be read is left out.

        What the model sorted has no label here, unless the setting ``train_on_sorted`` says so.

        Args:
            backbone: another than that of the model in use.
        """
        backbone = backbone or self.backbone
        with self.store.read() as session:
            found = {split: images.refs(session, split) for split in splits}
        if backbone.key == self._at_hand and Split.UNLABELLED in found:
            pool = found[Split.UNLABELLED]
            found[Split.UNLABELLED] = service.with_vectors(pool, vectors=self.paths.vectors, backbone=backbone)
        refs = sorted((ref for refs in found.values() for ref in refs), key=lambda ref: ref.sha256)
        filed = {ref.sha256 for ref in found.get(Split.SORTED, ())}
        made = service.embed(refs, **self._embedding(backbone))
        kept = [refs[index] for index in made.kept]
        numbers = {name: number for number, name in enumerate(self.settings.classes)}
        y = np.array([numbers.get(ref.label or "", -1) for ref in kept], dtype=np.int64)
        notes = tuple(f"{ref.path}: {reason}" for ref, reason in made.failed)
        by_model = np.array([ref.sha256 in filed for ref in kept], dtype=np.bool_) if filed else None
        if by_model is not None and self.settings.train_on_sorted == "off":
            y[by_model] = -1
        return Material(kept, made.vectors, y, backbone.key, notes, by_model)

    def everything(self, *, backbone: backbones.Backbone | None = None) -> Material:
        """What a model is made from: the pool, the labelled images, and those the model has sorted."""
        return self.material(Split.UNLABELLED, Split.TRAIN, Split.SORTED, backbone=backbone)

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[None]:
        """Within the block the pool is what has vectors by now; see :meth:`embed_ahead`.

        People who label need an order soon, not one of everything. Images with a label are always there, and so is
        everything for a network that is trained within the block.
        """
        self._at_hand = self.backbone.key
        try:
            yield
        finally:
            self._at_hand = ""

    def embed_ahead(self, seconds: float, at_least: int) -> int:
        """Make vectors of the pool for some time; returns how many images were left for another.

        Args:
            seconds: for how long, once there are vectors of ``at_least`` images.
        """
        with self.store.read() as session:
            pool = images.refs(session, Split.UNLABELLED)
        return service.embed_some(pool, seconds=seconds, at_least=at_least, **self._embedding(self.backbone))

    def _embedding(self, backbone: backbones.Backbone) -> _Embedding:
        return {
            "root": self.paths.root,
            "vectors": self.paths.vectors,
            "compiled": self.paths.compiled,
            "backbone": backbone,
            "threads": self.settings.threads,
            "max_pixels": self.settings.max_pixels,
            "progress": self.progress,
        }

    def fitting(self, material: Material | None, version: ModelVersion) -> Material:
        """Pool and training images as the version sees them: ``material`` where its vectors are the right ones."""
        if material is not None and material.backbone_key == version.backbone_key:
            return material
        return self.everything(backbone=self.backbone_of(version))

    def backbone_of(self, version: ModelVersion) -> backbones.Backbone:
        """What a version stands on.

        Raises:
            LabelerError: another backbone than the settings describe.
        """
        kept = version.settings.get(NETWORK)
        backbone = networks.described(self.paths, kept) if kept else self.configured
        if backbone.key != version.backbone_key:
            raise LabelerError(f"the model {version.name} stands on {version.backbone_key}", "train again")
        return backbone

    # --------------------------------------------------------------------------------------------------- models

    def model(self) -> tuple[ModelVersion, QuickModel] | None:
        """The model in use; None when there is none, or when it was made for other classes or another backbone."""
        with self.store.read() as session:
            version = models.in_use(session)
        if version is None or version.backbone_key != self.backbone.key:
            return None
        if tuple(version.classes) != self.settings.classes:
            return None
        return version, QuickModel.load(self.paths.root / version.path, version.digest)

    def model_to_ask(self) -> tuple[ModelVersion, QuickModel] | None:
        """The model in use, also one of another kind than the settings would train next."""
        with self.store.read() as session:
            version = models.in_use(session)
        if version is None or tuple(version.classes) != self.settings.classes:
            return None
        try:
            self.backbone_of(version)
        except LabelerError:  # the settings name another backbone by now
            return None
        return version, QuickModel.load(self.paths.root / version.path, version.digest)

    def feature_map(self, material: Material) -> FeatureMap:
        """The vector recipe with the means of these images."""
        return FeatureMap.fit(material.raw, self.parts)

    @property
    def parts(self) -> list[tuple[int, float]]:
        return [(part.dimension, part.weight) for part in self.backbone.parts]

    def train(
        self, material: Material, *, seed: int, tensorboard: Path | None = None
    ) -> tuple[ModelVersion, QuickModel]:
        """Fit the model that the settings ask for on every label, and save it as the version in use.

        A network may stand on other vectors than ``material`` holds: see :meth:`fitting`.

        Args:
            material: pool and training images together: the pool's mean is part of the recipe.
            seed: of a network; for a head, of what calibrates its probabilities, its weights do not depend on it.
            tensorboard: folder for a network's event files.

        Raises:
            NotTrainable: no label, or labels of one class only.
        """
        chosen = material.labelled
        if len(np.unique(material.y[chosen])) < 2:
            raise NotTrainable(self._too_few(material), "label images of a second class")
        snapshot = versioning.snapshot(self, [material.refs[row] for row in chosen])
        if self.settings.model != "head":
            version, model = networks.train(self, material, snapshot, seed, tensorboard)
        else:
            model = self.head_on(material, seed)
            with versioning.filing(self.paths):
                version = versioning.save(self, model, snapshot, kind="head", seed=seed)
        self.look_again()
        self.fitted = (version.id, [material.refs[row] for row in chosen], material.y[chosen])
        return version, model

    def head_on(self, material: Material, seed: int) -> QuickModel:
        """The head fitted on every label of the material, with the output of its network where it has one."""
        model = QuickModel.fit(
            material.raw,
            material.y,
            parts=self.parts,
            classes=self.settings.classes,
            backbone_key=self.backbone.key,
            C=self.settings.head_c,
            seed=seed,
        )
        try:
            found = self.model()
        except LabelerError:  # its file is damaged or gone, and the remedy is to train: what is made here replaces it
            found = None
        readout = found[1].readout if found is not None else None
        if readout is None:
            return model
        chosen = material.labelled
        return model.with_readout(readout, material.raw[chosen], [material.refs[row].sha256 for row in chosen])

    def _too_few(self, material: Material) -> str:
        seen = sorted({self.settings.classes[number] for number in material.y[material.labelled]})
        return f"every label so far is {seen[0]!r}" if seen else "nothing is labelled yet"

    # ------------------------------------------------------------------------------------------------- evaluate

    def evaluate(
        self,
        version: ModelVersion,
        model: QuickModel,
        *,
        split: Split = Split.TEST,
        material: Material | None = None,
        round_id: int | None = None,
    ) -> Mapping[str, Any]:
        """Metrics on a split's labelled images, put on record; without such images an estimate, marked as one.

        Args:
            material: pool and training images, which the estimate needs; gathered when not given.
        """
        tested = self.material(split, backbone=self.backbone_of(version))
        material = self.fitting(material, version)
        chosen = tested.labelled
        said = model.predict_proba(material.raw[: measures.ESTIMATE_SAMPLE])
        estimated = measures.estimate(self, version, model, material, said)
        if len(chosen):
            probabilities = model.predict_proba(tested.raw[chosen])
            metrics = evaluate.metrics(tested.y[chosen], probabilities, classes=model.classes, split=split.value)
            seen = measures.predictions([tested.refs[row] for row in chosen], tested.y[chosen], probabilities)
        else:
            kept, seen = measures.held_out(self, version, model, material)
            metrics = {**evaluate.estimate(estimated.get("accuracy"), estimated.get("n", 0)), **kept}
        metrics["estimate"] = estimated
        metrics["pool"] = measures.pool(self, version, material, said)
        with self.store.write() as session:
            statistics.forget_predictions(session)
            row = Evaluation(model_version_id=version.id, round_id=round_id, split=str(metrics["split"]))
            row.n, row.metrics = int(metrics["n"]), {**metrics, "predictions": seen}
            session.add(row)
        return metrics
