"""Made-up faces to try the tool on: no photograph of anybody is shipped or fetched.

:func:`draw_face` paints one portrait; :func:`write_dataset` writes a pool, a test set and their truth.
"""

from __future__ import annotations

from labeler.demo.dataset import DemoError, Truth, write_dataset
from labeler.demo.faces import draw_face

__all__ = ["DemoError", "Truth", "draw_face", "write_dataset"]
