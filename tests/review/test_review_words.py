"""The page's own files: every word exists and is used, nothing is fetched from elsewhere, nothing becomes markup."""

from __future__ import annotations

import json
import re

import pytest

from labeler.domain import RoundState, Split
from labeler.review.skeletons import own_html
from labeler.review.words import PAGE, word, words

SCRIPTS = sorted(PAGE.glob("*.js"))
SKELETONS = sorted(PAGE.glob("*.html"))
PYTHON = sorted(PAGE.parent.rglob("*.py"))


def used() -> set[str]:
    """Keys asked for anywhere; a template literal counts for every key it can become."""
    keys: set[str] = set()
    for file in [*SCRIPTS, *SKELETONS, *PYTHON]:
        text = file.read_text(encoding="utf-8")
        keys |= set(re.findall(r'"([a-z]+\.[A-Za-z0-9]+|title|number)"', text))
        for prefix in re.findall(r"`([a-z]+\.)\$\{", text):
            keys |= {key for key in words() if key.startswith(prefix)}
    return keys & set(words())


def asked() -> set[str]:
    """Keys written out in a call or an attribute."""
    keys: set[str] = set()
    for file in [*SCRIPTS, *SKELETONS, *PYTHON]:
        keys |= set(re.findall(r'(?:\bword\(|data-word(?:-label)?=)"([^"]+)"', file.read_text(encoding="utf-8")))
    return keys


def test_every_word_asked_for_exists() -> None:
    assert asked() - set(words()) == set()
    assert {f"state.{state}" for state in RoundState} <= set(words())
    assert {f"split.{split.value}" for split in Split if split is not Split.UNLABELLED} <= set(words())


def test_every_word_is_used() -> None:
    assert set(words()) - used() == set()


def test_plural_forms_have_an_other() -> None:
    for key, text in words().items():
        assert isinstance(text, str) or "other" in text, key


def test_words_in_python() -> None:
    assert word("tab.label") == "Label"
    with pytest.raises(KeyError):
        word("no.such.word")
    with pytest.raises(KeyError):
        word("saved.pending")


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_scripts_make_no_markup_from_text(file: object) -> None:
    text = file.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", text
    )


@pytest.mark.parametrize("file", [*SCRIPTS, *SKELETONS, *PAGE.glob("*.css"), PAGE / "words.json"], ids=lambda f: f.name)
def test_nothing_comes_from_elsewhere(file: object) -> None:
    text = file.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]{2,}/|@import|url\(", text)


def test_skeletons_hold_nothing_that_gradio_evaluates(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in SKELETONS:
        own_html(file.name, "label.js", elem_id="x")
    for trap in ("${value}", "{{value}}", "`", "@children"):
        (tmp_path / "trap.html").write_text(f"<p>{trap}</p>", encoding="utf-8")  # type: ignore[operator]
        monkeypatch.setattr("labeler.review.skeletons.PAGE", tmp_path)
        with pytest.raises(ValueError, match="evaluate"):
            own_html("trap.html", "label.js", elem_id="x")
        monkeypatch.undo()


def test_words_file_is_sorted_out_by_key() -> None:
    """One key, one text: a key written twice would silently lose the first."""
    pairs: list[str] = []
    json.loads(
        (PAGE / "words.json").read_text(encoding="utf-8"), object_pairs_hook=lambda p: pairs.extend(k for k, _ in p)
    )
    named = [key for key in pairs if key not in {"one", "other"}]
    assert len(named) == len(set(named))
