"""The training loop: what it learns, what it leaves alone, when it stops, and that a seed fixes it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from labeler.domain import InvalidScores, NotTrainable, Progress, SettingError
from labeler.retrain.training import ArraySource, History, Recipe, fit, split, weights_of_classes
from labeler.settings import Settings

RECIPE = Recipe(
    epochs=6,
    batch=32,
    learning_rate=0.02,
    optimizer="adam",
    hold_out=0.2,
    patience=6,
    class_weights=True,
    seed=3,
)
Data = tuple[NDArray[np.float32], NDArray[np.int64]]


def data(n: int = 240, classes: int = 2, noise: float = 0.3, seed: int = 0) -> Data:
    """Points around one corner per class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    X = np.eye(classes, 8)[y] * 3 + rng.normal(scale=noise, size=(n, 8))
    return X.astype(np.float32), y


def network(columns: int = 1, seed: int = 0, dropout: float = 0.0, norm: bool = False) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    entry = keras.Input((8,))
    x = keras.layers.Dense(8, name="first")(entry)
    if norm:
        x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(dropout, seed=seed)(keras.layers.ReLU()(x))
    return keras.Model(entry, keras.layers.Dense(columns, name="logits")(x))


def logits(model: Any, X: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(model(X, training=False))


@dataclass
class Recorder:
    """A source that notes what it is asked for."""

    values: NDArray[np.float32]
    trained: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    order: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    validated: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.values)

    def train(self, rows: NDArray[np.int64], epoch: int) -> NDArray[np.float32]:
        self.trained[epoch] |= set(rows.tolist())
        self.order[epoch] += rows.tolist()
        return self.values[rows]

    def plain(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        self.validated |= set(rows.tolist())
        return self.values[rows]


# ------------------------------------------------------------------------------------------------------ plain parts


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=120), st.floats(0, 0.6), st.integers(0, 1000))
def test_the_split_takes_its_share_of_every_class(labels: list[int], hold_out: float, seed: int) -> None:
    y = np.array(labels)
    training, held_out = split(y, hold_out, seed)
    assert sorted([*training, *held_out]) == list(range(len(y)))
    if len(held_out):
        assert len(y) >= 20
        for number in np.unique(y):
            n = int((y[held_out] == number).sum())
            assert n >= 2
            assert n == round(hold_out * int((y == number).sum()))
    again = split(y, hold_out, seed)
    assert np.array_equal(training, again[0])


def test_the_split_holds_nothing_out_of_few_and_something_of_enough() -> None:
    assert len(split(np.arange(19) % 2, 0.5, 0)[1]) == 0
    assert len(split(np.arange(20) % 2, 0.5, 0)[1]) == 10
    assert len(split(np.repeat([0, 1], [95, 5]), 0.15, 0)[1]) == 0  # one of the rare class says nothing
    assert len(split(np.arange(100) % 2, 0.0, 0)[1]) == 0
    assert not np.array_equal(split(np.arange(100) % 2, 0.2, 0)[1], split(np.arange(100) % 2, 0.2, 1)[1])


def test_class_weights_make_the_classes_equal() -> None:
    y = np.repeat([0, 1, 3], [70, 20, 10])
    weights = weights_of_classes(y, 4)
    assert weights[y].mean() == pytest.approx(1.0)
    totals = [float(weights[y][y == number].sum()) for number in (0, 1, 3)]
    assert totals == pytest.approx([100 / 3] * 3)
    assert weights[2] == 0


def test_the_recipe_comes_from_the_settings() -> None:
    recipe = Recipe.from_settings(
        Settings(epochs=3, batch=7, class_weights="off", optimizer="sgd"), learning_rate=0.5, seed=9
    )
    assert recipe == Recipe(3, 7, 0.5, "sgd", 0.15, 3, class_weights=False, seed=9)
    assert Recipe.from_settings(Settings(learning_rate=0.1), learning_rate=0.5, seed=0).learning_rate == 0.1
    with pytest.raises(SettingError, match=r"hold_out = 0\.6"):
        Recipe.from_settings(Settings(hold_out=0.6), learning_rate=0.5, seed=0)


# --------------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
def test_two_classes_the_logit_is_the_firsts(optimizer: str) -> None:
    X, y = data()
    model = network()
    history = fit(model, ArraySource(X), y, replace(RECIPE, optimizer=optimizer), n_classes=2)
    assert np.array_equal(logits(model, X)[:, 0] > 0, y == 0)
    assert history.val_accuracy[history.best_epoch - 1] == 1.0


