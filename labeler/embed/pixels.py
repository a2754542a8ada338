"""A file -> the square of pixels a backbone eats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def load_square(file: Path, size: int, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a photograph and make it square.

    The picture is stretched, not cropped: what decides the class may lie at the edge, and a crop would throw it away.
    Bilinear with Pillow's area support when shrinking (antialiased), as the network was trained.
    Changing any of this means a new ``backbones.RESIZE``.

    Returns:
        uint8 (size, size, 3), RGB.

    Raises:
        UnusableImage: the file does not decode.
        OSError: it is not there or cannot be read.
    """
    import numpy as np
    from PIL import Image

    from labeler.pool.decode import picture, read

    # The picture itself, not `decode`'s array: two copies less per file.
    image = picture(read(file, max_pixels=max_pixels), file, max_pixels=max_pixels, at_least=size)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
