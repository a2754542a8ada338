"""A process that has imported the program already and becomes one `labeler` command after the other by forking.

Importing the page's libraries takes five seconds of a processor, a server's own start a tenth of that: without this a
soak would mostly measure imports. What runs in a fork is the command line itself, ``labeler.cli.app``; every tenth
server of a soak is started from nothing all the same. Run as ``python -m tests.crash.zygote``.

One JSON object a line: on stdin ``{"argv": [...], "environment": {...}, "log": file}``, with ``"program": source`` for
another program than the command line and ``"cwd": folder`` to start it there; on stdout ``{"pid": n}`` for it and later
``{"ended": n, "code": c}``, the code negative for a signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
from typing import Any

POLL_S = 0.01
_SET_PARENT_DEATH_SIGNAL = 1


def main() -> None:
    _import()
    gc.collect()
    gc.freeze()  # or every fork's collector would copy all the pages that are shared
    _say({"ready": os.getpid()})
    children: set[int] = set()
    rest = b""
    while True:
        readable, _, _ = select.select([0], [], [], POLL_S if children else None)
        if readable:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _become(asked)
                    return
                children.add(pid)
                _say({"pid": pid})
        _report_ended(children)


def _import() -> None:
    import uvicorn  # noqa: F401

    import labeler.cli
    import labeler.oracle
    import labeler.review.app
    import labeler.review.server
    import labeler.rounds.mover_thread

    if os.environ.get("CRASH_WITHOUT_GRADIO"):
        # For harnesses that only ask whether a broken build is found out: Gradio has no part in labelling.
        labeler.review.app._mount_gradio = lambda app, workspace: None
        return
    import gradio  # noqa: F401

    import labeler.review.look
    import labeler.review.tabs.mistakes
    import labeler.review.tabs.model
    import labeler.review.tabs.team
    import labeler.review.tabs.trying


def _report_ended(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        _say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _become(asked: dict[str, Any]) -> None:
    """Be the command, as if it had been started alone; ends by :class:`SystemExit`."""
    os.setsid()
    with contextlib.suppress(OSError, AttributeError):  # Linux: nothing outlives a harness that was cut off
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nowhere, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(nowhere)
    os.close(log)
    os.environ.update(asked["environment"])
    if "cwd" in asked:
        os.chdir(asked["cwd"])
    from labeler import cli, faults

    faults._armed, faults._left = faults._parse(os.environ.get(faults.ENVIRONMENT_NAME, ""))
    if "program" in asked:
        sys.argv = ["-c", *asked["argv"]]
        exec(compile(asked["program"], "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102  # of our tests
        sys.exit()
    sys.argv = ["labeler", *asked["argv"]]
    cli.main()


def _say(what: dict[str, int]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
