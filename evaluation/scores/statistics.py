"""Correlations, and bootstrap intervals of statistics.

A statistic is a function of ``(truth, found, groups)``, three arrays of shape ``(C,)``: for each
case its value in the data, its value from the encoder, and its subset. Cases are drawn with
replacement inside their group, so that a mean over subsets keeps all of them.
Invariant: an undefined statistic is an error, never NaN and never zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..errors import EvaluationError

_ROUNDING = 4 * float(np.finfo(np.float32).eps)

Floats = NDArray[np.float64]
Groups = NDArray[np.intp]
Statistic = Callable[[Floats, Floats, Groups], float]
"""Of truth, found and groups, each of shape ``(C,)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """Settings of intervals: the percentile bootstrap (Efron and Tibshirani 1993, chapter 13).

    Args:
        resamples: How many resamples are drawn.
        level: The share of resamples inside an interval.
        seed: Seed of the draws.

    Raises:
        EvaluationError: A value is out of range.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1 or not 0 < self.level < 1 or self.seed < 0:
            raise EvaluationError(
                f"resamples must be positive, level between 0 and 1 and seed not negative, "
                f"got {self.resamples}, {self.level} and {self.seed}"
            )


BOOTSTRAP = Bootstrap()
"""What tasks use by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A bootstrap percentile interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A statistic of one encoder minus that of another over the same cases.

    Args:
        value: The difference over all cases.
        low: Lower end of its interval.
        high: Upper end.
        p_value: Two-sided, of the paired bootstrap: twice the share of resamples in which the
            difference has the other sign or none, with one added to numerator and denominator so
            that it is never zero (Davison and Hinkley 1997, section 4.2). None where there is no
            test: see :func:`compare`.
    """

    value: float
    low: float
    high: float
    p_value: float | None


def spearman(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation; ties get their mean rank. Shapes ``(N,)``.

    Raises:
        EvaluationError: Fewer than two values, lengths differ, a value is not finite, or one
            side is constant but for the rounding of float32: the correlation is not defined.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    _check_correlated(first, second)
    # Pearson's correlation of the ranks: stats.spearmanr would work out a p-value each time, which
    # a bootstrap waits for.
    one, two = (ranks - ranks.mean() for ranks in map(stats.rankdata, (first, second)))
    return float(one @ two / np.sqrt((one @ one) * (two @ two)))


def kendall(first: Floats, second: Floats) -> float:
    """Return Kendall's tau-b; shapes ``(N,)``. Errors as :func:`spearman`."""
    _check_correlated(first, second)
    return _statistic(stats.kendalltau(first, second))


def spearman_statistic(truth: Floats, found: Floats, _groups: Groups) -> float:
    """Return the correlation over all cases together, groups ignored."""
    return spearman(truth, found)


def mean_spearman_statistic(truth: Floats, found: Floats, groups: Groups) -> float:
    """Return the mean over the groups of the correlation inside each."""
    parts = [spearman(truth[groups == one], found[groups == one]) for one in np.unique(groups)]
    return float(np.mean(parts))


def mean_statistic(_truth: Floats, found: Floats, _groups: Groups) -> float:
    """Return the mean of the encoder's values."""
    return float(found.mean())


def macro_mean_statistic(_truth: Floats, found: Floats, groups: Groups) -> float:
    """Return the mean over the groups of the mean inside each."""
    _, numbers = np.unique(groups, return_inverse=True)
    return float((np.bincount(numbers, weights=found) / np.bincount(numbers)).mean())


def interval(
    statistic: Statistic, truth: Floats, found: Floats, groups: Groups, *, settings: Bootstrap
) -> Interval:
    """Return the percentile interval of a statistic over cases, arrays of shape ``(C,)``.

    Raises:
        EvaluationError: The statistic is undefined for most resamples: there are too few cases.
    """
    values = _resampled(
        lambda drawn: statistic(truth[drawn], found[drawn], groups[drawn]),
        groups,
        settings=settings,
    )
    return _middle(values, settings)


def paired_difference(
    statistic: Statistic,
    truth: Floats,
    found: tuple[Floats, Floats],
    groups: Groups,
    *,
    settings: Bootstrap,
) -> Difference:
    """Return the statistic of the second encoder minus that of the first, with its interval.

    Both are computed over the same resamples (paired bootstrap; Efron and Tibshirani 1993,
    chapter 16; Koehn 2004).

    Args:
        statistic: A function of truth, found and groups.
        truth: Shape ``(C,)``.
        found: The values of the first and of the second encoder, each of shape ``(C,)``.
        groups: Shape ``(C,)``.
        settings: Settings of the bootstrap.

    Raises:
        EvaluationError: As :func:`interval`.
    """

    def difference(drawn: NDArray[np.intp]) -> float:
        one, two = (statistic(truth[drawn], part[drawn], groups[drawn]) for part in found)
        return two - one

    values = _resampled(difference, groups, settings=settings)
    rarer = min(np.count_nonzero(values <= 0), np.count_nonzero(values >= 0))
    middle = _middle(values, settings)
    return Difference(
        value=difference(np.arange(len(truth))),
        low=middle.low,
        high=middle.high,
        p_value=min(1.0, 2 * (float(rarer) + 1) / (len(values) + 1)),
    )


class _Tested(Protocol):
    statistic: float


def _statistic(found: object) -> float:
    """Return what SciPy found; it has no types of its own."""
    return float(cast("_Tested", found).statistic)


def _resampled(
    statistic: Callable[[NDArray[np.intp]], float], groups: Groups, *, settings: Bootstrap
) -> Floats:
    """Return the statistic of each resample; undefined ones are drawn again, up to half of all."""
    random = np.random.default_rng(settings.seed)
    members = [np.flatnonzero(groups == one) for one in np.unique(groups)]
    values: list[float] = []
    undefined = 0
    while len(values) < settings.resamples:
        drawn = np.concatenate([random.choice(part, len(part)) for part in members])
        try:
            values.append(statistic(drawn))
        except EvaluationError as error:
            undefined += 1
            if undefined > settings.resamples // 2:
                raise EvaluationError(
                    f"{len(groups)} cases are too few for an interval: the statistic is undefined "
                    f"for most resamples ({error})"
                ) from error
    return np.array(values)


def _middle(values: Floats, settings: Bootstrap) -> Interval:
    outside = (1 - settings.level) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return Interval(low=float(low), high=float(high))


def _check_correlated(first: Floats, second: Floats) -> None:
    if first.shape != second.shape or first.ndim != 1:
        raise EvaluationError(f"cannot correlate shapes {first.shape} and {second.shape}")
    if len(first) < 2:
        raise EvaluationError(f"a correlation needs two cases or more, got {len(first)}")
    for values in (first, second):
        if not np.isfinite(values).all():
            where = int(np.flatnonzero(~np.isfinite(values))[0])
            raise EvaluationError(f"value number {where} is {values[where]}, not a finite number")
        # Cosines are made of float32: closer than that they differ by how they were rounded, and
        # their ranks would be noise.
        if np.ptp(values) <= _ROUNDING * np.abs(values).max():
            raise EvaluationError(
                f"all {len(values)} values are {values[0]:.6}: a correlation with a constant is "
                "not defined"
            )
