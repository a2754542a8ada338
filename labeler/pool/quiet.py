"""Keeping image libraries from writing on stderr: what is wrong with a file is an error with a reason, once."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import warnings


def hush() -> None:
    """Keep Pillow and libtiff from writing of damaged files on stderr; what matters comes as an error with a reason.

    Once for the process: filters that are set and reset around each decode would disturb other threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # libtiff prints a line for every damaged line of pixels. Its symbols are found through the module that uses it,
    # wherever that has it from; where it is built in and shows none, its lines stay.
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
