"""Every word of the page, from the one file that a translator edits: ``page/words.json``."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "page"


@functools.cache
def words() -> dict[str, Any]:
    """Key -> text with ``{name}`` gaps, or a mapping of plural forms (``one``, ``other``) to such texts."""
    table: dict[str, Any] = json.loads((PAGE / "words.json").read_text(encoding="utf-8"))
    return table


def word(key: str) -> str:
    """The text of a key that has no plural forms.

    Raises:
        KeyError: the key does not exist; a test asks for every key the code uses.
    """
    text = words()[key]
    if not isinstance(text, str):
        raise KeyError(f"{key} has plural forms")
    return text
