"""Eight people at the page: they answer, skip, undo, and send again what was not acknowledged, as the page does."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.crash.book import Book
from tests.crash.programs import PATIENCE_S, wait_for

PASSWORD = "correct horse"
PEOPLE = tuple(f"person {number}" for number in range(8))
AT_ONCE = 50  # as the page's outbox
_AGAIN_S = 0.05


class Lost(Exception):
    """The connection ended before an answer came: whether the server took the request is not known."""


class Connection:
    """One keep-alive connection with a session's cookie."""

    def __init__(self, port: int) -> None:
        self._port, self._cookie = port, ""
        self._http: http.client.HTTPConnection | None = None

    def sign_in(self, name: str) -> None:
        status, _, headers = self._ask("POST", "/login", {"name": name, "password": PASSWORD})
        assert status == 200, f"{name} could not sign in: {status}"
        self._cookie = (headers["set-cookie"] or "").partition(";")[0]

    def get(self, path: str) -> tuple[int, bytes]:
        return self._ask("GET", path, None)[:2]

    def post(self, path: str, body: Any) -> tuple[int, bytes]:
        return self._ask("POST", path, body)[:2]

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _ask(self, method: str, path: str, body: Any) -> tuple[int, bytes, Mapping[str, str]]:
        if self._http is not None:
            try:
                return self._once(method, path, body)
            except Lost:
                pass  # the server closes what is idle for 5 s; every request here may be sent twice
        return self._once(method, path, body)

    def _once(self, method: str, path: str, body: Any) -> tuple[int, bytes, Mapping[str, str]]:
        headers = {"cookie": self._cookie} if self._cookie else {}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            if self._http is None:
                self._http = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
            self._http.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = self._http.getresponse()
            return answer.status, answer.read(), answer.headers  # type: ignore[return-value]  # a mapping of texts
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Lost from error


class Client:
    """One person; a thread of its own. ``outbox`` holds what is not acknowledged, oldest first."""

    def __init__(self, crew: Crew, name: str, seed: str) -> None:
        self.crew, self.name = crew, name
        self.page = crew.book.page(name)
        self.rng = random.Random(seed)
        self.connection = Connection(crew.port)
        self.outbox: list[tuple[int | None, dict[str, Any]]] = []
        self.parked = 0
        self.acknowledged = 0
        self._made = 0
        self._workspace, self._classes = "", [""]
        self._round: int | None = None
        self._items: list[dict[str, Any]] = []
        self._answered: list[tuple[int | None, dict[str, Any]]] = []
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        while not self.crew.ended:
            generation = self.crew.generation
            try:
                if self.outbox:
                    self._flush()
                elif self.crew.paused:
                    self.parked = generation
                    time.sleep(_AGAIN_S / 5)
                else:
                    self._step()
            except Lost:
                time.sleep(_AGAIN_S)

    # ---------------------------------------------------------------------------------------------------- answering

    def _step(self) -> None:
        if not self._items:
            self._fetch()
            return
        item = self._items.pop(0)
        chance = self.rng.random()
        if chance < 0.1:
            self._get(f"/image/{item['image_id']}?v={item['sha256']}&size=thumb")
        time.sleep(self.rng.uniform(0, 2 * self.crew.think_s))
        if chance < 0.2 and self._answered:
            self._undo()
        truth = self.crew.truth.get(item["sha256"], self._classes[0])
        other = next(label for label in self._classes if label != truth)
        if self.rng.random() < 0.08:
            self._push(item["round"], item["sha256"], "skip", None)
        else:
            label = other if self.rng.random() < 0.1 else truth
            action = "confirm" if label == item["predicted"] else "correct"
            self._push(item["round"], item["sha256"], action, label)

    def _undo(self) -> None:
        """Take the last answer back and, mostly, give another one: what a slip of the finger looks like."""
        number, op = self._answered.pop()
        self._push(number, op["sha256"], "undo", None)
        if self.rng.random() < 0.7:
            label = self.rng.choice(self._classes)
            self._push(number, op["sha256"], "correct", label)

    def _push(self, number: int | None, sha256: str, action: str, label: str | None) -> None:
        """An operation is written down before anything is sent."""
        op = {"op_id": f"{self.rng.getrandbits(128):032x}", "sha256": sha256, "action": action, "label": label}
        self.page.write("sent", op=op, round=number, place=self._made)
        self._made += 1
        self.outbox.append((number, op))
        if action != "undo":
            self._answered.append((number, op))
            del self._answered[:-20]

    def _flush(self) -> None:
        number = self.outbox[0][0]
        ops = []
        for of_round, op in self.outbox[:AT_ONCE]:
            if of_round != number:
                break
            ops.append(op)
        body = {"round": number, "expected_user": self.name, "workspace": self._workspace, "ops": ops}
        status, content = self.connection.post("/api/decisions", body)
        if status != 200:
            self.page.write("answer", status=status, path="/api/decisions", body=content.decode()[:300])
            time.sleep(_AGAIN_S)
            return
        over = set()
        for ack in json.loads(content)["acks"]:
            self.page.write("ack", ack=ack)
            if ack["error"] is None or ack["final"]:
                over.add(ack["op_id"])
        self.acknowledged += len(over)
        self.outbox = [(of_round, op) for of_round, op in self.outbox if op["op_id"] not in over]

    # ----------------------------------------------------------------------------------------------------- fetching

    def _fetch(self) -> None:
        mode = self.rng.choices(("label", "grid", "mistakes"), (18, 3, 1))[0]
        asked = time.time()
        content = self._get(f"/api/batch?mode={mode}")
        if content is None:
            time.sleep(_AGAIN_S)
            return
        batch = json.loads(content)
        self._workspace, self._classes, self._round = batch["workspace"], batch["classes"], batch["round"]
        second = mode == "mistakes"
        self._items = [item for item in batch["items"] if second or item["action"] is None][: 3 if second else None]
        if self._items and not second:
            shas = [item["sha256"] for item in self._items]
            self.page.write("handed", round=batch["round"], shas=shas, asked=asked)
        if not batch["items"]:
            job = batch["job"] or {}
            if job.get("state") == "failed":  # as a person presses the button the page then shows
                self.connection.post("/api/round", None)
            time.sleep(self.rng.uniform(2 * _AGAIN_S, 10 * _AGAIN_S))

    def _get(self, path: str) -> bytes | None:
        status, content = self.connection.get(path)
        if status == 200:
            return content
        self.page.write("answer", status=status, path=path, body=content.decode(errors="replace")[:300])
        return None


