"""What a camera and the web do to a picture: exposure, colour, blur, grain, few pixels, hard compression."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter


def develop(picture: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """The painting as a photograph of ``size`` x ``size``, RGB; most are good ones."""
    photo = picture.reduce(2) if picture.width == 2 * size else picture.resize((size, size), Image.Resampling.LANCZOS)
    photo = _exposed(_blurred(photo, rng), rng)
    noise = float(rng.choice((0.0, 0.01, 0.02, 0.04), p=(0.5, 0.3, 0.16, 0.04)))
    vignette = float(rng.uniform(0.3, 0.9)) if rng.uniform() < 0.3 else 0.0
    coloured = 3 if rng.uniform() < 0.5 else 1
    if noise or vignette:
        pixels = np.asarray(photo, np.float32)
        if vignette:
            axis = np.linspace(-0.5, 0.5, size, dtype=np.float32) ** 2
            pixels = pixels * (1 - np.float32(vignette) * (axis[:, None] + axis))[..., None]
        if noise:
            grain = rng.random((size, size, coloured), dtype=np.float32) - np.float32(0.5)
            pixels = pixels + np.float32(255 * noise * 12**0.5) * grain
        photo = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")
    return _few_pixels(photo, rng) if rng.uniform() < 0.04 else photo


def _blurred(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    kind = rng.uniform()
    if kind < 0.05:
        return photo.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.6, 1.8)) * photo.width / 224))
    if kind < 0.08:  # the camera moved sideways
        kernel = [0.0] * 25
        kernel[10:15] = [0.2] * 5
        return photo.filter(ImageFilter.Kernel((5, 5), kernel, scale=1.0))
    return photo


def _exposed(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """White balance, exposure, contrast, and now and then black and white."""
    gamma, contrast, lift = (
        float(np.exp(rng.normal(-0.12, 0.2))),
        float(rng.uniform(0.8, 1.12)),
        float(rng.normal(0, 0.03)),
    )
    cast, colour = np.exp(rng.normal(0, 0.05, (3, 1))), rng.uniform()
    if colour < 0.06:
        photo = Image.merge("RGB", [photo.convert("L")] * 3)
        cast = np.array([[1.05], [1.0], [0.9]]) if colour < 0.03 else np.ones((3, 1))
    curve = np.clip(np.linspace(0, 1, 256) * cast, 0, 1) ** gamma
    table = np.clip(255 * ((curve - 0.5) * contrast + 0.5 + lift), 0, 255)
    return photo.point(table.ravel().round().astype(int).tolist())


def _few_pixels(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A thumbnail that somebody enlarged."""
    small = int(rng.integers(64, 112))
    stream = io.BytesIO()
    photo.resize((small, small), Image.Resampling.BILINEAR).save(stream, "JPEG", quality=int(rng.integers(35, 75)))
    return Image.open(stream).convert("RGB").resize(photo.size, Image.Resampling.BICUBIC)
