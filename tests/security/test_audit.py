"""The audit of the locked packages fails when it should: each check with a fault planted, over a real connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests import audit
from tests.conftest import REPOSITORY

HASH = "--hash=sha256:" + "0" * 64
NOBODY = "http://127.0.0.1:9/"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project of one package, which is installed here as it is pinned."""
    version = metadata.version("filelock")
    (tmp_path / "lock").write_text(f"filelock=={version} \\\n    {HASH}\n")
    (tmp_path / "project").write_text('[project]\ndependencies = ["filelock>=3"]\noptional-dependencies.dev = []\n')
    (tmp_path / "advisories").write_text(
        'advisory = [{id = "X-1", package = "Filelock", mended_in = "1.0", what = "w"}]\n'
    )
    return tmp_path


def run(place: Path, capsys: pytest.CaptureFixture[str], service: str = NOBODY) -> tuple[int, str]:
    names = ("lock", "project", "advisories")
    arguments = [part for name in names for part in (f"--{name}", str(place / name))]
    code = audit.main([*arguments, "--extra", "dev", "--service", service])
    return code, capsys.readouterr().out


def test_a_sound_lock_passes_and_a_silent_service_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(place, capsys)
    assert code == 0, said
    assert "could NOT be asked" in said


@pytest.mark.parametrize(
    ("name", "before", "after", "fault"),
    [
        ("advisories", '"1.0"', '"9999"', "has X-1, mended in 9999: w"),
        ("lock", "==", "==0.0.1+", "is pinned to 0.0.1"),
        ("lock", HASH, "", "without a hash"),
        ("lock", "==", ">=", "no pin: filelock>="),
        ("lock", "filelock==", "--index-url http://elsewhere\nfilelock==", "no pin: --index-url"),
        ("lock", "filelock==", "filelock @ https://elsewhere/x.whl#", "no pin: filelock @"),
        ("lock", "filelock==", "nobody-has-this==", "is pinned and not installed"),
        ("project", "filelock>=3", "filelock>=9999", "the lock holds"),
        ("project", "filelock>=3", "another>=1", "the lock holds nothing"),
    ],
)
def test_a_planted_fault_is_found(
    place: Path, capsys: pytest.CaptureFixture[str], name: str, before: str, after: str, fault: str
) -> None:
    text = (place / name).read_text()
    assert before in text
    (place / name).write_text(text.replace(before, after))
    code, said = run(place, capsys)
    assert code == 1
    assert fault in said


@pytest.mark.parametrize(
    ("told", "bound"),
    [
        ({"License-Expression": "AGPL-3.0-or-later"}, True),
        ({"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"}, True),
        ({"License": "GPLv2"}, True),
        ({"License-Expression": "LGPL-2.1-or-later"}, False),
        ({"License-Expression": "GPL-2.0 WITH Classpath-exception-2.0"}, False),
        ({"License-Expression": "MIT"}, False),
        ({}, False),
    ],
)
def test_licences(monkeypatch: pytest.MonkeyPatch, place: Path, told: dict[str, str], bound: bool) -> None:
    from email.message import Message

    message = Message()
    for name, value in told.items():
        message[name] = value
    monkeypatch.setattr(metadata, "metadata", lambda _name: message)
    locked = audit.pins(place / "lock")
    assert bool(list(audit.binding(locked, {}))) == bound
    assert not list(audit.binding(locked, {"filelock": "only for the tests"}))


class Service:
    """Answers as the advisory service does."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: Any = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(outer.answer).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_what_the_service_finds_fails(place: Path, capsys: pytest.CaptureFixture[str], service: Service) -> None:
    service.answer = {"results": [{"vulns": [{"id": "PYSEC-1", "modified": "2026-01-01"}]}]}
    code, said = run(place, capsys, service.url)
    assert code == 1
    assert "has PYSEC-1" in said
    [question] = service.asked
    assert question["queries"] == [
        {"package": {"name": "filelock", "ecosystem": "PyPI"}, "version": metadata.version("filelock")}
    ]
    (place / "advisories").write_text('advisory = []\naccepted = {PYSEC-1 = "we never do that"}\n')
    assert run(place, capsys, service.url)[0] == 0


def test_nothing_found_passes(place: Path, capsys: pytest.CaptureFixture[str], service: Service) -> None:
    service.answer = {"results": [{}]}
    code, said = run(place, capsys, service.url)
    assert code == 0
    assert "service was asked" in said


@pytest.mark.parametrize("answer", [[], {"results": []}, "x", None])
def test_an_answer_that_is_none(
    place: Path, capsys: pytest.CaptureFixture[str], service: Service, answer: object
) -> None:
    service.answer = answer
    code, said = run(place, capsys, service.url)
    assert code == 0
    assert "could NOT be asked" in said


def test_our_own_lock_holds_every_known_weakness_mended() -> None:
    import tomllib

    known = tomllib.loads((REPOSITORY / "tests" / "advisories.toml").read_text(encoding="utf-8"))["advisory"]
    locked = audit.pins(REPOSITORY / "requirements.lock")
    assert len(locked) > 100
    assert {row["package"] for row in known} <= {pin.name for pin in locked}, "an advisory for nothing"
    assert list(audit.weaknesses(locked, known)) == []
