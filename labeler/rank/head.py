"""The head: calibrated logistic regression on frozen vectors, and the model file that holds it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler import faults
from labeler.domain import InvalidScores, LabelerError, NotTrainable
from labeler.rank import calibration, logistic
from labeler.rank.features import ROOTED, FeatureMap, blocks
from labeler.rank.readout import Readout
from labeler.rank.threads import in_chunks

FloatArray = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]

FOLDS = 5
LEAVE_ONE_OUT_UP_TO = 1_500  # labels; beyond it a few folds cost less than one matrix of that size
FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A fitted classifier on transformed vectors.

    Attributes:
        weights: float32 (D, c); c = 1 for two classes with labels (the logit of the first), else one column each.
        bias: float64 (c,).
        temperature: logits are divided by it before they become probabilities; > 1 where the head was too sure.
        present: int64, the classes it has seen, ascending; the others get probability 0.
        n_classes: columns of its predictions.
        out_of_fold: float64 (n, n_classes), what heads that had not seen a label would say of that image, calibrated,
            in the order of the fit; None with too few labels.
    """

    weights: FloatArray
    bias: Float64
    temperature: float
    present: npt.NDArray[np.int64]
    n_classes: int
    out_of_fold: Float64 | None = None

    @classmethod
    def fit(
        cls,
        X: npt.NDArray[np.floating],
        y: Labels,
        *,
        n_classes: int,
        C: float,
        seed: int,
        pool: npt.NDArray[np.floating] | None = None,
    ) -> Head:
        """Fit the weights on every label, and the temperature on held-out logits of the same labels.

        Args:
            X: (n, D) transformed vectors.
            y: (n,) class numbers in 0..n_classes-1.
            C: inverse regularisation strength, > 0; 30 is the recipe's.
            seed: of the folds and of the pool's sample; the weights do not depend on it.
            pool: (N, D) transformed vectors of unlabelled images, a sample of 2,000 is enough: makes the temperature
                right for the pool instead of for the difficult images that were chosen from it.

        Raises:
            NotTrainable: no labels, or labels of one class only.
            InvalidScores: shapes do not fit, or a vector holds NaN or infinity.
        """
        present = _check_training(X, y, n_classes)
        Z, targets, parameters, weights = _solved(X, y, present, C)
        temperature, out_of_fold = 1.0, None
        if calibration.foldable(y):
            held_out = _hold_out(Z, targets, y, C, seed, parameters)
            represented = None if pool is None else calibration.images_represented(X, pool, np.random.default_rng(seed))
            temperature = calibration.fit_temperature(held_out, targets, represented)
            out_of_fold = _spread(logistic.probabilities(held_out / temperature), present, n_classes)
        return cls(weights, parameters[-1].copy(), temperature, present, n_classes, out_of_fold)

    @classmethod
    def uncalibrated(cls, X: npt.NDArray[np.floating], y: Labels, *, n_classes: int, C: float) -> Head:
        """The same weights for who wants predictions alone: nothing is held out, the temperature is 1.

        Args:
            X, y, n_classes, C: see :meth:`fit`, which also says what is raised.
        """
        present = _check_training(X, y, n_classes)
        _, _, parameters, weights = _solved(X, y, present, C)
        return cls(weights, parameters[-1].copy(), 1.0, present, n_classes)

    @property
    def dimension(self) -> int:
        """D of the vectors it reads."""
        return len(self.weights)

    def predict_proba(self, X: npt.NDArray[np.floating]) -> Float64:
        """Calibrated class probabilities.

        Args:
            X: (N, D) transformed vectors, read in blocks.

        Returns:
            float64 (N, n_classes), rows adding up to 1.

        Raises:
            InvalidScores: the shape does not fit, or a vector holds NaN or infinity.
        """
        if X.ndim != 2 or X.shape[1] != self.dimension:
            raise InvalidScores(f"vectors of shape {X.shape} for a head of {self.dimension} dimensions", "train again")
        out = np.empty((len(X), self.n_classes), dtype=np.float64)

        def work(chunk: slice) -> None:
            part = X[chunk]
            products = np.empty((len(part), len(self.bias)), dtype=np.float64)
            for rows in blocks(len(part)):  # those of the recipe: what an image gets does not depend on who asks
                products[rows] = part[rows] @ self.weights
            out[chunk] = self.said_of(products)

        for _ in in_chunks(len(X), work):
            pass
        return out

    def said_of(self, products: Float64) -> Float64:
        """Calibrated class probabilities (N, n_classes) of what the vectors and the weights multiply to (N, c).

        Raises:
            InvalidScores: NaN or infinity.
        """
        logits = (products + self.bias) / self.temperature
        said = _spread(logistic.probabilities(logits), self.present, self.n_classes)
        if not np.isfinite(said).all():
            raise InvalidScores("the model's probabilities hold NaN or infinity", "train again")
        return said


