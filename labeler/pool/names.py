"""File names: which to pass over, which to keep, and what to call a file whose name is taken."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator

TEMP_PREFIX = ".labeler-tmp-"
"""Start of every unfinished file this room writes; hidden, so that no scan ever takes one for an image."""

MAX_NAME_BYTES = 255
"""What ext4, APFS, NTFS and exFAT all admit."""

_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"})
_FIRST_SUFFIX_DIGITS = 8
_SUFFIX_DIGITS = (_FIRST_SUFFIX_DIGITS, 16, 32, 64)
_ROOM_FOR_DIGITS = 1 + _FIRST_SUFFIX_DIGITS
_LONGEST_EXTENSION_BYTES = 32
# Controls, lone surrogates (how Python shows bytes that are not UTF-8) and line and paragraph separators; a
# format character (Cf) is kept, because the joiners inside one emoji are such, save those that reverse the text
# that follows and so disguise an extension.
_BAD_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TEXT_REVERSERS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is none of ours: hidden, or left there by an operating system."""
    return name.startswith(".") or name.casefold() in _SYSTEM_FILES


def shown(path: str | os.PathLike[str]) -> str:
    """A path as one printable line: control characters and bytes that are not UTF-8 become escapes."""
    return "".join(_escaped(c) if _is_bad(c) else c for c in os.fspath(path))


def safe_name(name: str, fallback: str) -> str:
    """The name a file gets inside the pools.

    A name that is valid UTF-8, has no control character, would not be passed over by a scan and leaves room for
    the hash suffix in 255 bytes is returned as it is. Otherwise bad characters and ``/`` become ``_``, leading
    dots go, and the part before the extension is cut. Applying it twice changes nothing.

    Args:
        name: the file's own name, without folders; may hold surrogate-escaped bytes.
        fallback: returned when nothing usable is left; must itself be safe, e.g. the first hex digits of the hash.
    """
    cleaned = "".join("_" if c == "/" or _is_bad(c) else c for c in name).lstrip(".")
    if not cleaned.strip("_. ") or is_passed_over(cleaned):
        return fallback
    return _cut(cleaned, MAX_NAME_BYTES - _ROOM_FOR_DIGITS)


def candidates(name: str, sha256: str) -> Iterator[str]:
    """The names a file may get, best first: ``name``, then with 8, 16, 32 and all 64 digits of its hash.

    A function of its arguments alone, so that a move that was cut short looks where it would have put the file.
    """
    yield name
    stem, extension = _split(name)
    for digits in _SUFFIX_DIGITS:
        yield _cut(stem, MAX_NAME_BYTES - 1 - digits - _size(extension), "") + f"-{sha256[:digits]}{extension}"


def _is_bad(character: str) -> bool:
    return unicodedata.category(character) in _BAD_CATEGORIES or character in _TEXT_REVERSERS


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _size(text: str) -> int:
    return len(text.encode("utf-8"))


def _split(name: str) -> tuple[str, str]:
    """Stem and extension; a very long "extension" is a sentence with a full stop in it, not an extension."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension) if stem and _size(extension) < _LONGEST_EXTENSION_BYTES else (name, "")


def _cut(text: str, limit: int, extension: str | None = None) -> str:
    """``text`` in at most ``limit`` UTF-8 bytes, whole characters only, its extension kept."""
    if _size(text) <= limit:
        return text
    stem, kept = _split(text) if extension is None else (text, extension)
    return stem.encode("utf-8")[: limit - _size(kept)].decode("utf-8", "ignore") + kept
