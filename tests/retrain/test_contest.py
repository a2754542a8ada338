"""The contest between the model in use and a new one: exact where it can be, and won by the better model only."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.retrain import contest

Floats = npt.NDArray[np.float64]


def said(y: npt.NDArray[np.int64], right: npt.NDArray[np.bool_], sure: float) -> Floats:
    """Two classes: ``sure`` of the true class where it is right, of the other where it is not."""
    p = np.where(right, sure, 1.0 - sure)
    columns = np.empty((len(y), 2))
    columns[np.arange(len(y)), y], columns[np.arange(len(y)), 1 - y] = p, 1.0 - p
    return columns


def rights(n: int, wrong: int, first: int = 0) -> npt.NDArray[np.bool_]:
    found = np.ones(n, dtype=bool)
    found[first : first + wrong] = False
    return found


@pytest.fixture
def y() -> npt.NDArray[np.int64]:
    return np.random.default_rng(5).integers(0, 2, 400)


# ---------------------------------------------------------------------------------------------------- McNemar's test


@pytest.mark.parametrize("n", range(9))
def test_mid_p_is_what_counting_every_fall_of_the_coins_gives(n: int) -> None:
    heads = [sum(fall) for fall in itertools.product((0, 1), repeat=n)]
    for gained in range(n + 1):
        more, equal = sum(h > gained for h in heads), sum(h == gained for h in heads)
        exact = (Fraction(more) + Fraction(equal, 2)) / 2**n
        assert contest.mid_p(gained, n - gained) == pytest.approx(float(exact), abs=1e-15)


def test_mid_p_of_the_literature() -> None:
    """Fagerland, Lydersen and Laake 2013: 7 differing pairs one way, 1 the other; two-sided mid-p 0.039, half of it."""
    assert contest.mid_p(7, 1) == pytest.approx(0.0390625 / 2)


@given(st.integers(0, 1500), st.integers(0, 1500))
def test_the_two_sides_are_each_others_complement(gained: int, lost: int) -> None:
    one, other = contest.mid_p(gained, lost), contest.mid_p(lost, gained)
    assert 0.0 <= one <= 1.0
    assert one + other == pytest.approx(1.0, abs=1e-9)
    assert (one < 0.5) == (gained > lost) or one == pytest.approx(0.5)


@given(st.integers(0, 60), st.integers(0, 60))
def test_more_gains_are_never_less_convincing(gained: int, lost: int) -> None:
    assert contest.mid_p(gained + 1, lost) <= contest.mid_p(gained, lost) + 1e-12


@pytest.mark.parametrize(("gained", "lost"), [(500, 500), (520, 480), (560, 440), (470, 530)])
def test_for_many_images_the_normal_curve_takes_over_without_a_step(gained: int, lost: int) -> None:
    """Exact up to 999 differing images; the formula for more must agree with the exact one there."""
    n = gained + lost
    assert n >= 1000
    tail = sum(math.comb(n, x) for x in range(gained + 1, n + 1)) + Fraction(math.comb(n, gained), 2)
    assert contest.mid_p(gained, lost) == pytest.approx(float(Fraction(tail) / 2**n), abs=1e-3)


# --------------------------------------------------------------------------------------------------------- the verdict


def test_a_clearly_better_model_takes_over(y: npt.NDArray[np.int64]) -> None:
    before, after = said(y, rights(400, 80), 0.9), said(y, rights(400, 20), 0.9)
    outcome = contest.judge(y, before, after, seed=0)
    assert outcome.won
    assert (outcome.gained, outcome.lost, outcome.n) == (60, 0, 400)
    assert (outcome.champion, outcome.challenger) == (0.8, 0.95)
    assert outcome.p_answers < 1e-6
    assert outcome.p_loss == 0.0
    assert outcome.reason.startswith("better: of 400 images 60 better and 0 worse")


def test_a_clearly_worse_one_does_not(y: npt.NDArray[np.int64]) -> None:
    before, after = said(y, rights(400, 20), 0.9), said(y, rights(400, 80), 0.9)
    outcome = contest.judge(y, before, after, seed=0)
    assert not outcome.won
    assert outcome.p_loss == 1.0
    assert outcome.reason.startswith("not proved better")


def test_its_equal_does_not(y: npt.NDArray[np.int64]) -> None:
    model = said(y, rights(400, 40), 0.9)
    outcome = contest.judge(y, model, model.copy(), seed=0)
    assert not outcome.won
    assert (outcome.p_answers, outcome.p_loss) == (0.5, 1.0)


def test_being_surer_is_not_enough_if_fewer_answers_are_right(y: npt.NDArray[np.int64]) -> None:
    """A lower log loss for certain, but 20 images more are wrong: people would have to correct those."""
    before, after = said(y, rights(400, 20), 0.6), said(y, rights(400, 40), 0.95)
    outcome = contest.judge(y, before, after, seed=0)
    assert outcome.challenger_loss < outcome.champion_loss
    assert outcome.p_loss <= contest.RISK
    assert (outcome.gained, outcome.lost) == (0, 20)
    assert not outcome.won


def test_more_right_answers_are_not_enough_with_a_higher_loss(y: npt.NDArray[np.int64]) -> None:
    before, after = said(y, rights(400, 40), 0.7), said(y, rights(400, 35), 0.999)
    outcome = contest.judge(y, before, after, seed=0)
    assert outcome.gained > outcome.lost
    assert outcome.challenger_loss > outcome.champion_loss
    assert not outcome.won


def test_the_same_answers_with_more_right_to_be_sure_win(y: npt.NDArray[np.int64]) -> None:
    """The log loss sees what counting answers cannot: not one answer changes."""
    right = rights(400, 10)
    outcome = contest.judge(y, said(y, right, 0.7), said(y, right, 0.9), seed=0)
    assert (outcome.gained, outcome.lost, outcome.p_answers) == (0, 0, 0.5)
    assert outcome.won


def test_one_certain_mistake_decides_nothing_alone(y: npt.NDArray[np.int64]) -> None:
    """A probability of exactly 0 for the truth has no infinite loss."""
    before, after = said(y, rights(400, 80), 0.9), said(y, rights(400, 20), 0.9)
    after[399] = 1.0 - np.eye(2)[y[399]]
    outcome = contest.judge(y, before, after, seed=0)
    assert math.isfinite(outcome.challenger_loss)
    assert outcome.won


def test_few_images_prove_nothing() -> None:
    """Two images better of six: it may be luck."""
    y = np.zeros(6, np.int64)
    outcome = contest.judge(y, said(y, rights(6, 3), 0.7), said(y, rights(6, 2, first=1), 0.7), seed=0)
    assert outcome.gained > outcome.lost
    assert outcome.p_loss > contest.RISK
    assert not outcome.won


def test_a_challenger_that_is_no_better_seldom_passes() -> None:
    """200 pairs of equally good models with errors of their own: no more than the risk, and a little for chance."""
    n, trials, passed = 200, 200, 0
    rng = np.random.default_rng(11)
    for trial in range(trials):
        y = rng.integers(0, 2, n)
        models = [said(y, rng.random(n) > 0.1, 0.85) for _ in range(2)]
        passed += contest.judge(y, models[0], models[1], seed=trial).won
    assert passed / trials <= contest.RISK + 0.05


def test_the_seed_fixes_the_verdict(y: npt.NDArray[np.int64]) -> None:
    before, after = said(y, rights(400, 40), 0.9), said(y, rights(400, 34, first=3), 0.9)
    outcomes = [contest.judge(y, before, after, seed=seed) for seed in (1, 1, 2, 3, 4)]
    assert outcomes[0] == outcomes[1]
    assert len({outcome.p_loss for outcome in outcomes}) > 1, "other seeds draw other samples"
    assert 0.0 < outcomes[0].p_loss < 1.0


def test_several_classes() -> None:
    y = np.arange(300) % 3
    flat = np.full((300, 3), 1 / 3)
    sharp = 0.2 * flat + 0.8 * np.eye(3)[y]
    outcome = contest.judge(y, flat + 1e-3 * np.eye(3)[(y + 1) % 3], sharp, seed=0)
    assert outcome.won
    assert (outcome.champion, outcome.challenger, outcome.gained) == (0.0, 1.0, 300)


def test_the_record_keeps_plain_values(y: npt.NDArray[np.int64]) -> None:
    outcome = contest.judge(y, said(y, rights(400, 40), 0.9), said(y, rights(400, 20), 0.9), seed=0)
    assert contest.Outcome(**json.loads(json.dumps(outcome.as_json()))) == outcome
