"""Fixtures shared by every room's tests."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest

# As the command line does, before numpy comes: threads that wait for one another while others use the cores only turn
# in circles.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from tests.sharing import childless
from tests.workspaces import build_once, built, compiled, fresh, opened, truth

__all__ = ["build_once", "built", "childless", "compiled", "fresh", "opened", "truth"]

REPOSITORY = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


def photographs_folder() -> Path | None:
    """The folder of real labelled photographs, where this machine has it."""
    configured = os.environ.get("LABELER_TEST_DATA")
    folder = Path(configured) if configured else REPOSITORY.parent / "shared" / "data" / "facemask"
    return folder if (folder / "withMask").is_dir() else None


@pytest.fixture(scope="session")
def photographs() -> Path:
    """Real photographs in ``withMask/`` and ``withoutMask/``."""
    folder = photographs_folder()
    if folder is None:
        pytest.skip("no photographs: set LABELER_TEST_DATA to a folder with withMask/ and withoutMask/")
    return folder


# ------------------------------------------------------------------------------------------------ who runs what, when

BROWSER = "tests/browser/"
#: What takes longest begins first, so that at the end no process is left alone with a long module.
DEAREST = (
    BROWSER,
    "tests/test_docs.py",
    "tests/rounds/test_tuning.py",
    "tests/crash/test_machine.py",
    "tests/hostile/test_fuzz_api.py",
    "tests/security/",
    "tests/retrain/",
    "tests/test_n_classes.py",
    "tests/embed/",
    "tests/rounds/test_properties.py",
    "tests/test_cli_training.py",
    "tests/test_cli_models.py",
    "tests/test_worker.py",
    "tests/rounds/",
    "tests/review/",
    "tests/test_cli.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((at for at, path in enumerate(DEAREST) if item.nodeid.startswith(path)), len(DEAREST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What was imported and collected by now stays: the collector need not go through all of it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)  # of 700: the tests make many objects, and few that only the collector frees


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Modules are shared out whole, all of the browser's together: one Chromium, one server, mostly waiting."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class InOrder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return BROWSER if nodeid.startswith(BROWSER) else str(super()._split_scope(nodeid))

    config.option.loadscopereorder = False  # by their number of tests, which says nothing of their time
    return InOrder(config, log)
