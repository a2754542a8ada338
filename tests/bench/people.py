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
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import psutil
from PIL import Image, ImageOps
from sqlalchemy import func, select

from labeler import workspace as workspaces
from labeler.domain import Split
from labeler.record import accounts, leases
from labeler.record.tables import Annotator, DecisionRow, Round
from labeler.rounds import Workspace

DEFAULT_PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data" / "facemask"
PASSWORD = "correct horse"


@dataclass
class Person:
    """What one thread did and saw."""

    name: str
    answered: list[str] = field(default_factory=list)
    handed: list[tuple[float, str]] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    pictures: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)
    waited: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)


class Client:
    """One keep-alive connection with a session's cookie, over a plain socket: a library's client takes as much of the
    processor as the server it measures."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""
        self.socket: socket.socket | None = None
        self.rest = b""

    def sign_in(self, name: str) -> None:
        body = json.dumps({"name": name, "password": PASSWORD}).encode()
        status, head, _ = self._ask(b"POST /login", body)
        if status != 200:
            raise SystemExit(f"{name} could not sign in: {status}")
        found = re.search(rb"set-cookie: ([^;]+)", head, re.IGNORECASE)
        assert found is not None
        self.cookie = found[1].decode()

    def get(self, path: str) -> tuple[int, bytes]:
        status, _, content = self._ask(b"GET " + path.encode(), None)
        return status, content

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        status, _, content = self._ask(b"POST " + path.encode(), json.dumps(body).encode())
        return status, json.loads(content or b"null")

    def _ask(self, what: bytes, body: bytes | None) -> tuple[int, bytes, bytes]:
        head = b"%s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncookie: %s\r\n" % (what, self.port, self.cookie.encode())
        if body is not None:
            head += b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        message = head + b"\r\n" + (body or b"")
        try:
            return self._exchange(message)
        except (ConnectionError, EOFError):  # idle for 5 s: the server has closed it
            self.socket = None
            return self._exchange(message)

    def _exchange(self, message: bytes) -> tuple[int, bytes, bytes]:
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=120)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.rest = b""
        self.socket.sendall(message)
        data = self.rest
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, data = data.split(b"\r\n\r\n", 1)
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        length = int(found[1]) if found is not None else 0
        while len(data) < length:
            data += self._more()
        self.rest = data[length:]
        return int(head.split(b" ", 2)[1]), head, data[:length]

    def _more(self) -> bytes:
        assert self.socket is not None
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError
        return data


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
        with ws.store.write() as session:
            for number in range(people):
                accounts.add(session, f"person {number}", accounts.hash_password(PASSWORD), admin=number == 0)
    shutil.rmtree(source, ignore_errors=True)


@contextmanager
def served(root: Path, retrain: bool) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The server as a person starts it; without retraining its worker is stopped, not ended."""
    command = [str(Path(sys.executable).with_name("labeler")), "serve", "--workspace", str(root), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    port = 0
    for line in process.stderr:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        if found:
            port = int(found[1])
            break
    log: list[str] = []
    threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True).start()
    children = psutil.Process(process.pid).children()
    if not retrain:
        for child in children:
            child.suspend()
    try:
        yield port, process
    finally:
        for child in children:
            child.resume()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        print("server said:", "".join(log[-20:]) or "nothing")


def run(root: Path, options: argparse.Namespace) -> None:
    people = [Person(f"person {number}") for number in range(options.people)]
    rankings: list[float] = []
    with served(root, options.retrain == "yes") as (port, process):
        clients = {person.name: Client(port) for person in people}
        for name, client in clients.items():
            client.sign_in(name)
        end = time.monotonic() + options.seconds
        threads = [
            threading.Thread(target=work, args=(clients[person.name], person, end, options.think)) for person in people
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
    report(root, people, rankings, options, memory, seconds)
    print(f"{1000 * own / max(sum(len(p.answered) for p in people), 1):.1f} ms an answer taken by this script")


def work(client: Client, person: Person, end: float, think: float) -> None:
    """One person: a batch, an answer to each of its images, the next batch."""
    batch = fetch(client, person, end)
    while batch is not None and time.monotonic() < end:
        waiting = [item for item in batch["items"] if item["action"] is None]
        following: dict[str, Any] | None = None
        for item in waiting:
            look(client, person, item)
            time.sleep(think)
            start = time.monotonic()
            if start >= end:
                return
            decide(client, person, batch, item)
            if item is waiting[-1]:
                following = fetch(client, person, end)
            person.steps.append(time.monotonic() - start)
        batch = following


def look(client: Client, person: Person, item: dict[str, Any]) -> None:
    start = time.monotonic()
    status, picture = client.get(f"/image/{item['image_id']}?v={item['sha256']}")
    person.pictures.append(time.monotonic() - start)
    if status != 200 or not picture.startswith(b"\xff\xd8"):
        person.errors[f"image {status}"] += 1


def decide(client: Client, person: Person, batch: dict[str, Any], item: dict[str, Any]) -> None:
    label = item["predicted"] or batch["classes"][0]
    op = {"op_id": secrets.token_hex(16), "sha256": item["sha256"], "action": "confirm", "label": label}
    body = {"round": batch["round"], "expected_user": person.name, "workspace": batch["workspace"], "ops": [op]}
    status, answer = client.post("/api/decisions", body)
    if status != 200 or answer["acks"][0]["error"]:
        person.errors[f"decision {status} {answer}"] += 1
    else:
        person.answered.append(item["sha256"])


def fetch(client: Client, person: Person, end: float) -> dict[str, Any] | None:
    """The next batch; waits for a model where the server says so."""
    start = time.monotonic()
    while time.monotonic() < end + 10:
        asked = time.monotonic()
        status, content = client.get("/api/batch")
        person.batches.append(time.monotonic() - asked)
        if status != 200:
            person.errors[f"batch {status}"] += 1
            return None
        batch: dict[str, Any] = json.loads(content)
        if batch["ready"]:
            person.handed += [(time.monotonic(), item["sha256"]) for item in batch["items"]]
            return batch
        time.sleep(0.25)
        person.waited += time.monotonic() - asked
    print(f"{person.name} got nothing for {time.monotonic() - start:.1f} s", file=sys.stderr)
    return None


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
    answered = Counter(sha for person in people for sha in person.answered)
    handed: dict[str, set[str]] = {}
    for person in people:
        for _, sha in person.handed:
            handed.setdefault(sha, set()).add(person.name)
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
    show("picture", [step for person in people for step in person.pictures])
    show("batch", [step for person in people for step in person.batches])
    shared = sum(len(who) > 1 for who in handed.values())
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
