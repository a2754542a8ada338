"""Named places where a crash test may kill the process, so that recovery is tested at every step.

In ordinary use :func:`point` compares one module variable and returns. A test arms a place by the environment
variable ``LABELER_FAULT=<name>[:<n>]``: the n-th time (default 1) the process passes there it ends at once with
``os._exit``, as a power cut would: no ``finally``, no flush, no rollback.
"""

from __future__ import annotations

import os

ENVIRONMENT_NAME = "LABELER_FAULT"
EXIT_CODE = 137


def _parse(text: str) -> tuple[str, int]:
    name, _, count = text.partition(":")
    return name, int(count or 1)


_armed, _left = _parse(os.environ.get(ENVIRONMENT_NAME, ""))


def point(name: str) -> None:
    """Die here if a test armed this place."""
    global _left
    if name != _armed:
        return
    _left -= 1
    if _left <= 0:
        os._exit(EXIT_CODE)
