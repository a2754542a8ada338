"""Refreshing the backbone: when it is due, who wins, and what holds when it is killed half-way.

One network trains for real, on 32 drawings, and every story uses it. The champion that is to lose has a head that is
kept from learning by its setting; the challenger that is to lose says the opposite of what it learned.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from labeler import Oracle, cli, faults, settings, worker
from labeler.domain import Action, Answer, JobState, NotTrainable, Split
from labeler.rank.head import QuickModel
from labeler.record import images, jobs, models, queries
from labeler.record.tables import DecisionRow, Evaluation, ModelVersion
from labeler.retrain import apart
from labeler.rounds import Workspace, networks, scan, tuning, version_files, versioning, versions
from labeler.rounds.handout import FINETUNE_JOB
from tests.checks import assert_sound
from tests.workspaces import CLASSES, POOL, TEST

QUICK: dict[str, Any] = {"classes": CLASSES, "epochs": 2, "views": 1, "batch": 8, "refresh": "finetune", "k": 8}
#: So strong a penalty keeps the head's weights at almost nothing.
WEAK = {"head_c": 1e-6, "learning_rate": 1e-3}
LABELS = 32
POINTS = ("tuning.trained", "network.kept", "tuning.embedded")
SHOWN = 12

# What the killed processes do. The first one trains; the others get what that one made, for their death comes later.
# It is given the test images to judge the network by as well: the contest of a story below goes by its answers.
REFRESH = """
import dataclasses, json, shutil, sys
from pathlib import Path
import numpy as np
from labeler import Workspace
from labeler.retrain import apart
root, kept = Path(sys.argv[1]), Path(sys.argv[2])
really = apart.train
def train(job, folder, progress=None):
    if kept.is_dir():
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        with np.load(folder / apart.ARRAYS) as stored:
            arrays = dict(stored)
        figures = json.loads((folder / apart.FIGURES).read_text())
        return apart.Made(folder / apart.NETWORK, arrays, figures)
    judges = sorted(root.glob("pools/Test/*/*.png"))
    made = really(dataclasses.replace(job, validation=judges), folder, progress)
    shutil.copytree(folder, kept)
    return made
apart.train = train
with Workspace.open(root) as ws:
    print(ws.run_finetune_job())
