"""Layouts as people have them on disk, and CSV files as people write them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.domain import LabelerError, Split, TruthError
from labeler.pool.csv_table import read_rows
from labeler.pool.layouts import Found, read_layout, read_truth, write_csv

CLASSES = ("withMask", "withoutMask")
TRAIN, VALIDATION, TEST, UNLABELLED = Split.TRAIN, Split.VALIDATION, Split.TEST, Split.UNLABELLED


def tree(root: Path, *files: str) -> Path:
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return root


def layout(
    source: Path, into: str = "auto", classes: tuple[str, ...] = CLASSES
) -> dict[str, tuple[Split | None, str | None]]:
    base = source if source.is_dir() else source.parent
    found = list(read_layout(source, into=into, classes=classes))
    assert all(isinstance(item, Found) for item in found)
    result = {item.file.relative_to(base).as_posix(): (item.split, item.label) for item in found}
    assert len(result) == len(found)
    return result


@pytest.mark.parametrize("folder", ["withMask", "WithMask", "with_mask", "With Mask", "with-mask", "WITHMASK"])
@pytest.mark.parametrize("split", ["Train", "train", "TRAINING"])
def test_class_and_split_names_match_by_their_letters(split: str, folder: str, tmp_path: Path) -> None:
    source = tree(tmp_path / "data", f"{split}/{folder}/a.jpg")
    assert layout(source) == {f"{split}/{folder}/a.jpg": (TRAIN, "withMask")}


def test_the_12k_tree(tmp_path: Path) -> None:
    prefix = "Face Mask Dataset"
    source = tree(
        tmp_path / "archive",
        f"{prefix}/Train/WithMask/1.png",
        f"{prefix}/Train/WithoutMask/2.png",
        f"{prefix}/Validation/WithMask/3.png",
        f"{prefix}/Test/WithoutMask/4.png",
    )
    expected = {
        f"{prefix}/Test/WithoutMask/4.png": (TEST, "withoutMask"),
        f"{prefix}/Train/WithMask/1.png": (TRAIN, "withMask"),
        f"{prefix}/Train/WithoutMask/2.png": (TRAIN, "withoutMask"),
        f"{prefix}/Validation/WithMask/3.png": (VALIDATION, "withMask"),
    }
    assert layout(source) == expected
    assert {split for split, _ in layout(source, "test").values()} == {TEST}
    assert set(layout(source, "unlabelled").values()) == {(UNLABELLED, None)}
    assert layout(source / prefix / "Test") == {"WithoutMask/4.png": (TEST, "withoutMask")}
    assert layout(source / prefix / "Test" / "WithoutMask") == {"4.png": (TRAIN, "withoutMask")}


def test_one_folder_per_class_goes_to_train(tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "withMask/x.jpg", "withoutMask/deep/er/y.jpg", "loose.jpg", "cats/z.jpg")
    assert layout(source) == {
        "withMask/x.jpg": (TRAIN, "withMask"),
        "withoutMask/deep/er/y.jpg": (TRAIN, "withoutMask"),
        "loose.jpg": (UNLABELLED, None),
        "cats/z.jpg": (UNLABELLED, None),
    }


def test_flat_folder_and_single_file(tmp_path: Path) -> None:
    source = tree(tmp_path / "flat", "b.jpg", "a.jpg", "sub/c.jpg", ".hidden/d.jpg", "Thumbs.db")
    assert list(layout(source)) == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert layout(source / "a.jpg") == {"a.jpg": (UNLABELLED, None)}
    assert layout(source / "a.jpg", "unlabelled") == {"a.jpg": (UNLABELLED, None)}


def test_own_name_counts_only_where_nothing_below_does(tmp_path: Path) -> None:
    source = tree(tmp_path / "with_mask", "withoutMask/a.jpg", "b.jpg")
    assert layout(source) == {"withoutMask/a.jpg": (TRAIN, "withoutMask"), "b.jpg": (UNLABELLED, None)}
    source = tree(tmp_path / "other" / "with_mask", "c.jpg")
    assert layout(source) == {"c.jpg": (TRAIN, "withMask")}


def test_files_of_a_split_without_class_are_unlabelled(tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "Train/withMask/a.jpg", "Test/b.jpg", "Unlabelled/withMask/c.jpg")
    assert layout(source) == {
        "Train/withMask/a.jpg": (TRAIN, "withMask"),
        "Test/b.jpg": (UNLABELLED, None),
        "Unlabelled/withMask/c.jpg": (UNLABELLED, None),
    }


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "Train/test/a.jpg", "Train/control/b.jpg")
    assert layout(source, classes=("test", "control")) == {
        "Train/test/a.jpg": (TRAIN, "test"),
        "Train/control/b.jpg": (TRAIN, "control"),
    }


def test_companions_are_passed_over(tmp_path: Path) -> None:
    names = ["README.md", "readme", "LICENSE", "classes.TXT", "withMask/labels.csv", "withMask/a.json", "notes.xml"]
    source = tree(tmp_path / "d", "withMask/a.jpg", "withMask/letter.jpg", "withMask/b.pdf", *names)
    assert list(layout(source, "train")) == ["withMask/a.jpg", "withMask/b.pdf", "withMask/letter.jpg"]
    assert list(layout(source / "classes.TXT")) == ["classes.TXT"]


@pytest.mark.parametrize(
    ("files", "into", "words"),
    [
        (["cats/x.jpg"], "train", ["unknown class 'cats'", "withMask, withoutMask", "--into unlabelled"]),
        (["x.jpg"], "test", ["x.jpg has no class"]),
        (["Train/cats/x.jpg"], "auto", ["unknown class 'cats'"]),
        (["withMask/with_mask/a.jpg", "withMask/withoutMask/b.jpg"], "auto", ["two classes", "withoutMask"]),
        (["a.jpg"], "everything", ["--into everything"]),
    ],
)
def test_errors_name_the_file_and_what_to_do(files: list[str], into: str, words: list[str], tmp_path: Path) -> None:
    source = tree(tmp_path / "d", *files)
    with pytest.raises(LabelerError) as caught:
        list(read_layout(source, into=into, classes=CLASSES))
    assert all(word in str(caught.value) for word in words)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_missing_source_and_classes_alike(tmp_path: Path) -> None:
    with pytest.raises(LabelerError, match="does not exist"):
        list(read_layout(tmp_path / "none", into="auto", classes=CLASSES))
    with pytest.raises(LabelerError, match="not told apart"):
        list(read_layout(tmp_path, into="auto", classes=("a b", "a_b")))


def test_files_come_one_by_one(tmp_path: Path) -> None:
    source = tree(tmp_path / "d", "withMask/a.jpg", "zoo/b.jpg")
    found = read_layout(source, into="train", classes=CLASSES)
    assert next(iter(found)).label == "withMask"


# ----------------------------------------------------------------------------------------------------------- tables


def table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    file = tmp_path / "list.csv"
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize("start", ["", "path,label\n", "\ufeffFile,Class\r\n", "\n\n"])
def test_csv_with_and_without_header(start: str, tmp_path: Path) -> None:
    file = table(tmp_path, start + 'a.jpg,with_mask\n"deep/b, c.jpg",withoutMask\nd.jpg\n')
    assert layout(file) == {
        "a.jpg": (TRAIN, "withMask"),
        "deep/b, c.jpg": (TRAIN, "withoutMask"),
        "d.jpg": (UNLABELLED, None),
    }


def test_csv_columns_in_any_order_and_splits(tmp_path: Path) -> None:
    file = table(tmp_path, "id,split,label,path\n1,Val,withMask,a.jpg\n2,,withMask,b.jpg\n3,test,withoutMask,c.jpg\n")
    assert layout(file) == {
        "a.jpg": (VALIDATION, "withMask"),
        "b.jpg": (TRAIN, "withMask"),
        "c.jpg": (TEST, "withoutMask"),
    }


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        ("a.jpg,cats\n", "utf-8", ["a.jpg", "unknown class 'cats'"]),
        ("path,label,split\na.jpg,withMask,holdout\n", "utf-8", ["line 2", "unknown split 'holdout'"]),
        ("path,label\n,withMask\n", "utf-8", ["line 2", "no usable path"]),
        ("été.jpg,withMask\n", "latin-1", ["not UTF-8"]),
        ('"a.jpg,withMask\n', "utf-8", ["not a CSV"]),
    ],
)
def test_csv_errors(text: str, encoding: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(LabelerError) as caught:
        list(read_layout(table(tmp_path, text, encoding), into="auto", classes=CLASSES))
    assert all(word in str(caught.value) for word in words)


def test_csv_of_unknown_classes_can_be_taken_unlabelled(tmp_path: Path) -> None:
    assert layout(table(tmp_path, "a.jpg,cats\n"), "unlabelled") == {"a.jpg": (UNLABELLED, None)}


def test_written_csv_runs_nothing_and_is_read_back(tmp_path: Path) -> None:
    names = [
        "=cmd|' /C calc'!A0",
        "\t=1",
        " led by a space.jpg",
        "+1.jpg",
        "-a.jpg",
        "@x.jpg",
        "'quoted.jpg",
        "''=x",
        "plain, name.jpg",
        'été "1".jpg',
    ]
    file = tmp_path / "out.csv"
    assert write_csv(file, [(name, "withMask") for name in names]) == len(names)
    with file.open(encoding="utf-8", newline="") as stream:
        cells = [row[0] for row in csv.reader(stream)]
    assert cells[0] == "path"
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert [row.path for row in read_rows(file)] == names
    assert [item.name for item in tmp_path.iterdir()] == ["out.csv"]


printable = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=12)


@settings(deadline=None)  # it writes files: a busy disk is no fault
@given(st.lists(st.tuples(printable, st.sampled_from(CLASSES)), min_size=1, max_size=8))
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    file = tmp_path_factory.mktemp("csv") / "t.csv"
    write_csv(file, rows)
    assert [(row.path, row.label) for row in read_rows(file)] == rows


def test_csv_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    write_csv(file, [("a", "b")])
    before = file.read_bytes()

    def rows() -> object:
        yield ("c", "d")
        raise OSError(28, "No space left on device")

    with pytest.raises(LabelerError, match="No space left"):
        write_csv(file, rows())  # type: ignore[arg-type]
    assert file.read_bytes() == before
    with pytest.raises(LabelerError, match="cannot be written"):
        write_csv(tmp_path / "no" / "out.csv", [])
    assert [item.name for item in tmp_path.iterdir()] == ["out.csv"]


# ----------------------------------------------------------------------------------------- what a model filed by itself


def test_what_a_model_sorted_comes_in_without_its_label(tmp_path: Path) -> None:
    root = tree(tmp_path / "w", "pools/Sorted/withMask/a.jpg", "pools/Train/withMask/b.jpg", "pools/Unlabelled/c.jpg")
    expected = {"Sorted/withMask/a.jpg": UNLABELLED, "Train/withMask/b.jpg": TRAIN, "Unlabelled/c.jpg": UNLABELLED}
    for source, prefix in ((root, "pools/"), (root / "pools", "")):
        found = layout(source)
        assert {name: split for name, (split, _) in found.items()} == {prefix + k: v for k, v in expected.items()}
        assert found[f"{prefix}Sorted/withMask/a.jpg"] == (UNLABELLED, None)
    assert layout(root / "pools/Sorted") == {"withMask/a.jpg": (UNLABELLED, None)}
    said = layout(root / "pools/Sorted", into="train")
    assert said == {"withMask/a.jpg": (TRAIN, "withMask")}, "a person may say so"
    assert [file for file, _ in read_truth(root, CLASSES)] == [root / "pools/Train/withMask/b.jpg"]
    file = table(tmp_path, "path,label,split\na.jpg,withMask,sorted\nb.jpg,withMask,train\n")
    assert [(item.split, item.label) for item in read_layout(file, into="auto", classes=CLASSES)] == [
        (UNLABELLED, None),
        (TRAIN, "withMask"),
    ]


def test_a_folder_that_a_person_calls_sorted_is_like_any_other(tmp_path: Path) -> None:
    source = tree(tmp_path / "sorted", "withMask/a.jpg")
    assert layout(source) == {"withMask/a.jpg": (TRAIN, "withMask")}
    assert layout(tmp_path)["sorted/withMask/a.jpg"] == (TRAIN, "withMask")
    assert list(read_truth(source, CLASSES)) == [(source / "withMask/a.jpg", "withMask")]


# ------------------------------------------------------------------------------------------------------------ truth


def test_truth_from_folders(tmp_path: Path) -> None:
    source = tree(tmp_path / "truth", "with_mask/a.jpg", "withoutMask/b/c.jpg", "README.md", "loose.jpg")
    assert list(read_truth(source, CLASSES)) == [
        (source / "with_mask/a.jpg", "withMask"),
        (source / "withoutMask/b/c.jpg", "withoutMask"),
    ]


def test_truth_from_csv(tmp_path: Path) -> None:
    tree(tmp_path, "here.jpg")
    file = table(tmp_path, "here.jpg,withMask\nelsewhere.jpg,withoutMask\n")
    assert list(read_truth(file, CLASSES)) == [(tmp_path / "here.jpg", "withMask"), ("elsewhere.jpg", "withoutMask")]


@pytest.mark.parametrize("files", [["cats/a.jpg"], ["a.jpg"], ["withMask/withoutMask/a.jpg"]])
def test_truth_errors(files: list[str], tmp_path: Path) -> None:
    with pytest.raises(TruthError):
        list(read_truth(tree(tmp_path / "truth", *files), CLASSES))


def test_truth_csv_errors(tmp_path: Path) -> None:
    with pytest.raises(TruthError, match="has no class"):
        list(read_truth(table(tmp_path, "a.jpg\n"), CLASSES))
    with pytest.raises(TruthError, match="unknown class 'cats'"):
        list(read_truth(table(tmp_path, "a.jpg,cats\n"), CLASSES))
    with pytest.raises(TruthError, match="does not exist"):
        list(read_truth(tmp_path / "none", CLASSES))
    with pytest.raises(TruthError, match="cannot be read"):
        list(read_truth(tmp_path / "none.csv", CLASSES))
