"""The end of a server under work: what was acknowledged is kept, what was leased stays so, jobs wait for the next."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image as Pillow
from sqlalchemy import select

from labeler import worker
from labeler import workspace as workspaces
from labeler.domain import JobState
from labeler.record import jobs, leases
from labeler.record.tables import DecisionRow, Image, Job, ProposalRow, Round
from labeler.rounds import Workspace
from labeler.rounds.handout import REFRESH_JOB
from tests.bench.clients import Client, Person, Served, Work, add_people, handed_doubly, names, signed_in

PEOPLE = 8
EACH = 60
ENVIRONMENT = {**os.environ, "LABELER_LOG_FORMAT": "text", "LABELER_LOG_LEVEL": "info", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a round for each of eight people, to be copied."""
    source, root = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("busy")
    rng = np.random.default_rng(0)
    for number in range(PEOPLE * EACH):
        Pillow.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(source / f"{number}.png")
    workspaces.create(root)
    with Workspace.open(root) as opened:
        assert opened.import_images(source, into="unlabelled").imported == PEOPLE * EACH
        add_people(opened, names(PEOPLE))
        with opened.store.write() as session:
            pool = list(session.scalars(select(Image).order_by(Image.sha256)))
            for number in range(PEOPLE):
                row = Round(number=number + 1, state="PROPOSED", k=EACH, strategy="cold-start", seed=0)
                row.backbone = row.backbone_key = row.package_version = "none"
                row.pool, row.pool_hash = len(pool), "0" * 64
                session.add(row)
                session.flush()
                for rank, image in enumerate(pool[number * EACH : (number + 1) * EACH], start=1):
                    session.add(ProposalRow(round_id=row.id, image_id=image.id, rank=rank, path=image.path))
    return root


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_a_stop_among_eight_people_loses_nothing(busy: Path, tmp_path: Path) -> None:
    root = tmp_path / "w"
    shutil.copytree(busy, root)
    people = [Person(name) for name in names(PEOPLE)]
    cookies = signed_in(root, names(PEOPLE))
    server = Served(root, environment=ENVIRONMENT)
    end = time.monotonic() + 60
    threads = [
        threading.Thread(target=Work(Client(server.port, cookies[person.name]), person, end)) for person in people
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: sum(len(person.acknowledged) for person in people) >= 40 and all(p.handed for p in people))
    assert server.stop(signal.SIGTERM, wait_s=40) == 0, server.log
    for thread in threads:
        thread.join(30)
    acknowledged = {op: sha for person in people for op, sha in person.acknowledged.items()}
    assert len(acknowledged) < PEOPLE * EACH, "it was stopped among them"
    assert not handed_doubly(people)
    assert {error for person in people for error in person.errors} <= {"gone"}, "answered, or clearly not"
    said = "".join(server.log)
    assert "Traceback" not in said
    assert [said.count(f"INFO server: {event}") for event in ("started", "stopping", "stopped")] == [1, 1, 1]

    with Workspace.open(root) as opened, opened.store.read() as session:
        stored = set(session.scalars(select(DecisionRow.op_id)))
        held = leases.holders(session)
        left = opened.live().pending
    assert acknowledged.keys() <= stored
    assert len(stored) <= len(acknowledged) + PEOPLE, "nothing was stored twice: at most each one's last was cut off"
    assert left == 0, "the files were moved before the end"

    with Workspace.open(root) as opened:  # the next start, as far as the page is concerned: it asks for the batch
        still = {person.name: {i.sha256 for i in opened.batch(person.name).items if not i.action} for person in people}
        with opened.store.read() as session:
            assert leases.holders(session) == held, "the same images are with somebody"
        for person in people:
            assert still[person.name] <= {sha for _, sha in person.handed}, "and with the same people"
            assert still[person.name].isdisjoint(acknowledged.values())
        assert opened.verify(repair=False)["clean"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
def test_a_worker_told_to_stop_puts_its_job_back(fresh: Callable[[], Path]) -> None:
    """And again: being stopped is no failed attempt, of which a job has three."""
    root = fresh()
    shutil.rmtree(root / "db/cache/vectors")  # the job is to make them again, which takes a while
    with Workspace.open(root, k=4) as opened:
        opened.request_round()

        def row() -> Job:
            with opened.store.read() as session:
                found = jobs.last(session, REFRESH_JOB)
            assert found is not None
            return found

        for _ in range(2):
            process = worker.start(opened.paths, {"k": 4})
            wait_for(lambda: row().state == JobState.RUNNING.value)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert (row().state, row().attempts) == (JobState.QUEUED.value, 0)
            assert row().message == "interrupted by a stop, goes on with the next start"
            assert not psutil.pid_exists(process.pid)
        worker.recover(opened.store, worker.RANKING)
        assert row().state == JobState.QUEUED.value
