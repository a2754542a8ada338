"""People who label, as a program: a real server, a connection each, and what everybody did and saw.

For `people.py` (eight without a pause), `load.py` (thirty-two at a person's pace) and the test of a graceful stop.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from labeler.record import accounts
from labeler.review.api import workspace_token
from labeler.rounds import Workspace

PASSWORD = "correct horse"
#: When something was asked for (time.monotonic), and the seconds it took.
Timed = tuple[float, float]

#: The page asks again so soon when there was nothing for its person (WAITING_MS of feed.js).
AGAIN_S = 1.0


@dataclass
class Person:
    """What one person did and saw.

    Attributes:
        acknowledged: sha256 of every image by the op_id of the answer that the server acknowledged.
        handed: when an image was handed out, and which.
        steps: seconds of an answer with what follows it, the next image in hand or the next batch.
        answers, pictures, batches: each request, also one that failed.
    """

    name: str
    acknowledged: dict[str, str] = field(default_factory=dict)
    handed: list[tuple[float, str]] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    answers: list[Timed] = field(default_factory=list)
    pictures: list[Timed] = field(default_factory=list)
    batches: list[Timed] = field(default_factory=list)
    waited: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)


class Client:
    """One keep-alive connection with a session's cookie, over a plain socket: a library's client takes as much of the
    processor as the server it measures."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self.port = port
        self.cookie = cookie
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

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _ask(self, what: bytes, body: bytes | None) -> tuple[int, bytes, bytes]:
        head = b"%s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncookie: %s\r\n" % (what, self.port, self.cookie.encode())
        if body is not None:
            head += b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        message = head + b"\r\n" + (body or b"")
        try:
            return self._exchange(message)
        except (ConnectionError, EOFError):  # idle for 5 s: the server has closed it
            self.close()
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
        if re.search(rb"^connection: close", head, re.IGNORECASE | re.MULTILINE):
            self.close()
        return int(head.split(b" ", 2)[1]), head, data[:length]

    def _more(self) -> bytes:
        assert self.socket is not None
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError
        return data


# ------------------------------------------------------------------------------------------------------ the server


def names(count: int) -> list[str]:
    return [f"person {number}" for number in range(count)]


def add_people(workspace: Workspace, people: Sequence[str]) -> None:
    """An account each, the first an administrator's; all of one password, which is dear to hash."""
    hashed = accounts.hash_password(PASSWORD)
    with workspace.store.write() as session:
        for number, name in enumerate(people):
            accounts.add(session, name, hashed, admin=number == 0)


def signed_in(root: Path, people: Sequence[str]) -> dict[str, str]:
    """Cookies of people who have an account, without the second that each check of a password takes."""
    with Workspace.open(root) as workspace, workspace.store.write() as session:
        found: dict[str, str] = {}
        for name in people:
            known = accounts.credentials(session, name)
            assert known is not None
            found[name] = f"labeler-{workspace_token(workspace)}={accounts.begin(session, known, 1)}"
    return found


