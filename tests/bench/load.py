"""Thirty-two people label for minutes while the worker retrains, the pool is embedded anew and thousands are imported.

    python tests/bench/load.py [--people 32] [--minutes 5] [--pace 1.0] [--images 12000] [--import 10000]
                               [--refresh embed|finetune|none] [--keep DIR] [--out DIR] [--seed 0]

A real workspace of images drawn here (a disc or a box on noise, so that there is something to learn), a real server
process with its worker, real accounts. Each person is a connection that looks at a picture, thinks for `--pace`
seconds (half to one and a half times that, by chance; 0: not at all), answers by what was drawn, and takes the next
batch when one is done. Beside them run

- the worker, which trains and ranks anew at the end of every batch, as always;
- `labeler import` of other images in a process of its own, from a tenth of the time on;
- from a quarter on, with `--refresh embed`, a process that makes the vectors of every image for another network, which
  is what takes long in the adoption of a refreshed backbone; with `finetune` instead the worker's own refresh, one
  epoch long, which loads TensorFlow and embeds only if it wins.

Every second is recorded: acknowledgements, their p50 / p95 / p99 and those of batches and pictures, memory and open
files of server and worker, processor shares. At the end: answers that were acknowledged and are not on record, answers
stored twice, images that were with two people, errors, locks. Printed, and written to `--out` as load.json and
load.png.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import psutil
from PIL import Image, ImageDraw
from sqlalchemy import func, select

from labeler import workspace as workspaces
from labeler.domain import Split
from labeler.heart import NICENESS
from labeler.record.tables import DecisionRow
from labeler.rounds import Workspace
from labeler.version import __version__
from tests.bench.clients import (
    Client,
    Person,
    Served,
    Work,
    add_people,
    handed_doubly,
    names,
    served,
    signed_in,
)
from tests.bench.load_report import figure, growth, latencies, log_counts, show

CLASSES = ("round", "square")
TRUTH, MORE = "truth.json", "more"
IMPORT_AT, REFRESH_AT = 0.1, 0.25  # shares of the time
#: Another recipe on the same network: its own key, its own vectors of every image.
OTHER = {"vectors": "pooled"}
_EMBED = """
import json, os, sys
from labeler.domain import Split
from labeler.rounds import Workspace
os.nice(int(sys.argv[3]))
with Workspace.open(sys.argv[1], **json.loads(sys.argv[2])) as ws:
    print(len(ws.learner.material(Split.UNLABELLED, Split.TRAIN).refs))
