"""Names that stay, names that are cleaned, and names made with a hash."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labeler.pool.names import candidates, is_passed_over, safe_name, shown

SHA = "0123456789abcdef" * 4
FALLBACK = SHA[:16]
any_text = st.text(st.characters(exclude_characters="\0"), max_size=300) | st.binary(max_size=300).map(os.fsdecode)


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "foto été.png", "a.jpg_1088wx1632h", "脸.webp", "👩‍🔬.jpg", "two words (1).jpg", "x" * 242 + ".jpg"],
)
def test_good_names_stay(name: str) -> None:
    assert safe_name(name, FALLBACK) == name


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("two\nlines.jpg", "two_lines.jpg"),
        (os.fsdecode(b"caf\xe9.jpg"), "caf_.jpg"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".hidden.jpg", "hidden.jpg"),
        ("a\u202egpj.exe", "a_gpj.exe"),
        ("x" * 260 + ".jpg", "x" * 242 + ".jpg"),
        ("", FALLBACK),
        ("..", FALLBACK),
        ("\n", FALLBACK),
        ("Thumbs.db", FALLBACK),
    ],
)
def test_bad_names_are_cleaned(name: str, cleaned: str) -> None:
    assert safe_name(name, FALLBACK) == cleaned


@given(any_text)
@example("é" * 200)
@example("." + "\ud800" * 250 + ".jpg")
@example("a." + "é" * 130)
def test_a_safe_name_is_safe(name: str) -> None:
    safe = safe_name(name, FALLBACK)
    assert len(safe.encode("utf-8")) <= 246
    assert "/" not in safe
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in safe)
    assert safe not in ("", ".", "..")
    assert not is_passed_over(safe)
    assert safe_name(safe, "other") == safe


@given(any_text.map(lambda text: safe_name(text, FALLBACK)))
def test_candidates(name: str) -> None:
    names = list(candidates(name, SHA))
    assert names == list(candidates(name, SHA))
    assert names[0] == name
    assert len(set(names)) == 5
    for candidate, digits in zip(names[1:], (8, 16, 32, 64), strict=True):
        assert len(candidate.encode("utf-8")) <= 255
        assert f"-{SHA[:digits]}" in candidate
        assert not is_passed_over(candidate)
    stem, dot, extension = name.rpartition(".")
    if stem and len(extension.encode()) < 32:
        assert all(candidate.endswith(dot + extension) for candidate in names)


def test_candidate_keeps_stem_and_extension() -> None:
    assert list(candidates("a.b.jpg", SHA))[1] == "a.b-01234567.jpg"
    assert list(candidates("none", SHA))[1] == "none-01234567"


@given(any_text)
def test_shown_is_one_printable_line(name: str) -> None:
    line = shown(name)
    line.encode("utf-8")
    assert len(line.splitlines()) <= 1
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in line)


def test_shown_leaves_ordinary_names() -> None:
    assert shown("pools/Train/été 👩‍🔬.jpg") == "pools/Train/été 👩‍🔬.jpg"
    assert shown(os.fsdecode(b"\xff\n")) == r"\xff\x0a"
