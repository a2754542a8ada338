"""One full, safe decode, shared by the person who looks and the model that learns.

Every picture anybody sees or any network is fed comes through :func:`decode`, so both see the same pixels: turned
the way the EXIF orientation says, first frame only, eight bits, RGB, embedded colour profiles ignored. Transparent
parts are put on **white**: cut-outs (stickers, shop pictures, portraits without background) are made to lie on a
page, and black would swallow the dark hair and the dark clothes at their edges.

The formats are those that describe one photograph, carry a signature and are decoded inside this process. Left out
on purpose: EPS and WMF (start an interpreter or the system's renderer), PSD, ICO, ICNS (layers, many sizes), TGA,
PCX and the like (no signature: almost any bytes pass for one), scientific containers and icons in source code.

``PIL.Image.open`` is not used: its pixel limit is one module variable and one warning filter for the whole process.
Its table of openers is, so that the limit is an argument here and threads do not disturb one another.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import (  # importing a plug-in registers it; nothing else of Pillow's state is touched
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    QoiImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from labeler.domain import ImageFacts, UnusableImage
from labeler.pool.names import shown
from labeler.pool.quiet import hush

FORMATS: tuple[str, ...] = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        TiffImagePlugin.TiffImageFile,
        BmpImagePlugin.BmpImageFile,
        AvifImagePlugin.AvifImageFile,
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        PpmImagePlugin.PpmImageFile,
        QoiImagePlugin.QoiImageFile,
    )
)
"""Formats admitted, by Pillow's name of the content, commonest first. A JPEG of several frames comes out as MPO."""

JPEG_MAX_SIDE = 65500

_SPARE_BYTES = 64 << 20
_BYTES_PER_PIXEL = 8
# What Pillow's decoders raise for bytes that are no sound picture (found by fuzzing: tests/pool/test_decode.py).
_BAD_BYTES = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    ZeroDivisionError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


hush()


def decode(file: Path, *, max_pixels: int, at_least: int | None = None) -> NDArray[np.uint8]:
    """The picture in ``file`` as RGB, shape (H, W, 3), dtype uint8, turned upright; the array is read-only.

    Args:
        file: a regular file; its name and suffix do not matter.
        max_pixels: a picture whose header promises more is refused before a pixel is decoded.
        at_least: pixels the short side must keep. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size where its
            short side stays that long (several times faster); other formats come at full size.

    Raises:
        UnusableImage: no regular file, unreadable, empty, no admitted format, damaged, truncated, or too large.
    """
    return np.asarray(picture(read(file, max_pixels=max_pixels), file, max_pixels=max_pixels, at_least=at_least))


def inspect(file: Path, *, max_pixels: int) -> ImageFacts:
    """Read ``file`` once, decode it in full, and tell what it is.

    Digest and facts are those of the same bytes, whatever happens to the file meanwhile.

    Raises:
        UnusableImage: as :func:`decode`.
    """
    data = read(file, max_pixels=max_pixels)
    return facts(data, file, max_pixels=max_pixels, sha256=hashlib.sha256(data).hexdigest())