"""

# --------------------------------------------------------------------------------------------------- the workspace


def draw(file: Path, seed: int) -> str:
    """A disc or a box of random colour, place and size on noise, as JPEG; returns the label."""
    rng = np.random.default_rng(seed)
    label = CLASSES[int(rng.integers(2))]
    image = Image.fromarray(rng.integers(90, 160, (96, 96, 3), dtype=np.uint8))
    x, y, side = (int(n) for n in (*rng.integers(8, 40, 2), rng.integers(32, 48)))
    pen, colour = ImageDraw.Draw(image), tuple(int(c) for c in rng.integers(0, 255, 3))
    (pen.ellipse if label == CLASSES[0] else pen.rectangle)((x, y, x + side, y + side), fill=colour)
    image.save(file, quality=85)
    return label


def draw_many(folder: Path, seeds: Sequence[int]) -> dict[str, str]:
    """The label of every image drawn, by the SHA-256 of its file."""
    folder.mkdir(parents=True)
    truth = {}
    for seed in seeds:
        file = folder / f"{seed:06d}.jpg"
        label = draw(file, seed)
        truth[hashlib.sha256(file.read_bytes()).hexdigest()] = label
    return truth


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """``w``: a workspace with its vectors made and a first ranking; ``more``: what is imported later."""
    print(f"preparing {options.images} images and {options.imported} to import ...", file=sys.stderr)
    first = options.seed * 1_000_000
    truth = draw_many(folder / "source", range(first, first + options.images))
    truth |= draw_many(folder / MORE, range(first + options.images, first + options.images + options.imported))
    (folder / TRUTH).write_text(json.dumps(truth), encoding="utf-8")
    paths = workspaces.create(folder / "w", CLASSES)
    with Workspace.open(paths.root, refresh="head") as ws:
        ws.import_images(folder / "source", into="unlabelled", mode="move")
        ws.learner.material(Split.UNLABELLED)
        ws.run_round_job()
        add_people(ws, names(options.people))
    shutil.rmtree(folder / "source", ignore_errors=True)


# --------------------------------------------------------------------------------------------------- the processes


@dataclass
class Watched:
    """One process over time.

    Attributes:
        name: what it is.
        rss: MiB, once a second; files: open ones. NaN where it did not run.
        cpu: processor seconds it has used.
    """

    name: str
    rss: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    cpu: float = 0.0
    process: psutil.Process | None = None

    def look(self) -> None:
        try:
            if self.process is None:
                raise psutil.NoSuchProcess(0)
            with self.process.oneshot():
                used = self.process.cpu_times()
                rss, files = self.process.memory_info().rss / 2**20, self.process.num_fds()
            self.rss.append(rss)
            self.files.append(files)
            self.cpu = used.user + used.system
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            self.rss.append(float("nan"))
            self.files.append(float("nan"))


class Side:
    """A process that is started at a moment of the run."""

    def __init__(self, name: str, command: Sequence[str], at: float) -> None:
        self.watched = Watched(name)
        self.command, self.at = command, at
        self.process: subprocess.Popen[str] | None = None
        self.started: float | None = None
        self.ended: float | None = None
        self.said = ""

    def look(self, now: float) -> None:
        if self.process is None and now >= self.at:
            self.started = now
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.watched.process = psutil.Process(self.process.pid)
        self.watched.look()
        if self.process is not None and self.ended is None and self.process.poll() is not None:
            self.ended = now
            self.said = (self.process.stdout.read() if self.process.stdout else "").strip()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def as_json(self) -> dict[str, Any]:
        code = self.process.poll() if self.process is not None else None
        ended = code if self.ended is not None else "stopped with the run" if self.started is not None else "not begun"
        return {"from_s": self.started, "to_s": self.ended, "exit": ended, "said": self.said[-300:]}


class Recorder:
    """Looks at everything once a second."""

    def __init__(self, server: Served, sides: Sequence[Side]) -> None:
        self.server = Watched("server", process=psutil.Process(server.process.pid))
        self.worker = Watched("worker", process=server.worker())
        self.clients = Watched("clients", process=psutil.Process())
        self.sides = sides
        self.times: list[float] = []
        self.start = time.monotonic()
        self.before = {one.name: one.cpu for one in self._looked()}

    def _looked(self) -> list[Watched]:
        own = [self.server, self.worker, self.clients]
        for one in own:
            one.look()
        return own

    def run(self, end: float) -> None:
        for one in (self.server, self.worker, self.clients):
            one.rss.clear()
            one.files.clear()
        while (now := time.monotonic()) < end:
            self.times.append(now - self.start)
            self._looked()
            for side in self.sides:
                side.look(now - self.start)
            time.sleep(max(0.0, self.start + len(self.times) - time.monotonic()))

    def shares(self) -> dict[str, float]:
        """Percent of one core that each process took over the whole run."""
        seconds = time.monotonic() - self.start
        used = [(one, self.before[one.name]) for one in (self.server, self.worker, self.clients)]
        used += [(side.watched, 0.0) for side in self.sides]
        return {one.name: round(100 * (one.cpu - before) / seconds, 1) for one, before in used}


# --------------------------------------------------------------------------------------------------------- the run


def run(prepared: Path, root: Path, options: argparse.Namespace) -> dict[str, Any]:
    truth = json.loads((prepared / TRUTH).read_text(encoding="utf-8"))
    seconds = 60 * options.minutes
    people = [Person(name) for name in names(options.people)]
    cookies = signed_in(root, names(options.people))
    refresh = {"LABELER_REFRESH": "head"}
    if options.refresh == "finetune":
        refresh = {"LABELER_REFRESH": "finetune", "LABELER_EPOCHS": "1", "LABELER_VIEWS": "1"}
    with served(root, environment={**os.environ, **refresh, "LABELER_LOG_LEVEL": "info"}) as server:
        sides = _sides(prepared, root, options, seconds)
        recorder = Recorder(server, sides)
        end = recorder.start + seconds
        threads = [
            threading.Thread(
                target=Work(
                    Client(server.port, cookies[person.name]),
                    person,
                    end,
                    _thinking(options.pace, random.Random(f"{options.seed} {person.name}")),
                    truth,
                )
            )
            for person in people
        ]
        for thread in threads:
            thread.start()
        recorder.run(end)
        for thread in threads:
            thread.join()
        shares = recorder.shares()
        for side in sides:
            side.stop()
        counters = _counters(Client(server.port, cookies[people[0].name]))
    document = _facts(options) | latencies(people, recorder.start, seconds) | _processes(recorder, shares)
    document |= {"beside": {side.watched.name: side.as_json() for side in sides}, "counters": counters}
    document["server_log"] = log_counts(server.log)
    document["warnings"] = [line.strip() for line in server.log if re.search(r" (WARNING|ERROR) \w+: ", line)][:20]
    return document | _wrongs(root, people, server.log, counters, options)


def _thinking(pace: float, chance: random.Random) -> Callable[[], float]:
    return lambda: pace * chance.uniform(0.5, 1.5)


def _sides(prepared: Path, root: Path, options: argparse.Namespace, seconds: float) -> list[Side]:
    sides = []
    if options.imported:
        program = str(Path(sys.executable).with_name("labeler"))
        command = [
            program,
            "-w",
            str(root),
            "import",
            str(prepared / MORE),
            "--into",
            "unlabelled",
            "--quiet",
            "--json",
        ]
        sides.append(Side("import", command, IMPORT_AT * seconds))
    if options.refresh == "embed":
        command = [sys.executable, "-c", _EMBED, str(root), json.dumps(OTHER), str(NICENESS)]
        sides.append(Side("embed anew", command, REFRESH_AT * seconds))
    return sides


def _counters(client: Client) -> dict[str, float]:
    """The server's own counters at the end."""
    status, content = client.get("/metrics")
    assert status == 200, content
    lines = [line for line in content.decode().splitlines() if line.startswith(("labeler_record_", "labeler_answers_"))]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines) if "created" not in name}


