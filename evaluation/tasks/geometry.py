"""Measure the geometry of an embedding space: anisotropy, effective rank and uniformity.

For unit vectors ``|x - y|^2 = 2 - 2 cos(x, y)``, so everything but the effective rank is a function
of cosines of pairs, and has an interval over them. Resampled rows repeat themselves and fill fewer
directions, so the effective rank is that of blocks of texts, with an interval over blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role

from ..errors import EvaluationError
from ..models.protocol import Embedder, known_cosines, known_vectors, unit_rows
from ..scores.measurement import Cases, Measurement, cases_of, described, measure
from ..scores.statistics import BOOTSTRAP, Bootstrap, Floats, Groups, Statistic, mean_statistic
from ..scores.units import Unit

_BLOCK = 256
_MOST_BLOCKS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Anisotropy, uniformity, effective rank and, with related pairs, alignment.

    The effective rank is that of 256 texts, the mean over up to 16 disjoint blocks of them; where
    texts do not fill two, or the embedder knows no block whole, it is left out.

    Args:
        name: The name of the task.
        texts: Distinct texts, from which random pairs are drawn.
        related: Pairs that belong together.
        random_pairs: How many pairs are drawn.
        seed: Seed of the draws.
        role: The role of the texts, which selects their prompt.

    Raises:
        EvaluationError: There are fewer than two texts, one comes twice, there are no random pairs,
            or the seed is negative.
    """

    name: str
    texts: tuple[str, ...]
    related: tuple[tuple[str, str], ...] = ()
    random_pairs: int = 10_000
    seed: int = 0
    role: Role = Role.PASSAGE
    bootstrap: Bootstrap = BOOTSTRAP

    def __post_init__(self) -> None:
        if len(self.texts) < 2 or self.random_pairs < 1:
            raise EvaluationError(
                f"{self.name}: {len(self.texts)} texts and {self.random_pairs} random pairs; "
                "two texts and one pair are needed"
            )
        if len(set(self.texts)) < len(self.texts):
            raise EvaluationError(
                f"{self.name}: {len(self.texts) - len(set(self.texts))} of {len(self.texts)} texts "
                "come a second time, and a text is no pair with itself; take each once"
            )
        if self.seed < 0:
            raise EvaluationError(f"{self.name}: the seed must not be negative, got {self.seed}")

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return anisotropy, uniformity and effective rank, then alignment of related pairs."""
        draw = np.random.default_rng(self.seed)
        first = draw.integers(len(self.texts), size=self.random_pairs)
        # A step of one or more round the list: never a text with itself.
        second = (first + draw.integers(1, len(self.texts), size=len(first))) % len(self.texts)
        count = min(len(self.texts) // _BLOCK, _MOST_BLOCKS)
        count = count if count > 1 else 0
        blocks = draw.permutation(len(self.texts))[: count * _BLOCK].reshape(count, _BLOCK)
        drawn, places = np.unique(
            np.concatenate([first, second, blocks.ravel()]), return_inverse=True
        )
        rows, known = known_vectors(embedder, [self.texts[at] for at in drawn], role=self.role)
        one, two, rest = np.split(places, [len(first), 2 * len(first)])
        cosines = np.einsum("nd,nd->n", rows[one], rows[two], dtype=np.float64)
        random = cases_of(np.zeros(len(one)), cosines, covered=known[one] & known[two])
        measured = [
            described(self._measure(metric, random, statistic), unit=unit)
            for metric, statistic, unit in (
                ("anisotropy (mean cosine of random pairs)", mean_statistic, Unit.COSINE),
                ("uniformity", uniformity_statistic, Unit.NUMBER),
            )
        ]
        parts = rest.reshape(blocks.shape)
        whole = np.asarray(known[parts].all(axis=1), np.bool_)
        if whole.any():
            ranks = np.zeros(count)
            ranks[whole] = [effective_rank(rows[part]) for part in parts[whole]]
            filled = cases_of(np.zeros(count), ranks, covered=whole)
            rank = self._measure(f"effective rank (of {_BLOCK} texts)", filled, mean_statistic)
            note = f"a case is a block of {_BLOCK} texts"
            measured.append(described(rank, unit=Unit.NUMBER, note=note))
        if self.related:
            found, covered = known_cosines(
                embedder,
                [one for one, _ in self.related],
                [two for _, two in self.related],
                role=self.role,
            )
            related = cases_of(np.zeros(len(found)), found, covered=covered)
            closeness = self._measure("alignment", related, alignment_statistic)
            measured.append(described(closeness, unit=Unit.NUMBER))
        return tuple(measured)

    def _measure(self, metric: str, cases: Cases, statistic: Statistic) -> Measurement:
        return measure(
            self.name, metric, cases, statistic, bootstrap=self.bootstrap, higher_is_better=False
        )


def uniformity_statistic(_truth: Floats, found: Floats, _groups: Groups) -> float:
    """Return log of the mean of exp(-2 |x - y|^2) over pairs of cosine ``found``.

    Lower is more even; Wang and Isola 2020 (arXiv 2005.10242), equation 5 with t = 2.
    """
    return float(np.log(np.exp(4 * found - 4).mean()))


def alignment_statistic(_truth: Floats, found: Floats, _groups: Groups) -> float:
    """Return the mean of |x - y|^2 over related pairs; lower is closer.

    Wang and Isola 2020 (arXiv 2005.10242), equation 4 with alpha = 2.
    """
    return float((2 - 2 * found).mean())


def effective_rank(rows: NDArray[np.float32]) -> float:
    """Return the effective rank of rows: exp of the entropy of their singular values.

    Roy and Vetterli 2007, "The effective rank", definition 1; rows are brought to unit length and
    not centred. Between 1 and min(N, D).

    Args:
        rows: Shape ``(N, D)``.

    Raises:
        EvaluationError: There are no rows, or one has no direction.

    >>> round(effective_rank(np.eye(3, dtype=np.float32)), 6)
    3.0
    """
    if not len(rows):
        raise EvaluationError("there are no rows to find the effective rank of")
    unit = unit_rows(rows).astype(np.float64)
    values = np.linalg.svd(unit, compute_uv=False)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
