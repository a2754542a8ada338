"""Making what was written survive a power cut: for files of the pools, of models and of the record alike."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut; does nothing where folders cannot be opened (Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(file: Path) -> None:
    """Put a file's bytes on the disk before anything relies on them."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())
