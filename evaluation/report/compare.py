"""Score several systems on the same tasks, one after the other, and compare them.

A system may be closed before the next is opened, because only its measurements are kept.
Invariant: every comparison is against the first system, over the cases that both cover. A metric
that applies to some systems only is shown for those, and compared if the first has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from decant.embedders import OnStep, Role

from ..errors import EvaluationError
from ..models.protocol import Embedder, known, unit_vectors
from ..scores.measurement import Comparison, Measurement, Score, Task, compare
from ..tasks.agreement import Agreement, agreement_of
from ..tasks.cosine_spread import Spread, all_pairs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemResult:
    """The measurements of one system.

    Args:
        name: The name of the system.
        measurements: The measurements of all tasks, in their order.
        spread: The spread of the cosines between words, if words were given.
    """

    name: str
    measurements: tuple[Measurement, ...]
    spread: Spread | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemScores:
    """A system's scores without their cases, as they are written to files."""

    name: str
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairwise:
    """One system against the first, on one metric."""

    first: str
    second: str
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """The scores of several systems and their comparisons: only numbers and names, for JSON.

    Args:
        systems: The scores of each system, in the given order.
        comparisons: Comparisons of each further system with the first, metric by metric.
    """

    systems: tuple[SystemScores, ...]
    comparisons: tuple[Pairwise, ...]


def score_system(
    name: str,
    embedder: Embedder,
    tasks: Sequence[Task],
    *,
    words: Sequence[str] = (),
    on_step: OnStep,
) -> SystemResult:
    """Return the measurements of one system.

    Args:
        name: The name of the system.
        embedder: The system.
        tasks: Tasks with different names.
        words: Words the spread of whose cosines is measured, too; may be empty.
        on_step: Called with the name of each step as it begins.

    Raises:
        EvaluationError: A task failed; the message begins with the system's name.
    """
    found: list[Measurement] = []
    try:
        for task in tasks:
            on_step(f"{name}: {task.name}")
            found += task.score(embedder)
        spread = None
        if words:
            on_step(f"{name}: cosines of {len(words):,} words")
            held = [word for word, can in zip(words, known(embedder, words), strict=True) if can]
            spread = all_pairs(unit_vectors(embedder, held, role=Role.QUERY))
    except EvaluationError as error:
        raise EvaluationError(f"{name}: {error}") from error
    return SystemResult(name=name, measurements=tuple(found), spread=spread)


def compare_systems(results: Sequence[SystemResult]) -> ComparisonReport:
    """Return the scores of all systems, and comparisons of each with the first.

    Raises:
        EvaluationError: There are no systems, or they were scored on different tasks.
    """
    if not results:
        raise EvaluationError("there are no systems to compare")
    first = results[0]
    versus = []
    for other in results[1:]:
        if _tasks(other) != _tasks(first):
            raise EvaluationError(f"{first.name} and {other.name} were scored on different tasks")
        try:
            versus += [
                Pairwise(first=first.name, second=other.name, comparison=compare(one, two))
                for one, two in _shared(first.measurements, other.measurements)
            ]
        except EvaluationError as error:
            raise EvaluationError(f"{first.name} and {other.name}: {error}") from error
    return ComparisonReport(
        systems=tuple(
            SystemScores(name=one.name, scores=tuple(part.score for part in one.measurements))
            for one in results
        ),
        comparisons=tuple(versus),
    )


def _shared(
    first: Sequence[Measurement], second: Sequence[Measurement]
) -> Iterator[tuple[Measurement, Measurement]]:
    """Yield the measurements of the same task and metric, in the order of the first system."""
    left = list(second)
    for one in first:
        key = one.score.name, one.score.metric
        found = (two for two in left if (two.score.name, two.score.metric) == key)
        # Two sets of one name give the same metric twice: each is taken once, in its order.
        if two := next(found, None):
            left = [three for three in left if three is not two]
            yield one, two


def _tasks(result: SystemResult) -> list[str]:
    return list(dict.fromkeys(one.score.name for one in result.measurements))


def shared_agreement(results: Sequence[SystemResult], task: str) -> Agreement:
    """Return the agreement of systems on the pairs of one task whose cases are cosines.

    Args:
        results: Two or more systems.
        task: The task's name; its first metric is taken.

    Raises:
        EvaluationError: A system was not scored on it, or an error of :func:`agreement_of`.
    """
    cases = []
    for result in results:
        own = [one.cases for one in result.measurements if one.score.name == task]
        if not own:
            raise EvaluationError(f"{result.name} was not scored on {task}")
        cases.append(own[0])
    return agreement_of(
        tuple(result.name for result in results),
        [one.found for one in cases],
        [one.covered for one in cases],
    )
