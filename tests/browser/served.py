"""A real server in a process of its own, and a visitor with a real browser."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, Response

from labeler.record.tables import DecisionRow
from labeler.rounds import Workspace
from tests.crash.programs import Program, Programs

START_S = 60.0
WAIT_MS = 60_000.0  # far more than anything takes: a loaded machine is no failure
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_PROGRAM = """
import json, sys
from pathlib import Path
from labeler.review.server import serve
from labeler.workspace import find
serve(find(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), settings_overrides=json.loads(sys.argv[3]))
"""


def chromium() -> str | None:
    """The browser of this machine."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


class Process(Protocol):
    """What is asked of a server's process; :class:`subprocess.Popen` answers it."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class _Forked:
    """A server that was forked and not started: the same program, in a process of its own."""

    def __init__(self, program: Program) -> None:
        self._program, self.pid = program, program.pid

    def poll(self) -> int | None:
        return self._program.code

    def wait(self, timeout: float | None = None) -> int:
        until = time.monotonic() + (timeout or START_S)
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("a server", timeout or START_S)
            time.sleep(0.01)
        return code


@functools.cache
def _nursery() -> Programs:
    """Where servers are forked from; the page's libraries take five seconds of a processor to import."""
    programs = Programs(Path(tempfile.mkdtemp(prefix="labeler-served-")))
    atexit.register(_close, programs)
    return programs


def _close(programs: Programs) -> None:
    programs.__exit__()
    shutil.rmtree(programs.scratch, ignore_errors=True)


class Server:
    """`labeler serve` of one workspace; keeps its port when it is started again.

    Args:
        root: of the workspace.
        cold: started from nothing and not forked, as a person does.
    """

    def __init__(self, root: Path, k: int = 20, *, cold: bool = False, **settings: object) -> None:
        self.root, self.cold = root, cold
        self.settings = json.dumps({"k": k, **settings})
        self.port = 0
        self.log: list[str] = []
        self.process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> Server:
        arguments = [str(self.root), str(self.port), self.settings]
        listening = threading.Event()
        if self.cold:
            command = [sys.executable, "-c", _PROGRAM, *arguments]
            started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=self.root)
            assert started.stderr is not None
            self.process = started
            threading.Thread(target=self._read, args=(started.stderr, listening), daemon=True).start()
        else:
            said = _nursery().new_log("serve")
            os.mkfifo(said)  # read to its end, which comes when nobody has it open any more
            threading.Thread(target=self._read_from, args=(said, listening), daemon=True).start()
            environment = {**os.environ, "LABELER_THREADS": "0"}
            program = _nursery().start(arguments, environment=environment, log=said, program=_PROGRAM, cwd=self.root)
            self.process = _Forked(program)
        if not listening.wait(START_S) or self.process.poll() is not None:
            raise AssertionError("the server did not start:\n" + "".join(self.log[-30:]))
        return self

    def _read_from(self, file: Path, listening: threading.Event) -> None:
        with file.open(encoding="utf-8", errors="replace") as lines:
            self._read(lines, listening)

    def _read(self, lines: Iterable[str], listening: threading.Event) -> None:
        for line in lines:
            self.log.append(line)
            found = re.search(r"the page is at http://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found[1])
                listening.set()
        listening.set()

    def kill(self) -> None:
        """As a power cut would: no handler runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(30)


class Visitor:
    """One browser window on the page, with everything that should not happen written down."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        self.page: Page = self.context.new_page()
        self.url = url
        self.console: list[str] = []
        self.foreign: list[str] = []
        self.acknowledged: dict[str, str | None] = {}
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
        self.page.on("dialog", self._on_dialog)
        self.context.on("request", self._on_request)
        self.context.on("response", self._on_response)

    def _on_dialog(self, dialog: Dialog) -> None:
        self.console.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_console(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(request.url)

    def _on_response(self, response: Response) -> None:
        if response.url.endswith("/api/decisions") and response.ok:
            for ack in response.json()["acks"]:
                if ack["error"] is None:
                    self.acknowledged[ack["op_id"]] = ack["label"]

    def open(self) -> Visitor:
        self.page.goto(self.url)
        return self.labelling()

    def labelling(self, round_number: int | None = None) -> Visitor:
        """Wait for an image to label."""
        self.page.wait_for_selector('.lb[data-state="label"] .lb-stage[data-picture="ready"]', timeout=WAIT_MS)
        if round_number is not None:
            self.page.wait_for_function(
                "n => document.querySelector('[data-part=round]')?.textContent === `Round ${n}`", arg=round_number
            )
        return self

    def grid(self) -> Visitor:
        """Change to the grid and wait for a page with all its pictures."""
        self.press("g")
        return self.sheet()

    def sheet(self) -> Visitor:
        self.page.wait_for_selector('.lb[data-state="label"][data-mode="grid"] .lb-tile', timeout=WAIT_MS)
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.lb-tile img')].every((one) => one.dataset.state === 'ready')",
            timeout=WAIT_MS,
        )
        return self

    def press(self, *keys: str, delay_ms: int = 0) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            if delay_ms:
                self.page.wait_for_timeout(delay_ms)

    def text(self, part: str) -> str:
        return self.page.locator(f'.lb [data-part="{part}"]').inner_text()

    def wait_text(self, part: str, text: str, timeout: float = WAIT_MS) -> None:
        self.page.wait_for_function(
            "([part, text]) => document.querySelector(`.lb [data-part=${part}]`)?.textContent.includes(text)",
            arg=[part, text],
            timeout=timeout,
        )

    def pictures(self, n: int) -> None:
        """Wait until n large pictures have arrived."""
        self.page.wait_for_function(
            "n => performance.getEntriesByType('resource').filter((e) => e.name.includes('size=full')).length >= n",
            arg=n,
            timeout=WAIT_MS,
        )

    def saved(self, n: int, k: int) -> None:
        """Wait until n of k are answered and everything is on record."""
        self.wait_text("count", f"{n} of {k}")
        self.wait_outbox(0)
        self.wait_text("saved-text", "all saved")

    def wait_outbox(self, n: int) -> None:
        """Wait until localStorage holds n unsent answers."""
        self.page.wait_for_function(
            "n => Object.keys(localStorage).filter((key) => key.startsWith('labeler:outbox:')).length === n",
            arg=n,
            timeout=WAIT_MS,
        )

    def assert_clean(self) -> None:
        """Nothing in the console, nothing asked of another host."""
        assert self.console == []
        assert self.foreign == []

    def close(self) -> None:
        for page in self.context.pages:
            page.unroute_all(behavior="ignoreErrors")  # a poll may be under way
        self.context.close()


def decisions(workspace: Workspace, round_number: int | None = None) -> Sequence[DecisionRow]:
    """What the record holds of people's decisions, oldest first."""
    from sqlalchemy import select

    from labeler.record.tables import Round

    with workspace.store.read() as session:
        query = select(DecisionRow).where(DecisionRow.action != "import").order_by(DecisionRow.id)
        if round_number is not None:
            query = query.join(Round, Round.id == DecisionRow.round_id).where(Round.number == round_number)
        rows = session.scalars(query).all()
        session.expunge_all()
        return rows