def test_more_classes_a_column_each() -> None:
    X, y = data(classes=5)
    model = network(5)
    fit(model, ArraySource(X), y, RECIPE, n_classes=5)
    assert np.mean(logits(model, X).argmax(axis=1) == y) > 0.98


def test_the_same_seed_gives_the_same_weights() -> None:
    X, y = data(noise=1.0)
    found = []
    for seed in (3, 3, 4):
        model = network(dropout=0.5)
        fit(model, ArraySource(X), y, replace(RECIPE, seed=seed, epochs=3), n_classes=2)
        found.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(found[0], found[2], strict=True))


def test_every_epoch_sees_every_image_in_a_new_order_and_never_one_held_out() -> None:
    X, y = data(100)
    source = Recorder(X)
    fit(network(), source, y, replace(RECIPE, epochs=3, batch=16), n_classes=2)
    training, held_out = split(y, RECIPE.hold_out, RECIPE.seed)
    assert set(source.trained) == {0, 1, 2}
    assert all(rows == set(training.tolist()) for rows in source.trained.values())
    assert source.validated == set(held_out.tolist())
    assert len(held_out) > 0
    assert len(source.order[2]) == len(training)
    assert source.order[1] != source.order[2]


def test_the_best_epochs_weights_come_back_and_patience_ends_it() -> None:
    X, y = data(60, noise=3.0)
    model = network()
    recipe = replace(RECIPE, epochs=60, learning_rate=0.1, patience=4)
    history = fit(model, ArraySource(X), y, recipe, n_classes=2)
    assert history.best_epoch == 1 + int(np.argmin(history.val_loss))
    assert len(history.loss) == history.best_epoch + 4 < 60
    _, held_out = split(y, recipe.hold_out, recipe.seed)
    z = logits(model, X[held_out])[:, 0]
    weights = weights_of_classes(np.delete(y, held_out), 2)[y[held_out]]
    loss = np.logaddexp(0, np.where(y[held_out] == 0, -z, z)) * weights
    assert loss.mean() == pytest.approx(min(history.val_loss), rel=1e-4)


def test_too_few_images_train_on_all_of_them_to_the_end() -> None:
    X, y = data(12)
    source = Recorder(X)
    history = fit(network(), source, y, RECIPE, n_classes=2)
    assert (history.val_loss, history.val_accuracy) == ((), ())
    assert history.best_epoch == len(history.loss) == len(history.accuracy) == RECIPE.epochs
    assert source.trained[0] == set(range(12))
    assert source.validated == set()


def test_class_weights_find_more_of_the_rare_class() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [570, 30])
    X = rng.normal(size=(600, 8)).astype(np.float32)
    X[:, 0] += 1.5 * y
    found = {}
    for on in (True, False):
        model = network()
        fit(model, ArraySource(X), y, replace(RECIPE, class_weights=on, batch=64), n_classes=2)
        found[on] = float(np.mean(logits(model, X)[y == 1, 0] < 0))
    assert found[True] > found[False] + 0.3


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    X, y = data(160)
    recipe = replace(RECIPE, epochs=10, warm_up=0.25, patience=10)
    rates = fit(network(), ArraySource(X), y, recipe, n_classes=2).learning_rate
    top = int(np.argmax(rates))
    assert top in (2, 3)
    assert list(rates[: top + 1]) == sorted(rates[: top + 1])
    assert list(rates[top:]) == sorted(rates[top:], reverse=True)
    assert 0.8 * recipe.learning_rate < max(rates) <= recipe.learning_rate * 1.0001
    assert rates[-1] < 0.02 * recipe.learning_rate


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_trained_again_from_the_same_weights_it_is_the_same_network(optimizer: str) -> None:
    """Also after a training on another number of images, whose moments and learning rates must leave no trace."""
    X, y = data(60)
    recipe = replace(RECIPE, epochs=4, optimizer=optimizer)
    model = network()
    begin = model.get_weights()
    first = fit(model, ArraySource(X), y, recipe, n_classes=2)
    trained = model.get_weights()
    fit(model, ArraySource(X[:50]), y[:50], recipe, n_classes=2)
    model.set_weights(begin)
    again = fit(model, ArraySource(X), y, recipe, n_classes=2)
    assert again.loss == first.loss
    assert again.learning_rate == first.learning_rate
    assert all(np.array_equal(one, other) for one, other in zip(model.get_weights(), trained, strict=True))


