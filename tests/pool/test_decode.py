"""Every kind of picture comes out upright, RGB and eight bits; every kind of broken file names its reason."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from labeler.domain import UnusableImage
from labeler.pool.decode import FORMATS, decode, difference_hash, inspect, picture, thumbnail

MAX = 1_000_000
Write = Callable[..., Path]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def reason_of(file: Path, max_pixels: int = MAX) -> str:
    with pytest.raises(UnusableImage) as caught:
        decode(file, max_pixels=max_pixels)
    assert "\n" not in caught.value.what
    assert len(caught.value.reason) < 160
    return caught.value.reason


def corners(pixels: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    height, width, _ = pixels.shape
    at = ((height // 4, width // 4), (height // 4, 3 * width // 4), (3 * height // 4, width // 4))
    return [tuple(int(v) for v in pixels[y, x]) for y, x in at]


def close(pixels: NDArray[np.uint8], expected: Image.Image, tolerance: int = 12) -> bool:
    wanted = np.asarray(expected.convert("RGB"))
    assert pixels.shape == wanted.shape
    gaps = np.abs(pixels.astype(int) - wanted.astype(int))
    return bool(np.median(gaps) <= tolerance and np.percentile(gaps, 90) <= 3 * tolerance)


# ------------------------------------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_applied_once(kind: str, orientation: int, scene: Image.Image, write: Write) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = write("turned", scene, kind, exif=exif)
    # The expected picture does not come from Pillow's own idea of the tag, but from the EXIF standard: where the
    # stored row 0 and column 0 lie in the picture as it should be seen.
    stored = np.asarray(scene)
    seen = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored[::-1].transpose(1, 0, 2),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: stored[:, ::-1].transpose(1, 0, 2),
    }[orientation]
    pixels = decode(file, max_pixels=MAX)
    assert pixels.dtype == np.uint8
    assert not pixels.flags.writeable
    assert close(pixels, Image.fromarray(seen))
    found = inspect(file, max_pixels=MAX)
    assert (found.height, found.width) == seen.shape[:2]
    with Image.open(io.BytesIO(thumbnail(file, long_side=30, max_pixels=MAX))) as small:
        assert small.size == (seen.shape[1] // 2, seen.shape[0] // 2)
        assert small.getexif().get(0x0112, 1) == 1
        assert all(
            np.abs(np.subtract(a, b)).max() < 25
            for a, b in zip(corners(np.asarray(small.convert("RGB"))), corners(seen), strict=True)
        )


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("JPEG", {}, "JPEG"),
        ("JPEG", {"progressive": True}, "JPEG"),
        ("PNG", {}, "PNG"),
        ("WEBP", {}, "WEBP"),
        ("GIF", {}, "GIF"),
        ("TIFF", {"compression": "tiff_lzw"}, "TIFF"),
        ("BMP", {}, "BMP"),
        ("AVIF", {}, "AVIF"),
        ("JPEG2000", {}, "JPEG2000"),
        ("PPM", {}, "PPM"),
        ("QOI", {}, "QOI"),
    ],
)
def test_format_is_told_by_content(
    kind: str, options: dict[str, Any], name: str, scene: Image.Image, write: Write
) -> None:
    file = write("photo.jpg_1088wx1632h", scene, kind, **options)
    assert close(decode(file, max_pixels=MAX), scene)
    found = inspect(file, max_pixels=MAX)
    data = file.read_bytes()
    assert found.format == name
    assert name in FORMATS
    assert (found.width, found.height, found.size) == (60, 40, len(data))
    assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_cmyk_jpeg(scene: Image.Image, write: Write) -> None:
    assert close(decode(write("c.jpg", scene.convert("CMYK"), "JPEG"), max_pixels=MAX), scene, 20)


def test_grey_and_one_bit(scene: Image.Image, write: Write) -> None:
    grey = scene.convert("L")
    assert close(decode(write("g.png", grey, "PNG"), max_pixels=MAX), grey)
    bits = grey.point(lambda v: 255 * (v > 100), mode="1")
    assert np.array_equal(decode(write("b.png", bits, "PNG"), max_pixels=MAX), np.asarray(bits.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_keep_their_brightness(kind: str, write: Write) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    pixels = decode(write("r", Image.fromarray(ramp), kind), max_pixels=MAX)
    assert np.array_equal(pixels[..., 0], ramp >> 8)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize(
    ("low", "high", "expected_low", "expected_high"), [(0.0, 1.0, 0, 255), (0.0, 200.0, 0, 200), (-3.0, 900.0, 0, 255)]
)
def test_float_tiff(low: float, high: float, expected_low: int, expected_high: int, write: Write) -> None:
    ramp = np.linspace(low, high, 48, dtype=np.float32).reshape(6, 8)
    pixels = decode(write("f.tif", Image.fromarray(ramp), "TIFF"), max_pixels=MAX)
    assert (int(pixels.min()), int(pixels.max())) == (expected_low, expected_high)
    assert (np.diff(pixels[..., 0].ravel().astype(int)) >= 0).all()


def test_float_tiff_with_nan_and_flat(write: Write) -> None:
    values = np.full((4, 4), 7e4, np.float32)
    assert decode(write("flat.tif", Image.fromarray(values), "TIFF"), max_pixels=MAX).max() == 0
    values = np.full((4, 4), 0.5, np.float32)
    values[0, 0] = np.nan
    pixels = decode(write("nan.tif", Image.fromarray(values), "TIFF"), max_pixels=MAX)
    assert (int(pixels[0, 0, 0]), int(pixels[1, 1, 0])) == (0, 128)


def test_transparency_lies_on_white(scene: Image.Image, write: Write) -> None:
    layer = scene.convert("RGBA")
    layer.paste((10, 10, 10, 0), (0, 0, 30, 40))
    pixels = decode(write("a.png", layer, "PNG"), max_pixels=MAX)
    assert (pixels[:, :30] == 255).all()
    assert np.array_equal(pixels[:, 30:], np.asarray(scene)[:, 30:])


def test_half_transparent_is_mixed(write: Write) -> None:
    pixels = decode(write("h.webp", Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "WEBP", lossless=True), max_pixels=MAX)
    assert abs(int(pixels[4, 4, 0]) - 127) <= 1


def test_palette_with_transparent_entry(scene: Image.Image, write: Write) -> None:
    flat = scene.quantize(4)
    index = flat.getpixel((0, 0))
    pixels = decode(write("p.png", flat, "PNG", transparency=index), max_pixels=MAX)
    assert (pixels[:20, :30] == 255).all()
    assert close(pixels[20:], scene.crop((0, 20, 60, 40)))


def test_rgb_and_grey_with_transparent_colour(write: Write) -> None:
    image = Image.new("RGB", (8, 8), (9, 8, 7))
    image.putpixel((0, 0), (1, 2, 3))
    pixels = decode(write("t.png", image, "PNG", transparency=(9, 8, 7)), max_pixels=MAX)
    assert tuple(pixels[0, 0]) == (1, 2, 3)
    assert tuple(pixels[5, 5]) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_first_frame_of_an_animation(kind: str, scene: Image.Image, write: Write) -> None:
    later = [Image.new("RGB", scene.size, colour) for colour in ("black", "white")]
    file = write("many", scene, kind, save_all=True, append_images=later)
    assert close(decode(file, max_pixels=MAX), scene)


def test_several_pictures_in_one_jpeg(scene: Image.Image, write: Write) -> None:
    file = write("m.jpg", scene, "MPO", save_all=True, append_images=[ImageOps.invert(scene)])
    assert close(decode(file, max_pixels=MAX), scene)
    assert inspect(file, max_pixels=MAX).format == "MPO"


def test_damaged_exif_does_not_cost_the_picture(scene: Image.Image, write: Write) -> None:
    file = write("e.jpg", scene, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert close(decode(file, max_pixels=MAX), scene)


# --------------------------------------------------------------------------------------------------- smaller scale


@pytest.mark.parametrize(
    ("short", "at_least", "expected"), [(800, 100, 100), (800, 101, 200), (799, 100, 200), (90, 224, 90)]
)
def test_at_least_never_falls_short(short: int, at_least: int, expected: int, scene: Image.Image, write: Write) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = write("big.jpg", scene.resize((short * 3 // 2, short)), "JPEG", exif=exif, quality=92)
    pixels = decode(file, max_pixels=10 * MAX, at_least=at_least)
    assert min(pixels.shape[:2]) == expected
    assert pixels.shape[0] > pixels.shape[1]
    full = Image.fromarray(decode(file, max_pixels=10 * MAX)).resize((pixels.shape[1], pixels.shape[0]))
    assert close(pixels, full)


def test_at_least_leaves_other_formats_alone(scene: Image.Image, write: Write) -> None:
    file = write("s.png", scene, "PNG")
    assert np.array_equal(decode(file, max_pixels=MAX, at_least=5), decode(file, max_pixels=MAX))


def test_truncation_is_seen_at_a_smaller_scale_too(scene: Image.Image, write: Write) -> None:
    file = write("big.jpg", scene.resize((900, 600)), "JPEG")
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(UnusableImage, match="truncated"):
        decode(file, max_pixels=MAX, at_least=64)


@pytest.mark.parametrize("size", [(3000, 200), (200, 3000), (640, 480), (40, 30)])
def test_thumbnail_fits_and_is_never_enlarged(size: tuple[int, int], scene: Image.Image, write: Write) -> None:
    file = write("t.jpg", scene.resize(size), "JPEG")
    with Image.open(io.BytesIO(thumbnail(file, long_side=320, max_pixels=MAX))) as small:
        assert small.format == "JPEG"
        scale = min(1.0, 320 / max(size))
        assert small.size == tuple(max(1, round(side * scale)) for side in size)
        # width over height survives the decode at a smaller scale, and so does the picture
        assert close(np.asarray(small.convert("RGB")), scene.resize(small.size), 20)


def test_thumbnail_of_impossible_size(scene: Image.Image, write: Write) -> None:
    with pytest.raises(ValueError, match="long_side"):
        thumbnail(write("t.png", scene, "PNG"), long_side=0, max_pixels=MAX)


# ------------------------------------------------------------------------------------------------- what is refused


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_bomb_is_refused_from_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(png_header(60_000, 60_000))
    decoded: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded.append)
    assert "too many pixels: 60000 x 60000" in reason_of(file, 100_000_000)
    assert not decoded


def test_limit_is_exact(scene: Image.Image, write: Write) -> None:
    file = write("x.png", scene, "PNG")
    assert decode(file, max_pixels=2400).shape == (40, 60, 3)
    assert "too many pixels" in reason_of(file, 2399)
    big = write("x.jpg", scene.resize((600, 400)), "JPEG")
    with pytest.raises(UnusableImage, match="too many pixels"):
        decode(big, max_pixels=2400, at_least=10)


def test_the_limit_is_the_argument_not_pillows(
    scene: Image.Image, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write("x.png", scene, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(file, max_pixels=MAX).shape == (40, 60, 3)


def test_bomb_inside_a_part_of_a_file(scene: Image.Image, tmp_path: Path) -> None:
    data = bytearray(encoded(scene.quantize(4), "GIF"))
    at = data.rindex(b"\x2c\0\0\0\0") + 5  # width and height of the frame, larger than the screen says
    data[at : at + 4] = struct.pack("<HH", 30_000, 30_000)
    file = tmp_path / "frame.gif"
    file.write_bytes(bytes(data))
    assert "too many pixels" in reason_of(file)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "QOI"])
def test_truncated(kind: str, noise: Callable[[int], Image.Image], tmp_path: Path) -> None:
    data = encoded(noise(1), kind)
    file = tmp_path / "cut.jpg"
    file.write_bytes(data[: len(data) * 2 // 3])
    reason = reason_of(file)
    assert kind in reason
    if kind in ("JPEG", "PNG"):
        assert reason == f"truncated {kind}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"this is a letter, not a photograph\n" * 20, "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image of a known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image of a known format"),
        (b"\xff\xd8\xff", "truncated JPEG"),
    ],
)
def test_not_an_image(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    found = reason_of(file)
    assert found == reason or (content.startswith(b"\xff") and "JPEG" in found)


def test_not_a_regular_file(tmp_path: Path, scene: Image.Image, write: Write) -> None:
    assert reason_of(tmp_path) == "cannot be read: Is a directory"
    assert "No such file" in reason_of(tmp_path / "none.jpg")
    assert "impossible" in reason_of(Path("a\0b"))
    os.mkfifo(tmp_path / "pipe.jpg")
    assert reason_of(tmp_path / "pipe.jpg") == "not a regular file"
    link = tmp_path / "link.jpg"
    link.symlink_to(write("real.jpg", scene, "JPEG"))
    assert reason_of(link) == "symbolic link"


def test_unreadable(scene: Image.Image, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    file = write("secret.jpg", scene, "JPEG")
    monkeypatch.setattr(os, "open", refused)  # root, who runs many a test, reads everything
    assert reason_of(file) == "cannot be read: Permission denied"


def test_larger_than_any_picture_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "film.jpg"
    with file.open("wb") as stream:
        stream.truncate(200 << 20)
    assert "larger than" in reason_of(file, 1000)


def test_name_in_the_error_is_one_printable_line(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"two\nlines\xff.jpg")
    file.write_bytes(b"")
    with pytest.raises(UnusableImage) as caught:
        decode(file, max_pixels=MAX)
    assert caught.value.path.endswith(r"two\x0alines\xff.jpg")
    str(caught.value).encode("utf-8")


def test_something_else_propagates(scene: Image.Image, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: ImageFile.ImageFile) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", exhausted)
    with pytest.raises(MemoryError):
        decode(write("x.png", scene, "PNG"), max_pixels=MAX)


def test_damaged_bytes_never_surprise(scene: Image.Image) -> None:
    """Cut and flipped bytes of every format: a sound RGB picture or UnusableImage, nothing else."""
    rng = np.random.default_rng(0)
    outcomes = {"sound": 0, "refused": 0}
    exif = Image.Exif()
    exif[0x0112] = 6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in FORMATS:
            options = {"exif": exif} if kind in ("JPEG", "WEBP", "PNG") else {}
            sound = encoded(scene, kind, **options)
            for turn in range(150):
                data = bytearray(sound)
                if turn % 3 == 0:
                    data = data[: rng.integers(len(data))]
                else:
                    for _ in range(int(rng.integers(1, 6))):
                        data[rng.integers(min(len(data), 250))] = rng.integers(256)
                try:
                    found = picture(bytes(data), Path("fuzzed"), max_pixels=MAX)
                    assert found.mode == "RGB"
                    outcomes["sound"] += 1
                except UnusableImage:
                    outcomes["refused"] += 1
    assert min(outcomes.values()) > 100


# ------------------------------------------------------------------------------------------------ hash and threads


def test_difference_hash_is_that_of_the_definition() -> None:
    row = np.array([0, 10, 20, 20, 10, 30, 30, 40, 0], np.uint8)
    image = Image.fromarray(np.repeat(np.tile(row, (8, 1))[..., None], 3, axis=2))
    assert difference_hash(image) == f"{0b11001010:02x}" * 8
    assert difference_hash(image.resize((90, 80), Image.Resampling.NEAREST)) == f"{0b11001010:02x}" * 8


def test_difference_hash_survives_recompression_and_tells_pictures_apart(photographs: Path, write: Write) -> None:
    files = sorted((photographs / "withMask").iterdir())[:60]
    own, strange = [], []
    hashes = [int(inspect(file, max_pixels=10**8).dhash, 16) for file in files]
    for file, code in zip(files, hashes, strict=True):
        image = Image.fromarray(decode(file, max_pixels=10**8))
        smaller = write("s.jpg", image.resize((image.width * 2 // 3, image.height * 2 // 3)), "JPEG", quality=60)
        own.append((int(inspect(smaller, max_pixels=10**8).dhash, 16) ^ code).bit_count())
        strange.append(min((code ^ other).bit_count() for other in hashes if other != code))
    assert np.percentile(own, 90) <= 4
    assert np.median(strange) > 8


def test_threads_do_not_disturb_one_another(scene: Image.Image, write: Write) -> None:
    file = write("x.jpg", scene.resize((300, 200)), "JPEG")
    broken = write("y.jpg", scene.resize((300, 200)), "JPEG")
    broken.write_bytes(broken.read_bytes()[:-300])
    expected = decode(file, max_pixels=MAX)
    start = threading.Barrier(8)

    def work(index: int) -> bool:
        start.wait()
        for _ in range(20):
            limit = MAX if index % 2 else 100
            try:
                if not np.array_equal(decode(file, max_pixels=limit), expected) or limit == 100:
                    return False
            except UnusableImage as error:
                if limit == MAX or "too many" not in error.reason:
                    return False
            with pytest.raises(UnusableImage, match="truncated"):
                decode(broken, max_pixels=MAX)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
