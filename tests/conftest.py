"""Fixtures shared by every room's tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
