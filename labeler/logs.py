"""What a process that runs for days says of itself: one line per event on stderr, as text or as JSON.

stderr and nothing else: systemd's journal, a container's log and a terminal all read it, and keep or rotate it their
own way. A line carries the id of the request or of the job it belongs to, whatever code wrote it. No line can be forged
by a name: what is not printable is escaped, and a traceback is indented.

What never enters a log at any level: passwords, tokens, cookies, notes, query strings. Names of people's files are data
and are shown at level ``debug`` only; see :func:`reason`.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from labeler.domain import LabelerError, MoveError, UnusableImage

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
#: No value takes more of a line.
LONGEST = 500

_FIELDS = "labeler_fields"
#: To the last colon: what follows a path in our messages is the reason, and no name is shown by halves.
_FILE = re.compile(r"\S*\bpools[/\\].*(?=: )|\S*\bpools[/\\].*", re.DOTALL)
_BARE = re.compile(r"[\w./:@+%,-]+")
_request: ContextVar[str] = ContextVar("labeler_request", default="")
_job: ContextVar[int | None] = ContextVar("labeler_job", default=None)


def configure(level: str, form: str, process: str) -> None:
    """Send this process's log to stderr from now on; calling it again replaces what was set.

    Args:
        level: one of :data:`LEVELS`, for our own lines; those of libraries are shown from ``warning`` on.
        form: one of :data:`FORMATS`.
        process: what this one is, e.g. ``server``; part of every line.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Stderr)]:
        root.removeHandler(handler)
    handler = _Stderr()
    handler.setLevel(level.upper())
    handler.setFormatter(_Json(process) if form == "json" else _Text(process))
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("labeler").setLevel(level.upper())
    logging.captureWarnings(True)
    threading.excepthook = _thread_died


def say(
    log: logging.Logger, level: int, event: str, /, *, error: BaseException | None = None, **fields: object
) -> None:
    """Log an event with what belongs to it.

    Args:
        log: by whom.
        level: as in :mod:`logging`.
        event: a few fixed words, so that lines of one kind can be found.
        error: add its traceback.
        fields: name and value of what differs from time to time; one that is None is left out.
    """
    if log.isEnabledFor(level):
        # No arguments: a percent sign in the event stays one.
        log.log(level, event, exc_info=error, extra={_FIELDS: fields})


@contextmanager
def request(number: str) -> Iterator[None]:
    """Lines of the block, and of the threads it is handed to, carry this request id."""
    token = _request.set(number)
    try:
        yield
    finally:
        _request.reset(token)


@contextmanager
def job(number: int) -> Iterator[None]:
    """Lines of the block carry the number of this job in the record."""
    token = _job.set(number)
    try:
        yield
    finally:
        _job.reset(token)


def reason(error: BaseException) -> str:
    """Why something failed, without the name of anybody's file."""
    if isinstance(error, UnusableImage):
        return error.reason
    if isinstance(error, LabelerError) and not isinstance(error, MoveError):
        return _FILE.sub("a file", error.what)
    return type(error).__name__


# ------------------------------------------------------------------------------------------------------- the lines


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        raise AttributeError("the log goes to stderr")


class _Formatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    @staticmethod
    def moment(record: logging.LogRecord) -> str:
        then = dt.datetime.fromtimestamp(record.created, dt.UTC)
        return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @staticmethod
    def fields(record: logging.LogRecord) -> dict[str, object]:
        ids: dict[str, object] = {"request": _request.get() or None, "job": _job.get()}
        return {name: value for name, value in (ids | getattr(record, _FIELDS, {})).items() if value is not None}

    @staticmethod
    def trace(record: logging.LogRecord) -> str:
        return "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""


class _Text(_Formatter):
    """``2026-01-31T12:00:00.000Z WARNING server: request failed request=4f2a status=503 route=/api/batch``."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.moment(record)} {record.levelname} {self.process}: {shown(record.getMessage())}"
        for name, value in self.fields(record).items():
            line += f" {name}={_value(value)}"
        for below in self.trace(record).splitlines():
            line += f"\n  | {escaped(below)}"
        return line


class _Json(_Formatter):
    """One object a line; ``time``, ``level``, ``process``, ``pid``, ``logger`` and ``event`` are always there."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.moment(record),
            "level": record.levelname.lower(),
            "process": self.process,
            "pid": os.getpid(),
            "logger": record.name,
            "event": shown(record.getMessage()),
        }
        for name, value in self.fields(record).items():
            line.setdefault(name, value if isinstance(value, (bool, int, float)) else shown(value))
        if record.exc_info:
            line["traceback"] = self.trace(record)
        return json.dumps(line)


def escaped(text: str) -> str:
    """The text on one line, in one direction: control characters, line ends and the like as Python writes them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown(value: object) -> str:
    """Any value as a text of bounded length on one line."""
    text = escaped(str(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = shown(value)
    if _BARE.fullmatch(text) and text.isascii():
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _thread_died(arguments: threading.ExceptHookArgs) -> None:
    name = arguments.thread.name if arguments.thread is not None else None
    found = (arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    logging.getLogger("labeler").error("a thread ended", exc_info=found, extra={_FIELDS: {"thread": name}})  # type: ignore[arg-type]
