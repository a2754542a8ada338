"""Model versions: shown, gone back to, removed and pruned, whatever is killed in between."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labeler import Oracle, faults
from labeler.domain import LabelerError, RecordError, UnknownName
from labeler.record import jobs, models, queries
from labeler.record.tables import ModelVersion, Round
from labeler.rounds import Workspace, ranking, version_files, version_views, versions
from labeler.rounds.handout import REFRESH_JOB


def trained(opened: Workspace, truth: Path, rounds: int = 1) -> list[str]:
    """Rounds with an oracle: a version each."""
    oracle = Oracle.from_folder(truth)
    return [str(opened.round(annotator=oracle).model) for _ in range(rounds)]


@pytest.fixture(scope="module")
def after_two(built: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after two rounds; tests copy it."""
    root = tmp_path_factory.mktemp("two") / "w"
    shutil.copytree(built, root)
    with Workspace.open(root, k=8) as opened:
        trained(opened, truth, 2)
    return root


@pytest.fixture
def two(after_two: Path, tmp_path: Path) -> Iterator[Workspace]:
    """An opened copy after two rounds: m0001, and m0002 in use."""
    shutil.copytree(after_two, tmp_path / "two")
    with Workspace.open(tmp_path / "two", k=8) as opened:
        yield opened


def add_versions(opened: Workspace, count: int, **values: Any) -> list[str]:
    """Versions with files of their own, as the learner would have put them on record; none is in use."""
    names = []
    for _ in range(count):
        with opened.store.write() as session:
            like = session.query(ModelVersion).order_by(ModelVersion.id).first()
            assert like is not None
            name = models.next_name(session)
            file = opened.paths.models / f"{name}.npz"
            file.write_bytes((opened.paths.root / like.path).read_bytes())
            row = ModelVersion(
                name=name, kind="head", parent_id=like.id, path=opened.paths.relative(file), digest=like.digest,
                backbone=like.backbone, backbone_key=like.backbone_key, classes=like.classes, settings={}, seed=0,
                labelled=like.labelled, last_decision_id=like.last_decision_id,
            )  # fmt: skip
            for key, value in values.items():
                setattr(row, key, value)
            session.add(row)
        names.append(name)
    return names


def change(opened: Workspace, name: str, **values: Any) -> None:
    with opened.store.write() as session:
        row = versions.named(session, name)
        for key, value in values.items():
            setattr(row, key, value)


def files(opened: Workspace) -> set[str]:
    """Whose files there are: a version's is called by its name and its digest."""
    return {file.stem.partition("-")[0] for file in opened.paths.models.iterdir()}


def file_of(opened: Workspace, name: str) -> Path:
    with opened.store.read() as session:
        return opened.paths.root / versions.named(session, name).path


def in_use(opened: Workspace) -> str:
    with opened.store.read() as session:
        version = models.in_use(session)
    assert version is not None
    return version.name


# ---------------------------------------------------------------------------------------------------------- showing


def test_the_list_says_where_each_comes_from_and_how_good_it_is(opened: Workspace, truth: Path) -> None:
    assert version_views.listed(opened.store) == []
    trained(opened, truth, 2)
    first, second = version_views.listed(opened.store)
    assert (first["name"], first["parent"], first["labelled"], first["in_use"]) == ("m0001", None, 8, False)
    assert (second["name"], second["parent"], second["labelled"], second["in_use"]) == ("m0002", "m0001", 16, True)
    assert second["accuracy"] == opened.status()["model"]["metrics"]["accuracy"]
    assert (second["split"], second["estimated"], second["removed_at"]) == ("test", False, None)


def test_everything_about_a_version(two: Workspace) -> None:
    found = version_views.details(two.store, two.paths, "m0002")
    assert (found["ancestors"], found["children"], found["file_state"]) == (["m0001"], [], "sound")
    assert (found["trained_in_rounds"], found["proposed_rounds"]) == ([2], [])
    assert [row["n"] for row in found["evaluations"]] == [20]
    assert "predictions" not in found["metrics"]
    assert version_views.details(two.store, two.paths, "m0001")["proposed_rounds"] == [2]
    with pytest.raises(UnknownName, match="no model 'm0009'"):
        version_views.details(two.store, two.paths, "m0009")


def test_what_it_learned_from_in_words(opened: Workspace, truth: Path) -> None:
    trained(opened, truth)
    change(opened, "m0001", settings={"decisions": [[1, 50], [53, 53]], "contest": {"won": True}, "head_c": 1.0})
    found = version_views.details(opened.store, opened.paths, "m0001")
    assert (found["decisions"], found["contest"]) == ([[1, 50], [53, 53]], {"won": True})
    assert found["settings"] == {"head_c": 1.0}
    assert version_views.ranges(found["decisions"], 60) == "1-50, 53"
    assert version_views.ranges(None, 60) == "decisions up to 60"


