"""The log: whose line it is, what can be told from it, and what no name can make of it."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler import logs
from labeler.domain import LabelerError, UnusableImage, VanishedFile

_log = logging.getLogger("labeler.test")


@pytest.fixture
def configured() -> Iterator[Callable[[str, str], None]]:
    """Sets the log up, and back to what pytest wants of it."""
    root, ours = logging.getLogger(), logging.getLogger("labeler")
    before = list(root.handlers), root.level, ours.level, threading.excepthook
    yield lambda level, form: logs.configure(level, form, "server")
    root.handlers, threading.excepthook = before[0], before[3]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(False)


Configured = Callable[[str, str], None]


def test_a_line_of_text_says_what_and_for_whom(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    configured("info", "text")
    with logs.request("ab-1"), logs.job(7):
        logs.say(_log, logging.INFO, "job done: 100 %s", ms=1.23456789, user="Änne B", left_out=None, n=3)
    line = capsys.readouterr().err
    moment, rest = line.split(" ", 1)
    assert moment.endswith("Z")
    assert rest == 'INFO server: job done: 100 %s request=ab-1 job=7 ms=1.23457 user="Änne B" n=3\n'


def test_a_line_of_json_is_one_object(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    configured("info", "json")
    with logs.job(7):
        logs.say(_log, logging.WARNING, "job failed", reason="a\nb", n=3, level="forged")
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"], line["process"], line["logger"]) == (
        "warning",
        "job failed",
        "server",
        "labeler.test",
    )
    assert (line["reason"], line["n"], line["job"]) == ("a\\nb", 3, 7)
    assert "request" not in line


@given(st.text(max_size=60))
@pytest.mark.parametrize("form", logs.FORMATS)
def test_no_name_forges_a_line(form: str, name: str) -> None:
    """Whatever people, files and requests are called, they stay values on the line they belong to."""
    formatter = logs._Json("server") if form == "json" else logs._Text("server")
    record = logging.LogRecord("labeler", logging.INFO, "", 0, f"of a library: {name}", None, None)
    setattr(record, logs._FIELDS, {"user": name})
    line = formatter.format(record)
    assert line.isprintable()
    if form == "json":
        assert json.loads(line)["user"] == logs.escaped(name)
    else:
        value = line.split(" user=", 1)[1] if f" user={name}" not in name else name
        assert " " not in value or value[0] == value[-1] == '"'


def test_a_traceback_cannot_forge_a_line_either(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    forged = "2026-01-01T00:00:00.000Z ERROR server: forged"
    for form in logs.FORMATS:
        configured("info", form)
        try:
            raise ValueError(f"name\n{forged}\x1b[2J\u202e")
        except ValueError as error:
            logs.say(_log, logging.ERROR, "request failed", error=error)
        lines = capsys.readouterr().err.splitlines()
        assert not any(line.startswith(forged) for line in lines)
        assert all(line.isprintable() for line in lines)
        assert any("ValueError" in line for line in lines), "the traceback is there"
        assert form == "text" or len(lines) == 1


def test_the_level_holds_for_ours_and_libraries_stay_quiet(
    configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    configured("info", "text")
    logs.say(_log, logging.DEBUG, "hidden")
    logging.getLogger("httpx").info("hidden too")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logs.say(_log, logging.INFO, "shown")
    said = capsys.readouterr().err
    assert "hidden" not in said
    assert "Invalid HTTP request received." in said
    assert "shown" in said
    configured("error", "text")
    logs.say(_log, logging.WARNING, "too little")
    logging.getLogger("uvicorn.error").warning("too little")
    assert capsys.readouterr().err == ""


def test_configuring_twice_writes_once(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    configured("info", "text")
    configured("info", "json")
    logs.say(_log, logging.INFO, "once")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_thread_that_dies_is_a_line(configured: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    configured("info", "json")
    hook = threading.excepthook
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        hook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"], line["thread"]) == ("error", "a thread ended", "MainThread")
    assert "RuntimeError: broken" in line["traceback"]


def test_reasons_name_no_file(tmp_path: Path) -> None:
    name = str(tmp_path / "Anna Example.jpg")
    assert logs.reason(UnusableImage(name, "truncated")) == "truncated"
    assert logs.reason(LabelerError("the disk is full", "free some")) == "the disk is full"
    found = LabelerError(f"{tmp_path}/w/pools/Train/a b/Anna: Example (1).jpg: cannot be read: no such file")
    assert logs.reason(found) == "a file: no such file"
    assert (
        logs.reason(LabelerError("2 are gone, pools/Unlabelled/Anna Example.jpg and another")) == "2 are gone, a file"
    )
    for error in (VanishedFile(f"{name} has vanished"), FileNotFoundError(2, "no such file", name)):
        assert "Anna" not in logs.reason(error)


def test_a_value_without_end_is_cut() -> None:
    assert len(logs.shown("x" * 10_000)) < 2 * logs.LONGEST
