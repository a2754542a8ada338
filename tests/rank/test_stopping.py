"""The stopping rule on sequences with a known answer, and its measurements against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from labeler.rank.stopping import AGREEMENT, LABELS_APART, Turn, agreement, expected_errors, kappa, verdict


def turns(*agreements: float | None, step: int = 10, kappas: float = 0.99) -> list[Turn]:
    """Models after 10, 20, ... labels."""
    return [
        Turn(step * number, share, None if share is None else kappas)
        for number, share in enumerate(agreements, start=1)
    ]


def test_three_agreeing_comparisons_in_a_row_stop() -> None:
    said = verdict(turns(None, None, 0.99, 0.996, 0.997, 0.998), pool=500)
    assert (said.state, said.reason, said.turns, said.agreement, said.needed) == ("stop", "agree", 3, 0.998, 0)


@pytest.mark.parametrize("last", [[0.996], [0.996, 0.996], [0.996, 0.99, 0.996, 0.996]])
def test_fewer_or_interrupted_ones_do_not(last: list[float]) -> None:
    said = verdict(turns(None, 0.9, *last), pool=500)
    assert (said.state, said.reason) == ("go on", "almost")
    run = 1 if len(last) == 1 else 2
    assert said.turns == run
    assert said.needed == 10 * (3 - run)


def test_a_model_after_every_label_does_not_count_thrice() -> None:
    quick = [Turn(labels, 0.996, 0.99) for labels in range(100, 110)]
    said = verdict(quick, pool=500)
    assert said.reason == "almost"
    assert said.needed == 11
    assert verdict([*quick, Turn(121, 0.996, 0.99)], pool=500).state == "stop"


def test_agreement_by_never_naming_the_rare_class_is_not_enough() -> None:
    assert verdict(turns(None, 0.997, 0.997, 0.997, 0.997, kappas=0.2), pool=500).state == "go on"


def test_it_says_when_it_cannot_be_told() -> None:
    assert verdict([], pool=10).reason == "none"
    said = verdict(turns(None, None), pool=500)
    assert (said.state, said.reason, said.needed) == ("unknown", "early", None)
    assert said.told_in == LABELS_APART - 10
    assert verdict(turns(None, 0.8), pool=500).needed is None


def test_an_empty_pool_is_the_end() -> None:
    said = verdict([], pool=0)
    assert (said.state, said.reason, said.needed) == ("stop", "empty", 0)


def test_the_outlook_finds_where_a_power_law_crosses_the_threshold() -> None:
    """Disagreement 1.4 / labels reaches 0.5 % at 280 labels; two comparisons more confirm it."""
    found = verdict([Turn(n, 1 - 1.4 / n, 0.99) for n in range(60, 201, 20)], pool=10_000)
    assert found.reason == "disagree"
    assert found.needed == pytest.approx(280 - 200 + 2 * 20, abs=2)
    assert verdict([Turn(n, 1 - 1.4 / n, 0.99) for n in range(60, 201, 20)], pool=30).needed == 30


def test_no_outlook_where_disagreement_does_not_fall_or_the_way_is_too_far() -> None:
    assert verdict([Turn(n, 0.9, 0.8) for n in range(60, 201, 20)], pool=10_000).needed is None
    assert verdict([Turn(n, 1 - n**-0.2, 0.8) for n in range(60, 201, 20)], pool=10_000).needed is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_measurements_as_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs).T
    assert agreement(a, b) == pytest.approx(float(np.mean(a == b)))
    if len({*a.tolist(), *b.tolist()}) > 1:
        assert kappa(a, b, 3) == pytest.approx(cohen_kappa_score(a, b))
    else:
        assert kappa(a, b, 3) == 1.0


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30), st.integers(0, 1000), st.integers(1, 60))
def test_any_history_has_an_answer(shares: list[float | None], pool: int, step: int) -> None:
    said = verdict(turns(*shares, step=step), pool)
    assert said.needed is None or 0 <= said.needed <= pool
    if said.state == "stop" and pool:
        assert all(share >= AGREEMENT for share in [share for share in shares if share is not None][-3:])


def test_expected_errors() -> None:
    assert expected_errors(np.array([[0.9, 0.1], [0.4, 0.6]])) == pytest.approx(0.5)
    assert expected_errors(np.empty((0, 2))) == 0.0