def test_a_changed_file_is_told_from_a_missing_one(opened: Workspace, truth: Path) -> None:
    trained(opened, truth)
    file = file_of(opened, "m0001")
    with file.open("ab") as stream:
        stream.write(b"x")
    assert version_views.details(opened.store, opened.paths, "m0001")["file_state"] == "damaged"
    file.unlink()
    assert version_views.details(opened.store, opened.paths, "m0001")["file_state"] == "missing"


# ------------------------------------------------------------------------------------------------------- going back


def test_going_back_is_one_call_and_the_next_ranking_is_by_that_version(two: Workspace) -> None:
    done = versions.use(two.store, two.paths, two.settings, "m0001")
    assert done == {"model": "m0001", "before": "m0002", "labelled": 16, "learned": 8, "newer": 8}
    assert in_use(two) == "m0001"
    with two.store.read() as session:
        assert jobs.any_waiting(session, [REFRESH_JOB])
    proposed = two.round(strategy="uncertainty")
    with two.store.read() as session:
        row = queries.round_by_number(session, proposed.round)
        assert row is not None
        assert row.model_version_id == versions.named(session, "m0001").id


def test_what_is_on_record_already_does_not_undo_it(two: Workspace, truth: Path) -> None:
    """The worker's next ranking trains nothing; new labels do."""
    versions.use(two.store, two.paths, two.settings, "m0001")
    made, _ = ranking.renew(two.learner)
    assert in_use(two) == "m0001"
    with two.store.read() as session:
        assert made.model_version_id == versions.named(session, "m0001").id
    trained(two, truth)
    assert in_use(two) == "m0003"


def test_how_far_the_decisions_count_as_learned(two: Workspace) -> None:
    versions.use(two.store, two.paths, two.settings, "m0001")
    with two.store.read() as session:
        last = queries.last_decision_id(session)
        first, second = (versions.named(session, name) for name in ("m0001", "m0002"))
        assert first.last_decision_id < last
        assert models.learned_up_to(first) == last
        assert models.learned_up_to(second) == second.last_decision_id


def test_a_training_under_way_does_not_undo_it_either(two: Workspace) -> None:
    """Begun before somebody went back, done after: it is kept as a version and not used."""
    with two.store.read() as session:
        began = versions.named(session, "m0002").id
        last = queries.last_decision_id(session)
    versions.use(two.store, two.paths, two.settings, "m0001")
    [name] = add_versions(two, 1, last_decision_id=last)
    with two.store.write() as session:
        assert not models.take_over(session, versions.named(session, name), began)
    assert in_use(two) == "m0001"
    [name] = add_versions(two, 1, last_decision_id=last + 1)
    with two.store.write() as session:
        assert models.take_over(session, versions.named(session, name), began), "it knows newer labels"
    [name] = add_versions(two, 1, last_decision_id=last)
    with two.store.write() as session:
        current = models.in_use(session)
        assert current is not None
        assert models.take_over(session, versions.named(session, name), current.id), "begun after, on purpose"


def test_only_what_is_sound_and_fits_is_used(two: Workspace) -> None:

    def use(name: str, **given: Any) -> None:
        versions.use(two.store, two.paths, two.settings.replace(**given), name)

    with pytest.raises(UnknownName, match="no model 'best'"):
        use("best")
    with pytest.raises(LabelerError, match="knows round, square, this workspace a, b"):
        use("m0001", classes=("a", "b"))
    with pytest.raises(LabelerError, match=r'was made with backbone = "efficientnet_lite0".*labeler\.toml'):
        use("m0001", backbone="vgg16", weights="none")
    with pytest.raises(LabelerError, match="was made for other vectors"):
        use("m0001", vectors="pooled")
    file_of(two, "m0001").write_bytes(b"else")
    with pytest.raises(LabelerError, match=r"m0001.*\.npz.* is not the file that was saved"):
        use("m0001")
    file_of(two, "m0001").unlink()
    with pytest.raises(LabelerError, match="is missing"):
        use("m0001")
    versions.remove(two.store, two.paths, ["m0001"], force=True)
    with pytest.raises(LabelerError, match="was removed on 20"):
        use("m0001")
    assert in_use(two) == "m0002"


# --------------------------------------------------------------------------------------------------------- removing


def test_a_removed_version_loses_its_file_and_keeps_its_row(opened: Workspace, truth: Path) -> None:
    trained(opened, truth, 3)
    done = versions.remove(opened.store, opened.paths, ["m0001"])
    assert (list(done.names), done.freed > 0, list(done.notes)) == (["m0001"], True, [])
    assert files(opened) == {"m0002", "m0003"}
    assert [row["name"] for row in version_views.listed(opened.store)] == ["m0002", "m0003"]
    rows = version_views.listed(opened.store, removed=True)
    assert [row["name"] for row in rows if row["removed_at"] is not None] == ["m0001"]
    assert version_views.details(opened.store, opened.paths, "m0002")["ancestors"] == ["m0001"]
    assert [row["model"] for row in opened.overview()["rounds"]] == ["m0001", "m0002", "m0003"]
    assert opened.verify()["differences"] == []
    assert versions.remove(opened.store, opened.paths, ["m0001"]).names == ()


