"""Settings: where a value comes from, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler import settings
from labeler.domain import SettingError


def test_the_environment_beats_the_file_and_the_file_the_default(tmp_path: Path) -> None:
    (tmp_path / "labeler.toml").write_text('k = 20\nseed = 3\nclasses = ["a", "b", "c"]\n')
    values = settings.load(tmp_path, {"LABELER_SEED": "9"})
    assert (values.k, values.seed, values.classes, values.port) == (20, 9, ("a", "b", "c"), 7860)
    assert values.replace(k=5).k == 5


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("k = 0", "too small"),
        ("k = true", "does not fit"),
        ("k = 1.5", "does not fit"),
        ('precision = "int4"', "choose from float32, int8"),
        ("backbone = 3", "does not fit"),
        ("head_c = nan", "too small"),
        ("unknown = 1", "unknown setting 'unknown'"),
        ('classes = ["a"]', "needs two"),
        ("k = ", "not valid TOML"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "labeler.toml").write_text(text)
    with pytest.raises(SettingError, match=word):
        settings.load(tmp_path, {})


def test_what_init_writes_is_read_back(tmp_path: Path) -> None:
    settings.write(tmp_path, {"classes": ["with mask", 'no"quote'], "k": 7, "head_c": 2.5})
    text = (tmp_path / "labeler.toml").read_text()
    assert '"no\\"quote"' in text
    settings.write(tmp_path, {"classes": ["with mask", "without"], "k": 7, "head_c": 2.5})
    values = settings.load(tmp_path, {})
    assert (values.classes, values.k, values.head_c) == (("with mask", "without"), 7, 2.5)


@given(st.lists(st.text(min_size=1, max_size=70), min_size=2, max_size=4))
def test_accepted_class_names_are_safe_folder_names(names: list[str]) -> None:
    try:
        classes = settings.check_classes(names)
    except SettingError:
        return
    assert len({name.casefold() for name in classes}) == len(classes) >= 2
    for name in classes:
        assert Path(name).name == name
        assert name not in (".", "..")
        assert name.isprintable()


def test_every_setting_has_a_help_line_and_an_environment_variable() -> None:
    rows = settings.rows(settings.Settings())
    assert len(rows) == len(settings.TABLE) == len({row["environment"] for row in rows})
    assert all(row["help"] for row in rows)
