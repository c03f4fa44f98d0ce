"""Measure the spread of cosines of all pairs of a vocabulary, and of related and random pairs.

Absolute cosines cannot be compared between models, because some put everything into a narrow cone;
the area under the ROC curve and Cohen's d of related against random pairs can.
Invariant: no more than one block of cosines is held at a time, whatever the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from decant.embedders import Role

from ..errors import EvaluationError
from ..models.protocol import Embedder, known_cosines, unit_rows
from ..scores.measurement import Cases, Measurement, check_groups, described, measure
from ..scores.statistics import BOOTSTRAP, Bootstrap, Floats, Groups
from ..scores.units import Unit

_BLOCK = 1024  # 4 MB of cosines: what is done to them stays in the cache
BINS = 2000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """The cosines of all unordered pairs of different rows.

    Args:
        counts: int64, shape ``(2000,)``; how many fall into each of equal bins over [-1, 1].
        mean: The mean over all pairs, exact but for rounding.
        std: Standard deviation over all pairs, not estimated from the bins.
    """

    counts: NDArray[np.int64]
    mean: float
    std: float

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return int(self.counts.sum())

    @property
    def edges(self) -> Floats:
        """Edges of the bins, shape ``(2001,)``."""
        return np.linspace(-1.0, 1.0, BINS + 1)


def all_pairs(rows: NDArray[np.float32]) -> Spread:
    """Return the spread of the cosines of all pairs of rows.

    Args:
        rows: Shape ``(N, D)``, of any length; a copy of unit length is held, and one block of
            cosines.

    Raises:
        EvaluationError: There are fewer than two rows, or one has no direction.

    >>> found = all_pairs(np.eye(3, dtype=np.float32))
    >>> found.pairs, found.mean, found.std
    (3, 0.0, 0.0)
    """
    if len(rows) < 2:
        raise EvaluationError(f"pairs need two rows or more, got {len(rows)}")
    unit = unit_rows(rows)
    # One place more on either side: rounding may leave [-1, 1].
    counts = np.zeros(BINS + 2, np.int64)
    half = np.float32(BINS / 2)
    for start in range(0, len(unit), _BLOCK):
        scaled = unit[start : start + _BLOCK] * half
        for other in range(start, len(unit), _BLOCK):
            places = scaled @ unit[other : other + _BLOCK].T
            places += half + 1
            flat = places.astype(np.intp)
            inside = flat[np.triu_indices(len(flat), k=1)] if other == start else flat.ravel()
            counts += np.bincount(inside, minlength=BINS + 2)
    counts[1] += counts[0]
    counts[-2] += counts[-1]
    return Spread(counts=counts[1:-1], **_moments(unit))


def _moments(unit: NDArray[np.float32]) -> dict[str, float]:
    """Return mean and standard deviation over pairs from two sums of size D and D x D.

    The sum of all cosines is the squared length of the sum of the rows, and the sum of their
    squares is the squared Frobenius norm of ``rows.T @ rows``; the N pairs of a row with itself
    are subtracted from both, and each other pair is counted twice.
    """
    rows = len(unit)
    total = unit.sum(axis=0, dtype=np.float64)
    gram = np.zeros((unit.shape[1], unit.shape[1]))
    own = 0.0
    own_squares = 0.0
    for start in range(0, rows, _BLOCK):
        block = unit[start : start + _BLOCK].astype(np.float64)
        gram += block.T @ block
        lengths = np.einsum("nd,nd->n", block, block)
        own += float(lengths.sum())
        own_squares += float((lengths**2).sum())
    pairs = rows * (rows - 1)
    mean = (float(total @ total) - own) / pairs
    square = (float((gram**2).sum()) - own_squares) / pairs
    return {"mean": mean, "std": float(np.sqrt(max(square - mean**2, 0.0)))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """A task that separates related pairs from random pairs of the same words.

    Args:
        name: The name of the task.
        related: Pairs of words that belong together.
        random_pairs: How many random pairs are drawn; a pair of a word with itself, or one of
            the related ones, is drawn again.
        seed: Seed of the draws.
        role: The role of the words, which selects their prompt.
        bootstrap: Settings of the intervals; both kinds of pairs are drawn separately.

    Raises:
        EvaluationError: There are no related pairs.
    """

    name: str
    related: tuple[tuple[str, str], ...]
    random_pairs: int = 2000
    seed: int = 0
    role: Role = Role.QUERY
    bootstrap: Bootstrap = BOOTSTRAP

    def __post_init__(self) -> None:
        if not self.related or self.random_pairs < 1:
            raise EvaluationError(
                f"{self.name}: {len(self.related)} related and {self.random_pairs} random pairs; "
                "both must be more than none"
            )

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return AUROC, Cohen's d, and the mean and deviation of related and random cosines."""
        pairs = [*self.related, *self._random()]
        first, second = ([pair[side] for pair in pairs] for side in (0, 1))
        found, covered = known_cosines(embedder, first, second, role=self.role)
        labels = (np.arange(len(pairs)) < len(self.related)).astype(np.float64)
        cases = Cases(truth=labels, found=found, groups=labels.astype(np.intp), covered=covered)
        check_groups(self.name, cases, ["the random pairs", "the related pairs"])
        return tuple(
            described(
                measure(
                    self.name,
                    metric,
                    cases,
                    statistic,
                    bootstrap=self.bootstrap,
                    higher_is_better=unit is not Unit.COSINE,
                ),
                unit=unit,
            )
            for metric, statistic, unit in (
                ("AUROC, related over random", auroc_statistic, Unit.FRACTION),
                ("Cohen's d, related over random", cohens_d_statistic, Unit.NUMBER),
                ("mean cosine, related", _mean_related, Unit.COSINE),
                ("mean cosine, random", _mean_random, Unit.COSINE),
                ("std of cosine, related", _std_related, Unit.COSINE),
                ("std of cosine, random", _std_random, Unit.COSINE),
            )
        )

    def _random(self) -> list[tuple[str, str]]:
        words = sorted({word for pair in self.related for word in pair})
        taken = {frozenset(pair) for pair in self.related}
        possible = len(words) * (len(words) - 1) // 2 - len({p for p in taken if len(p) == 2})
        if possible < 1:
            raise EvaluationError(f"{self.name}: {len(words)} words leave no unrelated pair")
        draw = np.random.default_rng(self.seed)
        found: list[tuple[str, str]] = []
        while len(found) < self.random_pairs:
            one, two = draw.integers(len(words), size=2)
            pair = words[one], words[two]
            if one != two and frozenset(pair) not in taken:
                found.append(pair)
        return found


