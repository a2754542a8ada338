"""Pictures made on the spot: no photograph is committed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def scene() -> Image.Image:
    """60 x 40 RGB, every quarter another colour, smooth inside: lossy formats keep it, and no turn or flip of it
    equals another."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30] = (220, 30, 30)
    pixels[:20, 30:] = (30, 200, 40)
    pixels[20:, :30] = (40, 60, 220)
    pixels[20:, 30:] = (240, 240, 60)
    return Image.fromarray(pixels)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Save a picture below ``tmp_path`` and return its path."""

    def save(name: str, image: Image.Image, kind: str, **options: Any) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        file.write_bytes(stream.getvalue())
        return file

    return save


@pytest.fixture
def noise() -> Callable[[int], Image.Image]:
    """Different pictures by seed."""

    def make(seed: int) -> Image.Image:
        return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8))

    return make
