"""Eight people without think time against a real server: the script Label Studio was measured with, for us.

    python tests/bench/people.py [PHOTOGRAPHS] [--people 8] [--seconds 60] [--think 0] [--retrain yes|no]

A real workspace of real photographs (each also mirrored, so that the pool lasts), a real server process with its
worker, real accounts; each person is a thread with a connection of its own that answers as fast as the server lets
him: decision, then the next image (from the batch in hand, or the next batch), then its picture. Printed: answers per
second, p50 / p95 / p99 / max of decision + next and of the picture, answers that two people gave for one image,
images that were with two people, errors, and the longest time between two new rankings.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import psutil
from PIL import Image, ImageOps
from sqlalchemy import func, select

from labeler import workspace as workspaces
from labeler.domain import Split
from labeler.record import leases
from labeler.record.tables import Annotator, DecisionRow, Round
from labeler.rounds import Workspace
from tests.bench.clients import Client, Person, Work, add_people, handed_doubly, names, served

DEFAULT_PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data" / "facemask"


def main() -> None:
    sys.setswitchinterval(0.0005)  # or our own threads would wait 5 ms for one another
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=DEFAULT_PHOTOGRAPHS)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--think", type=float, default=0.0, help="seconds each person looks at an image")
    parser.add_argument("--retrain", choices=("yes", "no"), default="yes")
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--keep", type=Path, help="workspace to make once and copy for each run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labeler-people-") as scratch:
        prepared = options.keep or Path(scratch) / "prepared"
        if not prepared.exists():
            prepare(prepared, options.photographs, options.images, options.people)
        root = Path(scratch) / "w"
        shutil.copytree(prepared, root)
        run(root, options)


def prepare(root: Path, photographs: Path, images: int, people: int) -> None:
    """A workspace with its vectors made and a first model; done once, nothing of it is timed."""
    source = root.parent / "source"
    files = sorted(file for file in photographs.glob("*/*") if file.is_file())
    random.Random(0).shuffle(files)
    print(f"preparing {images} images ...", file=sys.stderr)
    for number in range(images):
        file = files[number % len(files)]
        folder = source / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        if number < len(files):
            shutil.copy(file, folder / f"{number:05d}{file.suffix}")
        else:
            with Image.open(file) as opened:
                ImageOps.mirror(opened.convert("RGB")).save(folder / f"{number:05d}.jpg", quality=90)
    pool = source / "pool"
    pool.mkdir()
    for file in source.glob("with*/*"):
        file.rename(pool / f"{file.parent.name}-{file.name}")
    workspaces.create(root)
    with Workspace.open(root) as ws:
        ws.import_images(pool, into="unlabelled", mode="move")
        ws.learner.material(Split.UNLABELLED)
        ws.run_round_job()
        add_people(ws, names(people))
    shutil.rmtree(source, ignore_errors=True)


def run(root: Path, options: argparse.Namespace) -> None:
    people = [Person(name) for name in names(options.people)]
    rankings: list[float] = []
    with served(root, options.retrain == "yes") as served_:
        port, process = served_.port, served_.process
        clients = {person.name: Client(port) for person in people}
        for name, client in clients.items():
            client.sign_in(name)
        end = time.monotonic() + options.seconds
        threads = [
            threading.Thread(target=Work(clients[person.name], person, end, lambda: options.think)) for person in people
        ]
        watcher = Client(port)
        watcher.cookie = clients[people[0].name].cookie
        threads.append(threading.Thread(target=watch, args=(watcher, rankings, end)))
        server = psutil.Process(process.pid)
        cpu, own = server.cpu_times(), time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        used = server.cpu_times()
        own = time.process_time() - own
        memory = server.memory_info().rss / 2**20
        seconds = (used.user + used.system) - (cpu.user + cpu.system)
    print("server said:", "".join(served_.log[-20:]) or "nothing")
    report(root, people, rankings, options, memory, seconds)
    print(f"{1000 * own / max(sum(len(p.acknowledged) for p in people), 1):.1f} ms an answer taken by this script")


def watch(client: Client, rankings: list[float], end: float) -> None:
    """When each new ranking was first seen."""
    seen = None
    while time.monotonic() < end:
        status, content = client.get("/api/status")
        if status == 200 and json.loads(content)["ranking"] != seen:
            seen = json.loads(content)["ranking"]
            rankings.append(time.monotonic())
        time.sleep(0.2)


def report(
    root: Path,
    people: list[Person],
    rankings: list[float],
    options: argparse.Namespace,
    memory: float,
    cpu_seconds: float,
) -> None:
    answered = Counter(sha for person in people for sha in person.acknowledged.values())
    with Workspace.open(root) as ws, ws.store.read() as session:
        stored = session.scalar(
            select(func.count()).select_from(DecisionRow).join(Annotator).where(Annotator.name.like("person %"))
        )
        opinions = session.scalar(select(func.count()).select_from(DecisionRow).where(DecisionRow.opinion))
        rounds = session.scalar(select(func.count()).select_from(Round))
        doubly = sum(number > 1 for number in leases.holders(session).values())
    total = sum(answered.values())
    gaps = [b - a for a, b in itertools.pairwise(rankings)]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ")
    print(f"{options.people} people, {options.seconds:g} s, think {options.think:g} s, retraining {options.retrain}")
    print(f"answers {total} ({total / options.seconds:.1f}/s), stored {stored}, rounds {rounds}")
    show("decision + next", [step for person in people for step in person.steps])
    show("picture", [seconds for person in people for _, seconds in person.pictures])
    show("batch", [seconds for person in people for _, seconds in person.batches])
    shared = len(handed_doubly(people))
    print(f"answered twice {sum(n - 1 for n in answered.values())}, second opinions {opinions}")
    print(f"with two people {shared} (now {doubly}), waited for a model {sum(p.waited for p in people):.1f} s in all")
    print(f"errors {dict(sum((p.errors for p in people), Counter()))}")
    print(f"new rankings {len(gaps)}, longest gap {max(gaps, default=float('nan')):.1f} s")
    print(f"server memory {memory:.0f} MiB, {1000 * cpu_seconds / max(total, 1):.1f} ms of its processor an answer")


def show(name: str, seconds: list[float]) -> None:
    if len(seconds) < 2:
        return
    cuts = statistics.quantiles(seconds, n=100)
    values = [1000 * value for value in (statistics.median(seconds), cuts[94], cuts[98], max(seconds))]
    shown = "  ".join(f"{what} {value:7.1f}" for what, value in zip(("p50", "p95", "p99", "max"), values, strict=True))
    print(f"{name:16} n {len(seconds):5}  {shown} ms")


if __name__ == "__main__":
    main()
