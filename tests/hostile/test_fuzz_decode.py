"""Mutations of real pictures: each comes out as a picture or with a reason, never with a surprise.

About twenty seconds in all; ``LABELER_FUZZ_SECONDS=600 pytest tests/hostile`` goes on for ten minutes, with seeds that
have not been tried. A failing input is written down by its seed: the same one makes it again.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from labeler import workspace
from labeler.domain import UnusableImage
from labeler.pool import decode as decoding
from labeler.pool import quiet
from labeler.pool.names import is_passed_over, safe_name
from labeler.record import images
from labeler.record.tables import Image
from labeler.rounds import Workspace
from tests.hostile.files import encoded, exif_orientation, picture

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # pytest takes the program's own filter away
SOAK_S = float(os.environ.get("LABELER_FUZZ_SECONDS", "0"))
MAX_PIXELS = 4_000_000
#: No picture of so few bytes and pixels takes longer on any machine; what does hangs.
HANG_S = 30
EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


@cache
def sources() -> tuple[tuple[str, bytes], ...]:
    """Small real pictures of every format and of the ways each has to keep its pixels."""
    found: list[tuple[str, bytes]] = []
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "QOI"):
        found.append((kind, encoded(picture(1), kind)))
        if kind not in ("QOI", "AVIF"):
            found.append((kind, encoded(picture(2).convert("L"), kind)))
        if kind in ("PNG", "GIF", "BMP", "TIFF"):
            found.append((kind, encoded(picture(3).quantize(16), kind)))
        if kind in ("PNG", "WEBP", "TIFF"):
            found.append((kind, encoded(picture(4).convert("RGBA"), kind)))
        if kind in ("GIF", "PNG", "WEBP", "TIFF"):
            found.append((kind, encoded(picture(5), kind, save_all=True, append_images=[picture(6)])))
    found += [("TIFF", encoded(picture(7), "TIFF", compression=how)) for how in ("tiff_lzw", "jpeg", "packbits")]
    found += [("TIFF", encoded(picture(7).convert("1"), "TIFF", compression="group4"))]
    found += [("JPEG", exif_orientation(6, 8)), ("JPEG", encoded(picture(9), "JPEG", progressive=True))]
    found += [("JPEG", encoded(picture(10).convert("CMYK"), "JPEG"))]
    return tuple(found)


def mutated(seed: int) -> tuple[str, bytes]:
    """One of the pictures with a few bytes changed, doubled, cut out or cut off; the same for a seed everywhere."""
    rng = random.Random(seed)
    kind, sound = sources()[rng.randrange(len(sources()))]
    data = bytearray(sound)
    for _ in range(rng.randint(1, 8)):
        if not data:
            break
        at = rng.randrange(len(data) if rng.random() < 0.4 else min(len(data), 300))  # headers break most
        length = rng.choice((1, 2, 4, 8, 32))
        how = rng.randrange(6)
        if how == 0:
            data[at] = rng.randrange(256)
        elif how == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            data[at : at + length] = bytes(rng.choice(EDGES) for _ in range(length))
        elif how == 3:
            data[at:at] = data[at : at + length]
        elif how == 4:
            del data[at : at + length]
        elif rng.random() < 0.3:
            del data[at:]
    return kind, bytes(data)


@contextlib.contextmanager
def no_hang() -> Iterator[None]:
    """A decoder that never ends ends the test, with the line where it was."""
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def nothing_said() -> Iterator[None]:
    """No warning gets past the program's own filter, which is set up once at the import."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        quiet.hush()
        yield
    assert not heard, [str(warning.message) for warning in heard]


def outcome(seed: int) -> str:
    """``sound`` or the reason; anything else is an error of the program."""
    kind, data = mutated(seed)
    file = Path(f"{kind}-{seed}")
    try:
        found = decoding.picture(data, file, max_pixels=MAX_PIXELS)
        assert found.mode == "RGB"
        assert found.width * found.height <= MAX_PIXELS
        assert np.asarray(found).dtype == np.uint8
        assert decoding.picture(data, file, max_pixels=MAX_PIXELS, at_least=16).mode == "RGB"
        assert len(decoding.difference_hash(found)) == 16
    except UnusableImage as error:
        refused = error
    else:
        return "sound"
    assert "\n" not in str(refused)
    assert refused.reason.isprintable()
    assert len(refused.reason) < 200
    return refused.reason


