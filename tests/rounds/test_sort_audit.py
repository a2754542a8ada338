"""The interval of a sorting run's audit, held against the hypergeometric distribution by brute force."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.record.sorting import Audited
from labeler.rounds.sort_audit import bounds, estimate


def chance(wrong: int, drawn: int, total: int, of: int) -> float:
    """Of drawing so many wrong ones when ``total`` of ``of`` are."""
    if wrong > total or drawn - wrong > of - total:
        return 0.0
    return comb(total, wrong) * comb(of - total, drawn - wrong) / comb(of, drawn)


@pytest.mark.parametrize(("drawn", "of"), [(1, 1), (3, 9), (10, 30), (50, 60), (20, 200)])
def test_the_truth_lies_within_as_often_as_promised(drawn: int, of: int) -> None:
    found = [bounds(wrong, drawn, of) for wrong in range(drawn + 1)]
    for total in range(of + 1):
        covered = sum(
            chance(wrong, drawn, total, of) for wrong, (low, high) in enumerate(found) if low <= total <= high
        )
        assert covered >= 0.9 - 1e-9, f"{total} wrong ones among {of}"


@pytest.mark.parametrize(("wrong", "drawn", "of"), [(0, 10, 30), (2, 10, 30), (10, 10, 30), (5, 20, 100)])
def test_it_is_no_wider_than_it_has_to_be(wrong: int, drawn: int, of: int) -> None:
    low, high = bounds(wrong, drawn, of)
    possible = range(wrong, of - (drawn - wrong) + 1)
    up_to = {t: sum(chance(k, drawn, t, of) for k in range(wrong + 1)) for t in possible}
    from_on = {t: sum(chance(k, drawn, t, of) for k in range(wrong, drawn + 1)) for t in possible}
    assert high == max(t for t in possible if up_to[t] > 0.05 or t == possible[0])
    assert low == min(t for t in possible if from_on[t] > 0.05 or t == possible[-1])


@given(data=st.data(), of=st.integers(1, 5_000))
def test_it_holds_the_share_that_was_seen(data: st.DataObject, of: int) -> None:
    drawn = data.draw(st.integers(1, min(of, 100)))
    wrong = data.draw(st.integers(0, drawn))
    low, high = bounds(wrong, drawn, of)
    assert wrong <= low <= high <= of - (drawn - wrong)
    assert low <= round(wrong * of / drawn) <= high
    if drawn == of:
        assert low == high == wrong


def test_of_a_hundred_thousand_it_is_as_of_endlessly_many() -> None:
    """No wrong one among 50: Clopper and Pearson say up to 5.8 %."""
    low, high = bounds(0, 50, 100_000)
    assert low == 0
    assert high / 100_000 == pytest.approx(1 - 0.05 ** (1 / 50), abs=1e-3)


def test_before_the_first_answer_nothing_is_told() -> None:
    assert estimate(Audited(unsure=2, waiting=3), 100)["errors"] is None
    told = estimate(Audited(right=9, wrong=1), 100)
    assert told["errors"]["expected"] == 10
    assert told["share"]["expected"] == pytest.approx(0.1)
    assert told["share"]["low"] < 0.1 < told["share"]["high"]
