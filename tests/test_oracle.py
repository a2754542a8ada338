"""The scripted annotator: truth from folders and tables, found by content, whatever the files are called."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from labeler import Oracle
from labeler.domain import Action, Proposal, TruthError
from labeler.pool.disk import sha256_of
from tests.workspaces import CLASSES


def proposals(folder: Path, files: list[Path], predicted: str | None = None) -> list[Proposal]:
    """Copies of the files under other names, as a workspace would have them."""
    made = []
    for number, file in enumerate(files):
        copy = folder / f"renamed-{number}.png"
        shutil.copy(file, copy)
        made.append(Proposal(sha256_of(copy), copy.name, number + 1, None, None, predicted))
    return made


def test_a_folder_is_matched_by_content(truth: Path, tmp_path: Path) -> None:
    files = [next((truth / label).iterdir()) for label in CLASSES]
    answers = Oracle.from_folder(truth).answer(proposals(tmp_path, files, CLASSES[0]), tmp_path, CLASSES)
    assert [(a.label, a.action) for a in answers] == [(CLASSES[0], Action.CONFIRM), (CLASSES[1], Action.CORRECT)]
    assert len({a.op_id for a in answers}) == 2


def test_class_folders_match_whatever_their_spelling(truth: Path, tmp_path: Path) -> None:
    spelt = tmp_path / "spelt"
    shutil.copytree(truth / CLASSES[0], spelt / "ROUND")
    [answer] = Oracle(spelt).answer(proposals(tmp_path, [next((spelt / "ROUND").iterdir())]), tmp_path, CLASSES)
    assert answer.label == CLASSES[0]


def test_a_table_is_matched_by_content_or_else_by_name(truth: Path, tmp_path: Path) -> None:
    here, gone = sorted((truth / CLASSES[1]).iterdir())[:2]
    table = tmp_path / "truth.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "label"], [here, CLASSES[1]], ["pool/renamed-1.png", CLASSES[0]]])
    answers = Oracle.from_csv(table).answer(proposals(tmp_path, [here, gone]), tmp_path, CLASSES)
    assert [answer.label for answer in answers] == [CLASSES[1], CLASSES[0]]


def test_one_image_under_two_classes_is_no_truth(truth: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    file = next((truth / CLASSES[0]).iterdir())
    for label in CLASSES:
        (both / label).mkdir(parents=True)
        shutil.copy(file, both / label)
    with pytest.raises(TruthError, match="under two classes"):
        Oracle(both).answer(proposals(tmp_path, [file]), tmp_path, CLASSES)


@pytest.mark.parametrize("share", [{"noise": 1.5}, {"noise": -0.1}, {"skip_rate": float("nan")}])
def test_shares_are_from_0_to_1(truth: Path, share: dict[str, float]) -> None:
    with pytest.raises(TruthError, match="shares"):
        Oracle(truth, noise=share.get("noise", 0.0), skip_rate=share.get("skip_rate", 0.0))


def test_noise_and_skips_come_about_as_often_as_asked_and_do_not_depend_on_order(truth: Path, tmp_path: Path) -> None:
    files = sorted(truth.rglob("*.png"))
    asked = proposals(tmp_path, files)
    oracle = Oracle(truth, CLASSES, noise=0.3, skip_rate=0.2, seed=1)
    answers = {a.sha256: a for a in oracle.answer(asked, tmp_path, CLASSES)}
    again = {a.sha256: a for a in oracle.answer(asked[::-1], tmp_path, CLASSES)}
    assert {s: (a.action, a.label) for s, a in answers.items()} == {s: (a.action, a.label) for s, a in again.items()}
    skipped = sum(a.action is Action.SKIP for a in answers.values())
    wrong = sum(a.label is not None and a.label != oracle.label(s, Path("nowhere.png")) for s, a in answers.items())
    assert 4 <= skipped <= 22
    assert 6 <= wrong <= 28
