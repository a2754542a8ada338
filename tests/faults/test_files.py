"""Files of the workspace that are cut off or damaged: shards of vectors, models, the settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labeler import Oracle, worker
from labeler.domain import LabelerError, RoundState
from labeler.rounds import Workspace
from labeler.rounds.handout import REFRESH_JOB
from tests.faults.asking import ALL, Working, assert_heals, command, labels, opened
from tests.faults.breaking import assert_one_line, said


def shards(root: Path) -> list[Path]:
    return sorted((root / "db" / "cache" / "vectors").rglob("*.vectors"))


@pytest.mark.parametrize("keep", [0.0, 0.0005, 0.5, 0.9999])
def test_a_cut_off_shard_is_made_anew(keep: float, working: Working) -> None:
    """The same images are proposed as if nothing had been: their vectors are made again from the files."""
    root = working()
    with opened(root) as ws:
        before = ws.learner.everything()
    [shard] = shards(root)
    size = shard.stat().st_size
    with shard.open("r+b") as stream:
        stream.truncate(int(size * keep))
    with opened(root) as ws:
        after = ws.learner.everything()
    assert after.raw.tobytes() == before.raw.tobytes()
    assert [file.stat().st_size > 0 for file in shards(root)] == [True]
    assert_heals(root, ALL)


def test_a_shard_that_cannot_be_read_is_not_thrown_away(working: Working) -> None:
    root = working()
    [shard] = shards(root)
    shard.rename(shard.with_name("kept"))
    shard.mkdir()
    with opened(root) as ws:
        assert len(ws.learner.everything().refs)
    assert shard.is_dir()
    assert_heals(root, ALL)


@pytest.mark.parametrize("damage", ["empty", "half", "changed", "gone"])
def test_a_damaged_model_is_named_and_training_replaces_it(damage: str, working: Working, truth: Path) -> None:
    root = working()
    [model] = (root / "db" / "models").glob("*.npz")
    content = model.read_bytes()
    if damage == "gone":
        model.unlink()
    else:
        flipped = content[:500] + bytes([content[500] ^ 1]) + content[501:]
        model.write_bytes({"empty": b"", "half": content[: len(content) // 2], "changed": flipped}[damage])
    image = next(truth.rglob("*.png"))
    for arguments in (["predict", image], ["evaluate"], ["sort"], ["export", root / "m.tflite", "--format", "litert"]):
        assert_one_line(*command(*arguments, "-w", root, "-q"), "model")
    assert_one_line(*command("predict", image, "-w", root, "-q"), model.name, "run `labeler train`")
    before = labels(root)
    code, _, err = command("train", "-w", root, "-q")
    assert code == 0, err
    assert labels(root) == before
    with opened(root) as ws:
        assert ws.round(annotator=Oracle.from_folder(truth)).state == RoundState.EVALUATED
        assert ws.predict([image])[0]["predicted"]


def test_a_round_whose_model_is_damaged_ends_with_a_new_one(working: Working, truth: Path) -> None:
    """The labels are what counts: a round that is decided trains on them whatever became of the last model."""
    root = working()
    [model] = (root / "db" / "models").glob("*.npz")
    model.write_bytes(model.read_bytes()[:1000])
    with opened(root) as ws:
        assert ws.round(annotator=Oracle.from_folder(truth)).state == RoundState.EVALUATED
        assert ws.round().state == RoundState.PROPOSED


def test_the_worker_says_what_is_wrong_with_a_model(working: Working) -> None:
    """A job that fails shows its line on the page, and the worker lives on."""
    root = working()
    [model] = (root / "db" / "models").glob("*.npz")
    model.write_bytes(b"")
    with opened(root) as ws:
        ws.request_round()
        assert worker.work_once(ws)
        job = ws.live().job
        assert job is not None
        assert job.kind == REFRESH_JOB
        if job.state != "done":  # a ranking by a model that cannot be read
            assert "run `labeler train`" in job.message
            assert "unexpected" not in job.message
        ws.train()
        ws.request_round()
        assert worker.work_once(ws)
        assert ws.live().job is not None
        assert ws.live().job.state == "done"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["labeler.toml is empty: it was cut off", "remove it"]),
        (b'classes = ["round", "squ', ["labeler.toml is not valid TOML", "correct the file"]),
        (b"\xff\xfe\x00c\x00l", ["labeler.toml is not valid TOML", "utf-8"]),
        (b"k = 5\0", ["labeler.toml is not valid TOML"]),
        (b"[" * 5_000, ["labeler.toml is not valid TOML"]),
        (b"k = " + b"[" * 5_000, ["labeler.toml is not valid TOML"]),
        (b"colour = 'red'", ["unknown setting 'colour' in labeler.toml", "labeler settings"]),
        (b"k = 'many'", ["k = 'many' in labeler.toml does not fit"]),
        (b"k = nan", ["k = nan in labeler.toml does not fit"]),
        (b"k = 99999999999999999999", ["k = 99999999999999999999 in labeler.toml is too large"]),
        (b"sort_above = nan", ["sort_above = nan in labeler.toml"]),
        (b"classes = [['round'], 'square']", ["cannot be a folder name"]),
        (b"patience_s = inf", ["patience_s = inf in labeler.toml is too large"]),
        (b"k = 2026-11-22", ["k = "]),
        (b"seed = true", ["seed = True in labeler.toml does not fit"]),
    ],
)
def test_damaged_settings(content: bytes, words: list[str], working: Working) -> None:
    """No setting is made up for one that cannot be read: other classes would disown every label."""
    root = working()
    file = root / "labeler.toml"
    kept = file.read_bytes()
    file.write_bytes(content)
    for arguments in (["status"], ["round"], ["settings"]):
        assert_one_line(*command(*arguments, "-w", root), *words)
    file.write_bytes(kept)
    assert_heals(root, ALL)


def test_settings_that_are_a_folder(working: Working) -> None:
    root = working()
    (root / "labeler.toml").unlink()
    (root / "labeler.toml").mkdir()
    assert_one_line(*command("status", "-w", root), "labeler.toml cannot be read: Is a directory", "remove it")


def test_leftovers_of_killed_writers_are_swept(working: Working) -> None:
    root = working()
    for place in ("pools/Train/round", "pools/Unlabelled", "pools/Quarantine"):
        (root / place / ".labeler-tmp-0123456789abcdef-deadbeef").write_bytes(b"half an image")
    code, out, _ = command("verify", "-w", root, "--json")
    assert code == 1
    assert {d["kind"] for d in json.loads(out)["differences"]} == {"leftover"}
    assert_heals(root, ALL)
    assert not list((root / "pools").rglob(".*"))


def test_an_error_of_the_system_is_no_bug(working: Working, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system refuses where nobody thought of it still comes as one line with the file's name."""
    root = working()

    def refused(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error", str(root / "db" / "strange\nname"))

    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Workspace, "status", refused)
    assert_one_line(*command("status", "-w", root), r"strange\x0aname: Input/output error", "look at the disk")
    monkeypatch.setattr(Workspace, "status", exhausted)
    assert_one_line(*command("status", "-w", root), "not enough memory", "LABELER_THREADS=1")
    with pytest.raises(LabelerError) as caught, opened(root) as ws:
        ws.import_images(root / "nowhere")
    said(caught.value, "does not exist")
