"""Fixtures shared by every room's tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.workspaces import built, fresh, opened, truth

__all__ = ["built", "fresh", "opened", "truth"]

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


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default backbone converted for the fast runtime: once per run, however many processes share it."""
    from filelock import FileLock

    from labeler.embed import backbones, runtime

    # With pytest-xdist each process has a folder of its own below the run's common one.
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "compiled"
    with FileLock(f"{folder}.lock"):
        backbone = backbones.resolve(
            "efficientnet_lite0", weights="imagenet", vectors="multi-depth", precision="float32"
        )
        runtime.open_runtime(backbone, folder, threads=1).close()
    return folder
