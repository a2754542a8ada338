"""A server under which things break: a second server, a full disk, a workspace that is taken away."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labeler.rounds import Workspace
from tests.checks import assert_sound
from tests.faults.asking import ALL, command, labels
from tests.faults.breaking import assert_one_line, fill, read_only, small_disk
from tests.workspaces import CLASSES

START_S = 240.0
WAIT_S = 60.0


class Served:
    """`labeler serve` in a process of its own, asked as the page asks it."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, list[str]()
        arguments = ["serve", "-w", str(root), "--port", "0", "--k", "8"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "labeler", *arguments], stderr=subprocess.PIPE, text=True, cwd=root.parent
        )
        self.port = 0
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(START_S) or not self.port:
            self.process.kill()
            raise AssertionError("the server did not start:\n" + "".join(self.log))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"the page is at http://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found[1])
                self._listening.set()
        self._listening.set()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        with contextlib.closing(connection):
            headers = {"content-type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        return answer.status, json.loads(text) if text else None

    def batch(self) -> dict[str, Any]:
        """A batch with something to answer."""
        document: dict[str, Any] = {}

        def there() -> bool:
            document.update(self.ask("GET", "/api/batch?now=true")[1])
            document["items"] = [item for item in document["items"] if item["action"] is None]
            return bool(document["items"])

        wait_for(there)
        return document

    def answer(self, batch: dict[str, Any], item: dict[str, Any]) -> tuple[int, Any]:
        """Answer with the first class."""
        operation = {
            "op_id": f"op-{item['sha256'][:40]}", "sha256": item["sha256"], "action": "correct", "label": CLASSES[0],
            "elapsed_ms": 900,
        }  # fmt: skip
        whose = {"expected_user": batch["user"], "workspace": batch["workspace"]}
        return self.ask("POST", "/api/decisions", {"round": batch["round"], "ops": [operation], **whose})

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return code

    def assert_no_traceback(self) -> None:
        assert not [line for line in self.log if "Traceback" in line or "Exception" in line], "".join(self.log)


def wait_for(condition: Callable[[], bool], said: Callable[[], str] | None = None) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"it did not happen: {said() if said else ''}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def served(
    working_once: Path, compiled: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Path | None]]:
    """One server for this file; the disk that holds its workspace, None where none can be mounted."""
    home = tmp_path_factory.mktemp("served")
    with contextlib.ExitStack() as stack:
        disk: Path | None = None
        with contextlib.suppress(pytest.skip.Exception):
            disk = stack.enter_context(small_disk(home / "disk", 8_000))
        root = (disk or home) / "w"
        shutil.copytree(working_once, root)
        (root / "db" / "cache" / "compiled").symlink_to(compiled)
        server = Served(root)
        stack.callback(server.process.kill)
        yield server, disk


def test_a_second_server_names_the_first(served: tuple[Served, Path | None]) -> None:
    server, _ = served
    done = command("serve", "-w", server.root, "--port", "0")
    assert_one_line(*done, "is in use by another labeler", f"process {server.process.pid}", "wait for it or stop it")
    assert server.ask("GET", "/api/batch")[0] == 200


def test_a_round_at_the_shell_while_the_page_is_served(served: tuple[Served, Path | None], truth: Path) -> None:
    """The shell and the page have one round under way, and neither undoes what the other did."""
    server, _ = served
    batch = server.batch()
    code, out, err = command("round", "-w", server.root, "--json", "-q")
    assert code == 0, err
    shell = json.loads(out)
    assert shell["round"] == batch["round"]
    assert {p["sha256"] for p in shell["proposals"]} == {item["sha256"] for item in batch["items"]}
    code, out, err = command("round", "-w", server.root, "--oracle", truth, "--json", "-q")
    assert code == 0, err
    assert json.loads(out)["state"] == "EVALUATED"
    wait_for(lambda: server.batch()["round"] > batch["round"])
    server.assert_no_traceback()


def test_answers_on_a_full_disk_are_refused_and_then_taken(served: tuple[Served, Path | None]) -> None:
    server, disk = served
    if disk is None:
        pytest.skip("this process may not mount a file system")
    batch = server.batch()
    ballast = fill(disk, 0)
    refused: list[dict[str, Any]] = []
    taken: list[dict[str, Any]] = []
    for item in batch["items"][:6]:  # what is left of the write-ahead log's file takes the first ones
        status, document = server.answer(batch, item)
        ok = status == 200 and document["acks"][0]["error"] is None
        (taken if ok else refused).append(item)
        if not ok:
            assert status == 200, document
            assert "cannot store this now: try again" in document["acks"][0]["error"]
    assert refused
    wait_for(lambda: any("labeler.db is full" in line and "free some space" in line for line in server.log))
    ballast.unlink()
    assert {item["sha256"] for item in taken} <= labels(server.root).keys()
    for item in refused:
        status, document = server.answer(batch, item)
        assert status == 200
        assert document["acks"][0]["error"] is None
    wait_for(lambda: {item["sha256"] for item in batch["items"][:6]} <= labels(server.root).keys())
    server.assert_no_traceback()


def test_answers_while_the_class_folders_are_read_only(served: tuple[Served, Path | None]) -> None:
    """They are acknowledged, for they are on record; their files move when the disk can be written again."""
    server, _ = served
    batch = server.batch()
    item = batch["items"][0]
    with read_only(server.root / "pools" / "Train"):
        status, document = server.answer(batch, item)
        assert (status, document["acks"][0]["error"]) == (200, None)
        wait_for(
            lambda: any("Read-only" in line or "could not be moved" in line for line in server.log),
            lambda: "".join(server.log),
        )
        assert labels(server.root)[item["sha256"]]
    wait_for(lambda: bool(list((server.root / "pools" / "Train").rglob(_name_of(server.root, item["sha256"])))))
    server.assert_no_traceback()


def _name_of(root: Path, sha256: str) -> str:
    from labeler.record import images

    with Workspace.open(root) as ws, ws.store.read() as session:
        image = images.by_sha(session, sha256)
        assert image is not None
        return Path(image.path).name


def test_a_workspace_that_is_taken_away(served: tuple[Served, Path | None]) -> None:
    """No answer is acknowledged that nobody would find again; nothing is made in its place; the server still ends."""
    server, _ = served
    batch = server.batch()
    item = batch["items"][0]
    away = server.root.with_name("away")
    server.root.rename(away)
    status, document = server.answer(batch, item)
    assert status >= 500 or "cannot store this now" in document["acks"][0]["error"], document
    wait_for(lambda: any("removed or replaced while in use" in line for line in server.log))
    assert server.ask("GET", f"/image/{item['image_id']}?v={item['sha256']}")[0] == 410
    time.sleep(1.0)  # the worker looks for jobs five times a second
    assert not server.root.exists(), "it was made anew, empty"
    assert server.stop() == 0
    server.assert_no_traceback()
    away.rename(server.root)
    with Workspace.open(server.root) as ws:
        ws.resume()
        assert_sound(ws, ALL)
