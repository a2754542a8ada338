"""What :mod:`labeler.rank` computes in NumPy, as layers of Keras's own: for networks that go on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SMALLEST_NORM = 1e-6  # labeler.rank.features


def rooted(part: Any, mean: NDArray[np.float32], weight: float, *, floor: float = 0.0) -> Any:
    """Root, centre, L2-normalise and weigh one part of a vector (:mod:`labeler.rank.features`).

    Args:
        part: (B, d) activations.
        mean: (d,) of their roots.
        floor: added before the root in a network that is trained: at 0 a root has no slope that a step could follow.
    """
    import numpy as np
    from keras import layers, ops

    # The means are a layer's weights: as constants of an operation they would be 1,280 numbers of JSON.
    centre = layers.BatchNormalization(epsilon=0.0, center=False, scale=False, trainable=False)
    positive = ops.relu(part)
    centred = centre(ops.sqrt(positive + floor if floor else positive))
    centre.set_weights([mean, np.ones_like(mean)])
    norm = ops.sqrt(ops.sum(ops.square(centred), axis=1, keepdims=True) + _SMALLEST_NORM**2)
    return centred * (weight / norm)
