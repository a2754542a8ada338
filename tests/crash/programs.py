"""The processes under test: commands and servers, started warm or from nothing, and how they are killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import psutil

from labeler import faults

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
_STEP_S = 0.01
#: Between two looks that ask the server: a hundred of those in a second keep it from the work that is waited for.
ASK_S = 0.1
_ADDRESS = re.compile(r"the page is at http://")
_WORKER_DIED = re.compile(r"the worker ended \(exit code (-?\d+)\)")


class StuckError(AssertionError):
    """Something did not come within a time that is far more than it takes."""


def wait_for(done: Callable[[], bool], what: str, seconds: float = PATIENCE_S, step: float = _STEP_S) -> None:
    """Wait until ``done``, looking every ``step`` seconds; `StuckError` with ``what`` when it never is."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            raise StuckError(f"{what} did not come within {seconds:g} s")
        time.sleep(step)


class Program(Protocol):
    """A process that was started here; ``code`` is None while it runs, negative after a signal."""

    pid: int
    log: Path

    @property
    def code(self) -> int | None: ...


class Cold:
    """A command started from nothing, as a person does."""

    def __init__(self, argv: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "labeler", *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **environment},
                cwd=log.parent,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def code(self) -> int | None:
        return self._process.poll()


class Warm:
    """A command in a fork of the zygote."""

    def __init__(self, pid: int, log: Path, codes: Mapping[int, int]) -> None:
        self.pid, self.log, self._codes = pid, log, codes

    @property
    def code(self) -> int | None:
        return self._codes.get(self.pid)


class Programs:
    """Starts the program of one source tree. Use it in a ``with`` statement: what still runs at its end is killed.

    Args:
        scratch: folder for logs.
        source: folder that holds the package ``labeler``; the repository, or one with a copy that was broken.
        gradio: whether warm servers have the tabs too.
    """

    def __init__(self, scratch: Path, source: Path = REPOSITORY, *, gradio: bool = True) -> None:
        self.scratch, self.source = scratch, source
        scratch.mkdir(parents=True, exist_ok=True)
        self._common = {
            # The folder a program starts in comes first on its path, so it must hold no package: `scratch`.
            "PYTHONPATH": os.pathsep.join((str(source), str(REPOSITORY))),
            "OPENBLAS_NUM_THREADS": "1",
            "LABELER_THREADS": "1",
            faults.ENVIRONMENT_NAME: "",
        }
        environment = {**os.environ, **self._common, "CRASH_WITHOUT_GRADIO": "" if gradio else "1"}
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=scratch,
        )
        self._codes: dict[int, int] = {}
        self._started: list[int] = []
        self._said = threading.Condition()
        self._ready = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._number = 0

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_exception: object) -> None:
        for pid in self._started:
            if pid not in self._codes:
                kill(family(pid))
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        self._zygote.wait(PATIENCE_S)
        self._reader.join()

    def start(
        self,
        argv: list[str],
        *,
        cold: bool = False,
        environment: Mapping[str, str] | None = None,
        log: Path,
        program: str | None = None,
        cwd: Path | None = None,
    ) -> Program:
        """Start a command; its output is added to ``log``.

        Args:
            program: warm, the source of a program that gets ``argv`` instead of the command line.
            cwd: warm, the folder to start in; the logs' without it.
        """
        given = {**self._common, **(environment or {})}
        if cold:
            return Cold(argv, given, log)
        with self._said:
            before = len(self._started)
            assert self._zygote.stdin is not None
            asked: dict[str, object] = {"argv": argv, "environment": given, "log": str(log)}
            asked |= {"program": program} if program is not None else {}
            asked |= {"cwd": str(cwd)} if cwd is not None else {}
            self._zygote.stdin.write(json.dumps(asked).encode() + b"\n")
            self._zygote.stdin.flush()
            if not self._said.wait_for(lambda: len(self._started) > before, PATIENCE_S):
                raise StuckError("the zygote did not start a program")
            return Warm(self._started[before], log, self._codes)

    def new_log(self, name: str) -> Path:
        self._number += 1
        return self.scratch / f"{self._number:04d}-{name}.log"

    def _read(self) -> None:
        assert self._zygote.stdout is not None
        for line in self._zygote.stdout:
            said = json.loads(line)
            with self._said:
                if "pid" in said:
                    self._started.append(said["pid"])
                elif "ended" in said:
                    self._codes[said["ended"]] = said["code"]
                self._said.notify_all()


class Server:
    """`labeler serve` of one workspace on a port that stays the same, so that its clients find it again."""

    def __init__(self, programs: Programs, root: Path) -> None:
        self.programs, self.root = programs, root
        self.port = _free_port()
        self.program: Program | None = None
        self.logs: list[Path] = []

    @property
    def alive(self) -> bool:
        return self.program is not None and self.program.code is None

    def start(self, fault: str = "", *, cold: bool = False) -> bool:
        """Start it and wait for its page; False when it died on the way there, at the place that was armed."""
        argv = ["serve", "--workspace", str(self.root), "--host", "127.0.0.1", "--port", str(self.port)]
        log = self.programs.new_log("serve")
        self.logs.append(log)
        program = self.programs.start(argv, cold=cold, environment={faults.ENVIRONMENT_NAME: fault}, log=log)
        self.program = program
        wait_for(lambda: program.code is not None or bool(_ADDRESS.search(_text(log))), f"the page ({log})")
        if program.code is not None and program.code != faults.EXIT_CODE:
            raise StuckError(f"the server ended with {program.code}:\n{_text(log)[-2000:]}")
        return program.code is None

    def died_at_point(self) -> str:
        """Who has died at the armed place so far: ``server``, ``worker`` or an empty text."""
        if self.program is None:
            return ""
        if self.program.code == faults.EXIT_CODE:
            return "server"
        ended = {int(code) for code in _WORKER_DIED.findall(_text(self.program.log))}
        return "worker" if faults.EXIT_CODE in ended else ""

    def orphans(self) -> list[psutil.Process]:
        """Workers of this workspace that outlived their server: they finish what they are at."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if "labeler.worker" in words and str(self.root) in words:
                    found.append(process)
        return found

    def kill(self, whom: str) -> bool:
        """SIGKILL the ``server``, its ``worker`` or the whole ``group``; False when that one was not running."""
        if not self.alive or self.program is None:
            return False
        everybody = family(self.program.pid)
        chosen = {"server": everybody[:1], "worker": everybody[1:], "group": everybody}[whom]
        kill(chosen)
        if whom != "worker":
            program = self.program
            wait_for(lambda: program.code is not None, "the end of a killed server")
        return bool(chosen)

    def stop(self) -> int:
        """SIGTERM, as a person or a service manager ends it; returns the exit code."""
        assert self.program is not None
        program = self.program
        with contextlib.suppress(ProcessLookupError):
            os.kill(program.pid, signal.SIGTERM)
        wait_for(lambda: program.code is not None, "the end of a server that was asked to stop")
        assert program.code is not None
        return program.code

    def said(self) -> str:
        """Everything the servers so far wrote."""
        return "".join(_text(log) for log in self.logs)


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it, itself first; empty when it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL, all stopped first so that none sees another one die, and wait until they are gone."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
    for process in processes:
        wait_for(lambda: _gone(process), "the end of a killed process")  # noqa: B023  # used at once


def _gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _free_port() -> int:
    """Below the range that systems take for outgoing connections: one that is free stays so until the next start."""
    for port in range(20_000 + os.getpid() % 8_000, 32_000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise StuckError("no free port")
