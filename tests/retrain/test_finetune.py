"""Fine-tuning leaves from where the head stands, changes the top alone, and judges itself by what it has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labeler.embed import backbones, networks
from labeler.embed.backbones import Backbone
from labeler.embed.frozen_half import FrozenHalf
from labeler.embed.networks import halves, keras_model
from labeler.rank.features import FeatureMap
from labeler.rank.head import Head, QuickModel
from labeler.rank.logistic import probabilities
from labeler.rank.readout import PART
from labeler.retrain import finetune
from labeler.retrain.quick_top import FLOAT32, quick_form
from labeler.settings import Settings

SIDE = 64
N = 40
SETTINGS = Settings(classes=("a", "b"), epochs=1, batch=8, views=2, learning_rate=1e-5, threads=1)
Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]


def squares(n: int = N, side: int = SIDE, seed: int = 0) -> Pixels:
    """Patches of two colours: no two alike, and nothing that a label by lot could be read from."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 4, 4, 3)).repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    return (0.8 * images + rng.integers(0, 50, (n, side, side, 3))).astype(np.uint8)


def shas(n: int = N) -> list[str]:
    return [f"{number:064x}" for number in range(n)]


def asked(model: Any, pixels: NDArray[Any]) -> Any:
    """What a network says, without the seconds that `predict` takes to compile it."""
    said = model(pixels.astype(np.float32), training=False)
    return {name: value.numpy() for name, value in said.items()} if isinstance(said, dict) else said.numpy()


def raw_of(model: Any, backbone: Backbone, pixels: Pixels) -> Floats:
    said = asked(model, pixels)
    return np.concatenate([np.asarray(said[part.name]) for part in backbone.parts], axis=1)


@dataclass(frozen=True)
class Base:
    """The default backbone on small squares, whole and in two, and what it makes of the pictures."""

    backbone: Backbone
    model: Any
    lower: Any
    upper: Any
    pictures: Pixels
    raw: Floats
    features: FeatureMap

    def vectors(self) -> NDArray[np.float32]:
        return self.features.transform(self.raw)

    def top(self, n_classes: int) -> Any:
        return finetune.trainable_top(self.lower, self.upper, self.backbone, self.features, n_classes)


@pytest.fixture(scope="module")
def base() -> Base:
    backbone = backbones.resolve("efficientnet_lite0", input_size=SIDE)
    model, (lower, upper) = keras_model(backbone), halves(backbone)
    pictures = squares()
    raw = raw_of(model, backbone, pictures)
    features = FeatureMap.fit(raw, [(part.dimension, part.weight) for part in backbone.parts])
    return Base(backbone, model, lower, upper, pictures, raw, features)


@dataclass(frozen=True)
class Run:
    """One fine-tuning to labels that were drawn by lot."""

    tuned: finetune.Tuned
    y: NDArray[np.int64]
    steps: list[tuple[int, int | None]]
    compiled: Path


