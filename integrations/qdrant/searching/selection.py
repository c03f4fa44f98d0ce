"""Choose one of several ways to search from scored queries, and estimate honestly what it gains.

The best of many is best partly by chance, so its score on the queries that chose it is too high.
The gain is therefore measured on queries that did not choose: in each of several random divisions
into parts, the best on all parts but one is measured on that one (nested cross-validation; Varma
and Simon 2006, "Bias in error estimation when using cross-validation for model selection").
The parts share most of their queries, so the interval is too short: where no candidate is better
than another, some 4 to 8 in 100 sets of 50 queries have it above zero, not 2.5 in 100.
Pure functions of arrays, shape (Q, C): the score of each query under each candidate, of which the
first is the present one. Invariant: of candidates that score the same, the first is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..stores.input_errors import StoreInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAME = 1e-12  # means of the same scores, added in another order


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionSettings:
    """How a gain is estimated.

    Args:
        folds: Into how many parts the queries are divided; with fewer queries, into one of each.
        repeats: How many times they are divided.
        resamples: How many resamples of queries the interval is made of.
        level: The share of resamples inside the interval.
        seed: The seed of the divisions and the resamples.

    Raises:
        StoreInputError: A value is out of range.
    """

    folds: int = 10
    repeats: int = 20
    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.folds < 2 or min(self.repeats, self.resamples) < 1 or self.seed < 0:
            raise StoreInputError(
                "folds must be at least 2, repeats and resamples at least 1 and seed not negative, "
                f"got {self.folds}, {self.repeats}, {self.resamples} and {self.seed}"
            )
        if not 0 < self.level < 1:
            raise StoreInputError(f"level must lie between 0 and 1, got {self.level}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutGain:
    """What a choice gains over the present way to search, on queries that did not choose.

    Args:
        value: The mean over queries.
        low: Lower end of its interval (paired bootstrap over queries).
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the gain and its interval, with three decimals."""
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def best(scores: NDArray[np.float64]) -> int:
    """Return the column of the greatest mean; of equal ones the first."""
    means = scores.mean(axis=0)
    return int(np.flatnonzero(means >= means.max() - _SAME)[0])


def held_out_gains(scores: NDArray[np.float64], settings: SelectionSettings) -> NDArray[np.float64]:
    """Return each query's gain by what the other parts chose, its mean over the divisions, (Q,)."""
    random = np.random.default_rng(settings.seed)
    count = len(scores)
    gains = np.zeros(count)
    for _ in range(settings.repeats):
        parts = random.permutation(count) % min(settings.folds, count)
        for part in np.unique(parts):
            out = parts == part
            chosen = best(scores[~out])
            gains[out] += scores[out, chosen] - scores[out, 0]
    return gains / settings.repeats


def estimate_gain(scores: NDArray[np.float64], settings: SelectionSettings) -> HeldOutGain:
    """Return what choosing the best candidate gains over the first, with its interval."""
    gains = held_out_gains(scores, settings)
    random = np.random.default_rng(settings.seed)
    count = len(gains)
    # One resample at a time: all of them at once are gigabytes for a large set.
    means = [gains[random.integers(0, count, count)].mean() for _ in range(settings.resamples)]
    outside = (1 - settings.level) / 2
    low, high = np.quantile(means, [outside, 1 - outside])
    return HeldOutGain(value=float(gains.mean()), low=float(low), high=float(high))
