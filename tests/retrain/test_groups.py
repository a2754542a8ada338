"""Groups from file names and from a CSV, and what is said of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.domain import LabelerError
from labeler.pool.csv_table import write_csv
from labeler.retrain.evaluate import wilson
from labeler.retrain.groups import OTHER, SMALLEST, from_csv, from_names, summary

CLASSES = ("withMask", "withoutMask")


def test_the_first_word_that_says_something() -> None:
    names = {
        "pools/Test/withMask/beard_012.jpg": "beard",
        "a/Beard-7.png": "beard",
        "withMask_beard 3.jpg": "beard",
        "without-mask_tanned-face-1.jpg": "tanned",
        "IMG_0042_beard.jpg": "beard",
        "12 tanned.jpg": "tanned",
        "004db603b236.jpg": None,
        "deadbeefcafe.jpg": None,
        "IMG_0042.jpg": None,
        "a_b_c1.jpg": None,
        "withoutMask_99.jpg": None,
        "maske.jpg": "maske",
        "Bärte_1.jpg": "bärte",
    }
    repeated = [path for path in names for _ in range(SMALLEST)]
    found = from_names(repeated, CLASSES)
    assert found is not None
    assert dict(zip(repeated, found, strict=True)) == names


@pytest.mark.parametrize(
    "names",
    [
        ["IMG_1.jpg", "IMG_2.jpg"] * 10,
        ["withMask_1.jpg"] * 10 + ["withoutMask_2.jpg"] * 10,
        ["beard_1.jpg"] * 50,
        ["beard_1.jpg"] * 50 + ["scarf_1.jpg"] * (SMALLEST - 1),
        [],
    ],
)
def test_names_that_tell_nothing_apart(names: list[str]) -> None:
    assert from_names(names, CLASSES) is None


@given(st.lists(st.text(min_size=1, max_size=20)))
def test_any_names(paths: list[str]) -> None:
    found = from_names(paths, CLASSES)
    assert found is None or len(found) == len(paths)


def test_worst_first_and_small_ones_together() -> None:
    names = ["beard"] * 10 + ["scarf"] * 20 + ["hat"] * 3 + [None] * 4 + ["scarf"] * 10
    y = np.zeros(len(names), dtype=np.int64)
    predicted = y.copy()
    predicted[:2] = 1  # two beards
    predicted[30] = 1  # a hat
    beard, scarf, other = summary(names, y, predicted)
    assert (beard.name, beard.n, beard.hits, beard.accuracy) == ("beard", 10, 8, 0.8)
    assert (beard.low, beard.high) == wilson(8, 10)
    assert (scarf.name, scarf.n, scarf.hits) == ("scarf", 30, 30)
    assert (other.name, other.n, other.hits) == (OTHER, 7, 6)


def test_a_group_called_other_joins_the_rest() -> None:
    y = np.zeros(8, dtype=np.int64)
    (only,) = summary(["other"] * 6 + [None, None], y, y)
    assert (only.name, only.n) == (OTHER, 8)


def test_lengths_must_fit() -> None:
    with pytest.raises(ValueError, match="2 groups"):
        summary(["a", "b"], np.zeros(3, np.int64), np.zeros(3, np.int64))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.booleans()), min_size=1, max_size=60))
def test_nobody_is_lost(cases: list[tuple[str | None, bool]]) -> None:
    y = np.zeros(len(cases), dtype=np.int64)
    predicted = np.array([0 if hit else 1 for _, hit in cases])
    groups = summary([name for name, _ in cases], y, predicted)
    assert sum(group.n for group in groups) == len(cases)
    assert sum(group.hits for group in groups) == sum(hit for _, hit in cases)
    assert all(group.low <= group.accuracy <= group.high for group in groups)
    named = [group for group in groups if group.name != OTHER]
    assert [group.accuracy for group in named] == sorted(group.accuracy for group in named)
    assert all(group.n >= SMALLEST for group in named)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("pools/Test/a/1.jpg", "pools/Test/b/1.jpg", "pools/Test/b/2.jpg", "pools/Test/b/3.jpg"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


PATHS = ("pools/Test/a/1.jpg", "pools/Test/b/1.jpg", "pools/Test/b/2.jpg", "pools/Test/b/3.jpg")


def test_csv_by_path_by_place_and_by_name(root: Path) -> None:
    file = root / "pools" / "groups.csv"
    file.write_text(
        "group,path,note\nbeard,pools/Test/a/1.jpg,as shown\nscarf,Test/b/1.jpg,beside the CSV\nhat,3.jpg,by name\n"
        "hat,elsewhere/7.jpg,another image\n",
        encoding="utf-8-sig",
    )
    assert from_csv(file, PATHS, root) == ("beard", "scarf", None, "hat")


def test_csv_with_an_absolute_path_and_without_a_header(root: Path) -> None:
    file = root / "groups.csv"
    file.write_text(f"{root / PATHS[2]},hat\n\nold/place/3.jpg,scarf\n")
    assert from_csv(file, PATHS, root) == (None, None, "hat", "scarf")


def test_csv_a_name_that_is_there_twice_means_nobody(root: Path) -> None:
    file = root / "groups.csv"
    file.write_text("path,group\n1.jpg,beard\n2.jpg,hat\nx/3.jpg,scarf\ny/3.jpg,hat\n")
    assert from_csv(file, PATHS, root) == (None, None, "hat", None)


def test_csv_as_this_program_writes_it(tmp_path: Path) -> None:
    """A path that a spreadsheet would run has an apostrophe before it."""
    write_csv(tmp_path / "groups.csv", [("=1.jpg", "beard"), ("-2.jpg", "hat")], header=("path", "group"))
    assert from_csv(tmp_path / "groups.csv", ("=1.jpg", "-2.jpg"), tmp_path) == ("beard", "hat")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,group\n2.jpg,\n", "line 2 needs a path and a group"),
        ("path,group\n,hat\n", "line 2 needs a path and a group"),
        ("path,group\n2.jpg\n", "line 2 needs a path and a group"),
        ("path,group\npools/Test/b/2.jpg,hat\n./pools/Test/b/2.jpg,beard\n", "is in two groups, hat and beard"),
        ("path,group\nnobody.jpg,hat\n", "names none of the 4 images"),
        ("", "names none of the 4 images"),
        ('path,group\n"2.jpg,hat\n', "is not a CSV"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (None, "cannot be read"),
    ],
)
def test_csv_that_does_not_do(root: Path, text: str | bytes | None, said: str) -> None:
    file = root / "groups.csv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LabelerError, match=said) as caught:
        from_csv(file, PATHS, root)
    assert "groups.csv" in caught.value.what
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