@dataclass(frozen=True, slots=True, eq=False)
class QuickModel:
    """Everything between a backbone's activations and class probabilities; what a model version's file holds.

    Attributes:
        features: the fitted vector recipe.
        head: the classifier.
        classes: names in order of the columns.
        backbone_key: which backbone, weights and preprocessing the activations must come from.
        readout: the output of a fine-tuned network, averaged with the head's; None for other models.
    """

    features: FeatureMap
    head: Head
    classes: tuple[str, ...]
    backbone_key: str
    readout: Readout | None = None

    @classmethod
    def fit(
        cls,
        raw: npt.NDArray[np.floating],
        y: Labels,
        *,
        parts: Sequence[tuple[int, float]],
        classes: Sequence[str],
        backbone_key: str,
        C: float,
        seed: int,
        features: FeatureMap | None = None,
        vectors: FloatArray | None = None,
    ) -> QuickModel:
        """Everything from activations to a model: the feature recipe on all images, the head on the labelled ones.

        Args:
            raw: (N, D) activations of pool and labelled images together, maybe memory-mapped.
            y: (N,) class numbers, -1 where there is no label.
            parts: (dimension, weight) of each part of a vector, in order.
            C, seed: see :meth:`Head.fit`.
            features: the recipe fitted on ``raw``, and vectors (N, D): what it makes of it; for a caller who fits
                many heads on the same images.

        Raises:
            NotTrainable: no labels, or labels of one class only.
            InvalidScores: shapes do not fit, or an activation is NaN or infinite.
        """
        labelled, unlabelled = np.flatnonzero(y >= 0), np.flatnonzero(y < 0)
        if len(unlabelled) > calibration.POOL_SAMPLE:
            rng = np.random.default_rng(seed)
            unlabelled = np.sort(rng.choice(unlabelled, size=calibration.POOL_SAMPLE, replace=False))
        features = FeatureMap.fit(raw, parts) if features is None else features
        seen = features.transform(raw[labelled]) if vectors is None else vectors[labelled]
        pool = features.transform(raw[unlabelled]) if vectors is None else vectors[unlabelled]
        head = Head.fit(seen, y[labelled], n_classes=len(classes), C=C, seed=seed, pool=pool)
        return cls(features, head, tuple(classes), backbone_key)

    def predict_proba(self, raw: npt.NDArray[np.floating], rows: npt.NDArray[np.int64] | None = None) -> Float64:
        """Class probabilities of activations.

        Args:
            raw: (N, D) float16 or float32, maybe memory-mapped.
            rows: (n,) those of interest, None for all; nothing is copied but a block at a time.

        Returns:
            float64 (n, classes).

        Raises:
            InvalidScores: the shape does not fit, or a value is NaN or infinite.
        """
        out = np.empty((len(raw) if rows is None else len(rows), len(self.classes)), dtype=np.float64)

        def work(chunk: slice) -> None:
            which = chunk if rows is None else rows[chunk]
            said = self.head.said_of(self.features.project(raw, self.head.weights, which))
            out[chunk] = said if self.readout is None else self.readout.blend(said, raw[which])

        for _ in in_chunks(len(out), work):
            pass
        return out

    def predict_vectors(self, vectors: npt.NDArray[np.floating], raw: npt.NDArray[np.floating]) -> Float64:
        """The same where the transformed vectors (N, D) of these activations are at hand already."""
        said = self.head.predict_proba(vectors)
        return said if self.readout is None else self.readout.blend(said, raw)

    def with_readout(self, readout: Readout, raw: npt.NDArray[np.floating], shas: Sequence[str]) -> QuickModel:
        """This model with a network's output blended in, in the held-out probabilities too.

        Args:
            readout: of the fine-tuned network whose vectors these are.
            raw: (n, D) activations of the labelled images, in the order of the fit; shas: their SHA-256.
        """
        head = self.head
        if head.out_of_fold is not None:
            head = replace(head, out_of_fold=readout.blend_held_out(head.out_of_fold, raw, shas))
        return replace(self, head=head, readout=readout)

    def save(self, file: Path, content: bytes | None = None) -> str:
        """Write the model so that the file is either whole or not there; return the SHA-256 of its bytes.

        Args:
            content: of :meth:`encoded`, where it is at hand.
        """
        content = self.encoded() if content is None else content
        _write_durably(file, content)
        return hashlib.sha256(content).hexdigest()

    def encoded(self) -> bytes:
        """The bytes of the model's file; the same model gives the same. Arrays, and a JSON text for the rest."""
        meta = {
            "format": FORMAT,
            "classes": list(self.classes),
            "backbone_key": self.backbone_key,
            "parts": [list(part) for part in self.features.parts],
            "temperature": self.head.temperature,
            "recipe": self.features.recipe,
        }
        extra: dict[str, Any] = {}
        if self.readout is not None:
            at = self.readout
            meta["readout"] = {"start": at.start, "stop": at.stop, "temperature": at.temperature, "share": at.share}
            extra = {"readout_seen": at.seen, "readout_held_out": at.held_out}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            meta=np.frombuffer(json.dumps(meta, sort_keys=True).encode(), dtype=np.uint8),
            mean=self.features.mean,
            weights=self.head.weights,
            bias=self.head.bias,
            present=self.head.present,
            out_of_fold=np.empty((0, 0)) if self.head.out_of_fold is None else self.head.out_of_fold,
            **extra,
        )
        return buffer.getvalue()

    @classmethod
    def load(cls, file: Path, digest: str | None = None) -> QuickModel:
        """Read a model written by :meth:`save`.

        Raises:
            LabelerError: the file is missing, truncated, of another program or version, or not of that digest.
        """
        try:
            content = file.read_bytes()
        except OSError as error:
            raise LabelerError(f"cannot read the model {file}: {error.strerror}", "run `labeler train`") from None
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise LabelerError(f"the model {file} was changed after it was saved", "run `labeler train`")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return _assemble({name: arrays[name] for name in arrays.files})
        except (ValueError, KeyError, TypeError, OSError, EOFError, AttributeError, zipfile.BadZipFile):
            raise LabelerError(f"{file} is no model of this program, or is damaged", "run `labeler train`") from None


