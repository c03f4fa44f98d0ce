"""Semantic textual similarity: do cosines order pairs of sentences as people do?

The metric is Spearman's correlation of cosines with human scores (Reimers et al. 2016, "Task-
oriented intrinsic evaluation of semantic textual similarity"). Over several sets there are two
aggregations that give different numbers and must not be mixed: the mean of the sets' values
(as in MTEB), and one correlation over all pairs together ("all" in SentEval). Both are labelled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decant.embedders import Role

from ..errors import EvaluationError
from ..models.protocol import Embedder, known_cosines
from ..scores.measurement import Cases, Measurement, check_groups, measure
from ..scores.statistics import BOOTSTRAP, Bootstrap, mean_spearman_statistic, spearman_statistic
from .data_lines import columns, finite, numbered_lines, text

METRIC = "cosine Spearman"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPairs:
    """Pairs of texts with human scores, in the order of the file.

    Args:
        name: The name of the set.
        scores: Higher is more similar; any scale.
        first: One text of each pair.
        second: The other.

    Raises:
        EvaluationError: The parts differ in length, there are none, or a score is not finite.
    """

    name: str
    scores: tuple[float, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.scores) == len(self.first) == len(self.second):
            raise EvaluationError(
                f"{self.name}: {len(self.scores)} scores for {len(self.first)} and "
                f"{len(self.second)} texts"
            )
        if not self.scores:
            raise EvaluationError(f"{self.name}: there are no pairs")
        for number, score in enumerate(self.scores):
            if not math.isfinite(score):
                raise EvaluationError(
                    f"{self.name}: the score of pair {number} is {score}; leave that pair out"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sts:
    """Spearman's correlation of cosines with human scores.

    Pairs of which the embedder does not know a text are left out and lower the coverage.

    Args:
        name: The name of the task.
        sets: One or more; of several, both aggregations are measured.
        role: The role of the sentences, which selects their prompt; both sides get the same.
        bootstrap: Settings of the intervals; a mean over sets draws inside each set.

    Raises:
        EvaluationError: There are no sets.
    """

    name: str
    sets: tuple[ScoredPairs, ...]
    role: Role = Role.QUERY
    bootstrap: Bootstrap = BOOTSTRAP

    def __post_init__(self) -> None:
        if not self.sets:
            raise EvaluationError(f"{self.name}: there are no sets")

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return one measurement for one set; for several the mean, all together, and each."""
        cases = self._cases(embedder)
        if len(self.sets) == 1:
            return (self._measure(METRIC, cases, together=True),)
        return (
            self._measure(f"{METRIC}, mean of {len(self.sets)} sets", cases, together=False),
            self._measure(f"{METRIC}, all pairs together", cases, together=True),
            *(
                self._measure(f"{METRIC}, {one.name}", _of_set(cases, number), together=True)
                for number, one in enumerate(self.sets)
            ),
        )

    def _measure(self, metric: str, cases: Cases, *, together: bool) -> Measurement:
        if not together:
            return measure(
                self.name, metric, cases, mean_spearman_statistic, bootstrap=self.bootstrap
            )
        one = Cases(
            truth=cases.truth,
            found=cases.found,
            groups=np.zeros_like(cases.groups),
            covered=cases.covered,
        )
        return measure(self.name, metric, one, spearman_statistic, bootstrap=self.bootstrap)

    def _cases(self, embedder: Embedder) -> Cases:
        first = [item for one in self.sets for item in one.first]
        second = [item for one in self.sets for item in one.second]
        found, covered = known_cosines(embedder, first, second, role=self.role)
        cases = Cases(
            truth=np.array([score for one in self.sets for score in one.scores]),
            found=found,
            groups=np.repeat(np.arange(len(self.sets)), [len(one.scores) for one in self.sets]),
            covered=covered,
        )
        check_groups(self.name, cases, [f"{one.name}; leave that set out" for one in self.sets])
        return cases


def _of_set(cases: Cases, number: int) -> Cases:
    own = cases.groups == number
    return Cases(
        truth=cases.truth[own],
        found=cases.found[own],
        groups=cases.groups[own],
        covered=cases.covered[own],
    )


def read_sts(file: Path) -> ScoredPairs:
    """Read lines of score, sentence and sentence, with tabs between; named after the file.

    Raises:
        EvaluationError: A line has other columns, a score is not a number, a text is empty.
        OSError: The file cannot be read.
    """
    rows = ((number, columns(file, number, line, count=3)) for number, line in numbered_lines(file))
    return scored_pairs(file, ((number, score, one, two) for number, (score, one, two) in rows))


def scored_pairs(file: Path, rows: Iterable[tuple[int, str, str, str]]) -> ScoredPairs:
    """Return the pairs of a file, named after it.

    Args:
        file: For messages and the name.
        rows: Line number, score and two texts, as they stand in the file.

    Raises:
        EvaluationError: A score is not a number, a text is empty, or there are no rows.
    """
    checked = [
        (finite(file, number, score), text(file, number, one), text(file, number, two))
        for number, score, one, two in rows
    ]
    if not checked:
        raise EvaluationError(f"{file}: there are no pairs")
    return ScoredPairs(
        name=file.stem,
        scores=tuple(score for score, _, _ in checked),
        first=tuple(one for _, one, _ in checked),
        second=tuple(two for _, _, two in checked),
    )


def sts_task(files: Sequence[Path], *, name: str | None = None) -> Sts:
    """Return the task of some files, named after them by default."""
    sets = tuple(read_sts(file) for file in files)
    return Sts(name=" + ".join(one.name for one in sets) if name is None else name, sets=sets)