def auroc_statistic(truth: Floats, found: Floats, _groups: Groups) -> float:
    """Return how often a case of label 1 is found higher than one of label 0, ties half.

    Mann and Whitney's U over the number of pairs (Hanley and McNeil 1982).

    Raises:
        EvaluationError: One of the labels does not occur.
    """
    high = truth > 0.5
    positives = int(np.count_nonzero(high))
    negatives = len(truth) - positives
    if not positives or not negatives:
        raise EvaluationError(f"{positives} cases of label 1 and {negatives} of label 0")
    total = float(stats.rankdata(found)[high].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def cohens_d_statistic(truth: Floats, found: Floats, _groups: Groups) -> float:
    """Return the difference of the labels' means over their pooled deviation (Cohen 1988, 2.2).

    Raises:
        EvaluationError: A label has fewer than two cases, or neither varies.
    """
    high, low = found[truth > 0.5], found[truth <= 0.5]
    if min(len(high), len(low)) < 2:
        raise EvaluationError(f"{len(high)} and {len(low)} cases; Cohen's d needs two of each")
    pooled = ((len(high) - 1) * high.var(ddof=1) + (len(low) - 1) * low.var(ddof=1)) / (
        len(found) - 2
    )
    if not pooled > 0:
        raise EvaluationError("neither label's cosines vary: Cohen's d is not defined")
    return float((high.mean() - low.mean()) / np.sqrt(pooled))


def _mean_related(truth: Floats, found: Floats, _groups: Groups) -> float:
    return float(found[truth > 0.5].mean())


def _mean_random(truth: Floats, found: Floats, _groups: Groups) -> float:
    return float(found[truth <= 0.5].mean())


def _std_related(truth: Floats, found: Floats, _groups: Groups) -> float:
    return float(found[truth > 0.5].std())


def _std_random(truth: Floats, found: Floats, _groups: Groups) -> float:
    return float(found[truth <= 0.5].std())
