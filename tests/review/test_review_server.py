"""Serving: where it listens, who holds the workspace, how it ends, and the worker beside it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from labeler import workspace as workspaces
from labeler.domain import LabelerError, WorkspaceBusy
from labeler.record import accounts
from labeler.review import keeper, server
from labeler.rounds import Workspace
from labeler.workspace import WorkspacePaths, exclusive

_PROGRAM = """
import sys
from pathlib import Path
from labeler.review.server import serve
from labeler.workspace import find
serve(find(Path(sys.argv[1])), host=sys.argv[2], port=0, settings_overrides={"k": 7})
print("returned", file=sys.stderr)
"""


@pytest.fixture
def paths(tmp_path: Path) -> WorkspacePaths:
    return workspaces.create(tmp_path / "w")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", "::", ""])  # noqa: S104
def test_without_accounts_only_this_machine_is_served(paths: WorkspacePaths, host: str) -> None:
    with pytest.raises(LabelerError, match=r"nobody has an account yet .*labeler users add NAME"):
        server.serve(paths, host=host, port=0, settings_overrides={})
    assert not (paths.db / "serve.pid").exists()


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", socket.gethostname()), ("", socket.gethostname())],  # noqa: S104
)
def test_the_address_is_one_to_click_on(host: str, shown: str) -> None:
    assert server._in_address(host) == shown


def test_taken_port_is_one_clear_line(paths: WorkspacePaths) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LabelerError, match=f"cannot listen on 127.0.0.1:{port}"):
            server.serve(paths, host="127.0.0.1", port=port, settings_overrides={})


def test_second_serve_names_the_first(paths: WorkspacePaths) -> None:
    program = "import sys, time\nfrom pathlib import Path\nfrom labeler.workspace import WorkspacePaths, exclusive\n"
    program += (
        "with exclusive(WorkspacePaths(Path(sys.argv[1])), 'serve'):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(paths.root)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(WorkspaceBusy, match=str(holder.pid)):
                server.serve(paths, host="127.0.0.1", port=0, settings_overrides={})
        finally:
            holder.kill()


def test_others_are_served_once_there_is_an_account(paths: WorkspacePaths) -> None:
    """On every address of this machine: by another name than its own, signed in, slowly, and through a proxy."""
    with Workspace.open(paths.root) as workspace:
        hashed = accounts.hash_password("correct horse")
        with workspace.store.write() as session:
            accounts.add(session, "anna", hashed, admin=True)
    command = [sys.executable, "-c", _PROGRAM, str(paths.root), "0.0.0.0"]  # noqa: S104
    # Whom to believe is not the environment's to say.
    environment = {**os.environ, "FORWARDED_ALLOW_IPS": "*", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=paths.root)
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "the page is at" in line:
                break
        assert any("unencrypted" in line for line in lines)
        assert f"http://{socket.gethostname()}:" in lines[-1]
        port = int(lines[-1].split("the page is at ")[1].split()[0].rstrip("/").rpartition(":")[2])
        assert _answer(port, "GET /healthz").startswith("HTTP/1.1 200")
        assert _answer(port, "GET /api/batch").startswith("HTTP/1.1 401")
        assert "location: /login" in _answer(port, "GET /", "accept: text/html").lower()
        body = '{"name": "anna", "password": "correct horse"}'
        signed_in = _answer(port, "POST /login", "content-type: application/json", body=body)
        assert signed_in.startswith("HTTP/1.1 200"), signed_in
        line = next(line for line in signed_in.splitlines() if line.lower().startswith("set-cookie"))
        assert "secure" not in line.lower()
        cookie = line.partition(":")[2].partition(";")[0].strip()
        assert _answer(port, "GET /api/batch", f"cookie: {cookie}").startswith("HTTP/1.1 200")
        proxied = _answer(port, "POST /login", "content-type: application/json", "x-forwarded-proto: https", body=body)
        assert "secure" in next(line for line in proxied.splitlines() if line.lower().startswith("set-cookie")).lower()
        elsewhere = _own_address()
        if elsewhere is not None:
            others = _answer(
                port,
                "POST /login",
                "content-type: application/json",
                "x-forwarded-proto: https",
                body=body,
                to=elsewhere,
            )
            assert others.startswith("HTTP/1.1 200")
            assert "; secure" not in others.lower()
        large = _answer(port, "POST /api/decisions", f"cookie: {cookie}", "content-length: 10000000")
        assert large.startswith("HTTP/1.1 413")
        assert "connection: close" in large.lower()
        for broken in ("GET /\r\nx: y", "GET /login\0", "POST /login", "GET http://evil.example/api/batch"):
            first = _answer(port, broken, "content-length: x").splitlines()[0]
            assert first.split()[1] in {"400", "401", "404", "421"}, first
        assert _answer(port, "GET /healthz", "host: evil.example").startswith(("HTTP/1.1 421", "HTTP/1.1 400"))
        assert _answer(port, "GET /healthz").startswith("HTTP/1.1 200")
        process.send_signal(signal.SIGHUP)  # a terminal that is closed: no other end than any
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait(20)
        process.stderr.close()


def _own_address() -> str | None:
    """An address of this machine that is not its loopback."""
    try:
        found = socket.gethostbyname(socket.gethostname())
    except OSError:
        return None
    return None if found.startswith("127.") else found


def _answer(port: int, request: str, *headers: str, body: str = "", to: str = "127.0.0.1") -> str:
    """What the server says to a request as it is written here."""
    lines = [f"{request} HTTP/1.1", "host: pool.example", *headers, "connection: close"]
    if body:
        lines.append(f"content-length: {len(body)}")
    with socket.create_connection((to, port), timeout=30) as line:
        line.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := line.recv(65536):
                answer += piece
    return answer.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("host", "number"), [("127.0.0.1", signal.SIGTERM), ("::1", signal.SIGINT), ("127.0.0.1", signal.SIGHUP)]
)
def test_serve_answers_and_stops_cleanly(paths: WorkspacePaths, host: str, number: signal.Signals) -> None:
    if host == "::1" and not _can_bind(host):
        pytest.skip("no IPv6 on this machine")
    command = [sys.executable, "-c", _PROGRAM, str(paths.root), host]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=paths.root)
    assert process.stderr is not None
    try:
        line = next(line for line in process.stderr if "the page is at" in line)
        address = line.split("the page is at ")[1].split()[0]
        with urllib.request.urlopen(f"{address}healthz") as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"{address}api/batch") as answer:
            assert b'"k":7' in answer.read()
        children = psutil.Process(process.pid).children()
        assert any("labeler.worker" in " ".join(child.cmdline()) for child in children)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(20) == 0, rest
        assert "returned" in rest
        assert "Traceback" not in rest
        psutil.wait_procs(children, timeout=10)
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
        with exclusive(paths, "serve"):
            pass  # given back
    finally:
        process.kill()
        process.wait()


def _can_bind(host: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _program(text: str) -> Callable[[], subprocess.Popen[Any]]:
    return lambda: subprocess.Popen([sys.executable, "-S", "-c", text])


def test_dead_worker_is_replaced_ever_more_slowly(caplog: pytest.LogCaptureFixture) -> None:
    starts: list[float] = []

    def start() -> subprocess.Popen[Any]:
        starts.append(time.monotonic())
        return _program("raise SystemExit(3)")()

    with keeper.WorkerKeeper(start, first_pause_s=0.05):
        deadline = time.monotonic() + 20
        while len(starts) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert len(starts) >= 4
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(gap >= wanted for gap, wanted in zip(gaps, (0.05, 0.1, 0.2), strict=False))
    assert "the worker ended (exit code 3); starting it again" in caplog.text


def test_a_worker_that_ends_with_us_is_not_replaced() -> None:
    """A service manager may stop all processes of the service at once."""
    started: list[subprocess.Popen[Any]] = []

    def start() -> subprocess.Popen[Any]:
        started.append(_program("import time; time.sleep(60)")())
        return started[-1]

    with keeper.WorkerKeeper(start, first_pause_s=0.01) as kept:
        while not started or kept.pid is None:
            time.sleep(0.01)
        assert kept.pid == started[0].pid
        kept.replace_no_more()
        started[0].kill()
        started[0].wait()
        time.sleep(0.5)
    assert len(started) == 1


def test_worker_ends_with_the_server_even_if_it_will_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "STOP_WAIT_S", 0.2)
    stubborn = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(flush=True)\ntime.sleep(60)"
    started: list[subprocess.Popen[Any]] = []

    def start() -> subprocess.Popen[Any]:
        process = subprocess.Popen([sys.executable, "-S", "-c", stubborn], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)
        return process

    with keeper.WorkerKeeper(start):
        while not started:
            time.sleep(0.01)
    (process,) = started
    assert process.returncode == -signal.SIGKILL
    assert process.stdout is not None
    process.stdout.close()


def test_worker_that_cannot_start_does_not_stop_the_page(caplog: pytest.LogCaptureFixture) -> None:
    tried: list[int] = []

    def start() -> subprocess.Popen[Any]:
        tried.append(1)
        raise OSError(11, "Resource temporarily unavailable")

    with keeper.WorkerKeeper(start, first_pause_s=0.01):
        deadline = time.monotonic() + 20
        while len(tried) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(tried) >= 2
    assert "could not start: Resource temporarily unavailable" in caplog.text