def _assemble(arrays: dict[str, npt.NDArray[Any]]) -> QuickModel:
    meta = json.loads(arrays["meta"].tobytes())
    if meta["format"] != FORMAT:
        raise ValueError(f"format {meta['format']}")
    mean, weights, bias, present = (arrays[name] for name in ("mean", "weights", "bias", "present"))
    classes = tuple(str(name) for name in meta["classes"])
    parts = tuple((int(start), int(stop), float(weight)) for start, stop, weight in meta["parts"])
    columns = 1 if len(present) == 2 else len(present)
    fits = mean.shape == (parts[-1][1],) and weights.shape == (len(mean), columns) and bias.shape == (columns,)
    if not fits or len(present) < 2 or not all(0 <= p < len(classes) for p in present):
        raise ValueError("shapes do not belong together")
    held_out = arrays["out_of_fold"] if arrays["out_of_fold"].size else None
    head = Head(weights, bias, float(meta["temperature"]), present, len(classes), held_out)
    features = FeatureMap(mean, parts, str(meta.get("recipe", ROOTED)))
    return QuickModel(features, head, classes, str(meta["backbone_key"]), _readout(meta.get("readout"), arrays))


def _readout(meta: dict[str, Any] | None, arrays: dict[str, npt.NDArray[Any]]) -> Readout | None:
    if meta is None:
        return None
    seen, held_out = arrays["readout_seen"], arrays["readout_held_out"]
    start, stop = int(meta["start"]), int(meta["stop"])
    if seen.shape != (len(held_out), 32) or held_out.shape[1:] != (stop - start,):
        raise ValueError("shapes do not belong together")
    return Readout(start, stop, float(meta["temperature"]), seen, held_out, float(meta["share"]))