def thumbnail(file: Path, *, long_side: int, max_pixels: int) -> bytes:
    """The picture as JPEG with its long side at most ``long_side`` pixels, never enlarged, without metadata.

    WebP would be half the size and take ten times as long (5.7 instead of 0.5 ms for a photograph of 170 pixels).

    Raises:
        UnusableImage: as :func:`decode`.
    """
    if not 1 <= long_side <= JPEG_MAX_SIDE:
        raise ValueError(f"long_side = {long_side} is not within 1..{JPEG_MAX_SIDE}")
    image = picture(read(file, max_pixels=max_pixels), file, max_pixels=max_pixels, long_side=long_side)
    scale = long_side / max(image.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    image.info = {}  # Pillow would write the comment of the file into this one, whatever it holds
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def read(file: Path, *, max_pixels: int) -> bytes:
    """The bytes of a regular file.

    A symbolic link is not followed, and a pipe or a device is not waited for: a file that was swapped for one
    after the scan must neither hang the server nor show it what lies elsewhere.

    Raises:
        UnusableImage: not a regular file, unreadable, empty, or larger than a picture of ``max_pixels`` can be.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        if file.is_symlink():
            raise UnusableImage(shown(file), "symbolic link")
        with os.fdopen(os.open(file, flags), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnusableImage(shown(file), "not a regular file")
            limit = max_pixels * _BYTES_PER_PIXEL + _SPARE_BYTES
            data = stream.read(limit + 1) if status.st_size <= limit else None
    except OSError as error:
        raise UnusableImage(shown(file), f"cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL in the path
        raise UnusableImage(shown(file), "cannot be read: impossible file name") from None
    if data is None or len(data) > limit:
        raise UnusableImage(shown(file), f"larger than {limit >> 20:,} MiB, so no picture within the pixel limit")
    if not data:
        raise UnusableImage(shown(file), "empty file")
    return data


def facts(data: bytes, file: Path, *, max_pixels: int, sha256: str) -> ImageFacts:
    """What the bytes ``data`` of ``file`` are; decoded in full.

    Raises:
        UnusableImage: as :func:`decode`.
    """
    opened = _opened(data, file, max_pixels)
    kind = str(opened.format)
    image = _loaded(opened, file)
    return ImageFacts(sha256, image.width, image.height, kind, len(data), difference_hash(image))


def picture(
    data: bytes, file: Path, *, max_pixels: int, at_least: int | None = None, long_side: int | None = None
) -> Image.Image:
    """The upright RGB picture in ``data``; ``file`` only names it in an error.

    Args:
        data: the whole file.
        file: where it came from.
        max_pixels: as for :func:`decode`.
        at_least: pixels the short side must keep.
        long_side: pixels the long side must keep; either allows a JPEG to be decoded at a smaller scale.

    Raises:
        UnusableImage: as :func:`decode`.
    """
    opened = _opened(data, file, max_pixels)
    if long_side is not None:
        at_least = -(-long_side * min(opened.size) // max(opened.size))
    if at_least is not None and at_least > 0:
        opened.draft(None, (at_least, at_least))  # does nothing but for JPEG
    return _loaded(opened, file)


def difference_hash(image: Image.Image) -> str:
    """Difference hash of an RGB picture, 64 bits as 16 hex digits.

    Grey, shrunk to 9 x 8 by area, one bit per horizontal neighbours: is the right one brighter. Neal Krawetz,
    "Kind of Like That", The Hacker Factor Blog, 2013. Survives resizing, recompression and small changes of light.
    """
    gaps = np.diff(np.asarray(image.resize((9, 8), Image.Resampling.BOX).convert("L")).astype(np.int16), axis=1)
    return np.packbits(gaps > 0).tobytes().hex()


def _opened(data: bytes, file: Path, max_pixels: int) -> ImageFile.ImageFile:
    """The header, read by the first format whose signature fits, within the limit; no pixel decoded yet."""
    damage = ""
    for name in FORMATS:
        factory, accepts = Image.OPEN[name]
        if accepts is None or accepts(data[:16]) is not True:
            continue
        try:
            image = factory(io.BytesIO(data), "")
        except _BAD_BYTES as error:
            damage = damage or _reason(name, error)
            continue
        width, height = image.size
        if width < 1 or height < 1:
            raise UnusableImage(shown(file), f"damaged {name}: {width} x {height} pixels")
        if width * height > max_pixels:
            raise UnusableImage(shown(file), f"too many pixels: {width} x {height}, the limit is {max_pixels:,}")
        return image
    raise UnusableImage(shown(file), damage or "not an image of a known format")


def _loaded(opened: ImageFile.ImageFile, file: Path) -> Image.Image:
    kind = str(opened.format)
    try:
        opened.load()
        # After load: TIFF has turned itself by then and dropped the tag, PNG may keep its EXIF behind the pixels.
        return _rgb(_upright(opened))
    except _BAD_BYTES as error:
        raise UnusableImage(shown(file), _reason(kind, error)) from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _BAD_BYTES:  # a damaged EXIF block says nothing about the pixels, which have decoded
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    canvas = Image.new("RGB", layer.size, "white")
    canvas.paste(layer, mask=layer.getchannel("A"))
    return canvas


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey values of more than eight bits as uint8, same shape.

    Whole numbers within 0..65535 keep their upper byte, as Pillow does for 16-bit colour; decimals within 0..1 are
    fractions of white and within 0..255 are taken as they are. Anything else, which has no agreed white, is
    stretched from its smallest to its largest value. NaN is black.
    """
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values.astype(np.uint16) >> 8).astype(np.uint8)
    numbers = np.nan_to_num(values.astype(np.float32), nan=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 0 and values.dtype.kind in "iu" and high <= 65535:
        return (numbers.astype(np.uint16) >> 8).astype(np.uint8)
    if low >= 0 and high <= 255:
        scaled = numbers * (255 if high <= 1 else 1)
    else:
        scaled = (numbers - low) * (255 / max(high - low, 1e-30))
    return np.rint(scaled).astype(np.uint8)


def _reason(kind: str, error: BaseException) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"too many pixels in a part of the {kind}"
    text = str(error).strip()
    if "truncated" in text.casefold() or isinstance(error, EOFError):
        return f"truncated {kind}"
    text = shown(text.splitlines()[0])[:100] if text and not isinstance(error, KeyError) else type(error).__name__
    return f"damaged {kind}: {text}"
