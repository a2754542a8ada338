from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labeler import faults
from labeler.domain import ImageRef, Progress
from labeler.embed import backbones, service
from labeler.embed.cache import VectorCache
from labeler.embed.pixels import load_square
from labeler.embed.runtime import open_runtime

MAX_PIXELS = 50_000_000


def refs_of(files: Sequence[Path], root: Path) -> list[ImageRef]:
    return [
        ImageRef(number, hashlib.sha256(file.read_bytes()).hexdigest(), file.relative_to(root).as_posix())
        for number, file in enumerate(files)
    ]


def embed(refs: Sequence[ImageRef], root: Path, compiled: Path, backbone: backbones.Backbone, **more: Any) -> Any:
    return service.embed(
        refs, root=root, vectors=root / "vectors", compiled=compiled, backbone=backbone,
        **({"threads": 2, "max_pixels": MAX_PIXELS} | more),
    )  # fmt: skip


def test_each_image_gets_its_own_vector_in_order(
    tmp_path: Path, some_files: list[Path], compiled: Path, lite0: backbones.Backbone
) -> None:
    refs = refs_of(some_files, tmp_path)
    made = embed(refs, tmp_path, compiled, lite0)
    assert made.failed == []
    assert made.kept.tolist() == list(range(20))
    squares = np.stack([load_square(file, 224, MAX_PIXELS) for file in some_files])
    alone = open_runtime(lite0, compiled, threads=1).embed(squares)
    np.testing.assert_array_equal(made.vectors, alone.astype(np.float16))
    backwards = embed(refs[::-1], tmp_path, compiled, lite0)
    np.testing.assert_array_equal(backwards.vectors, made.vectors[::-1])
    assert [folder.name for folder in (tmp_path / "vectors").iterdir()] == [lite0.key]


def test_files_that_cannot_be_read_are_named_and_stop_nothing(
    tmp_path: Path, some_files: list[Path], compiled: Path, lite0: backbones.Backbone
) -> None:
    refs = refs_of(some_files, tmp_path)
    whole = embed(refs, tmp_path, compiled, lite0, threads=1)
    some_files[3].unlink()
    some_files[8].write_bytes(some_files[8].read_bytes()[:200])
    some_files[19].write_text("no picture", encoding="utf-8")
    again = service.embed(
        refs, root=tmp_path, vectors=tmp_path / "others", compiled=compiled, backbone=lite0, threads=2,
        max_pixels=MAX_PIXELS,
    )  # fmt: skip
    assert [ref.id for ref, _ in again.failed] == [3, 8, 19]
    reasons = {ref.id: reason for ref, reason in again.failed}
    assert "cannot be read" in reasons[3]
    assert "not an image" in reasons[19]
    assert again.kept.tolist() == [n for n in range(20) if n not in (3, 8, 19)]
    np.testing.assert_array_equal(again.vectors, whole.vectors[again.kept])
    # In the cache they still are, and a file that is gone costs nothing then.
    assert embed(refs, tmp_path, compiled, lite0).failed == []


def test_nothing_to_do_is_fine(tmp_path: Path, compiled: Path, lite0: backbones.Backbone) -> None:
    made = embed([], tmp_path, compiled, lite0)
    assert made.vectors.shape == (0, 3104)
    gone = [ImageRef(1, "0" * 64, "pools/gone.jpg")]
    made = embed(gone, tmp_path, compiled, lite0)
    assert made.vectors.shape == (0, 3104)
    assert [ref.id for ref, _ in made.failed] == [1]


def test_one_image_under_two_names_is_embedded_once(
    tmp_path: Path, some_files: list[Path], compiled: Path, lite0: backbones.Backbone
) -> None:
    refs = [ref for ref in refs_of(some_files[:3], tmp_path) for _ in range(2)]
    told: list[Progress] = []
    made = embed(refs, tmp_path, compiled, lite0, progress=told.append)
    assert told[-1].total == 3
    np.testing.assert_array_equal(made.vectors[0::2], made.vectors[1::2])


def test_progress_rises_to_the_total(
    tmp_path: Path, some_files: list[Path], compiled: Path, lite0: backbones.Backbone
) -> None:
    told: list[Progress] = []
    embed(refs_of(some_files, tmp_path), tmp_path, compiled, lite0, progress=told.append)
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert (told[-1].done, told[-1].total) == (20, 20)