def test_the_one_in_use_stays_and_a_list_goes_whole_or_not_at_all(two: Workspace) -> None:
    for force in (False, True):
        with pytest.raises(versions.ModelNeeded, match="m0002 is in use"):
            versions.remove(two.store, two.paths, ["m0001", "m0002"], force=force)
    with pytest.raises(UnknownName):
        versions.remove(two.store, two.paths, ["m0001", "m0007"])
    assert files(two) == {"m0001", "m0002"}


def test_what_something_refers_to_goes_only_on_demand(two: Workspace) -> None:
    two.round()
    versions.use(two.store, two.paths, two.settings, "m0001")
    with pytest.raises(versions.ModelNeeded, match="m0002: round 3 is PROPOSED"):
        versions.remove(two.store, two.paths, ["m0002"])
    [challenger] = add_versions(two, 1, settings={"contest": {"champion": "m0003", "p": 0.2}}, kind="finetune")
    assert challenger == "m0003"
    [later] = add_versions(two, 1, settings={"contest": {"against": {"name": "m0003"}}})
    with pytest.raises(versions.ModelNeeded, match=f"m0003: {later} was compared with it"):
        versions.remove(two.store, two.paths, ["m0003"])
    assert versions.remove(two.store, two.paths, ["m0003", later]).notes == (), "both go: nobody is left to ask"
    done = versions.remove(two.store, two.paths, ["m0002"], force=True)
    assert done.notes == ("m0002: round 3 is PROPOSED",)
    assert files(two) == {"m0001"}


def test_pruning_keeps_what_is_needed(two: Workspace) -> None:
    # m0002 is in use, and what the newest round led to
    names = add_versions(two, 12)
    done = versions.prune(two.store, two.paths, keep=3)
    assert list(done.names) == ["m0001", *names[:-3]]
    assert files(two) == {"m0002", *names[-3:]}
    assert in_use(two) == "m0002"
    assert versions.prune(two.store, two.paths, keep=3).names == ()
    assert two.verify()["differences"] == []


def test_a_network_goes_with_the_last_version_that_sits_on_it(opened: Workspace, truth: Path) -> None:
    trained(opened, truth, 1)
    network = opened.paths.models / "n0001.keras"
    network.write_bytes(b"weights")
    refers = {"network": {"path": "db/models/n0001.keras", "digest": "0" * 64, "model": "head", "base_key": ""}}
    [origin] = add_versions(opened, 1, settings=refers, kind="finetune")
    add_versions(opened, 3)
    [head] = add_versions(opened, 1, settings=refers)
    assert origin not in versions.prune(opened.store, opened.paths, keep=1).names, "a kept head sits on its network"
    assert network.exists()
    done = versions.remove(opened.store, opened.paths, [origin])
    assert done.notes == (f"db/models/n0001.keras of {origin} stays: another version needs it",)
    assert network.exists()
    assert not (opened.paths.models / f"{origin}.npz").exists()
    versions.remove(opened.store, opened.paths, [head])
    assert not network.exists()


def test_a_path_that_leads_elsewhere_is_never_deleted(opened: Workspace, truth: Path) -> None:
    trained(opened, truth, 1)
    outside = opened.paths.root / "labeler.toml"
    for path in ("labeler.toml", "db/models/../../labeler.toml", str(outside), "db/models"):
        [name] = add_versions(opened, 1)
        change(opened, name, path=path)
        with pytest.raises(RecordError, match="no file of db/models"):
            versions.remove(opened.store, opened.paths, [name])
        with opened.store.write() as session:  # as a restored backup would have it
            session.delete(versions.named(session, name))
    assert outside.is_file()


@pytest.mark.parametrize("point", ["versions.marked", "versions.deleted"])
def test_a_removal_that_is_killed_is_finished_by_the_next(fresh: Callable[[], Path], truth: Path, point: str) -> None:
    root = fresh()
    with Workspace.open(root, k=8) as opened:
        trained(opened, truth, 1)
        names = add_versions(opened, 4)
    script = (
        "import sys; from labeler.rounds import Workspace, versions\n"
        "with Workspace.open(sys.argv[1]) as ws: versions.prune(ws.store, ws.paths, keep=1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], env=os.environ | {faults.ENVIRONMENT_NAME: point}, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == faults.EXIT_CODE
    with Workspace.open(root) as opened:
        removed = [row["name"] for row in version_views.listed(opened.store, removed=True) if row["removed_at"]]
        assert removed == names[:-1], "the record says it first"
        assert len(files(opened)) > 2
        assert opened.verify()["differences"] == []
        assert versions.prune(opened.store, opened.paths, keep=1).freed > 0
        assert files(opened) == {"m0001", names[-1]}


def test_rounds_of_a_removed_version_are_still_told(two: Workspace, truth: Path) -> None:
    versions.remove(two.store, two.paths, ["m0001"])
    with two.store.read() as session:
        row = session.query(Round).filter_by(number=1).one()
        version = session.get_one(ModelVersion, row.trained_version_id)
        assert version_files.state(two.paths, version) == "removed"
    trained(two, truth)
    assert in_use(two) == "m0003"