class Crew:
    """All of them, let loose and brought to rest together.

    Args:
        book: where they write.
        port: of the server, which may come and go.
        truth: class of each image by its SHA-256; grows with imports.
        think_s: mean pause before an answer.
    """

    def __init__(self, book: Book, port: int, truth: Mapping[str, str], seed: int, think_s: float = 0.25) -> None:
        self.book, self.port, self.truth, self.think_s = book, port, truth, think_s
        self.paused, self.ended, self.generation = True, False, 1
        self.clients: Sequence[Client] = [Client(self, name, f"{seed}-{name}") for name in PEOPLE]
        self.control = Connection(port)

    def sign_in(self) -> None:
        """Needs a server; the sessions outlive it."""
        for client in self.clients:
            client.connection.sign_in(client.name)
        self.control._cookie = self.clients[0].connection._cookie
        for client in self.clients:
            client.thread.start()

    def let_loose(self) -> None:
        self.paused = False

    def rest(self, alive: Callable[[], bool]) -> bool:
        """Ask for no more batches, and wait until everything that was made is acknowledged.

        Args:
            alive: whether there is still a server; without one nothing is acknowledged, and the answer is False.
        """
        self.generation += 1
        self.paused = True

        def parked() -> bool:
            return all(client.parked == self.generation for client in self.clients)

        wait_for(lambda: parked() or not alive(), "an acknowledgement of everything")
        return parked()

    def status(self) -> dict[str, Any]:
        """The server's own short report."""
        code, content = self.control.get("/api/status")
        found: dict[str, Any] = json.loads(content) if code == 200 else {}
        return found

    def ask_for_ranking(self) -> None:
        self.control.post("/api/round", None)

    @property
    def acknowledged(self) -> int:
        return sum(client.acknowledged for client in self.clients)

    @property
    def unacknowledged(self) -> int:
        return sum(len(client.outbox) for client in self.clients)

    def end(self) -> None:
        self.ended = True
        for client in self.clients:
            if client.thread.is_alive():
                client.thread.join(PATIENCE_S)
            client.connection.close()
            client.page.close()
        self.control.close()