"""


def copied(root: Path, to: Path) -> Path:
    shutil.copytree(root, to)
    return to


def labelled(built: Path, compiled: Path, truth: Path, root: Path, **changes: Any) -> Path:
    """A workspace with 32 labels by an oracle, and two versions of the same head."""
    shutil.copytree(built, root)
    shutil.copytree(compiled, root / "db/cache/compiled", dirs_exist_ok=True)
    settings.write(root, {**QUICK, **changes})
    with Workspace.open(root) as ws:
        ws.round(k=LABELS, annotator=Oracle.from_folder(truth), refresh="head")
        learner = ws.learner
        learner.train(learner.material(Split.UNLABELLED, Split.TRAIN), seed=0)
    return root


def in_use(ws: Workspace) -> ModelVersion:
    with ws.store.read() as session:
        version = models.in_use(session)
    assert version is not None
    return version


def every(ws: Workspace) -> list[ModelVersion]:
    with ws.store.read() as session:
        return models.every(session)


def said(ws: Workspace, truth: Path) -> list[tuple[str, float]]:
    rows = ws.predict(sorted(truth.rglob("*.png"))[:SHOWN])
    return [(row["predicted"], row["probability"]) for row in rows]


def trained(kept: Path, folder: Path) -> apart.Made:
    """What :func:`apart.train` gave, from a copy of the folder it worked in."""
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    with np.load(folder / apart.ARRAYS) as stored:
        arrays = dict(stored)
    return apart.Made(folder / apart.NETWORK, arrays, json.loads((folder / apart.FIGURES).read_text(encoding="utf-8")))


def no_training(*_: object, **__: object) -> Any:
    raise AssertionError("nothing was to be trained")


# --------------------------------------------------------------------------------------------- what wins, and crashes


@dataclass(frozen=True)
class Killed:
    """A workspace as a process left it that was killed at a point."""

    point: str
    code: int
    root: Path


@dataclass(frozen=True)
class Story:
    """A refresh that was killed three times and then finished.

    Attributes:
        champion: the workspace before it.
        killed: copies of it after each death.
        finished: after the run that nobody killed; it was not allowed to train.
        message: what that run said.
        trained: the folder of the one training there was.
    """

    champion: Path
    killed: list[Killed]
    finished: Path
    message: str
    trained: Path


@pytest.fixture(scope="module")
def story(built: Path, compiled: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("story")
    champion = labelled(built, compiled, truth, home / "champion", **WEAK)
    root = copied(champion, home / "w")
    killed = []
    for point in POINTS:
        environment = {**os.environ, faults.ENVIRONMENT_NAME: point}
        command = [sys.executable, "-c", REFRESH, str(root), str(home / "trained")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode in (0, faults.EXIT_CODE), done.stderr
        killed.append(Killed(point, done.returncode, copied(root, home / point)))
    with pytest.MonkeyPatch.context() as patched, Workspace.open(root) as ws:
        patched.setattr(apart, "train", no_training)
        message = ws.run_finetune_job()
    return Story(champion, killed, root, message, home / "trained")


@pytest.fixture
def tuned(story: Story, tmp_path: Path) -> Path:
    """A copy of the workspace in which the fine-tuned network took over."""
    return copied(story.finished, tmp_path / "tuned")


@pytest.mark.timeout(900)  # the first to ask for the story pays for it, on a busy machine dearly
@pytest.mark.parametrize("at", range(len(POINTS)), ids=POINTS)
def test_killed_half_way_the_champion_goes_on(story: Story, truth: Path, at: int) -> None:
    state = story.killed[at]
    assert state.code == faults.EXIT_CODE, f"nobody passed {state.point}"
    with Workspace.open(story.champion) as before, Workspace.open(state.root) as ws:
        assert in_use(ws).name == in_use(before).name == "m0002"
        assert said(ws, truth) == said(before, truth)
        assert_sound(ws, POOL + TEST)
        waiting = [row for row in every(ws) if row.kind == networks.FINETUNE]
        recorded = state.point == "tuning.embedded"
        assert len(waiting) == (1 if recorded else 0)
        assert tuning.due(ws.learner) == ("it won and has not taken over yet" if recorded else "asked for")


@pytest.mark.timeout(900)
def test_the_next_refresh_finishes_the_job_without_training_again(story: Story) -> None:
    assert story.message.startswith("m0003 takes over: better: of 32 images")
    with Workspace.open(story.finished) as ws:
        version = in_use(ws)
        contest = version.settings["contest"]
        assert (version.name, version.kind) == ("m0003", networks.FINETUNE)
        assert (contest["won"], contest["adopted"], contest["champion_model"]) == (True, True, "m0002")
        assert (contest["ground"], contest["n"]) == ("cross-validation", LABELS)
        assert contest["challenger_loss"] < contest["champion_loss"]
        assert version.settings["history"]["best_epoch"] in (1, 2)
        assert not (ws.paths.db / "cache/training").exists(), "what the killed trainings left is cleared away"
        assert tuning.due(ws.learner) is None
        with ws.store.read() as session:
            assert jobs.any_waiting(session, worker.RANKING), "the pool gets a new order"
        assert_sound(ws, POOL + TEST)


def test_a_network_that_took_over_is_a_sound_version(story: Story) -> None:
    with Workspace.open(story.finished) as ws:
        version = in_use(ws)
        assert version_files.state(ws.paths, version) == "sound"
        assert len(version_files.files_of(ws.paths, version)) == 2
        learner = ws.learner
        assert learner.backbone.key == version.backbone_key != learner.configured.key
        assert learner.backbone.dimension == learner.configured.dimension + 1
        model = QuickModel.load(ws.paths.root / version.path, version.digest)
        assert model.readout is not None
        assert (model.readout.start, model.readout.stop) == (learner.configured.dimension, learner.backbone.dimension)
        with ws.store.read() as session:
            train = sorted(ref.sha256 for ref in images.refs(session, Split.TRAIN))
        assert [bytes(row).hex() for row in model.readout.seen] == train


def test_the_frozen_part_of_the_vectors_is_the_same(story: Story) -> None:
    """Heads go on being fitted on vectors that have seen no label."""
    with Workspace.open(story.finished) as ws:
        learner = ws.learner
        new = learner.material(Split.TRAIN, Split.TEST)
        old = learner.material(Split.TRAIN, Split.TEST, backbone=learner.configured)
        assert [ref.sha256 for ref in new.refs] == [ref.sha256 for ref in old.refs]
        a, b = new.raw[:, : old.raw.shape[1]].astype(np.float64), old.raw.astype(np.float64)
        cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        np.testing.assert_allclose(cosine, 1.0, atol=1e-4)
        logits = new.raw[:, -1]
        assert logits.std() > 0


def test_the_network_judges_the_validation_images_as_it_will_in_use(story: Story) -> None:
    """The logits a contest on pools/Validation goes by are those that come out of the finished network."""
    with np.load(story.trained / apart.ARRAYS) as stored:
        judged = stored["validation"][:, 0]
    with Workspace.open(story.finished) as ws:
        material = ws.learner.material(Split.TEST)
    logits = {Path(ref.path).name: float(row[-1]) for ref, row in zip(material.refs, material.raw, strict=True)}
    expected = [logits[name] for name in validation_of(story.trained)]
    assert len(expected) == TEST
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(judged, expected, atol=0.05)


def validation_of(kept: Path) -> list[str]:
    """The names of the photographs a training was given to judge by, in its order."""
    job = json.loads((kept / apart.JOB).read_text(encoding="utf-8"))
    return [Path(file).name for file in job["validation"]]


def test_predictions_follow(story: Story, truth: Path) -> None:
    files = sorted(truth.rglob("*.png"))[:SHOWN]
    runner = CliRunner()
    result = runner.invoke(cli.app, ["predict", "-w", str(story.finished), *map(str, files), "--json", "--quiet"])
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    assert {row["model"] for row in rows} == {"m0003"}
    with Workspace.open(story.champion) as before, Workspace.open(story.finished) as ws:
        earlier = [probability for _, probability in said(before, truth)]
        version = in_use(ws)
        model = QuickModel.load(ws.paths.root / version.path, version.digest)
        material = ws.learner.material(Split.UNLABELLED, Split.TRAIN, Split.TEST)
    found = [row["probability"] for row in rows]
    assert np.abs(np.subtract(found, earlier)).max() > 0.02, "the network has a say"
    by_sha = {ref.sha256: p for ref, p in zip(material.refs, model.predict_proba(material.raw)[:, 0], strict=True)}
    from labeler.pool.disk import sha256_of

    expected = [by_sha[sha256_of(file)] for file in files]
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_the_next_round_keeps_the_network_and_its_say(tuned: Path, truth: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(apart, "train", no_training)
    with Workspace.open(tuned) as ws:
        before = in_use(ws)
        first = QuickModel.load(ws.paths.root / before.path, before.digest)
        result = ws.round(k=4, annotator=Oracle.from_folder(truth), refresh="head", strategy="uncertainty")
        version = in_use(ws)
        assert (version.name, version.kind, version.labelled) == (result.model, "head", LABELS + 4)
        assert version.parent_id == before.id
        assert version.backbone_key == before.backbone_key
        assert version.settings["network"] == before.settings["network"]
        model = QuickModel.load(ws.paths.root / version.path, version.digest)
        assert model.readout is not None
        assert first.readout is not None
        np.testing.assert_array_equal(model.readout.seen, first.readout.seen)
        np.testing.assert_array_equal(model.readout.held_out, first.readout.held_out)
        assert model.head.out_of_fold is not None
        assert len(model.head.out_of_fold) == LABELS + 4
        proposed = {proposal.sha256: float(proposal.probability or 0.0) for proposal in result.proposals}
        material = ws.learner.material(Split.TRAIN)
        rows = [row for row, ref in enumerate(material.refs) if ref.sha256 in proposed]
        expected = first.predict_proba(material.raw[rows])[:, 0].tolist()
        np.testing.assert_allclose([proposed[material.refs[row].sha256] for row in rows], expected, atol=1e-9)
        assert result.metrics is not None
        assert result.metrics["n"] == TEST
        assert tuning.due(ws.learner) is None or ws.settings.refresh == "finetune"


def test_the_next_challenger_starts_from_the_frozen_backbone_again(
    tuned: Path, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from the network in use, which has seen the labels; that one is the champion it must beat."""
    asked_for: list[apart.Job] = []

    def again(job: apart.Job, folder: Path, progress: Any = None) -> apart.Made:
        asked_for.append(job)
        return trained(story.trained, folder)

    monkeypatch.setattr(apart, "train", again)
    with Workspace.open(tuned) as ws:
        learner = ws.learner
        champion = in_use(ws)
        second = tuning.challenge(learner)
        [job] = asked_for
        assert job.backbone == learner.configured
        assert job.vectors is not None
        assert job.vectors.shape == (LABELS, learner.configured.dimension)
        contest = second.settings["contest"]
        assert contest["champion_model"] == champion.name
        # The same network by the same labels: as good as the champion, its readout included.
        assert contest["champion_loss"] == pytest.approx(contest["challenger_loss"], rel=1e-2)
        assert (contest["gained"], contest["lost"]) == (0, 0)
        assert second.settings["network"]["parts"] == champion.settings["network"]["parts"]
        assert second.parent_id == champion.id
        assert in_use(ws).name == champion.name


