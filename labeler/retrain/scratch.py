"""The networks of the sources that start from nothing: the tutorials' CNN and the dissertation's ANN.

Every builder gives a ``keras.Model`` from float32 pixels (B, S, S, 3), RGB in 0..255, to a dict: ``features`` (B, d),
what the last hidden layer says, and ``logits`` (B, c); c = 1 for two classes, the logit of the first, else one column
per class. The scaling of pixels is inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labeler.domain import SettingError

if TYPE_CHECKING:
    from labeler.settings import Settings

CNN_SIZE, CNN_FILTERS, CNN_UNITS = 224, (16, 32, 64), 128
ANN_SIZE, ANN_UNITS = 32, (128, 64)
SMALLEST = 8  # three poolings leave one pixel of it


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may vary in a network.

    Attributes:
        initializer: Keras's name of the hidden layers' initial weights; ``auto`` is the sources' choice.
        l1, l2: penalties on the kernels of the dense layers.
        dropout: share of the numbers into the last hidden layer that training drops.
        batch_norm: normalise before every ReLU (Ioffe and Szegedy, ICML 2015).
    """

    initializer: str = "auto"
    l1: float = 0.0
    l2: float = 0.0
    dropout: float = 0.5
    batch_norm: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Options:
        """The workspace's settings.

        Raises:
            SettingError: nothing would be left after dropout.
        """
        if settings.dropout >= 1:
            raise SettingError(f"dropout = {settings.dropout:g} drops everything", "give a share below 1")
        return cls(settings.initializer, settings.l1, settings.l2, settings.dropout, settings.batch_norm == "on")

    def initial(self, automatic: str, seed: int) -> Any:
        """The initialiser; layers of one network must be given different seeds."""
        import keras

        chosen = automatic if self.initializer == "auto" else self.initializer
        return keras.initializers.get({"class_name": chosen, "config": {"seed": seed}})

    def penalty(self) -> Any:
        import keras

        return keras.regularizers.L1L2(self.l1, self.l2) if self.l1 or self.l2 else None


def cnn(n_classes: int, options: Options | None = None, *, size: int = CNN_SIZE, seed: int = 0) -> Any:
    """The tutorials' convolutional network: 3x3 convolutions of 16, 32 and 64, each pooled by 2; 128 units; output.

    At 224 pixels and two classes it has exactly 6,446,369 trainable parameters.

    Raises:
        SettingError: the square is too small for three poolings.
    """
    import keras

    layers, options = keras.layers, options or Options()
    pixels, x = _scaled(size)
    for number, filters in enumerate(CNN_FILTERS, start=1):
        initial = options.initial("glorot_uniform", seed * 100 + number)
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=initial, name=f"conv{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(_activated(x, options, f"conv{number}"))
    x = layers.Flatten(name="flat")(x)
    return keras.Model(pixels, head(x, n_classes, CNN_UNITS, options, "glorot_uniform", seed), name="cnn")


def ann(n_classes: int, options: Options | None = None, *, size: int = ANN_SIZE, seed: int = 0) -> Any:
    """The dissertation's dense network: 32x32x3 numbers, 128 units, 64 units, output; He initialisation.

    Raises:
        SettingError: the square is too small.
    """
    import keras

    options = options or Options()
    pixels, x = _scaled(size)
    x = keras.layers.Flatten(name="flat")(x)
    x = dense(x, ANN_UNITS[0], "hidden", options, "he_normal", seed * 100 + 1)
    return keras.Model(pixels, head(x, n_classes, ANN_UNITS[1], options, "he_normal", seed), name="ann")


def head(x: Any, n_classes: int, units: int, options: Options, initializer: str, seed: int) -> dict[str, Any]:
    """Dropout, the last hidden layer and the output on a tensor (B, d): what all trained networks end with.

    Returns:
        The symbolic outputs ``features`` (B, units) and ``logits`` (B, c).
    """
    import keras

    if options.dropout:
        x = keras.layers.Dropout(options.dropout, seed=seed, name="dropout")(x)
    features = dense(x, units, "features", options, initializer, seed * 100 + 98)
    columns = 1 if n_classes == 2 else n_classes
    initial = keras.initializers.GlorotUniform(seed * 100 + 99)
    logits = keras.layers.Dense(
        columns, kernel_initializer=initial, kernel_regularizer=options.penalty(), name="logits"
    )(features)
    return {"features": features, "logits": logits}


def dense(x: Any, units: int, name: str, options: Options, initializer: str, seed: int) -> Any:
    """A hidden layer with its ReLU."""
    import keras

    initial = options.initial(initializer, seed)
    x = keras.layers.Dense(
        units, kernel_initializer=initial, kernel_regularizer=options.penalty(), name=f"{name}_dense"
    )(x)
    return _activated(x, options, name)


def _activated(x: Any, options: Options, name: str) -> Any:
    import keras

    if options.batch_norm:
        x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _scaled(size: int) -> tuple[Any, Any]:
    import keras

    if size < SMALLEST:
        raise SettingError(f"input_size = {size} is too small for a network", f"give at least {SMALLEST}")
    pixels = keras.Input((size, size, 3), name="pixels")
    return pixels, keras.layers.Rescaling(1 / 255, name="scale")(pixels)
