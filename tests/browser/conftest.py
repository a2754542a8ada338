"""Real Chromium against a real server, a real record and a real model; only the person is scripted."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from labeler import workspace as workspaces
from labeler.domain import OPEN_STATES, Action, Answer, RoundState
from labeler.record.tables import Round
from labeler.rounds import Workspace
from tests.workspaces import CLASSES, draw

playwright_api = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, sync_playwright  # noqa: E402

from tests.browser.served import FLAGS, Server, Visitor, chromium  # noqa: E402

POOL = 250
PATIENCE_S = 60
TRAP = '"><img src=x onerror=alert(1)>${alert(2)}{{value}}.png'


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Asked for before anything is built: without a browser nothing has to be."""
    path = chromium()
    if path is None:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail("no Chromium: the page cannot be tested")
        pytest.skip("no Chromium here (chromium, chromium-browser or google-chrome): the page is not tested")
    return path


@pytest.fixture(scope="package")  # it keeps an event loop running, which others must not find
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def proposed(chromium_path: str, tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """A workspace whose first round of 50 is proposed, cold; to be copied. One file name is a trap."""
    root = tmp_path_factory.mktemp("proposed") / "w"
    paths = workspaces.create(root, CLASSES)
    shutil.copytree(compiled, paths.compiled)
    source = root.parent / "source"
    for seed in range(POOL):
        draw(source / CLASSES[seed % 2], seed, CLASSES[seed % 2])
    pool = source / "pool"
    pool.mkdir()
    for file in sorted(source.glob("*/*.png")):
        shutil.copy(file, pool / f"{file.parent.name}-{file.name}")
    first = min(pool.iterdir())
    first.rename(first.with_name(f"{CLASSES[0]}{TRAP}"))
    with Workspace.open(root) as opened:
        assert opened.import_images(pool, into="unlabelled").imported == POOL
        assert opened.round(k=50).state == RoundState.PROPOSED
    return root


@pytest.fixture(scope="session")
def trained(proposed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after round 1, with a model that makes suggestions; to be copied."""
    root = tmp_path_factory.mktemp("trained") / "w"
    shutil.copytree(proposed, root)
    with Workspace.open(root, k=20) as opened:
        items = opened.batch("local").items
        answers = [
            Answer(item.sha256, Action.CORRECT, truth(opened, item.image_id), f"first-round-{item.rank:03d}")
            for item in items
        ]
        opened.decide("local", answers, round=1)
        opened.run_round_job()
        assert opened.batch("local").round == 2
    return root


def truth(opened: Workspace, image_id: int) -> str:
    """The class of a drawing, which its file name begins with."""
    name = opened.image_file(image_id).name
    return next(label for label in CLASSES if name.startswith(label))


@pytest.fixture(scope="package")
def shared(trained: Path, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Server]:
    """One server for all tests that leave it running."""
    root = tmp_path_factory.mktemp("shared") / "w"
    shutil.copytree(trained, root)
    server = Server(root).start()
    yield server
    assert server.stop() == 0, "".join(server.log)


@pytest.fixture
def record(shared: Server) -> Iterator[Workspace]:
    """The shared server's workspace, opened beside it, with a new round of 20."""
    with Workspace.open(shared.root, k=20) as opened:
        new_round(opened)
        yield opened


def new_round(opened: Workspace) -> int:
    """Give up what is open and propose afresh, once the server's worker has nothing to do any more."""
    until = time.monotonic() + PATIENCE_S
    while (job := opened.live().job) is not None and job.state in ("queued", "running") and time.monotonic() < until:
        time.sleep(0.05)
    states = [state.value for state in OPEN_STATES]
    with opened.store.write() as session:
        session.execute(update(Round).where(Round.state.in_(states)).values(state=RoundState.ABANDONED.value))
    return opened.round().round


def settled(opened: Workspace) -> None:
    """Wait until every file lies where the record wants it: moves follow the answers a moment later."""
    until = time.monotonic() + PATIENCE_S
    while opened.live().pending and time.monotonic() < until:
        time.sleep(0.02)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Opens windows and closes them afterwards."""
    visitors: list[Visitor] = []

    def visiting(server: Server, **options: object) -> Visitor:
        visitors.append(Visitor(browser, server.url, **options))
        return visitors[-1]

    yield visiting
    for visitor in visitors:
        visitor.close()


@pytest.fixture
def visitor(shared: Server, record: Workspace, visit: Callable[..., Visitor]) -> Visitor:
    """A window on the shared server's new round."""
    return visit(shared).open()