def test_the_model_tab_tells_of_the_try(tuned: Path) -> None:
    with Workspace.open(tuned) as ws:
        found = ws.figures()["refreshes"]
        assert found["under_way"] is None
        (row,) = found["tries"]
        assert (row["model"], row["state"]) == (in_use(ws).name, "adopted")
        assert row["reason"].startswith("better")
        with ws.store.write() as session:
            jobs.queue(session, "finetune", {"labelled": 1, "reason": "asked for"})
        assert ws.figures()["refreshes"]["under_way"] == {"progress": 0.0, "message": ""}


def test_going_back_is_one_call(tuned: Path, story: Story, truth: Path) -> None:
    with Workspace.open(story.champion) as before:
        earlier = said(before, truth)
    with Workspace.open(tuned) as ws:
        new = said(ws, truth)
        versions.use(ws.store, ws.paths, ws.settings, "m0002")
        assert said(ws, truth) == earlier != new
        assert tuning.due(ws.learner) is None, "nobody is asked again about a challenger that had its turn"
        versions.use(ws.store, ws.paths, ws.settings, "m0003")
        assert said(ws, truth) == new


def test_a_person_who_chose_another_model_meanwhile_is_not_overruled(story: Story, tmp_path: Path) -> None:
    """The challenger won and waits for its vectors; by then somebody went back to an older model."""
    root = copied(story.killed[-1].root, tmp_path / "chosen")
    with Workspace.open(root) as ws:
        versions.use(ws.store, ws.paths, ws.settings, "m0001")
        assert tuning.due(ws.learner) is None
        challenger = next(row for row in every(ws) if row.kind == networks.FINETUNE)
        assert not tuning.adopt(ws.learner, challenger)
        assert in_use(ws).name == "m0001"
        versions.use(ws.store, ws.paths, ws.settings, "m0003")
        assert in_use(ws).name == "m0003"


