from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from numpy.typing import NDArray

from labeler import faults
from labeler.domain import InvalidScores, LabelerError
from labeler.embed import cache as cache_module
from labeler.embed.cache import MissingVector, VectorCache
from labeler.embed.turns import LOCK, alone_in

D = 5


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def vector(number: int) -> NDArray[np.float32]:
    return np.arange(D, dtype=np.float32) + number


def fill(folder: Path, numbers: Sequence[int], dtype: Any = np.float16) -> VectorCache:
    cache = VectorCache(folder, D, dtype)
    cache.append([sha(n) for n in numbers], np.stack([vector(n) for n in numbers]))
    return cache


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{cache_module.SUFFIX}"))


def problems(folder: Path) -> dict[Path, str]:
    return {file: problem for file in shards(folder) if (problem := cache_module.shard_problem(file)) is not None}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_vectors_come_back_in_the_order_asked(tmp_path: Path, dtype: Any) -> None:
    fill(tmp_path, range(4), dtype)
    fill(tmp_path, range(4, 9), dtype)
    cache = VectorCache(tmp_path, D, dtype)
    assert len(cache) == 9
    asked = [7, 0, 3, 7, 8, 4]
    made = cache.gather([sha(n) for n in asked])
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, np.stack([vector(n) for n in asked]))
    assert cache.missing([sha(n) for n in (20, 3, 21, 20)]) == [0, 2, 3]


def test_an_empty_cache_makes_no_folder(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "none", D)
    cache.append([], np.empty((0, D), np.float32))
    cache.compact()
    assert len(cache) == 0
    assert cache.missing([sha(1)]) == [0]
    assert cache.missing([]) == []
    assert cache.gather([]).shape == (0, D)
    assert not (tmp_path / "none").exists()


def test_asking_for_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    cache = fill(tmp_path, [1, 2])
    with pytest.raises(MissingVector, match=sha(3)[:12]):
        cache.gather([sha(1), sha(3)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e6])
def test_numbers_that_cannot_be_stored_are_refused_whole(tmp_path: Path, value: float) -> None:
    vectors = np.stack([vector(1), vector(2)])
    vectors[1, 3] = value
    cache = VectorCache(tmp_path, D)
    with pytest.raises(InvalidScores):
        cache.append([sha(1), sha(2)], vectors)
    assert len(VectorCache(tmp_path, D)) == 0


def test_a_shape_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shape"):
        VectorCache(tmp_path, D).append([sha(1)], np.zeros((1, D + 1), np.float32))
    with pytest.raises(ValueError, match="float64"):
        VectorCache(tmp_path, D, np.float64)


# ----------------------------------------------------------------------------------------------------------- damage


def damage_cut(data: bytes) -> bytes:
    return data[:-1]


def damage_grown(data: bytes) -> bytes:
    return data + b"\0"


def damage_header(data: bytes) -> bytes:
    return data[:9] + bytes([data[9] ^ 1]) + data[10:]


def damage_keys(data: bytes) -> bytes:
    return data[:70] + bytes([data[70] ^ 1]) + data[71:]


def damage_empty(_: bytes) -> bytes:
    return b""


def damage_short(data: bytes) -> bytes:
    return data[:30]


def damage_foreign(_: bytes) -> bytes:
    return b"\x89PNG" * 500


DAMAGES = (damage_cut, damage_grown, damage_header, damage_keys, damage_empty, damage_short, damage_foreign)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_forgotten_and_removed(tmp_path: Path, damage: Any) -> None:
    fill(tmp_path, [1, 2])
    (victim,) = shards(tmp_path)
    fill(tmp_path, [3, 4])
    victim.write_bytes(damage(victim.read_bytes()))
    cache = VectorCache(tmp_path, D)
    assert cache.missing([sha(n) for n in (1, 2, 3, 4)]) == [0, 1]
    assert not victim.exists()
    cache.append([sha(1)], vector(1)[None])
    np.testing.assert_array_equal(VectorCache(tmp_path, D).gather([sha(4), sha(1)]), [vector(4), vector(1)])


@pytest.mark.parametrize(("dimension", "dtype"), [(D + 1, np.float16), (D, np.float32)])
def test_vectors_of_another_kind_are_never_given_out(tmp_path: Path, dimension: int, dtype: Any) -> None:
    fill(tmp_path, [1, 2])
    assert VectorCache(tmp_path, dimension, dtype).missing([sha(1)]) == [0]


def test_changed_numbers_are_found_by_their_checksum_and_not_laundered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, [1, 2])
    (victim,) = shards(tmp_path)
    data = bytearray(victim.read_bytes())
    data[-1] ^= 64
    victim.write_bytes(data)
    monkeypatch.setattr(cache_module, "MANY_SHARDS", 1)
    fill(tmp_path, [3])
    cache = VectorCache(tmp_path, D)
    assert problems(tmp_path) == {victim: "its vectors are damaged"}
    cache.compact()
    assert problems(tmp_path) == {victim: "its vectors are damaged"}


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = fill(tmp_path, [1])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabelerError, match="No space left on device"):
        cache.append([sha(2)], vector(2)[None])
    assert len(VectorCache(tmp_path, D)) == len(cache) == 1
    assert {file.name for file in tmp_path.iterdir()} == {shards(tmp_path)[0].name, LOCK}


# -------------------------------------------------------------------------------------------------- putting together


def test_many_small_shards_become_few(tmp_path: Path) -> None:
    numbers = list(range(60))
    random.Random(0).shuffle(numbers)
    for start in range(0, 60, 3):
        cache = fill(tmp_path, numbers[start : start + 3])
    reader = VectorCache(tmp_path, D)  # another process, at work meanwhile
    cache.compact()
    assert len(shards(tmp_path)) == 1
    for each in (cache, reader, VectorCache(tmp_path, D)):
        np.testing.assert_array_equal(each.gather([sha(n) for n in range(60)]), [vector(n) for n in range(60)])
    assert problems(tmp_path) == {}