def test_interrupted_it_keeps_what_is_finished(
    tmp_path: Path, some_files: list[Path], compiled: Path, lite0: backbones.Backbone
) -> None:
    refs = refs_of(some_files, tmp_path)

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(refs, tmp_path, compiled, lite0, progress=interrupt)
    cache = VectorCache(tmp_path / "vectors" / lite0.key, lite0.dimension)
    assert cache.missing([ref.sha256 for ref in refs]) == list(range(service.BATCH, 20))


WORK = """
import json, sys
from pathlib import Path
from labeler.domain import ImageRef
from labeler.embed import backbones, service
root, compiled = Path(sys.argv[1]), Path(sys.argv[2])
service.SHARD_ROWS, service.BATCH = 4, 2
refs = [ImageRef(*row) for row in json.loads((root / "refs.json").read_text())]
made = service.embed(refs, root=root, vectors=root / "vectors", compiled=compiled, threads=2, max_pixels=10**8,
                     backbone=backbones.resolve("efficientnet_lite0"))
print(len(made.kept), [n for n in ("tensorflow", "keras", "sklearn", "ai_edge_litert", "PIL") if n in sys.modules])
"""


def work(root: Path, compiled: Path, refs: Sequence[ImageRef], fault: str = "") -> subprocess.CompletedProcess[str]:
    import json

    rows = [(ref.id, ref.sha256, ref.path) for ref in refs]
    (root / "refs.json").write_text(json.dumps(rows), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-c", WORK, str(root), str(compiled)],
        env=os.environ | {faults.ENVIRONMENT_NAME: fault},
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_second_run_opens_no_runtime(
    tmp_path: Path, some_files: list[Path], compiled: Path, lite0: backbones.Backbone
) -> None:
    refs = refs_of(some_files, tmp_path)
    first = work(tmp_path, compiled, refs)
    assert first.stdout == "20 ['ai_edge_litert', 'PIL']\n", first.stderr
    second = work(tmp_path, compiled, refs)
    assert second.stdout == "20 []\n", second.stderr
    assert first.stderr == second.stderr == ""


@pytest.mark.parametrize(("place", "kept"), [("cache.shard-written:3", 8), ("cache.shard-renamed:3", 12)])
def test_killed_it_resumes_from_the_last_shard(
    tmp_path: Path, some_files: list[Path], compiled: Path, lite0: backbones.Backbone, place: str, kept: int
) -> None:
    refs = refs_of(some_files, tmp_path)
    assert work(tmp_path, compiled, refs, place).returncode == faults.EXIT_CODE
    cache = VectorCache(tmp_path / "vectors" / lite0.key, lite0.dimension)
    assert cache.missing([ref.sha256 for ref in refs]) == list(range(kept, 20))
    resumed = work(tmp_path, compiled, refs)
    assert resumed.stdout.startswith("20 "), resumed.stderr
    cache = VectorCache(tmp_path / "vectors" / lite0.key, lite0.dimension)
    unbroken, _ = service.embed_files(some_files, compiled=compiled, backbone=lite0, threads=1, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(cache.gather([ref.sha256 for ref in refs]), unbroken)


def test_files_outside_a_workspace_give_the_same_numbers(
    tmp_path: Path, some_files: list[Path], compiled: Path, lite0: backbones.Backbone
) -> None:
    made = embed(refs_of(some_files, tmp_path), tmp_path, compiled, lite0)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    files = [*some_files[:5], broken, *some_files[5:], tmp_path / "gone.jpg"]
    vectors, failed = service.embed_files(files, compiled=compiled, backbone=lite0, threads=0, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(vectors, made.vectors)
    assert [file for file, _ in failed] == [broken, tmp_path / "gone.jpg"]
    assert failed[0][1] == "empty file"
    empty, none = service.embed_files([], compiled=compiled, backbone=lite0, threads=0, max_pixels=MAX_PIXELS)
    assert (empty.shape, none) == ((0, 3104), [])


def test_another_layer_choice_never_finds_these_vectors(
    tmp_path: Path, some_files: list[Path], compiled: Path, lite0: backbones.Backbone
) -> None:
    refs = refs_of(some_files[:2], tmp_path)
    embed(refs, tmp_path, compiled, lite0)
    for other in (
        backbones.resolve("efficientnet_lite0", vectors="pooled"),
        backbones.resolve("efficientnet_lite0", weights="none"),
        backbones.resolve("efficientnet_lite0", precision="int8"),
    ):
        cache = VectorCache(tmp_path / "vectors" / other.key, other.dimension)
        assert cache.missing([ref.sha256 for ref in refs]) == [0, 1]