class Served:
    """A server as a person starts it, from the command line.

    Attributes:
        port: where it listens.
        process: the server.
        log: what it said on stderr since.
    """

    def __init__(self, root: Path, *, environment: Mapping[str, str] | None = None) -> None:
        command = [str(Path(sys.executable).with_name("labeler")), "serve", "--workspace", str(root), "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log: list[str] = []
        stderr = self.process.stderr
        assert stderr is not None
        for line in stderr:
            self.log.append(line)
            found = re.search(r"the page is at http://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found[1])
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(self.log))
        self._reader = threading.Thread(target=lambda: self.log.extend(stderr), daemon=True)
        self._reader.start()

    def worker(self) -> psutil.Process | None:
        """The process that trains."""
        return next(iter(psutil.Process(self.process.pid).children()), None)

    def stop(self, number: int = signal.SIGTERM, wait_s: float = 60) -> int:
        """Send a signal; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(wait_s)
        self._reader.join(5)
        return code


@contextmanager
def served(root: Path, retrain: bool = True, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """The server for the length of the block; without retraining its worker is stopped, not ended."""
    server = Served(root, environment=environment)
    children = psutil.Process(server.process.pid).children()
    if not retrain:
        for child in children:
            child.suspend()
    try:
        yield server
    finally:
        for child in children:
            if child.is_running():
                child.resume()
        server.stop()


# ------------------------------------------------------------------------------------------------------ the people


class Work:
    """How one person works until a moment has come, or the server is gone.

    Args:
        client: the person's connection.
        person: who it is.
        end: that moment, by time.monotonic.
        think: called before every answer, gives the seconds the person looks at the image.
        truth: sha256 to label; what the model suggests is confirmed where it is not known.
    """

    def __init__(
        self,
        client: Client,
        person: Person,
        end: float,
        think: Callable[[], float] = lambda: 0.0,
        truth: Mapping[str, str] | None = None,
    ) -> None:
        self.client, self.person, self.end, self.think, self.truth = client, person, end, think, truth or {}

    def __call__(self) -> None:
        try:
            self._work()
        except (OSError, EOFError):
            self.person.errors["gone"] += 1

    def _work(self) -> None:
        batch = self.fetch()
        while batch is not None and time.monotonic() < self.end:
            waiting = [item for item in batch["items"] if item["action"] is None]
            following: dict[str, Any] | None = None
            for item in waiting:
                self._look(item)
                time.sleep(max(0.0, min(self.think(), self.end - time.monotonic())))
                start = time.monotonic()
                if start >= self.end:
                    return
                self._decide(batch, item)
                if item is waiting[-1]:
                    following = self.fetch()
                self.person.steps.append(time.monotonic() - start)
            batch = following

    def _look(self, item: dict[str, Any]) -> None:
        start = time.monotonic()
        status, picture = self.client.get(f"/image/{item['image_id']}?v={item['sha256']}")
        self.person.pictures.append((start, time.monotonic() - start))
        if status != 200 or not picture.startswith(b"\xff\xd8"):
            self.person.errors[f"image {status}"] += 1

    def _decide(self, batch: dict[str, Any], item: dict[str, Any]) -> None:
        sha = item["sha256"]
        label = self.truth.get(sha) or item["predicted"] or batch["classes"][0]
        action = "confirm" if item["predicted"] in (None, label) else "correct"
        op = {"op_id": secrets.token_hex(16), "sha256": sha, "action": action, "label": label}
        body = {
            "round": batch["round"],
            "expected_user": self.person.name,
            "workspace": batch["workspace"],
            "ops": [op],
        }
        start = time.monotonic()
        status, answer = self.client.post("/api/decisions", body)
        self.person.answers.append((start, time.monotonic() - start))
        if status != 200 or answer["acks"][0]["error"]:
            self.person.errors[f"decision {status} {answer}"] += 1
        else:
            self.person.acknowledged[op["op_id"]] = sha

    def fetch(self) -> dict[str, Any] | None:
        """The next batch; waits for a model where the server says so, and for images that are on their way."""
        start = time.monotonic()
        while time.monotonic() < self.end:
            asked = time.monotonic()
            status, content = self.client.get("/api/batch")
            self.person.batches.append((asked, time.monotonic() - asked))
            if status != 200:
                self.person.errors[f"batch {status}"] += 1
                return None
            batch: dict[str, Any] = json.loads(content)
            if batch["ready"]:
                self.person.handed += [(time.monotonic(), item["sha256"]) for item in batch["items"]]
                return batch
            time.sleep(AGAIN_S)
            self.person.waited += time.monotonic() - asked
        if time.monotonic() - start > 1:
            print(f"{self.person.name} got nothing for {time.monotonic() - start:.1f} s", file=sys.stderr)
        return None


def handed_doubly(people: Sequence[Person]) -> set[str]:
    """Images that two people were handed, whenever it was: only right where an image may be with several."""
    holders: dict[str, set[str]] = {}
    for person in people:
        for _, sha in person.handed:
            holders.setdefault(sha, set()).add(person.name)
    return {sha for sha, who in holders.items() if len(who) > 1}
