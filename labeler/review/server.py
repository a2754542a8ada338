"""Serving the page: one web server process, and beside it the worker that trains."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from labeler import logs
from labeler.domain import LabelerError
from labeler.review.guard import is_loopback
from labeler.review.keeper import WorkerKeeper, starter
from labeler.settings import Settings, load
from labeler.version import __version__
from labeler.workspace import WorkspacePaths, exclusive

if TYPE_CHECKING:
    from uvicorn import Server

#: Requests under way when we are told to stop are finished, and refused after so long.
_LAST_REQUESTS_S = 10.0
#: An answer's dozen statements each give the interpreter's lock away and ask for it again; a thread that computes keeps
#: it for 5 ms by default, so that one answer among eight busy people took 120 ms of waiting for 4 ms of work.
_SWITCH_S = 0.0005
_UNENCRYPTED = "passwords and images travel unencrypted; on a network you do not trust put a TLS proxy in front"
_log = logging.getLogger(__name__)
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
    """Serve the page until SIGINT, SIGTERM or SIGHUP; prints its address on stderr once it answers.

    Told to stop it takes no new connection, finishes what it is answering, moves the files of the answers on record
    (what takes longer than a few seconds is left to the next start), and has the worker put its job back. That takes
    half a minute at most: see docs/operation.md.

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
        _until_signalled() as check,
        exclusive(paths, "serve"),
        _listening(host, port) as listener,
    ):
        _run(paths, listener, host, settings_overrides, open_browser, check)
    logs.say(_log, logging.INFO, "stopped", pid=os.getpid())


def _require_account(paths: WorkspacePaths, host: str, overrides: Mapping[str, Any]) -> None:
    from labeler.record import accounts
    from labeler.rounds import Workspace

    with Workspace.open(paths.root, **overrides) as workspace, workspace.store.read() as session:
        if not accounts.any_account(session):
            what = f"others could reach the page on {host or 'every address'}, and nobody has an account yet"
            raise ServeError(what, "make one with `labeler users add NAME`, or use --host 127.0.0.1")


def _run(
    paths: WorkspacePaths,
    listener: socket.socket,
    host: str,
    overrides: Mapping[str, Any],
    open_browser: bool,
    check: Callable[[], None],
) -> None:
    from labeler.rounds import Workspace
    from labeler.rounds.mover_thread import MoverThread

    sys.setswitchinterval(_SWITCH_S)
    settings = load(paths.root).replace(**overrides)
    logs.configure(settings.log_level, settings.log_format, "server")

    with WorkerKeeper(starter(paths, overrides)) as keeper:
        workspace = Workspace.open(paths.root, **overrides)
        try:
            from labeler.review import images
            from labeler.review.app import create_app

            images.clear_leftovers(paths)

            address = f"http://{_in_address(host)}:{listener.getsockname()[1]}/"
            app = create_app(workspace, loopback=is_loopback(host), worker_pid=lambda: keeper.pid)
            if not is_loopback(host):
                _tell(settings, _UNENCRYPTED)

            def on_stopping() -> None:
                logs.say(_log, logging.INFO, "stopping")
                keeper.replace_no_more()
                app.state.traffic.end_streams()

            server = _server(app, lambda: _announce(settings, paths, address, open_browser), on_stopping)
            with MoverThread(workspace):
                check()
                server.run(sockets=[listener])
        finally:
            workspace.close()


def _tell(settings: Settings, text: str) -> None:
    """A line for whoever started us; a log of JSON holds nothing but JSON."""
    if settings.log_format == "json":
        logs.say(_log, logging.WARNING, text)
    else:
        print(f"labeler: {text}", file=sys.stderr, flush=True)


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


def _announce(settings: Settings, paths: WorkspacePaths, address: str, open_browser: bool) -> None:
    if settings.log_format == "text":
        print(f"labeler: the page is at {address} (Ctrl+C stops it)", file=sys.stderr, flush=True)
    logs.say(
        _log,
        logging.INFO,
        "started",
        version=__version__,
        workspace=paths.root,
        address=address,
        pid=os.getpid(),
    )
    if open_browser:
        import webbrowser

        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


# -------------------------------------------------------------------------------------------------------- server


def _server(app: Any, on_listening: Callable[[], None], on_stopping: Callable[[], None]) -> Server:
    import uvicorn

    from labeler.review.protocol import Connection

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and not self.should_exit:
                on_listening()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            on_stopping()
            await super().shutdown(sockets)

    # One worker: Gradio keeps its queue and sessions in the process.
    config = uvicorn.Config(
        app,
        workers=1,
        timeout_graceful_shutdown=int(_LAST_REQUESTS_S),
        log_config=None,  # our own
        access_log=False,
        server_header=False,
        # Whether a request came encrypted and from where is taken from a proxy on this machine only, whatever the
        # environment says.
        proxy_headers=True,
        forwarded_allow_ips=["127.0.0.1", "::1"],
        ws="none",
        http=Connection,
    )
    return Announcing(config)


class _Stopped(BaseException):
    """A signal asked for the end. No Exception, so that nothing on the way up takes it for an error."""


@contextlib.contextmanager
def _until_signalled() -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGINT unwind to here, whatever is running, so that worker and lock are put away.

    Uvicorn takes both over while it runs, finishes what it is answering, and raises the signal again afterwards. A
    second signal while things are put away changes nothing: that takes a few seconds at most.

    Python drops what a handler raises while an object is being taken away, so what takes long asks once more at its
    end: the callable that is yielded unwinds too, when a signal has come.

    SIGHUP, which a closed terminal sends, is SIGTERM by another name, unless whoever started us had it ignored
    (``nohup``). It loads no settings: one process has one set of them, so that a round is of one piece.
    """
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            raise _Stopped

    def check() -> None:
        if stopping:
            raise _Stopped

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)  # to whoever handles it at this moment: uvicorn, or we

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield check
    except _Stopped:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