@pytest.fixture(scope="module")
def run(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Run:
    y = np.random.default_rng(8).permutation(np.arange(N) % 2)
    compiled = tmp_path_factory.mktemp("compiled")
    steps: list[tuple[int, int | None]] = []
    tuned = finetune.tune(
        lambda side: base.pictures,
        y,
        shas(),
        base.vectors(),
        backbone=base.backbone,
        features=base.features,
        settings=SETTINGS,
        seed=0,
        compiled=compiled,
        validation=lambda side: base.pictures,
        folds=2,
        progress=lambda step: steps.append((step.done, step.total)) if step.what == "fine-tune" else None,
    )
    return Run(tuned, y, steps, compiled)


@pytest.fixture
def half(base: Base, run: Run) -> FrozenHalf:
    """The frozen half that the fine-tuning converted."""
    return FrozenHalf(base.lower, base.backbone, run.compiled, 1)


# ------------------------------------------------------------------------------------------- where it leaves from


@pytest.mark.parametrize(("classes", "present"), [(2, 2), (3, 3), (3, 2)])
def test_before_the_first_step_it_says_what_the_head_says(base: Base, classes: int, present: int) -> None:
    y = np.arange(N) % present + (classes - present)  # where one has no label, it is the first
    head = Head.fit(base.vectors(), y, n_classes=classes, C=30.0, seed=0)
    model = QuickModel(base.features, head, tuple("abc"[:classes]), "k")
    top = base.top(classes)
    finetune.start_at(top, head)
    at_cut = asked(base.lower, base.pictures)
    said = probabilities(asked(top, at_cut).astype(np.float64))
    expected = model.predict_proba(base.raw)
    assert said.shape == expected.shape == (N, classes)
    seen = said[:, head.present] / said[:, head.present].sum(axis=1, keepdims=True)
    assert np.abs(seen - expected[:, head.present]).max() < 1e-3
    np.testing.assert_array_equal(said.argmax(axis=1), expected.argmax(axis=1))
    if present < classes:
        assert said[:, 0].max() < 0.01, "a class without a label is all but ruled out"
        assert said[:, 0].min() > 0.0, "and can still be learned"
    else:
        assert np.abs(said - expected).max() < 1e-3


def test_a_head_with_a_temperature_is_no_surer_as_a_network(base: Base) -> None:
    y = np.arange(N) % 2
    fitted = Head.fit(base.vectors(), y, n_classes=2, C=30.0, seed=0)
    logits = []
    for temperature in (1.0, 4.0):
        top = base.top(2)
        finetune.start_at(top, Head(fitted.weights, fitted.bias, temperature, fitted.present, 2))
        logits.append(asked(top, asked(base.lower, base.pictures)))
    np.testing.assert_allclose(logits[0], 4.0 * logits[1], rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------------------- what comes out


def test_the_cached_way_and_the_whole_network_agree(base: Base, run: Run) -> None:
    """It was trained on half-precision numbers from the fast runtime; what is kept is one network from pixels on."""
    whole = asked(run.tuned.network, base.pictures)[PART]
    assert run.tuned.validation.shape == whole.shape == (N, 1)
    np.testing.assert_allclose(whole, run.tuned.validation, atol=0.02)
    assert np.abs(whole).max() > 0.1, "it says something"


def test_the_old_parts_stay_as_they_were(base: Base, run: Run) -> None:
    said = asked(run.tuned.network, base.pictures)
    assert set(said) == {part.name for part in base.backbone.parts} | {PART}
    found = np.concatenate([np.asarray(said[part.name]) for part in base.backbone.parts], axis=1)
    cosine = np.sum(found * base.raw, axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(base.raw, axis=1)
    np.testing.assert_allclose(cosine, 1.0, atol=1e-6)
    kept = [layer for layer in run.tuned.network.layers if layer.name != PART and layer.weights]
    assert len(kept) > 50
    for layer in kept:
        for now, then in zip(layer.get_weights(), base.model.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(now, then)


def test_the_file_gives_the_same_network(base: Base, run: Run, tmp_path: Path) -> None:
    """Read in safe mode: layers and numbers, no code."""
    run.tuned.network.save(tmp_path / "tuned.keras")
    kept = backbones.of_file(
        tmp_path / "tuned.keras",
        name=base.backbone.name,
        input_size=SIDE,
        parts=[*base.backbone.parts, backbones.Part(PART, 1, 0.0)],
        preprocessing=base.backbone.preprocessing,
        precision=base.backbone.precision,
        digest="0" * 64,
    )
    back = keras_model(kept)
    before = asked(run.tuned.network, base.pictures[:8])
    after = asked(back, base.pictures[:8])
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


def layers_of(model: Any) -> dict[str, Any]:
    """Every layer by name, those of nested models too."""
    found: dict[str, Any] = {}
    for layer in model.layers:
        found |= layers_of(layer) if hasattr(layer, "layers") else {layer.name: layer}
    return found


def test_the_top_has_learned_and_its_batch_normalisation_has_not(base: Base, run: Run) -> None:
    import keras

    branch, before = layers_of(run.tuned.network.get_layer(PART)), layers_of(base.upper)
    normalisations = [n for n, layer in before.items() if isinstance(layer, keras.layers.BatchNormalization)]
    convolutions = [n for n, layer in before.items() if isinstance(layer, (keras.layers.Conv2D,)) and layer.weights]
    assert len(normalisations) >= 10
    assert len(convolutions) >= 10
    for name in normalisations:
        for now, then in zip(branch[name].get_weights(), before[name].get_weights(), strict=True):
            np.testing.assert_array_equal(now, then)
    changed = [
        not np.array_equal(branch[name].get_weights()[0], layers_of(base.model)[name].get_weights()[0])
        for name in convolutions
    ]
    assert all(changed)


def test_below_the_cut_and_in_batch_normalisation_nothing_can_change(base: Base) -> None:
    import keras

    top = base.top(2)
    may_change = {id(weight) for weight in top.trainable_weights}
    below = {id(weight) for weight in base.lower.weights}
    of_batches = [layer for layer in base.upper.layers if isinstance(layer, keras.layers.BatchNormalization)]
    normalising = {id(weight) for layer in of_batches for weight in layer.weights}
    above = {id(weight) for weight in base.upper.weights}
    assert base.lower.trainable_weights == []
    assert not may_change & (below | normalising)
    assert above - normalising < may_change, "and everything else above the cut can"
    assert len(may_change - above) == 2, "weights and bias of the output"


def test_what_is_held_out_was_not_learned_by_heart(base: Base, run: Run) -> None:
    """Labels by lot: of images a network has not seen it can know nothing, and must not claim to."""
    right = (run.tuned.held_out[:, 0] > 0) == (run.y == 0)
    assert run.tuned.held_out.shape == (N, 1)
    assert 0.25 <= right.mean() <= 0.75
    known = (run.tuned.validation[:, 0] > 0) == (run.y == 0)
    assert known.mean() > 0.8, "the network itself knows most of them, so the check above can fail"


def test_progress_goes_from_nothing_to_all(run: Run) -> None:
    done = [step for step, _ in run.steps]
    assert done == sorted(done)
    assert len({total for _, total in run.steps}) <= 3
    assert run.steps[-1][0] == run.steps[-1][1]


# ------------------------------------------------------------------------------------------------------ activations


def test_the_first_view_is_the_photograph_and_the_others_are_not(base: Base, half: FrozenHalf) -> None:
    settings = SETTINGS.replace(views=3, epochs=5)
    cache = finetune.activations(half, base.pictures[:6], shas(6), settings, seed=0)
    assert len(cache) == 6
    assert cache.views.shape == (3, 6, *base.lower.output_shape[1:])
    exact = asked(base.lower, base.pictures[:6])
    rows = np.array([4, 1])
    np.testing.assert_allclose(cache.plain(rows), exact[rows], rtol=2e-3, atol=1e-2 * np.abs(exact).max())
    np.testing.assert_array_equal(cache.train(rows, 3), cache.plain(rows))
    assert not np.array_equal(cache.train(rows, 1), cache.plain(rows))
    assert not np.array_equal(cache.train(rows, 1), cache.train(rows, 2))
    part = cache.part(np.array([5, 1, 4]))
    np.testing.assert_array_equal(part.plain(np.array([2, 1])), cache.plain(rows))
    again = finetune.activations(half, base.pictures[:6], shas(6), settings, seed=0)
    np.testing.assert_array_equal(again.views, cache.views)


def test_no_more_views_than_epochs_and_no_more_memory_than_allowed(
    base: Base, half: FrozenHalf, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = finetune.activations(half, base.pictures[:2], shas(2), SETTINGS.replace(views=9, epochs=2), seed=0)
    assert len(few.views) == 2
    one_view = few.views[0].nbytes
    monkeypatch.setattr(finetune, "CACHE_BYTES", 3 * one_view)
    many = SETTINGS.replace(views=9, epochs=9)
    assert len(finetune.activations(half, base.pictures[:2], shas(2), many, seed=0).views) == 3
    monkeypatch.setattr(finetune, "CACHE_BYTES", 1)
    assert len(finetune.activations(half, base.pictures[:2], shas(2), many, seed=0).views) == 1


# ----------------------------------------------------------------------------------------------------- every backbone


@pytest.fixture(params=backbones.names())
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Backbone, Any, Any, Any]]:
    """A backbone with random weights, and its halves: of one model, for building each of them twice takes a minute."""
    import keras

    side = 75 if request.param == "inception_v3" else 32
    backbone = backbones.resolve(request.param, weights="none", input_size=side)
    whole = keras_model(backbone)
    monkeypatch.setattr(networks, "keras_model", lambda described: whole)
    yield backbone, whole, *halves(backbone)
    keras.backend.clear_session()


def test_the_halves_together_are_the_whole(cut: tuple[Backbone, Any, Any, Any]) -> None:
    backbone, whole, lower, upper = cut
    pixels = np.random.default_rng(0).integers(0, 256, (2, *whole.input_shape[1:])).astype(np.float32)
    expected = whole(pixels, training=False)
    found = upper(lower(pixels, training=False), training=False)
    assert set(found) == set(expected) == {part.name for part in backbone.parts}
    for part in backbone.parts:
        assert found[part.name].shape == (2, part.dimension)
        np.testing.assert_allclose(found[part.name], expected[part.name], rtol=1e-3, atol=1e-5)
    below = sum(int(np.prod(weight.shape)) for weight in lower.weights)
    above = sum(int(np.prod(weight.shape)) for weight in upper.weights)
    assert below + above == whole.count_params()
    assert min(below, above) > 0, "something is frozen and something is trained"


def test_a_network_with_its_layers_in_a_core_is_assembled_too() -> None:
    """Those of keras.applications: the branch leaves from inside the core."""
    backbone = backbones.resolve("mobilenet_v2", weights="none", input_size=32)
    lower, upper = halves(backbone)
    pictures = squares(6, 32)
    raw = raw_of(keras_model(backbone), backbone, pictures)
    features = FeatureMap.fit(raw, [(part.dimension, part.weight) for part in backbone.parts])
    top = finetune.trainable_top(lower, upper, backbone, features, 3)
    network = finetune.assembled(backbone, top)
    said = asked(network, pictures)
    at_cut = asked(lower, pictures)
    expected = asked(top, at_cut)
    np.testing.assert_allclose(said[PART], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(said["pool"], raw)
    np.testing.assert_allclose(asked(quick_form(top, FLOAT32), at_cut), expected, rtol=1e-3, atol=1e-3)