def _write_durably(file: Path, content: bytes) -> None:
    """tmp + fsync + rename + fsync of the folder: a crash leaves the old file or the new one, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        faults.point("rank.model_written")
        temporary.replace(file)
        faults.point("rank.model_renamed")
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LabelerError(f"cannot write the model {file}: {error.strerror}", "free space or check rights") from None


def _check_training(X: npt.NDArray[np.floating], y: Labels, n_classes: int) -> npt.NDArray[np.int64]:
    if X.ndim != 2 or y.shape != (len(X),):
        raise InvalidScores(f"vectors of shape {X.shape} with labels of shape {y.shape}", "one label per vector")
    present = np.unique(y).astype(np.int64)
    if len(present) < 2:
        seen = "no labels" if len(present) == 0 else "labels of one class only"
        raise NotTrainable(f"nothing can be trained from {seen}", "label images of at least two classes")
    if present[0] < 0 or present[-1] >= n_classes:
        raise InvalidScores(f"a label lies outside the {n_classes} classes", "check the classes setting")
    if not np.isfinite(X).all():
        raise InvalidScores("the training vectors hold NaN or infinity", "remove db/cache/vectors and embed again")
    return present


def _solved(
    X: npt.NDArray[np.floating], y: Labels, present: npt.NDArray[np.int64], C: float
) -> tuple[Float64, Float64, Float64, FloatArray]:
    """Reduced rows, targets, the parameters on the reduced rows, and the weights float32 for all D columns."""
    Z = logistic.reduce_rows(X)
    targets = _targets(y, present)
    parameters = logistic.fit(Z, targets, C)
    if Z.shape[1] == X.shape[1]:
        return Z, targets, parameters, parameters[:-1].astype(np.float32)
    residual = targets - _fitted(Z @ parameters[:-1] + parameters[-1])
    # Optimality: W = C X^T (Y - P); from the reduced rows back to all D columns without inverting anything.
    weights = C * (X.T.astype(np.float64) @ residual)
    return Z, targets, parameters, weights.astype(np.float32)


def _targets(y: Labels, present: npt.NDArray[np.int64]) -> Float64:
    """One-hot (n, c); for two classes one column, 1 for the first of them."""
    columns = present[:1] if len(present) == 2 else present
    targets: Float64 = (y[:, None] == columns[None, :]).astype(np.float64)
    return targets


def _fitted(logits: Float64) -> Float64:
    probabilities = logistic.probabilities(logits)
    return probabilities[:, :1] if logits.shape[1] == 1 else probabilities


def _hold_out(Z: Float64, targets: Float64, y: Labels, C: float, seed: int, parameters: Float64) -> Float64:
    """What heads that lack a label say of it: (n, c) logits."""
    if targets.shape[1] == 1 and len(y) <= LEAVE_ONE_OUT_UP_TO:
        return calibration.leave_one_out(Z, targets, parameters, C)
    folds = calibration.stratified_folds(y, FOLDS, seed)
    logits = np.empty_like(targets)
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        without = logistic.fit(Z[~out], targets[~out], C, parameters)
        logits[out] = Z[out] @ without[:-1] + without[-1]
    return logits


def _spread(probabilities: Float64, present: npt.NDArray[np.int64], n_classes: int) -> Float64:
    """Columns of the classes seen to columns of all classes."""
    if len(present) == n_classes:
        return probabilities
    out = np.zeros((len(probabilities), n_classes), dtype=np.float64)
    out[:, present] = probabilities
    return out