def test_frozen_layers_stay_as_they_are() -> None:
    X, y = data()
    model = network(norm=True)
    for name in ("first", "norm"):
        model.get_layer(name).trainable = False
    before = {layer.name: layer.get_weights() for layer in model.layers}
    fit(model, ArraySource(X + 2), y, replace(RECIPE, epochs=2), n_classes=2)
    for name in ("first", "norm"):
        for old, new in zip(before[name], model.get_layer(name).get_weights(), strict=True):
            assert np.array_equal(old, new)
    assert not np.array_equal(before["logits"][0], model.get_layer("logits").get_weights()[0])
    free = network(norm=True)
    mean = free.get_layer("norm").get_weights()[2]
    fit(free, ArraySource(X + 2), y, replace(RECIPE, epochs=2), n_classes=2)
    assert not np.array_equal(mean, free.get_layer("norm").get_weights()[2])


# -------------------------------------------------------------------------------------------------- reports, errors


def test_progress_counts_the_steps_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    X, y = data(100)
    model = network()
    fit(model, ArraySource(X), y, replace(RECIPE, epochs=1), n_classes=2)
    capfd.readouterr()
    seen: list[Progress] = []
    fit(model, ArraySource(X), y, replace(RECIPE, epochs=2), n_classes=2, progress=seen.append)
    assert capfd.readouterr().out == ""
    steps = 2 * -(-len(split(y, RECIPE.hold_out, RECIPE.seed)[0]) // RECIPE.batch)
    assert seen == [Progress("train", done, steps) for done in range(1, steps + 1)]


def test_tensorboards_events_hold_the_history(tmp_path: Path) -> None:
    from tensorflow.python.framework.tensor_util import MakeNdarray
    from tensorflow.python.summary.summary_iterator import summary_iterator

    X, y = data(100)
    history = fit(network(), ArraySource(X), y, RECIPE, n_classes=2, tensorboard=tmp_path / "logs")
    read: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for file in (tmp_path / "logs").rglob("events.out.tfevents.*"):
        for event in summary_iterator(str(file)):
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                read[f"{file.parent.name}/{value.tag}"].append((event.step, float(MakeNdarray(value.tensor))))
    wanted = {
        "train/epoch_loss": history.loss,
        "train/epoch_accuracy": history.accuracy,
        "train/epoch_learning_rate": history.learning_rate,
        "validation/epoch_loss": history.val_loss,
        "validation/epoch_accuracy": history.val_accuracy,
    }
    assert set(read) == set(wanted)
    for name, values in wanted.items():
        assert [step for step, _ in read[name]] == list(range(1, len(values) + 1))
        assert [value for _, value in read[name]] == pytest.approx(values, rel=1e-6)


def test_what_cannot_be_trained_says_so() -> None:
    X, y = data(40)
    with pytest.raises(NotTrainable, match="one class only"):
        fit(network(), ArraySource(X), np.zeros(40, np.int64), RECIPE, n_classes=2)
    with pytest.raises(NotTrainable, match="no labels"):
        fit(network(), ArraySource(X[:0]), y[:0], RECIPE, n_classes=2)
    with pytest.raises(InvalidScores, match="1 outputs for 3 classes"):
        fit(network(), ArraySource(X), y, RECIPE, n_classes=3)
    with pytest.raises(InvalidScores, match="40 images"):
        fit(network(), ArraySource(X), y[:39], RECIPE, n_classes=2)
    with pytest.raises(InvalidScores, match="outside"):
        fit(network(3), ArraySource(X), y + 2, RECIPE, n_classes=3)


def test_a_training_that_diverges_says_so() -> None:
    X, y = data(40)
    with pytest.raises(NotTrainable, match="diverged"):
        fit(network(), ArraySource(X), y, replace(RECIPE, optimizer="sgd", learning_rate=1e30), n_classes=2)
    X[split(y, RECIPE.hold_out, RECIPE.seed)[0][0]] = np.inf  # the loss stays a number: ReLU hides it
    with pytest.raises(NotTrainable, match="diverged"):
        fit(network(), ArraySource(X), y, RECIPE, n_classes=2)


def test_the_history_is_plain_json() -> None:
    history = History((0.5,), (0.9,), (), (), (0.1,), best_epoch=1, seconds=2.0)
    assert history.as_json() == {
        "loss": [0.5],
        "accuracy": [0.9],
        "val_loss": [],
        "val_accuracy": [],
        "learning_rate": [0.1],
        "best_epoch": 1,
        "seconds": 2.0,
    }
