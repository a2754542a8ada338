"""Files that want to do harm, made byte by byte: what an image reader must survive.

Every function returns the bytes of one file; :data:`FILES` names them all, with what an import has to say of each:
None where the file holds a sound picture all the same, else a part of the reason.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

SIDE = 48


def picture(seed: int) -> Image.Image:
    """A picture that no other seed has; RGB, 48 x 48, blocks of 8 pixels."""
    blocks = np.random.default_rng(seed).integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# --------------------------------------------------------------------------------------------------------- bombs


def png_header_bomb() -> bytes:
    """60,000 x 60,000 pixels promised: 10.8 GB."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def png_true_bomb() -> bytes:
    """9,000 x 9,000 pixels of one colour in 360 kB: within the limit, so it has to fit into memory, and it does."""
    header = struct.pack(">IIBBBBB", 9_000, 9_000, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", deflated_zeros(9_000 * 9_001))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def png_with(kind: bytes, body: bytes, seed: int) -> bytes:
    """A sound PNG with a chunk after its header."""
    sound = encoded(picture(seed), "PNG")
    return sound[:33] + chunk(kind, body) + sound[33:]


def deflated_zeros(size: int) -> bytes:
    packer = zlib.compressobj(1)
    block = bytes(1 << 20)
    pieces = [packer.compress(block) for _ in range(size >> 20)]
    return b"".join(pieces) + packer.compress(bytes(size & 0xFFFFF)) + packer.flush()


def png_text_bomb() -> bytes:
    """200 MB of text in 1 MB."""
    return png_with(b"zTXt", b"Comment\0\0" + deflated_zeros(200 << 20), 1)


def png_profile_bomb() -> bytes:
    """200 MB of colour profile in 1 MB."""
    return png_with(b"iCCP", b"profile\0\0" + deflated_zeros(200 << 20), 2)


def png_many_chunks() -> bytes:
    """20,000 chunks before the pixels."""
    sound = encoded(picture(3), "PNG")
    return sound[:33] + chunk(b"tEXt", b"a\0b") * 20_000 + sound[33:]


def gif_frame_bomb() -> bytes:
    """A screen of 48 x 48 and a frame of 65,535 x 65,535."""
    data = bytearray(encoded(picture(4).quantize(8), "GIF"))
    at = data.rindex(b"\x2c\0\0\0\0") + 5
    data[at : at + 4] = struct.pack("<HH", 65_535, 65_535)
    return bytes(data)


def bmp_header_bomb() -> bytes:
    """40,000 x 40,000 in a BMP of 60 bytes."""
    data = bytearray(encoded(picture(5), "BMP")[:60])
    data[18:26] = struct.pack("<ii", 40_000, 40_000)
    return bytes(data)


def webp_header_bomb() -> bytes:
    """16,384 x 16,384: the largest a WebP can promise."""
    body = struct.pack("<I", 0x10) + (16_383).to_bytes(3, "little") * 2
    extended = b"VP8X" + struct.pack("<I", 10) + body[:4] + body[4:]
    return b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended


# ---------------------------------------------------------------------------------------------------- animations


def animated(kind: str, frames: int = 10_000) -> bytes:
    """Thousands of frames; only the first one matters. Put together by hand: Pillow takes a minute for it."""
    return {"GIF": _animated_gif, "PNG": _animated_png, "WEBP": _animated_webp}[kind](frames)


def _animated_gif(frames: int) -> bytes:
    sound = encoded(picture(6).quantize(8), "GIF")
    at = sound.rindex(b"\x2c\0\0\0\0")
    return sound[:at] + sound[at:-1] * frames + b";"


def _animated_png(frames: int) -> bytes:
    sound = encoded(picture(7), "PNG")
    start = sound.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", sound, start)
    pixels = sound[start + 8 : start + 8 + length]
    parts = [sound[:33], chunk(b"acTL", struct.pack(">II", frames, 0))]
    number = 0
    for frame in range(frames):
        control = struct.pack(">IIIIIHHBB", number, SIDE, SIDE, 0, 0, 1, 100, 0, 0)
        parts.append(chunk(b"fcTL", control))
        number += 1
        if frame:
            parts.append(chunk(b"fdAT", struct.pack(">I", number) + pixels))
            number += 1
        else:
            parts.append(chunk(b"IDAT", pixels))
    return b"".join([*parts, chunk(b"IEND", b"")])


def _animated_webp(frames: int) -> bytes:
    def riff(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)

    still = encoded(picture(8), "WEBP", lossless=True)[12:]
    side = (SIDE - 1).to_bytes(3, "little")
    frame = riff(b"ANMF", bytes(6) + side * 2 + (10).to_bytes(3, "little") + b"\0" + still)
    extended = riff(b"VP8X", b"\x02\0\0\0" + side * 2) + riff(b"ANIM", bytes(6))
    body = b"WEBP" + extended + frame * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


# ---------------------------------------------------------------------------------------------------------- EXIF


def exif(entries: bytes, count: int, following: int = 0) -> bytes:
    """An EXIF block, big-endian, with one directory at its start."""
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", count) + entries + struct.pack(">I", following)


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack(">HHII", tag, kind, count, value)


def exif_cycle() -> bytes:
    """Directories that name one another: IFD0 as its own sub-directory and as its successor."""
    return encoded(picture(9), "JPEG", exif=exif(entry(0x8769, 4, 1, 8) + entry(0xA005, 4, 1, 8), 2, 8))


def exif_huge() -> bytes:
    """An entry of four thousand million numbers, and a directory of 65,535 entries that are not there."""
    body = entry(0x0112, 3, 0xFFFFFFFF, 0x7FFFFFFF) + entry(0x010F, 2, 0xFFFFFFF0, 0)
    return encoded(picture(10), "JPEG", exif=exif(body, 0xFFFF))


def exif_orientation(value: int, seed: int) -> bytes:
    return encoded(picture(seed), "JPEG", exif=exif(entry(0x0112, 3, 1, value << 16), 1))


def exif_text_orientation() -> bytes:
    """The orientation is a text."""
    return encoded(picture(12), "JPEG", exif=exif(entry(0x0112, 2, 4, 0x41414100), 1))


def jpeg_many_segments() -> bytes:
    """1,000 EXIF and comment segments of 64 kB: 64 MB of nothing."""
    sound = encoded(picture(13), "JPEG")
    body = bytes(65_000)
    return sound[:2] + (b"\xff\xfe" + struct.pack(">H", len(body) + 2) + body) * 500 + sound[2:]


# ------------------------------------------------------------------------------------------------- TIFF and others


def tiff(*entries: tuple[int, int, int, int]) -> bytes:
    """A little-endian TIFF with one directory and no pixels."""
    body = b"".join(struct.pack("<HHII", *one) for one in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4)


def tiff_absurd() -> bytes:
    """Strips of 4 GB at the end of the world, 60,000 samples for each of 60,000 pixels."""
    return tiff(
        (256, 4, 1, 60_000), (257, 4, 1, 10), (258, 3, 0xFFFF, 8), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 0xFFFFFFF, 0x7FFFFFFF), (277, 3, 1, 60_000), (278, 4, 1, 1), (279, 4, 0xFFFFFFF, 0x7FFFFFFF),
    )  # fmt: skip