@settings(
    max_examples=2_000, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(st.integers(0, 2**40))
def check_decode(seed: int) -> None:
    outcome(seed)


def test_damaged_pictures_decode_or_have_a_reason(capfd: pytest.CaptureFixture[str]) -> None:
    with no_hang_for_all(), nothing_said():
        check_decode()
    assert capfd.readouterr() == ("", ""), "neither Pillow nor a library below it writes anything"


@contextlib.contextmanager
def no_hang_for_all() -> Iterator[None]:
    faulthandler.dump_traceback_later(HANG_S * 8, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def test_the_mutations_are_neither_all_sound_nor_all_broken() -> None:
    """Else the fuzzing would show nothing."""
    seen = Counter(outcome(seed) == "sound" for seed in range(400))
    assert min(seen[True], seen[False]) > 50
    reasons = {outcome(seed).split(":")[0] for seed in range(400)}
    assert len(reasons) > 12, "many ways of being broken"


@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=4096))
def test_any_bytes_at_all(data: bytes) -> None:
    with pytest.raises(UnusableImage):
        decoding.picture(data, Path("noise"), max_pixels=MAX_PIXELS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return workspace.create(tmp_path / "w").root


def check_import(root: Path, folder: Path, seeds: range) -> Counter[bool]:
    """Import mutated pictures under hostile names; every file is accounted for, and the workspace is sound."""
    folder.mkdir()
    rng = random.Random(seeds.start)
    for seed in seeds:
        letters = "".join(rng.choice("ab $`'\"\\\n\t\x7f‮é😀{};&|<>%*?~#=@+-.,") for _ in range(rng.randint(1, 40)))
        (folder / f"{seed}{letters}".replace("/", "_")[:60]).write_bytes(mutated(seed)[1])
    with no_hang_for_all(), nothing_said(), Workspace.open(root) as ws:
        before = len(_every(ws))
        result = ws.import_images(folder, into="unlabelled")
        assert result.imported + len(result.twins) + len(result.quarantined) == len(list(folder.iterdir()))
        assert all(item["reason"] and "\n" not in item["reason"] for item in result.quarantined)
        assert ws.verify()["clean"]
        rows = _every(ws)
        assert len(rows) == before + result.imported
        for row in rows[before:]:
            assert Path(row.path).name == safe_name(Path(row.path).name, "fallback"), "safe names stay as they are"
    return Counter({True: result.imported, False: len(result.quarantined)})


def _every(ws: Workspace) -> list[Image]:
    with ws.store.read() as session:
        return list(images.every(session))


def test_a_folder_of_damaged_pictures_is_imported(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen = check_import(root, tmp_path / "source", range(10_000, 10_250))
    assert min(seen.values()) > 30
    assert capfd.readouterr() == ("", "")


@settings(max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=1, max_size=300))
def test_any_name_becomes_a_safe_one(raw: bytes) -> None:
    name = os.fsdecode(raw)
    made = safe_name(name, "fallback")
    made.encode("utf-8")
    assert 0 < len(made.encode()) <= 255
    assert made.isprintable() or any(ord(c) > 0xFF for c in made)
    assert "/" not in made
    assert not made.startswith(".")
    assert safe_name(made, "fallback") == made
    assert not is_passed_over(made)


@pytest.mark.skipif(SOAK_S <= 0, reason="the soak: LABELER_FUZZ_SECONDS=600 pytest tests/hostile")
@pytest.mark.timeout(0)
def test_soak(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """New seeds until the time is over: of each thousand a hundred go through a whole import."""
    end = time.monotonic() + SOAK_S
    start = random.SystemRandom().randrange(2**40) if SOAK_S > 60 else 2**40
    seen: Counter[bool] = Counter()
    seed = start  # of the next one
    while time.monotonic() < end:
        with nothing_said():
            for one in range(seed, seed + 900):
                with no_hang():
                    seen[outcome(one) == "sound"] += 1
        seed += 900
        seen += check_import(root, tmp_path / f"source-{seed}", range(seed, seed + 100))
        seed += 100
    assert capfd.readouterr() == ("", "")
    with capfd.disabled():
        print(f"\n{seen.total()} mutations from seed {start}: {seen[True]} sound, {seen[False]} refused")