def _facts(options: argparse.Namespace) -> dict[str, Any]:
    import sqlite3

    return {
        "machine": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "versions": {"labeler": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version},
        "load_average_before": options.load_before,
        "command": "python tests/bench/load.py " + " ".join(options.given),
        "people": options.people,
        "minutes": options.minutes,
        "pace_s": options.pace,
        "images": options.images,
        "seed": options.seed,
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1] if found is not None else platform.processor() or platform.machine()


def _processes(recorder: Recorder, shares: dict[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {"cpu_percent_of_a_core": shares, "times_s": [round(t, 2) for t in recorder.times]}
    for one in (recorder.server, recorder.worker):
        found[one.name] = {
            "rss_mib": [round(value, 1) for value in one.rss],
            "open_files": one.files,
            "rss_growth_second_half_percent": growth(one.rss),
            "files_growth_second_half_percent": growth(one.files),
        }
    return found


def _wrongs(
    root: Path, people: Sequence[Person], log: Sequence[str], counters: dict[str, float], options: argparse.Namespace
) -> dict[str, Any]:
    """What must be nought."""
    acknowledged = {op for person in people for op in person.acknowledged}
    with Workspace.open(root) as ws:
        with ws.store.read() as session:
            stored = set(session.scalars(select(DecisionRow.op_id)))
            opinions = session.scalar(select(func.count()).select_from(DecisionRow).where(DecisionRow.opinion))
        verified = ws.verify(repair=False)["clean"] if options.verify == "yes" else None
    errors = sum((person.errors for person in people), Counter[str]())
    answers = Counter(sha for person in people for sha in person.acknowledged.values())
    return {
        "lost": len(acknowledged - stored),
        "answered_twice": sum(count - 1 for count in answers.values()) + int(opinions or 0),
        "handed_doubly": len(handed_doubly(people)),
        "errors": dict(errors),
        "lock_errors": int(counters.get("labeler_record_locked_total", 0))
        + sum("locked" in line for line in log)
        + sum(count for what, count in errors.items() if re.search(r" 5\d\d", what)),
        "verify_clean": verified,
    }


def main() -> None:
    sys.setswitchinterval(0.0005)  # or our own threads would wait 5 ms for one another
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--pace", type=float, default=1.0, help="seconds a person looks at an image, on average")
    parser.add_argument("--images", type=int, default=12_000, help="in the pool at the start")
    parser.add_argument("--import", type=int, default=10_000, dest="imported", help="files imported meanwhile")
    parser.add_argument("--refresh", choices=("embed", "finetune", "none"), default="embed")
    parser.add_argument("--verify", choices=("yes", "no"), default="yes", help="compare record and files at the end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder to prepare once and copy for each run")
    parser.add_argument("--out", type=Path, help="folder for load.json and load.png")
    options = parser.parse_args()
    options.given, options.load_before = sys.argv[1:], [round(value, 1) for value in os.getloadavg()]
    with tempfile.TemporaryDirectory(prefix="labeler-load-") as scratch:
        prepared = options.keep or Path(scratch) / "prepared"
        if not (prepared / "w").exists():
            prepare(prepared, options)
        root = Path(scratch) / "w"
        shutil.copytree(prepared / "w", root)
        document = run(prepared, root, options)
    show(document)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "load.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
        (options.out / "load.png").write_bytes(figure(document))


if __name__ == "__main__":
    main()