def tiff_cycle() -> bytes:
    """The next directory is this one."""
    sound = bytearray(encoded(picture(14), "TIFF"))
    (at,) = struct.unpack_from("<I", sound, 4)
    (count,) = struct.unpack_from("<H", sound, at)
    struct.pack_into("<I", sound, at + 2 + 12 * count, at)
    return bytes(sound)


def jpeg_and_zip() -> bytes:
    """A JPEG that is an archive, too."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("../../evil.sh", "echo hello")
    return encoded(picture(15), "JPEG") + archive.getvalue()


def gif_and_script() -> bytes:
    """A GIF whose comment is a script, so that a browser may be asked to run the file."""
    sound = encoded(picture(16).quantize(8), "GIF")
    at = sound.rindex(b"\x2c\0\0\0\0")
    return sound[:at] + b"\x21\xfe\x0c=alert(1);//\0" + sound[at:] + b"*/=1;alert(document.domain)//"


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><image href="file:///etc/passwd"/></svg>'
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) (r) file\n"

#: name -> (bytes, part of the reason; None: a sound picture)
FILES: Mapping[str, tuple[Callable[[], bytes], str | None]] = {
    "zero.jpg": (lambda: b"", "empty file"),
    "one-byte.jpg": (lambda: b"\xff", "not an image"),
    "cut.jpg": (lambda: encoded(picture(17), "JPEG")[:-60], "truncated JPEG"),
    "cut.png": (lambda: encoded(picture(18), "PNG")[:-60], "truncated PNG"),
    "text.jpg": (lambda: b"this is a letter\n" * 40, "not an image"),
    "header-bomb.png": (png_header_bomb, "too many pixels: 60000 x 60000"),
    "header-bomb.bmp": (bmp_header_bomb, "too many pixels: 40000 x 40000"),
    "header-bomb.webp": (webp_header_bomb, "WEBP"),
    "true-bomb.png": (png_true_bomb, None),
    "text-bomb.png": (png_text_bomb, "damaged PNG: Decompressed data too large"),
    "profile-bomb.png": (png_profile_bomb, "damaged PNG: Decompressed data too large"),
    "many-chunks.png": (png_many_chunks, None),
    "frame-bomb.gif": (gif_frame_bomb, "too many pixels"),
    "frames.gif": (lambda: animated("GIF"), None),
    "frames.png": (lambda: animated("PNG"), None),
    "frames.webp": (lambda: animated("WEBP"), None),
    "exif-cycle.jpg": (exif_cycle, None),
    "exif-huge.jpg": (exif_huge, None),
    "exif-99.jpg": (lambda: exif_orientation(99, 11), None),
    "exif-text.jpg": (exif_text_orientation, None),
    "segments.jpg": (jpeg_many_segments, None),
    "absurd.tif": (tiff_absurd, "damaged TIFF"),
    "cycle.tif": (tiff_cycle, None),
    "zip.jpg": (jpeg_and_zip, None),
    "script.gif": (gif_and_script, None),
    "drawing.svg": (lambda: SVG, "not an image"),
    "drawing.jpg": (lambda: POSTSCRIPT, "not an image"),
}