def test_the_page_works_on_a_tuned_model(tuned: Path) -> None:
    with Workspace.open(tuned) as ws:
        metrics = ws.evaluate(split="test")["metrics"]
        assert (metrics["n"], metrics["split"]) == (TEST, "test")
        assert worker.work_once(ws), "the job that was asked for after the change"
        with ws.store.read() as session:
            job = jobs.last(session, "refresh")
            assert job is not None
            assert job.state == JobState.DONE.value, job.message
            assert job.message.startswith(f"{POOL - LABELS} images ranked by ")
        batch = ws.batch("ann")
        assert batch.ready
        assert len(batch.items) == POOL - LABELS
        shown = ws.explain(batch.items[0].image_id)
        assert shown.probability is not None
        assert len(shown.neighbours) == 3
        assert all(-1.0 <= neighbour.similarity <= 1.0 + 1e-4 for neighbour in shown.neighbours)
        assert ws.figures() is not None
        assert ws.status()["model"]["kind"] in (networks.FINETUNE, "head")


# ------------------------------------------------------------------------------------------------------- what loses


def test_a_challenger_made_worse_stays_beside(
    story: Story, truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged on the images of pools/Validation, where there are enough; against a head that was allowed to learn."""
    asked_for: list[apart.Job] = []

    def turned_round(job: apart.Job, folder: Path, progress: Any = None) -> apart.Made:
        """The network of the story, with every answer it gave on images it had not seen turned round."""
        asked_for.append(job)
        made = trained(story.trained, folder)
        judged = dict(zip(validation_of(story.trained), made.arrays["validation"], strict=True))
        seen = np.array([judged[Path(file).name] for file in job.validation])
        opposite = {"held_out": -made.arrays["held_out"], "validation": -seen}
        return dataclasses.replace(made, arrays={**made.arrays, **opposite})

    monkeypatch.setattr(tuning, "LEAST_VALIDATION", 10)
    monkeypatch.setattr(apart, "train", turned_round)
    root = copied(story.killed[0].root, tmp_path / "w")
    settings.write(root, QUICK)
    (root / "pools/Test").rename(root / "pools/Validation")
    with Workspace.open(root) as ws:
        learner = ws.learner
        scan.scan(ws.store, ws.paths, ws.settings)  # it finds what was moved by hand
        learner.train(learner.material(Split.UNLABELLED, Split.TRAIN), seed=0)
        champion = in_use(ws)
        before = said(ws, truth)
        message = ws.run_finetune_job()
        challenger = every(ws)[-1]
        [job] = asked_for
        assert {Path(file).parent.parent for file in job.validation} == {ws.paths.pools / "Validation"}
        assert len(job.validation) == TEST
        assert message.startswith(f"{challenger.name} keeps to the side: not proved better: of {TEST} images")
        contest = challenger.settings["contest"]
        assert (contest["ground"], contest["n"], contest["won"], contest["adopted"]) == (
            "validation", TEST, False, False,
        )  # fmt: skip
        assert contest["challenger_loss"] > contest["champion_loss"]
        assert (challenger.kind, challenger.in_use, challenger.removed_at) == (networks.FINETUNE, False, None)
        assert version_files.state(ws.paths, challenger) == "sound"
        assert in_use(ws).name == champion.name
        assert said(ws, truth) == before
        assert tuning.due(ws.learner) is None, "not again before somebody labels on"


# --------------------------------------------------------------------------------------------------------- the rule


def put(
    ws: Workspace, kind: str = "head", *, labels: int, decision: int, error: float | None = None, **kept: Any
) -> str:
    """A version as the learner would have put it on record, in use unless it is a challenger."""
    with ws.store.write() as session:
        version = ModelVersion(
            name=models.next_name(session), kind=kind, path="db/models/none.npz", digest="0" * 64, parent_id=None,
            backbone="efficientnet_lite0", backbone_key="k", classes=list(CLASSES), settings=kept, seed=0,
            labelled=labels, last_decision_id=decision,
        )  # fmt: skip
        session.add(version)
        session.flush()
        if kind == "head":
            models.use(session, version)
        if error is not None:
            row = Evaluation(model_version_id=version.id, round_id=None, split="test")
            row.n, row.metrics = 1, {"pool": {"pool": 1000, "expected_errors": 1000 * error}}
            session.add(row)
        return version.name


def due(ws: Workspace, **changes: Any) -> str | None:
    from labeler.rounds.learning import Learner

    values = ws.settings.replace(**{"refresh": "auto", **changes})
    return tuning.due(Learner(ws.store, ws.paths, values))


def test_without_a_model_nothing_is_due(opened: Workspace) -> None:
    assert due(opened) is None
    assert due(opened, refresh="finetune") is None


@pytest.mark.parametrize(
    ("labels", "error", "expected"),
    [(200, 0.02, True), (199, 0.5, False), (200, 0.019, False), (5000, 0.0, False), (5000, 0.021, True)],
)
def test_it_takes_enough_labels_and_something_to_gain(
    opened: Workspace, labels: int, error: float, expected: bool
) -> None:
    put(opened, labels=labels, decision=labels, error=error)
    reason = due(opened)
    assert (reason is not None) == expected
    if reason is not None:
        assert reason == f"{labels} labels, 0 at the last try, {100 * error:.1f} % errors expected"


def test_before_an_evaluation_there_is_nothing_to_go_by(opened: Workspace) -> None:
    put(opened, labels=1000, decision=1000)
    assert due(opened) is None


@pytest.mark.parametrize(("labels", "expected"), [(449, False), (450, True)])
@pytest.mark.parametrize("won", [True, False])
def test_half_as_many_labels_again_since_the_last_try(
    opened: Workspace, labels: int, expected: bool, won: bool
) -> None:
    put(opened, "finetune", labels=300, decision=300, contest={"won": won, "adopted": won})
    put(opened, labels=labels, decision=labels, error=0.1)
    assert (due(opened) is not None) == expected


def test_the_settings_have_the_last_word(opened: Workspace) -> None:
    put(opened, labels=1000, decision=1000, error=0.3)
    assert due(opened) is not None
    assert due(opened, refresh="head") is None
    assert due(opened, model="cnn") is None
    assert due(opened, model="ann", refresh="finetune") is None


def test_asked_for_it_is_due_whatever_there_is_to_gain(opened: Workspace) -> None:
    put(opened, labels=20, decision=20, error=0.0)
    assert due(opened, refresh="finetune") == "asked for"


@pytest.mark.parametrize("refresh", ["auto", "finetune"])
def test_nothing_new_was_labelled(opened: Workspace, refresh: str) -> None:
    """A second try on the same labels would end the same."""
    put(opened, labels=1000, decision=1000, error=0.3)
    put(opened, "finetune", labels=1000, decision=1000, contest={"won": False, "adopted": False})
    assert due(opened, refresh=refresh) is None
    put(opened, labels=1600, decision=1600, error=0.3)
    assert due(opened, refresh=refresh) is not None


@pytest.mark.parametrize("refresh", ["auto", "finetune"])
def test_a_winner_that_has_not_taken_over_yet_is_due(opened: Workspace, refresh: str) -> None:
    champion = put(opened, labels=300, decision=300, error=0.1)
    contest = {"won": True, "adopted": False, "champion_model": champion}
    name = put(opened, "finetune", labels=300, decision=300, contest=contest)
    assert due(opened, refresh=refresh) == "it won and has not taken over yet"
    with opened.store.write() as session:
        models.mark_removed(session, [versions.named(session, name)])
    assert due(opened, refresh=refresh) is None, "unless somebody removed it"


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (None, None),
        ({}, None),
        ({"accuracy": 0.75}, 0.25),
        ({"accuracy": 0.75, "pool": {}}, 0.25),
        ({"accuracy": 0.75, "pool": {"pool": 0, "expected_errors": 0.0}}, 0.25),
        ({"accuracy": 0.75, "pool": {"pool": 200, "expected_errors": 3.0}}, 0.015),
    ],
)
def test_the_error_expected_is_that_of_the_pool(metrics: dict[str, Any] | None, expected: float | None) -> None:
    assert tuning.expected_error(metrics) == expected


def test_it_is_asked_for_once_and_not_again_after_a_failure_until_there_is_more(opened: Workspace) -> None:
    def asked() -> list[str]:
        from labeler.rounds.learning import Learner

        tuning.ask_if_due(Learner(opened.store, opened.paths, opened.settings.replace(refresh="auto")))
        with opened.store.read() as session:
            job = jobs.last(session, FINETUNE_JOB)
            return [] if job is None else [job.state, str(job.payload["labelled"])]

    put(opened, labels=100, decision=100, error=0.3)
    assert asked() == [], "it is not due"
    put(opened, labels=300, decision=300, error=0.3)
    assert asked() == ["queued", "300"]
    assert asked() == ["queued", "300"]
    with opened.store.write() as session:
        assert jobs.claim(session, worker.TUNING) is not None
    assert asked() == ["running", "300"], "one at a time"
    with opened.store.write() as session:
        job = jobs.last(session, FINETUNE_JOB)
        assert job is not None
        jobs.settle(session, job.id, JobState.FAILED, "no memory")
    assert asked() == ["failed", "300"]
    put(opened, labels=449, decision=449, error=0.3)
    assert asked() == ["failed", "300"]
    put(opened, labels=450, decision=450, error=0.3)
    assert asked() == ["queued", "450"]


# ------------------------------------------------------------------------------------------- what it cannot start from


def test_without_a_model_there_is_nothing_to_start_from(opened: Workspace) -> None:
    with pytest.raises(NotTrainable, match="no model to start from"):
        tuning.refresh(opened.learner)


def test_a_class_with_one_label_cannot_be_judged(opened: Workspace, truth: Path, monkeypatch: Any) -> None:
    """Found before anything is trained; a round says so and is finished all the same."""
    monkeypatch.setattr(apart, "train", no_training)
    oracle = Oracle.from_folder(truth)
    opened.round(k=12, annotator=oracle, refresh="head")
    with opened.store.read() as session:
        refs = [ref for ref in images.refs(session, Split.TRAIN) if ref.label == CLASSES[1]]
    assert len(refs) > 1
    answers = [Answer(ref.sha256, Action.CORRECT, CLASSES[0], f"op-{ref.id}") for ref in refs[1:]]
    opened.decide("ann", answers, round=None)
    opened.train()
    with pytest.raises(NotTrainable, match="two labels of each class"):
        tuning.refresh(opened.learner)
    assert [row.kind for row in every(opened)] == ["head", "head"]


# ------------------------------------------------------------------------------------ what a version learned from


def in_force(rows: list[DecisionRow]) -> int | None:
    """The decision that counts, worked out anew: a stack, an undo pops it."""
    stack: list[int] = []
    for row in sorted(rows, key=lambda row: row.id):
        if row.action == Action.UNDO.value:
            stack.pop()
        else:
            stack.append(row.id)
    return stack[-1] if stack else None


def learned_from(version: ModelVersion) -> list[int]:
    return [n for first, last in version.settings["decisions"] for n in range(first, last + 1)]


def test_the_snapshot_names_the_decisions_that_count(opened: Workspace, truth: Path) -> None:
    def check(count: int) -> None:
        opened.train()
        version = in_use(opened)
        with opened.store.read() as session:
            expected = [
                in_force(session.query(DecisionRow).filter_by(image_id=ref.id, opinion=False).all())
                for ref in images.refs(session, Split.TRAIN)
            ]
            newest = queries.last_decision_id(session)
        assert learned_from(version) == sorted(number for number in expected if number is not None)
        assert len(expected) == version.labelled == count
        assert version.last_decision_id == newest

    with opened.store.read() as session:
        before = queries.last_decision_id(session)  # labels that came with the files of the test set
    opened.round(k=12, annotator=Oracle.from_folder(truth), refresh="head")
    check(12)
    assert in_use(opened).settings["decisions"] == [[before + 1, before + 12]]
    opened.undo(2)
    check(10)
    with opened.store.read() as session:
        first = sorted(images.refs(session, Split.TRAIN), key=lambda ref: ref.id)[0]
    other = CLASSES[0] if first.label == CLASSES[1] else CLASSES[1]
    opened.decide("ann", [Answer(first.sha256, Action.CORRECT, other, "relabel")], round=None)
    check(10)
    relabelled = before + 12 + 2 + 1  # 12 answers, 2 taken back, then the new label
    assert relabelled in learned_from(in_use(opened))
    opened.undo(1)
    check(10)
    assert relabelled not in learned_from(in_use(opened)), "the label before counts again"


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([], []), ([4], [[4, 4]]), ([1, 2, 3, 7], [[1, 3], [7, 7]]), ([2, 4, 5, 9, 10, 11], [[2, 2], [4, 5], [9, 11]])],
)
def test_ranges(numbers: list[int], expected: list[list[int]]) -> None:
    assert versioning.ranges(numbers) == expected


def test_a_head_that_was_trained_while_the_network_changed_keeps_its_own(tuned: Path) -> None:
    """A retraining that began on the tuned network ends after another model took its place."""
    with Workspace.open(tuned) as ws:
        learner = ws.learner
        material = learner.material(Split.UNLABELLED, Split.TRAIN)
        taken = versioning.snapshot(learner, [material.refs[row] for row in material.labelled])
        model = learner.head_on(material, 0)
        versions.use(ws.store, ws.paths, ws.settings, "m0002")
        late = versioning.save(ws.learner, model, taken, kind="head", seed=0)
        assert in_use(ws).name == "m0002"
        assert ws.learner.backbone_of(late).key == model.backbone_key, "and can be used later"
