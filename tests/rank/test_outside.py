"""scikit-activeml's strategies by name: what they are given, and when they are refused."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from labeler.domain import LabelerError, UnknownName
from labeler.rank import outside, registry
from labeler.rank.strategies import Pool, names, select

#: Those of version 1.0.1 that choose among classes by themselves; not those for regression, nor wrappers of others.
THEIRS = (
    "Badge",
    "BatchBALD",
    "Clue",
    "ContrastiveAL",
    "CoreSet",
    "CostEmbeddingAL",
    "DiscriminativeAL",
    "DropQuery",
    "EpistemicUncertaintySampling",
    "Falcun",
    "FourDs",
    "GreedyBALD",
    "GreedySamplingX",
    "MaxHerding",
    "MonteCarloEER",
    "ProbCover",
    "ProbabilisticAL",
    "QueryByCommittee",
    "Quire",
    "RandomSampling",
    "TypiClust",
    "UncertaintySampling",
    "ValueOfInformationEER",
)


def pool_of(n: int, *, classes: int = 2, labelled: int = 12, model: bool = True, width: int = 8) -> Pool:
    rng = np.random.default_rng(n)
    p = rng.dirichlet(np.ones(classes), size=n)
    y = np.arange(labelled) % classes
    X = (2.0 * rng.normal(size=(classes, width))[y] + rng.normal(size=(labelled, width))).astype(np.float32)
    ids = np.array([f"{i:06d}" for i in range(n)])
    return Pool(rng.normal(size=(n, width)).astype(np.float32), ids, p if model else None, X, y.astype(np.int64))


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    outside._classes.cache_clear()
    monkeypatch.setitem(sys.modules, "skactiveml", None)
    with pytest.raises(LabelerError) as caught:
        select("skactiveml:DropQuery", pool_of(10), 2, seed=0)
    assert str(caught.value) == "scikit-activeml is not installed (pip install 'labeler[skactiveml]')"


def test_an_unknown_family_is_an_unknown_name() -> None:
    with pytest.raises(UnknownName, match=r"unknown strategy 'modal:margin' \(choose from .*, skactiveml:NAME\)"):
        registry.get("modal:margin")


class TestInstalled:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("skactiveml")

    def test_an_unknown_name_lists_the_names(self) -> None:
        with pytest.raises(UnknownName, match=r"'skactiveml:Nothing' \(choose from skactiveml: .*Badge.*DropQuery"):
            registry.get("skactiveml:Nothing")
        assert not any(name.startswith("skactiveml:") for name in names())

    @pytest.mark.parametrize("name", sorted(set(THEIRS) - {"EpistemicUncertaintySampling"}))
    def test_every_one_of_them_chooses(self, name: str) -> None:
        selection = select(f"skactiveml:{name}", pool_of(12, classes=3), 2, seed=1)
        assert selection.strategy == f"skactiveml:{name}"
        assert selection.why == ("outside", "outside")

    def test_these_are_all_there_are(self) -> None:
        assert sorted(outside._classes()) == sorted(THEIRS)

    def test_what_they_cannot_do_they_say(self) -> None:
        with pytest.raises(LabelerError, match=r"skactiveml:EpistemicUncertaintySampling cannot rank this pool: .+"):
            select("skactiveml:EpistemicUncertaintySampling", pool_of(12, classes=3), 2, seed=1)

    @pytest.mark.parametrize("name", ["Clue", "DropQuery", "TypiClust"])
    def test_their_k_means_goes_by_the_seed(self, name: str) -> None:
        batches = [select(f"skactiveml:{name}", pool_of(90), 5, seed=1).indices.tolist() for _ in range(3)]
        assert batches[0] == batches[1] == batches[2]

    def test_their_uncertainty_sampling_sees_the_head_that_ours_would_fit(self) -> None:
        from sklearn.linear_model import LogisticRegression

        pool = pool_of(200)
        head = LogisticRegression(C=30.0, max_iter=1000).fit(pool.labelled_vectors, pool.labelled_y)
        distance = np.abs(head.predict_proba(np.asarray(pool.vectors))[:, 0] - 0.5)
        chosen = select("skactiveml:UncertaintySampling", pool, 6, seed=0).indices
        assert sorted(chosen.tolist()) == sorted(np.argsort(distance)[:6].tolist())

    def test_needs_model_by_what_it_asks(self) -> None:
        assert registry.get("skactiveml:DropQuery").needs_model
        assert registry.get("skactiveml:QueryByCommittee").needs_model
        assert not registry.get("skactiveml:CoreSet").needs_model
        assert not registry.get("skactiveml:DiscriminativeAL").needs_model
        selection = select("skactiveml:TypiClust", pool_of(50, labelled=0, model=False), 5, seed=0)
        assert len(set(selection.indices.tolist())) == 5

    def test_what_a_strategy_does_not_choose_is_filled_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outside._Task, "ask", lambda self, rows, k: np.array([3, 1]))
        selection = select("skactiveml:Badge", pool_of(20), 4, seed=0)
        assert selection.indices[:2].tolist() == [3, 1]
        assert selection.why == ("outside", "outside", "uncertain", "uncertain")
        rest = np.setdiff1d(np.arange(20), [1, 3])
        assert selection.indices[2:].tolist() == rest[np.argsort(-selection.utilities[rest])[:2]].tolist()

    def test_hopeless_costs_are_refused_with_the_estimate(self) -> None:
        """Expected error reduction refits the head for every image and class: a real case, really tried."""
        with pytest.raises(LabelerError) as caught:
            select("skactiveml:MonteCarloEER", pool_of(20_000), 10, seed=0)
        assert "skactiveml:MonteCarloEER would take about" in caught.value.what
        assert "to rank 20000 images, more than 120 s" in caught.value.what
        assert caught.value.remedy == "choose another strategy, or a smaller pool"

    def test_bearable_costs_are_not(self) -> None:
        assert len(select("skactiveml:UncertaintySampling", pool_of(20_000), 10, seed=0).indices) == 10


# ------------------------------------------------------------------------------------------------- the estimate


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("fixed", [0.0, 0.05, 1.0])
def test_the_estimate_finds_a_power_law_behind_a_fixed_cost(power: float, fixed: float) -> None:
    sizes = [64, 128, 256, 512, 1024]
    cost: Callable[[int], float] = lambda n: fixed + 1e-3 * (n / 64) ** power  # noqa: E731
    expected = outside.extrapolated(sizes, [cost(size) for size in sizes], 100_000)
    assert expected == pytest.approx(cost(100_000), rel=0.05)


def test_a_single_trial_is_taken_for_a_square() -> None:
    assert outside.extrapolated([100], [2.0], 1_000) == pytest.approx(200.0)


def test_a_cost_that_does_not_grow_stays_small() -> None:
    assert outside.extrapolated([64, 128, 256], [0.1, 0.1, 0.1], 10**6) < 1.0


def test_trials_stop_where_the_next_would_exceed_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "process_time", lambda: clock[0])

    def run(size: int) -> None:
        clock[0] += 1e-5 * size**2

    sizes, seconds = outside._trials(run, 32, 10**6)
    # 512 would have taken 2.6 s. The first ran twice, to warm up.
    assert sizes == [32, 64, 128, 256]
    assert seconds == pytest.approx([1e-5 * size**2 for size in sizes])
    assert clock[0] < outside.TRIAL_SECONDS


def test_time_that_other_programs_take_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, cpu = [0.0], [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: wall[0])
    monkeypatch.setattr(time, "process_time", lambda: cpu[0])

    def run(size: int) -> None:
        wall[0] += 10.0
        cpu[0] += 0.5

    assert outside._timed(run, 8) == 0.5


def test_only_what_is_slow_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    estimates = [outside.MOST_SECONDS + 1.0, 1.0, outside.MOST_SECONDS + 1.0, outside.MOST_SECONDS + 2.0]
    monkeypatch.setattr(outside, "_expected_seconds", lambda task, rows: estimates.pop(0))
    rows = np.arange(100)
    task = outside._Task("theirs", object, pool_of(100), 4, 0)
    outside._refuse_what_takes_too_long(task, rows)
    with pytest.raises(LabelerError, match="would take about 121 s"):
        outside._refuse_what_takes_too_long(task, rows)


def test_sizes_at_which_a_strategy_fails_are_left_out() -> None:
    def run(size: int) -> None:
        if size < 60:
            raise ValueError("too few")

    assert outside._trials(run, 8, 300)[0] == [64, 128, 256]
    assert outside._trials(run, 8, 50)[0] == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (90, "90 s"), (150, "150 s"), (1_500, "25 minutes"), (9_000, "2 hours"), (10**6, "12 days")],
)
def test_readable(seconds: float, text: str) -> None:
    assert outside._readable(seconds) == text