def test_what_killed_writers_left_is_swept_but_not_from_under_a_live_one(tmp_path: Path) -> None:
    cache = fill(tmp_path, [1])
    half = tmp_path / "half.tmp"
    half.write_bytes(b"half")
    with alone_in(tmp_path):
        assert not half.exists()
        half.write_bytes(b"another half")  # of a live writer: it holds the lock
        writer = threading.Thread(target=fill, args=(tmp_path, [2]))
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert half.exists()
        half.rename(tmp_path / "done")
    writer.join()
    half.write_bytes(b"half")
    cache.append([sha(3)], np.stack([vector(3)]))
    assert not half.exists()
    assert len(VectorCache(tmp_path, D)) == 3


# ---------------------------------------------------------------------------------------------------------- crashes

WRITER = f"""
import hashlib, sys
from pathlib import Path
import numpy as np
from labeler.embed import cache as cache_module
cache_module.MANY_SHARDS = 2
folder = Path(sys.argv[1])
for start in range(0, 12, 3):
    numbers = range(start, start + 3)
    shas = [hashlib.sha256(str(n).encode()).hexdigest() for n in numbers]
    cache = cache_module.VectorCache(folder, {D})
    cache.append(shas, np.array([[n + i for i in range({D})] for n in numbers], np.float32))
cache_module.VectorCache(folder, {D}).compact()
print("finished")
"""
# The fifth shard is the one that puts the four others together.
PLACES = [
    "cache.shard-writing:1",
    "cache.shard-writing:5",
    "cache.shard-written:2",
    "cache.shard-written:5",
    "cache.shard-renamed:2",
    "cache.shard-renamed:5",
    "cache.shard-synced:1",
    "cache.shard-unlinked:1",
    "cache.shard-unlinked:4",
]


def run_writer(folder: Path, fault: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {faults.ENVIRONMENT_NAME: fault}
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", WRITER, str(folder)]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("place", PLACES)
def test_killed_anywhere_it_keeps_every_finished_shard(tmp_path: Path, place: str) -> None:
    assert run_writer(tmp_path, place).returncode == faults.EXIT_CODE
    step, _, count = place.partition(":")
    finished = int(count) if step in ("cache.shard-renamed", "cache.shard-synced") else int(count) - 1
    least = 12 if step == "cache.shard-unlinked" else 3 * min(finished, 4)
    cache = VectorCache(tmp_path, D)
    assert len(cache) == least
    expected = np.array([vector(n) for n in range(least)]).reshape(least, D)
    np.testing.assert_array_equal(cache.gather([sha(n) for n in range(least)]), expected)
    assert run_writer(tmp_path).stdout == "finished\n"
    cache = VectorCache(tmp_path, D)
    np.testing.assert_array_equal(cache.gather([sha(n) for n in range(12)]), [vector(n) for n in range(12)])
    assert problems(tmp_path) == {}


def test_two_processes_may_append_and_put_together_at_once(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [writer.communicate()[0] for writer in writers] == ["finished\n"] * 3
    cache = VectorCache(tmp_path, D)
    assert len(cache) == 12
    np.testing.assert_array_equal(cache.gather([sha(n) for n in range(12)]), [vector(n) for n in range(12)])


# ------------------------------------------------------------------------------------------- any order of operations


class Histories(RuleBasedStateMachine):
    """Appending, reopening, putting together and damage in any order: the cache never lies about a vector."""

    @initialize()
    def start(self) -> None:
        import tempfile

        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name)
        self.cache = VectorCache(self.folder, D)
        self.known: set[int] = set()
        self.certain = True

    @rule(numbers=st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True))
    def append(self, numbers: list[int]) -> None:
        self.cache.append([sha(n) for n in numbers], np.stack([vector(n) for n in numbers]))
        self.known |= set(numbers)

    @rule()
    def reopen(self) -> None:
        self.cache = VectorCache(self.folder, D)

    @rule(many=st.integers(1, 4), rows=st.integers(2, 20))
    def compact(self, many: int, rows: int) -> None:
        kept = cache_module.MANY_SHARDS, cache_module.MERGED_ROWS
        cache_module.MANY_SHARDS, cache_module.MERGED_ROWS = many, rows
        try:
            self.cache.compact()
        finally:
            cache_module.MANY_SHARDS, cache_module.MERGED_ROWS = kept

    @rule(choice=st.randoms(use_true_random=False), damage=st.sampled_from(DAMAGES))
    def damage(self, choice: random.Random, damage: Any) -> None:
        files = shards(self.folder)
        if files:
            victim = choice.choice(files)
            # A new file under the old name: the mapping of the open cache must not shrink under it.
            (victim.parent / "x").write_bytes(damage(victim.read_bytes()))
            (victim.parent / "x").replace(victim)
            self.cache = VectorCache(self.folder, D)
            self.certain = False

    @invariant()
    def tells_the_truth(self) -> None:
        missing = set(self.cache.missing([sha(n) for n in range(31)]))
        there = [n for n in range(31) if n not in missing]
        assert set(there) <= self.known
        assert len(self.cache) == len(there)
        if self.certain:
            assert set(there) == self.known
        expected = np.stack([vector(n) for n in there]) if there else np.empty((0, D))
        np.testing.assert_array_equal(self.cache.gather([sha(n) for n in there]), expected)

    def teardown(self) -> None:
        if hasattr(self, "scratch"):
            self.scratch.cleanup()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
