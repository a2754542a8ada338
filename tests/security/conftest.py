"""One real server for all tests of this room that a process runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labeler import workspace as workspaces
from labeler.record import accounts
from labeler.rounds import Workspace
from tests.browser import served
from tests.browser.served import Server
from tests.security.site import ADMIN, ANNOTATOR, OTHER, PASSWORD, Site

HELD = 8
#: Passwords that take a thirtieth of the time; what a real one costs is tested where that is the question.
CHEAP = accounts.Cost(n=2**10, r=8, p=3)
_CHEAPER = f"from labeler.record import accounts\naccounts.COST = accounts.{CHEAP}\n"


@pytest.fixture(scope="session")
def site(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An administrator and two annotators, one round proposed; made and served under a umask that hides nothing."""
    before = os.umask(0)
    try:
        root = tmp_path_factory.mktemp("security") / "w"
        shutil.copytree(built, root)
        with Workspace.open(root) as opened, pytest.MonkeyPatch.context() as patch:
            patch.setattr(accounts, "COST", CHEAP)
            hashed = accounts.hash_password(PASSWORD)
            with opened.store.write() as session:
                for name in (ADMIN, ANNOTATOR, OTHER):
                    accounts.add(session, name, hashed, admin=name == ADMIN)
            opened.round(k=HELD)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(served, "_PROGRAM", _CHEAPER + served._PROGRAM)
            server = Server(root, k=HELD, cold=True).start()
    finally:
        os.umask(before)
    yield Site(server)
    assert server.stop() == 0, "".join(server.log)


@pytest.fixture(autouse=True)
def still_up(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did to the server, it answers afterwards and has not said a word of code."""
    found: Site | None = request.getfixturevalue("site") if "site" in request.fixturenames else None
    before = len(found.server.log) if found is not None else 0
    yield
    if found is None:
        return
    with found.visitor() as visitor:
        assert visitor.get("/healthz").json() == {"status": "ok"}
    said = "".join(found.server.log[before:])
    assert "Traceback" not in said, said


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace of this machine's one user: nobody has an account."""
    root = tmp_path_factory.mktemp("alone") / "w"
    workspaces.create(root)
    with Workspace.open(root) as opened:
        yield opened
