"""Files that vanish, change, swap their names, or are in the way, between a proposal and its answer."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from labeler import Oracle
from labeler.domain import RoundState
from labeler.record import images
from tests.checks import assert_sound
from tests.faults.asking import ALL, Working, command, labels, opened, proposed_answers


def test_a_file_vanishes_between_proposal_and_decision(working: Working, truth: Path, tmp_path: Path) -> None:
    root = working()
    with opened(root) as ws:
        first, *rest = proposed_answers(ws, truth)
        file = next(ws.paths.absolute(p.path) for p in ws.round().proposals if p.sha256 == first.sha256)
        file.rename(tmp_path / "elsewhere.png")
        ws.decide("ann", [first, *rest], round=2)
        kinds = {d["kind"] for d in ws.verify()["differences"]}
        assert kinds <= {"pending-move", "missing-file"}
        assert ws.verify(repair=True)["clean"]
        assert ws.status()["missing"] == 1
        (tmp_path / "elsewhere.png").rename(file)
        assert ws.round(annotator=Oracle.from_folder(truth)).state == RoundState.EVALUATED
        assert labels(root)[first.sha256] == first.label, "the answer stayed, and counts now that the file is back"
        assert ws.verify(repair=True)["clean"]
        assert_sound(ws, ALL)


def test_a_file_changes_between_proposal_and_decision(working: Working, truth: Path, more: Path) -> None:
    """What was decided was decided of other bytes: the new ones are a new image, and nobody's label is put on them."""
    root = working()
    with opened(root) as ws:
        first, *rest = proposed_answers(ws, truth)
        file = next(ws.paths.absolute(p.path) for p in ws.round().proposals if p.sha256 == first.sha256)
        new = (more / "more-00.png").read_bytes()
        file.write_bytes(new)
        ws.decide("ann", [first, *rest], round=2)
        assert file.read_bytes() == new, "it is not the file that was decided on, so it stays where it is"
        ws.run_round_job()
        ws.verify(repair=True)
        assert ws.verify()["clean"]
        assert ws.status()["missing"] == 1
        with ws.store.read() as session:
            row = images.by_sha(session, hashlib.sha256(new).hexdigest())
            assert row is not None
            assert ws.paths.absolute(row.path).read_bytes() == new
            assert row.label is None
            assert row.split == "unlabelled"


def test_a_file_that_was_edited_in_its_place(working: Working, more: Path) -> None:
    """Another picture under the name of one that waits: the old image is missing, the new one is in the pool."""
    root = working()
    with opened(root) as ws:
        proposed = {Path(p.path).name for p in ws.round().proposals}
        waiting = next(f for f in sorted((root / "pools" / "Unlabelled").iterdir()) if f.name not in proposed)
        new = (more / "more-01.png").read_bytes()
        waiting.write_bytes(new)
        ws.run_round_job()
        assert command("verify", "--repair", "-w", root, "-q")[0] == 0
        assert ws.status()["missing"] == 1
        with ws.store.read() as session:
            row = images.by_sha(session, hashlib.sha256(new).hexdigest())
            assert row is not None
            assert (row.path, row.label) == (f"pools/Unlabelled/{waiting.name}", None)


def test_files_that_swap_their_names(working: Working) -> None:
    """Both are known, neither is a twin of the other, and a third that was only touched is none either."""
    root = working()
    first, second, touched, *_ = sorted((root / "pools" / "Unlabelled").iterdir())
    first.rename(root / "aside")
    second.rename(first)
    (root / "aside").rename(second)
    os.utime(touched)
    with opened(root) as ws:
        assert {d["kind"] for d in ws.verify()["differences"]} == {"changed-file"}
        assert ws.round().state == RoundState.PROPOSED
        assert ws.verify(repair=True)["clean"]
        assert ws.status()["missing"] == 0
        assert not list(ws.paths.quarantine.iterdir())
        assert_sound(ws, ALL)


@pytest.mark.parametrize("kind", ["file", "folder", "link", "empty"])
def test_a_name_that_is_taken_in_the_class_folder(kind: str, working: Working, truth: Path, more: Path) -> None:
    root = working()
    with opened(root) as ws:
        first, *rest = proposed_answers(ws, truth)
        name = Path(next(p.path for p in ws.round().proposals if p.sha256 == first.sha256)).name
        taken = root / "pools" / "Train" / str(first.label) / name
        if kind == "file":
            shutil.copy(more / "more-00.png", taken)
        elif kind == "folder":
            taken.mkdir()
        elif kind == "link":
            taken.symlink_to(root / "labeler.toml")
        else:
            taken.touch()
        before = os.lstat(taken)
        ws.decide("ann", [first, *rest], round=2)
        with ws.store.read() as session:
            row = images.by_sha(session, first.sha256)
            assert row is not None
            assert Path(row.path).name == f"{taken.stem}-{first.sha256[:8]}.png"
        assert os.path.samestat(before, os.lstat(taken)), "what lay there is untouched"
        assert (root / "labeler.toml").read_text().startswith("# Settings")
        ws.round(annotator=Oracle.from_folder(truth))
        assert ws.verify(repair=True)["clean"]
