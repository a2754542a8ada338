"""Champion against challenger: is a new model better, or was it lucky? Paired, on the same images.

Both tests compare the two on every image. McNemar's ("Note on the sampling error of the difference between correlated
proportions", Psychometrika 1947), here one-sided with the mid-p correction, counts images that one gets right and the
other wrong; the bootstrap asks how often the mean log loss would be no lower if other images had been drawn. The log
loss sees much smaller differences, but a model may become surer without becoming right more often. So a challenger
has to win by log loss and must not lose by its answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

#: How often a challenger that is no better may pass.
RISK = 0.05
DRAWS = 2_000
_SMALLEST = 1e-6  # a probability of 0 that proved wrong must not decide alone
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a contest ended.

    Attributes:
        won: whether the challenger takes over.
        n: images both were judged on.
        champion, challenger: accuracy of each.
        gained, lost: images only the challenger got right, and only the champion.
        p_answers: one-sided mid-p of McNemar's test that the challenger is right more often.
        champion_loss, challenger_loss: mean log loss (nats).
        p_loss: share of bootstrap samples in which the challenger's log loss is no lower.
        reason: one line in words.
    """

    won: bool
    n: int
    champion: float
    challenger: float
    gained: int
    lost: int
    p_answers: float
    champion_loss: float
    challenger_loss: float
    p_loss: float
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the record."""
        return {name: getattr(self, name) for name in self.__slots__}


def judge(y: npt.NDArray[np.integer], champion: Float64, challenger: Float64, *, seed: int) -> Outcome:
    """Compare two models on images neither has learned from.

    Args:
        y: (n,) true class numbers, n >= 1.
        champion, challenger: (n, C) probabilities.
        seed: of the bootstrap.
    """
    rows = np.arange(len(y))
    before, after = champion.argmax(axis=1) == y, challenger.argmax(axis=1) == y
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    losses = [-np.log(np.maximum(p[rows, y], _SMALLEST)) for p in (champion, challenger)]
    p_answers, p_loss = mid_p(gained, lost), _no_lower(losses[0] - losses[1], seed)
    won = p_loss <= RISK and gained >= lost
    return Outcome(
        won=won,
        n=len(y),
        champion=float(before.mean()),
        challenger=float(after.mean()),
        gained=gained,
        lost=lost,
        p_answers=p_answers,
        champion_loss=float(losses[0].mean()),
        challenger_loss=float(losses[1].mean()),
        p_loss=p_loss,
        reason=_words(won, gained, lost, p_loss, len(y)),
    )


def mid_p(gained: int, lost: int) -> float:
    """One-sided mid-p of McNemar's test: P(X = gained) / 2 + P(X > gained) of gained + lost fair coins.

    Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data", BMC Medical Research Methodology
    2013: the exact test without its excessive caution. 0.5 when the two never differ.
    """
    n = gained + lost
    if n >= 1_000:  # the normal curve: by then the exact sum is of numbers that no float holds
        return float(0.5 * math.erfc((gained - lost) / math.sqrt(2.0 * n)))
    twice = 2 * sum(math.comb(n, x) for x in range(gained + 1, n + 1)) + math.comb(n, gained)
    return float(twice / 2 ** (n + 1))


def _no_lower(gain: Float64, seed: int) -> float:
    """The share of bootstrap samples of the images whose mean gain is not above 0."""
    rng = np.random.default_rng(seed)
    no_lower = 0
    for start in range(0, DRAWS, _BLOCK):
        drawn = rng.integers(0, len(gain), (min(_BLOCK, DRAWS - start), len(gain)))
        no_lower += int((gain[drawn].mean(axis=1) <= 0).sum())
    return no_lower / DRAWS


def _words(won: bool, gained: int, lost: int, p_loss: float, n: int) -> str:
    said = f"of {n} images {gained} better and {lost} worse, log loss lower with {100 * (1 - p_loss):.1f} % certainty"
    return f"better: {said}" if won else f"not proved better: {said}"
