"""When labelling may end: successive models stop disagreeing. Numbers in, a verdict out.

The rule is that of Bloodgood and Vijay-Shanker ("A method for stopping active learning based on stabilizing
predictions and the need for user-adjustable stopping", CoNLL 2009): compare what each model says of the same
unlabelled images with what an earlier one said, and stop once they have been agreeing for a while. It needs no labels,
which is why the slope of an estimated accuracy cannot take its place: that stops far too early.

Agreement of 99.5 % with the model of 50 labels earlier, three times running, stopped at 150 labels on photographs of
masks with 0.04 points lost against the plateau, and at 540 to 735 on the same made hard in three ways, with 0.2 to 1.1
lost. The 98.5 % of an earlier study stopped these at 390 to 500 and lost 1.6 to 2.2 points (docs/fewest-labels.md).
With a rare class agreement alone is cheap (a model that never names it agrees with another such one), so the
chance-corrected agreement must be high as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

LABELS_APART = 50  # of the two models that are compared
AGREEMENT = 0.995
KAPPA = 0.9
TURNS = 3  # comparisons in a row that must agree ...
SPAN = 20  # ... over at least as many labels, so that a model after every fifth label does not count thrice
FURTHEST = 3  # an outlook beyond this many times the labels so far is none

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Turn:
    """A model compared with one of at least :data:`LABELS_APART` labels fewer.

    Attributes:
        labels: how many this model has learned from.
        agreement: share of images of which both say the same; None where there was no such earlier model.
        kappa: the same corrected for chance (Cohen's kappa).
    """

    labels: int
    agreement: float | None = None
    kappa: float | None = None

    @property
    def agrees(self) -> bool:
        return (self.agreement or 0.0) >= AGREEMENT and (self.kappa or 0.0) >= KAPPA


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rule says.

    Attributes:
        state: "stop", "go on", or "unknown" while it cannot be told.
        reason: "agree" (stop), "almost" (the last one or two agree), "disagree", "early" (no comparison yet),
            "none" (no model), "empty" (nothing is left to label).
        turns: how many of the newest comparisons agree, up to :data:`TURNS`.
        agreement: of the newest comparison.
        needed: labels still to come until the rule will probably stop; None when that cannot be told.
        told_in: labels until there is something to compare, while there is not.
    """

    state: Literal["stop", "go on", "unknown"]
    reason: Literal["agree", "almost", "disagree", "early", "none", "empty"]
    turns: int = 0
    agreement: float | None = None
    needed: int | None = None
    told_in: int | None = None


def verdict(turns: Sequence[Turn], pool: int) -> Verdict:
    """Judge the models so far.

    Args:
        turns: one per model, oldest first.
        pool: images without a label.
    """
    if pool == 0:
        return Verdict("stop", "empty", needed=0)
    if not turns:
        return Verdict("unknown", "none")
    compared = [turn for turn in turns if turn.agreement is not None]
    if not compared:
        return Verdict("unknown", "early", told_in=max(1, LABELS_APART + turns[0].labels - turns[-1].labels))
    run = _run(compared)
    newest = compared[-1].agreement
    if len(run) >= TURNS and run[-1].labels - run[0].labels >= SPAN:
        return Verdict("stop", "agree", TURNS, newest, 0)
    if run:
        return Verdict("go on", "almost", min(len(run), TURNS), newest, min(pool, _to_confirm(run, turns)))
    needed = _outlook(compared)
    return Verdict("go on", "disagree", 0, newest, None if needed is None else min(pool, needed))


def in_words(said: Verdict) -> str:
    """The verdict as a sentence for the shell."""
    agreement = "" if said.agreement is None else f"{said.agreement:.1%}"
    agrees = f"the model agrees with the one of {LABELS_APART} labels earlier on {agreement} of the images"
    sentences = {
        "agree": f"you can stop: {agrees}, {TURNS} times in a row on at least {AGREEMENT:.1%}",
        "empty": "you can stop: every image has its label",
        "almost": f"about {said.needed} more labels: {agrees}, {said.turns} of {TURNS} times in a row",
        "disagree": f"keep labelling{_more(said.needed)}: {agrees}, and {AGREEMENT:.1%} would do",
        "early": f"keep labelling: whether the model still changes can be told in about {said.told_in} labels",
        "none": "keep labelling: there is no model yet",
    }
    return sentences[said.reason]


def _more(needed: int | None) -> str:
    return "" if needed is None else f", about {needed} more"


def _run(compared: Sequence[Turn]) -> list[Turn]:
    """The comparisons that agree, counted back from the newest."""
    run: list[Turn] = []
    for turn in reversed(compared):
        if not turn.agrees:
            break
        run.insert(0, turn)
    return run


def _to_confirm(run: Sequence[Turn], turns: Sequence[Turn]) -> int:
    step = _step(turns)
    missing = max(TURNS - len(run), math.ceil((SPAN - (run[-1].labels - run[0].labels)) / step), 1)
    return missing * step


def _step(turns: Sequence[Turn]) -> int:
    """Labels from one model to the next, the median of the last ten."""
    gaps = np.diff([turn.labels for turn in turns[-11:]])
    return max(1, int(np.median(gaps))) if len(gaps) else SPAN // 2


def _outlook(compared: Sequence[Turn]) -> int | None:
    """Labels until models will agree, from disagreement falling as a power of the labels (a line in logarithms).

    None with fewer than three comparisons, when it does not fall, or when the line leads too far to mean anything.
    """
    now = compared[-1].labels
    recent = [t for t in compared if 3 * t.labels >= now and t.agreement is not None and t.agreement < 1.0]
    points = [(t.labels, 1.0 - (t.agreement or 0.0)) for t in recent]
    if len(points) < TURNS or points[0][0] == points[-1][0]:
        return None
    x, y = np.log(np.array(points, dtype=np.float64)).T
    slope, height = np.polyfit(x, y, 1)
    if slope >= -0.05:
        return None
    log_reached = float((math.log(1.0 - AGREEMENT) - height) / slope)
    if log_reached > math.log(now * FURTHEST):
        return None
    step = _step(compared)
    return max(round(math.exp(log_reached)) - now, step) + (TURNS - 1) * step


# -------------------------------------------------------------------------------------------------- measurements


def agreement(a: Labels, b: Labels) -> float:
    """The share of n >= 1 images of which two models say the same."""
    return float(np.mean(a == b))


def kappa(a: Labels, b: Labels, n_classes: int) -> float:
    """Cohen's kappa of two models' predictions ("A coefficient of agreement for nominal scales", 1960); 1 where both
    say one and the same class of everything. In numpy, for the worker computes it after every training.
    """
    shares = np.bincount(a, minlength=n_classes) / len(a) * (np.bincount(b, minlength=n_classes) / len(b))
    by_chance = float(shares.sum())
    return 1.0 if by_chance >= 1.0 else (agreement(a, b) - by_chance) / (1.0 - by_chance)


def expected_errors(probabilities: Float64) -> float:
    """How many of n images the model would file wrongly, if its (n, C) calibrated probabilities are right."""
    return float((1.0 - probabilities.max(axis=1)).sum()) if len(probabilities) else 0.0
