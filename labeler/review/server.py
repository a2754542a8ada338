"""Serving the page: one web server process, and beside it the worker that trains."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from labeler.domain import LabelerError
from labeler.review.guard import is_loopback
from labeler.workspace import WorkspacePaths, exclusive

if TYPE_CHECKING:
    from uvicorn import Server

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
_STOP_WAIT_S = 5.0
#: An answer's dozen statements each give the interpreter's lock away and ask for it again; a thread that computes keeps
#: it for 5 ms by default, so that one answer among eight busy people took 120 ms of waiting for 4 ms of work.
_SWITCH_S = 0.0005
_UNENCRYPTED = "passwords and images travel unencrypted; on a network you do not trust put a TLS proxy in front"
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  # compared with, not listened on


class ServeError(LabelerError):
    """The page cannot be served at that address."""


def serve(
    paths: WorkspacePaths,
    *,
    host: str,
    port: int,
    settings_overrides: Mapping[str, Any],
    open_browser: bool = False,
) -> None:
    """Serve the page until SIGINT or SIGTERM; prints its address on stderr once it answers.

    Args:
        paths: the workspace.
        host: name or address to listen on; other than this machine's own only once there is an account.
        port: 0 picks a free one.
        settings_overrides: settings from the command line, for this process and its worker.
        open_browser: open the address in the user's browser.

    Raises:
        ServeError: others could reach the host and nobody can sign in yet, or the port is taken.
        WorkspaceBusy: this workspace is being served already; the message has the process.
    """
    if not is_loopback(host):
        _require_account(paths, host, settings_overrides)
    with (
        _until_signalled(),
        exclusive(paths, "serve"),
        _listening(host, port) as listener,
    ):
        _run(paths, listener, host, settings_overrides, open_browser)


def _require_account(paths: WorkspacePaths, host: str, overrides: Mapping[str, Any]) -> None:
    from labeler.record import accounts
    from labeler.rounds import Workspace

    with Workspace.open(paths.root, **overrides) as workspace, workspace.store.read() as session:
        if not accounts.any_account(session):
            what = f"others could reach the page on {host or 'every address'}, and nobody has an account yet"
            raise ServeError(what, "make one with `labeler users add NAME`, or use --host 127.0.0.1")


def _run(
    paths: WorkspacePaths, listener: socket.socket, host: str, overrides: Mapping[str, Any], open_browser: bool
) -> None:
    from labeler.rounds import Workspace
    from labeler.rounds.mover_thread import MoverThread

    sys.setswitchinterval(_SWITCH_S)

    with WorkerKeeper(_starter(paths, overrides)):
        workspace = Workspace.open(paths.root, **overrides)
        try:
            from labeler.review.app import create_app

            address = f"http://{_in_address(host)}:{listener.getsockname()[1]}/"
            app = create_app(workspace, loopback=is_loopback(host))
            if not is_loopback(host):
                print(f"labeler: {_UNENCRYPTED}", file=sys.stderr, flush=True)
            server = _server(app, lambda: _announce(address, open_browser))
            with MoverThread(workspace):
                server.run(sockets=[listener])
        finally:
            workspace.close()


# ------------------------------------------------------------------------------------------------------- address


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ServeError(f"cannot listen on {host}:{port}: {why}", "choose another --port, or 0") from None
        yield listener
    finally:
        listener.close()


def _in_address(host: str) -> str:
    """The host as it stands in an address; for "every address" the name by which others may know this machine."""
    if host in _EVERYWHERE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _announce(address: str, open_browser: bool) -> None:
    print(f"labeler: the page is at {address} (Ctrl+C stops it)", file=sys.stderr, flush=True)
    if open_browser:
        import webbrowser

        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


# -------------------------------------------------------------------------------------------------------- server


def _server(app: Any, on_listening: Callable[[], None]) -> Server:
    import uvicorn

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and not self.should_exit:
                on_listening()

    # One worker: Gradio keeps its queue and sessions in the process. Event streams stay open, so stopping must not
    # wait for them.
    config = uvicorn.Config(
        app,
        workers=1,
        timeout_graceful_shutdown=3,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Whether a request came encrypted and from where is taken from a proxy on this machine only, whatever the
        # environment says.
        proxy_headers=True,
        forwarded_allow_ips=["127.0.0.1", "::1"],
        ws="none",
    )
    return Announcing(config)


class _Stopped(BaseException):
    """A signal asked for the end. No Exception, so that nothing on the way up takes it for an error."""


@contextlib.contextmanager
def _until_signalled() -> Iterator[None]:
    """SIGTERM and SIGINT unwind to here, whatever is running, so that worker and lock are put away.

    Uvicorn takes both over while it runs, finishes what it is answering, and raises the signal again afterwards. A
    second signal while things are put away changes nothing: that takes a few seconds at most.
    """
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _Stopped:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -------------------------------------------------------------------------------------------------------- worker


class WorkerKeeper:
    """Keeps one worker process alive while the block runs: a dead one is replaced, ever more slowly if it keeps dying.

    The page works without it (answers are stored by this process); only training waits.

    Args:
        start: starts the worker process.
        first_pause_s: seconds before the first replacement; doubled with each death that follows soon.
    """

    def __init__(self, start: Callable[[], subprocess.Popen[Any]], first_pause_s: float = _FIRST_PAUSE_S) -> None:
        self._start = start
        self._first_pause_s = first_pause_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)

    def __enter__(self) -> WorkerKeeper:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ending.set()
        self._thread.join()

    def _keep(self) -> None:
        pause = self._first_pause_s
        while not self._ending.is_set():
            started = time.monotonic()
            code = self._live_once()
            if self._ending.is_set():
                return
            if time.monotonic() - started >= _STEADY_S:
                pause = self._first_pause_s
            # Ctrl+C in a terminal reaches the worker too: what ends together with us is no accident.
            if self._ending.wait(pause):
                return
            print(f"labeler: the worker ended ({code}); starting it again", file=sys.stderr, flush=True)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _live_once(self) -> str:
        """Start a worker and wait for its end, or for ours; says how it ended."""
        try:
            process = self._start()
        except OSError as error:
            return f"could not start: {error.strerror}"
        while process.poll() is None:
            if self._ending.wait(0.2):
                _end(process)
        return f"exit code {process.returncode}"


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _starter(paths: WorkspacePaths, overrides: Mapping[str, Any]) -> Callable[[], subprocess.Popen[Any]]:
    from labeler import worker

    return lambda: worker.start(paths, overrides)
