"""What is written to disk: whole, balanced, reproducible, and told apart by the faces alone."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from labeler.demo import DemoError, Truth, dataset, write_dataset
from labeler.domain import LabelerError, Progress
from labeler.pool.decode import decode

POOL, TEST = 44, 30


@pytest.fixture(scope="module")
def told() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, told: list[Progress]) -> Truth:
    return write_dataset(tmp_path_factory.mktemp("demo"), pool=POOL, test=TEST, seed=3, progress=told.append)


def rows(truth: Truth) -> list[tuple[str, str]]:
    with truth.csv.open(newline="", encoding="utf-8") as file:
        return [(row["path"], row["label"]) for row in csv.DictReader(file)]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_truth_names_every_file_and_no_other(truth: Truth) -> None:
    listed = [path for path, _ in rows(truth)]
    on_disk = {*digests(truth.csv.parent)} - {"truth.csv"}
    assert len(listed) == len(set(listed)) == POOL + TEST
    assert set(listed) == on_disk
    assert len(list(truth.pool.iterdir())) == POOL
    assert not (truth.csv.parent / ".unfinished").exists()


def test_the_test_folders_agree_with_the_truth(truth: Truth) -> None:
    for path, label in rows(truth):
        parts = Path(path).parts
        assert parts[0] == "pool" or parts[:2] == ("test", label)
    assert {folder.name for folder in truth.test.iterdir()} == {"withMask", "withoutMask"}


def test_both_parts_are_about_balanced(truth: Truth) -> None:
    for part, count in (("pool/", POOL), ("test/", TEST)):
        masked = sum(label == "withMask" for path, label in rows(truth) if path.startswith(part))
        assert 0.43 * count <= masked <= 0.57 * count


def test_every_file_decodes_upright_through_the_pool(truth: Truth) -> None:
    for path, _ in rows(truth):
        pixels = decode(truth.csv.parent / path, max_pixels=10**6)
        assert pixels.dtype == np.uint8
        assert pixels.shape in {(size, size, 3) for size in (192, 208, 224, 240, 256)}


def test_formats_are_mixed_and_no_bytes_repeat(truth: Truth) -> None:
    suffixes = Counter(Path(path).suffix for path, _ in rows(truth))
    assert set(suffixes) == {".jpg", ".png", ".webp"}
    assert suffixes[".jpg"] > 0.7 * (POOL + TEST)
    assert len(set(digests(truth.csv.parent).values())) == POOL + TEST + 1


def test_turned_files_look_the_same_once_turned_back(tmp_path: Path) -> None:
    pictures = []
    for orientation in (1, 3, 6, 8):
        job = dataset.Job(f"{orientation}.jpg", seed=8, masked=True, size=192, quality=95, orientation=orientation)
        dataset.draw_to_file(job, tmp_path)
        pictures.append(decode(tmp_path / job.path, max_pixels=10**6).astype(int))
    raw = np.asarray(Image.open(tmp_path / "6.jpg"), int)
    assert np.abs(raw - pictures[0]).mean() > 10, "stored on its side"
    for picture in pictures[1:]:
        assert np.abs(picture - pictures[0]).mean() < 2


def test_some_files_are_turned() -> None:
    jobs, _ = dataset._plan(400, 200, 0, ("a", "b"))
    turned = [job.orientation for job in jobs if job.orientation != 1]
    assert set(turned) == {3, 6, 8}
    assert len(turned) < 60


def test_names_and_storage_do_not_give_the_class_away() -> None:
    jobs, labels = dataset._plan(3000, 0, 1, ("a", "b"))
    assert [job.path for job in jobs[:2]] == [f"pool/face-000{n}.{Path(jobs[n - 1].path).suffix[1:]}" for n in (1, 2)]
    for trait in ("size", "quality", "orientation"):
        means = [
            np.mean([getattr(j, trait) for j, label in zip(jobs, labels, strict=True) if label == c]) for c in "ab"
        ]
        spread = np.std([getattr(job, trait) for job in jobs])
        assert abs(means[0] - means[1]) < 0.13 * spread, trait
    masked = np.array([job.masked for job in jobs])
    assert 0.4 < np.mean(masked[1:] == masked[:-1]) < 0.6, "in no order"


def test_mean_colour_and_size_do_not_tell_the_class(truth: Truth) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = [], []
    for path, label in rows(truth):
        file = truth.csv.parent / path
        pixels = decode(file, max_pixels=10**6)
        features.append([*pixels.mean(axis=(0, 1)), *pixels.std(axis=(0, 1)), len(pixels), file.stat().st_size])
        labels.append(label)
    guess = make_pipeline(StandardScaler(), LogisticRegression())
    assert cross_val_score(guess, np.array(features), labels, cv=5).mean() < 0.75


def test_progress_counts_up_to_the_end(truth: Truth, told: list[Progress]) -> None:
    assert [step.done for step in told] == list(range(1, POOL + TEST + 1))
    assert {step.total for step in told} == {POOL + TEST}


def test_same_seed_same_bytes_and_other_seed_other_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_dataset(tmp_path / name, pool=6, test=4, seed=seed, classes=("yes", "no"))
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again
    assert not set(first.values()) & set(other.values())
    assert {Path(path).parts[1] for path in first if path.startswith("test/")} == {"yes", "no"}


def test_processes_draw_what_one_process_draws(tmp_path: Path) -> None:
    jobs, _ = dataset._plan(6, 0, 2, ("a", "b"))
    for name in ("alone", "together"):
        (tmp_path / name / "pool").mkdir(parents=True)
    assert list(dataset._drawn_here(jobs, tmp_path / "alone")) == [1, 2, 3, 4, 5, 6]
    assert list(dataset._drawn_by(2, jobs, tmp_path / "together")) == [1, 2, 3, 4, 5, 6]
    assert digests(tmp_path / "alone") == digests(tmp_path / "together")


def test_a_process_that_cannot_write_says_why(tmp_path: Path) -> None:
    jobs, _ = dataset._plan(4, 0, 2, ("a", "b"))
    with pytest.raises(DemoError, match="No such file or directory"):
        list(dataset._drawn_by(2, jobs, tmp_path / "nowhere"))


def test_giving_up_leaves_no_process_behind(tmp_path: Path) -> None:
    jobs, _ = dataset._plan(200, 0, 2, ("a", "b"))
    (tmp_path / "pool").mkdir()
    drawing = dataset._drawn_by(2, jobs, tmp_path)
    next(iter(drawing))
    close = drawing.close  # type: ignore[attr-defined]  # a generator, promised as an iterator
    close()
    alive = [child for child in psutil.Process().children() if "labeler.demo" in " ".join(child.cmdline())]
    assert alive == []
    assert len(list((tmp_path / "pool").iterdir())) < 200


@pytest.mark.parametrize("taken", ["pool", "test", "truth.csv"])
def test_nothing_that_is_there_is_touched(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).mkdir()
    with pytest.raises(DemoError, match="is there already"):
        write_dataset(tmp_path, pool=2, test=2)
    assert [entry.name for entry in tmp_path.iterdir()] == [taken]


def test_an_interrupted_set_is_begun_again(tmp_path: Path) -> None:
    def stop(step: Progress) -> None:
        if step.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, pool=6, test=2, progress=stop)
    assert not (tmp_path / "pool").exists(), "a half set is never mistaken for a whole one"
    truth = write_dataset(tmp_path, pool=6, test=2)
    assert len(rows(truth)) == 8
    shutil.rmtree(truth.pool)


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", encoding="utf-8")
    with pytest.raises(LabelerError) as caught:
        write_dataset(blocked / "demo", pool=2, test=2)
    assert str(blocked) in caught.value.what
    assert caught.value.remedy
    assert os.linesep not in str(caught.value)
