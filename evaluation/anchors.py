"""Anchor tasks: how far does a sentence move when it is varied in one way?

Mean cosines per variation are shown, but only their order within one sentence can be compared
between models: the win rate is how often the variation that keeps the meaning stays closer than
the one that turns it round, ties half (arXiv 2402.11094, with the win rate as our threshold-free
addition). Vectors of the varied word inside its sentence are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role

from .embedder import Embedder, known_cosines
from .errors import EvaluationError
from .reading import columns, numbered_lines, text
from .scores import Measurement, cases_of, measure
from .statistics import BOOTSTRAP, Bootstrap, Floats, mean_statistic
from .variations import Variation, made_variations

CONTESTS = (
    (Variation.PARAPHRASE, Variation.ANTONYM),
    (Variation.PARAPHRASE, Variation.NEGATION),
    (Variation.SYNONYM, Variation.ANTONYM),
    (Variation.PARAPHRASE, Variation.JUMBLED),
    (Variation.EXCLAMATION, Variation.NEGATION),
)
"""Which variation should stay closer than which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One sentence and its variations."""

    base: str
    variants: Mapping[Variation, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Mean cosine of each variation, and win rates between variations.

    Args:
        name: Of the task.
        anchors: One or more sentences; each variation and contest counts those that have it.
        contests: Closer one first; those that no sentence has are passed over.
        role: Which prompt the sentences get.
        bootstrap: How intervals over sentences are made.

    Raises:
        EvaluationError: There are no sentences, or none has a variation.
    """

    name: str
    anchors: tuple[Anchor, ...]
    contests: tuple[tuple[Variation, Variation], ...] = CONTESTS
    role: Role = Role.QUERY
    bootstrap: Bootstrap = BOOTSTRAP

    def __post_init__(self) -> None:
        if not any(anchor.variants for anchor in self.anchors):
            raise EvaluationError(f"{self.name}: there is no sentence with a variation")

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return the win rates, then the mean cosine of each variation."""
        cosines, covered = self._cosines(embedder)
        found: list[Measurement] = []
        for closer, farther in self.contests:
            both = [
                i for i, one in enumerate(self.anchors) if {closer, farther} <= set(one.variants)
            ]
            if not both:
                continue
            wins = np.array(
                [
                    (np.sign(cosines[i, closer] - cosines[i, farther]) + 1) / 2
                    if (i, closer) in cosines and (i, farther) in cosines
                    else 0.0
                    for i in both
                ]
            )
            can = np.array([covered[i, closer] and covered[i, farther] for i in both], np.bool_)
            metric = f"win rate, {closer.value} over {farther.value}"
            found.append(self._mean(metric, wins, can, ranks=True))
        for variation in Variation:
            having = [i for i, one in enumerate(self.anchors) if variation in one.variants]
            if not having:
                continue
            values = np.array([cosines.get((i, variation), 0.0) for i in having])
            can = np.array([covered[i, variation] for i in having], np.bool_)
            found.append(self._mean(f"mean cosine, {variation.value}", values, can, ranks=False))
        return tuple(found)

    def _mean(
        self, metric: str, values: Floats, covered: NDArray[np.bool_], *, ranks: bool
    ) -> Measurement:
        cases = cases_of(np.zeros(len(values)), values, covered=covered)
        return measure(
            self.name,
            metric,
            cases,
            mean_statistic,
            bootstrap=self.bootstrap,
            higher_is_better=ranks,
        )

    def _cosines(
        self, embedder: Embedder
    ) -> tuple[dict[tuple[int, Variation], float], dict[tuple[int, Variation], bool]]:
        """Return cosines of known pairs, and which pairs are known, by sentence and variation."""
        keys = [(i, one) for i, anchor in enumerate(self.anchors) for one in anchor.variants]
        first = [self.anchors[i].base for i, _ in keys]
        second = [self.anchors[i].variants[one] for i, one in keys]
        found, covered = known_cosines(embedder, first, second, role=self.role)
        cosines = {
            key: float(value) for key, value, can in zip(keys, found, covered, strict=True) if can
        }
        return cosines, {key: bool(one) for key, one in zip(keys, covered, strict=True)}


def read_anchors(file: Path, *, make: bool, seed: int = 0) -> tuple[Anchor, ...]:
    """Read lines of sentence, kind of variation and varied sentence, with tabs between.

    Args:
        file: Lines of one sentence need not stand together; the kinds are the values of
            :class:`Variation`, for example ``paraphrase``. With ``make``, a sentence may also
            stand alone on a line.
        make: Add the variations that need no model, where the file has none of that kind.
        seed: Of the order of jumbled words.

    Raises:
        EvaluationError: There are no lines, a line has other columns or an unknown kind, a text is
            empty, a kind comes twice for a sentence, or one cannot be made for it.
        OSError: The file cannot be read.
    """
    kinds = {one.value: one for one in Variation}
    found: dict[str, dict[Variation, str]] = {}
    first_line: dict[str, int] = {}
    for number, line in numbered_lines(file):
        alone = make and "\t" not in line
        base, kind, variant = (line, "", "") if alone else columns(file, number, line, count=3)
        variants = found.setdefault(text(file, number, base), {})
        first_line.setdefault(base, number)
        if alone:
            continue
        if kind not in kinds:
            raise EvaluationError(
                f"{file}:{number}: {kind!r} is no variation; known are {', '.join(kinds)}"
            )
        if kinds[kind] in variants:
            raise EvaluationError(f"{file}:{number}: a second {kind} of {base!r}")
        variants[kinds[kind]] = text(file, number, variant)
    if not found:
        raise EvaluationError(f"{file}: there are no sentences")
    if make:
        for base, variants in found.items():
            try:
                found[base] = {**made_variations(base, seed=seed), **variants}
            except EvaluationError as error:
                raise EvaluationError(f"{file}:{first_line[base]}: {error}") from error
    return tuple(Anchor(base=base, variants=variants) for base, variants in found.items())
