"""What is dear to make is made once per test run, however many processes of pytest-xdist take part."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from labeler.domain import Progress

_MADE = ".made"


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one process of the run fills and all of them read; whoever writes copies it first.

    Args:
        name: of the folder; the same name is the same folder in every process.
        make: given the empty folder. What a failed one left is thrown away before the next tries.
    """
    base = factory.getbasetemp()
    # With pytest-xdist each process has a folder of its own below the run's common one.
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / f"once-{name}"
    with FileLock(f"{folder}.lock"):
        if not (folder / _MADE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / _MADE).touch()
    return folder


@contextmanager
def no_children() -> Iterator[None]:
    """The programs that load TensorFlow, run by a call in this process: each start of a child takes 8 s.

    The same code on the same job, written down and read again as for a child. What only a process can show, its exit
    code, its stdout and its death, is tested with real ones: the conversion of the default backbone, the network of
    `test_tuning`, the exports of the README and of `test_cli_models`.
    """
    from labeler.embed import heavy
    from labeler.retrain import apart, child

    def run(module: str, job: Mapping[str, Any], failed: str) -> dict[str, Any]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = importlib.import_module(module).main(json.dumps(job))
        document: dict[str, Any] = json.loads(lines[-1]) if (lines := said.getvalue().splitlines()) else {}
        if code != 0:
            raise heavy.error_of(document)
        return document

    def train(folder: Path, progress: Callable[[Progress], None] | None) -> tuple[int, str, None]:
        job = json.loads((folder / apart.JOB).read_text(encoding="utf-8"))
        child._train(job, folder, progress or (lambda step: None))
        return 0, "", None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(heavy, "run", run)
        patched.setattr(apart, "_run", train)
        yield


@pytest.fixture
def childless() -> Iterator[None]:
    """:func:`no_children` for the length of a test."""
    with no_children():
        yield
