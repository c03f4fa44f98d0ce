"""What a task gives: a number with its interval, and the cases it was made from.

The cases are kept so that two encoders can be compared over exactly those that both cover.
Invariant: ``score`` is the statistic over the covered cases, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EvaluationError
from ..models.protocol import Embedder
from .statistics import (
    Bootstrap,
    Difference,
    Floats,
    Groups,
    Statistic,
    interval,
    paired_difference,
)
from .units import Unit

# The sign test, which is exact: if all of five cases favour one side, p is 2 / 2**5 = 0.06. What
# fewer cases seem to say beyond that is an artefact of drawing the same few again and again.
_LEAST_TESTED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number of one encoder on one task.

    Args:
        name: The name of the task.
        metric: What ``value`` is.
        value: In the metric's own unit, [-1, 1] for correlations, [0, 1] for shares.
        low: Lower end of the bootstrap interval.
        high: Upper end.
        cases: How many cases the value was computed over.
        coverage: Share of the task's cases that could be used, [0, 1].
        higher_is_better: Whether systems can be ranked by it; a mean cosine, for example, only
            describes a space.
        note: What else a reader must know, for example that documents could not be embedded;
            empty if there is nothing.
        unit: How the value is shown.
    """

    name: str
    metric: str
    value: float
    low: float
    high: float
    cases: int
    coverage: float
    higher_is_better: bool = True
    note: str = ""
    unit: Unit = Unit.FRACTION


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cases:
    """A task's cases, with arrays of shape ``(C,)``.

    Args:
        truth: float64; what the data say: a human score, or a label of 0 and 1.
        found: float64; what the encoder gave: a cosine, or the case's own value.
        groups: intp; the subset of each case; resampling stays inside it.
        covered: bool; which cases the encoder could be asked. ``found`` is not read elsewhere.
    """

    truth: Floats
    found: Floats
    groups: Groups
    covered: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shapes = {part.shape for part in (self.truth, self.found, self.groups, self.covered)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise EvaluationError(f"the arrays of cases differ in shape: {sorted(shapes)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement:
    """A score and its evidence.

    Args:
        score: The value with its interval.
        cases: The cases that it was computed from.
        statistic: The function that computed it.
        bootstrap: The settings of its interval.
    """

    score: Score
    cases: Cases
    statistic: Statistic = field(repr=False)
    bootstrap: Bootstrap


class Task(Protocol):
    """A task on which an encoder can be scored."""

    @property
    def name(self) -> str:
        """What the task is called in tables."""
        ...

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return one measurement per metric.

        Raises:
            EvaluationError: Nothing is covered, or a metric is not defined for what was found.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison of two encoders on one metric, over the cases that both cover.

    Args:
        name: The name of the task.
        metric: The name of the metric.
        first: The first encoder's value over the shared cases.
        second: The second encoder's value.
        difference: Second minus first, with interval and p-value.
        cases: How many cases are shared.
    """

    name: str
    metric: str
    first: float
    second: float
    difference: Difference
    cases: int


def cases_of(
    truth: Floats,
    found: Floats,
    *,
    groups: Groups | None = None,
    covered: NDArray[np.bool_] | None = None,
) -> Cases:
    """Return cases, in one group and all covered by default."""
    return Cases(
        truth=np.asarray(truth, np.float64),
        found=np.asarray(found, np.float64),
        groups=np.zeros(len(truth), np.intp) if groups is None else groups,
        covered=np.ones(len(truth), np.bool_) if covered is None else covered,
    )


def check_groups(name: str, cases: Cases, groups: Sequence[str]) -> None:
    """Refuse cases if some, but not all, groups have no covered case.

    Args:
        name: The name of the task.
        cases: Whose groups are numbers of ``groups``; :func:`measure` refuses those without any
            covered one.
        groups: What each group is called, with what to do about it.

    Raises:
        EvaluationError: A group has no covered case; the message names it.
    """
    if not cases.covered.any():
        return
    lost = np.setdiff1d(cases.groups, cases.groups[cases.covered])
    if len(lost):
        raise EvaluationError(f"{name}: nothing can be embedded of {groups[lost[0]]}")


def measure(
    name: str,
    metric: str,
    cases: Cases,
    statistic: Statistic,
    *,
    bootstrap: Bootstrap,
    higher_is_better: bool = True,
) -> Measurement:
    """Return the statistic over the covered cases with its interval.

    Raises:
        EvaluationError: No case of a group is covered, or the statistic is not defined.
    """
    covered = cases.covered
    count = int(covered.sum())
    if count == 0:
        raise EvaluationError(
            f"{name}: none of the {len(covered)} cases can be embedded ({metric})"
        )
    lost = np.setdiff1d(cases.groups, cases.groups[covered])
    if len(lost):
        raise EvaluationError(
            f"{name}: no case of subset {lost[0]} can be embedded; leave that subset out"
        )
    parts = cases.truth[covered], cases.found[covered], cases.groups[covered]
    try:
        value = statistic(*parts)
        ends = interval(statistic, *parts, settings=bootstrap)
    except EvaluationError as error:
        raise EvaluationError(f"{name}, {metric}: {error}") from error
    return Measurement(
        score=Score(
            name=name,
            metric=metric,
            value=value,
            low=ends.low,
            high=ends.high,
            cases=count,
            coverage=count / len(covered),
            higher_is_better=higher_is_better,
        ),
        cases=cases,
        statistic=statistic,
        bootstrap=bootstrap,
    )


def described(measurement: Measurement, *, unit: Unit, note: str = "") -> Measurement:
    """Return a measurement with the unit and the note of its score set."""
    return replace(measurement, score=replace(measurement.score, unit=unit, note=note))


def compare(first: Measurement, second: Measurement) -> Comparison:
    """Compare two encoders on one metric of one task, over the cases that both cover.

    There is no test, and so no p-value, where a metric only describes a space, and where fewer than
    six cases are shared.

    Raises:
        EvaluationError: The measurements are of different tasks, metrics or data, or share no
            case.
    """
    one, two = first.score, second.score
    if (one.name, one.metric) != (two.name, two.metric):
        raise EvaluationError(
            f"cannot compare {one.name}, {one.metric} with {two.name}, {two.metric}"
        )
    left, right = first.cases, second.cases
    if not (np.array_equal(left.truth, right.truth) and np.array_equal(left.groups, right.groups)):
        raise EvaluationError(f"{one.name}: the two encoders were scored on different data")
    shared = left.covered & right.covered
    count = int(shared.sum())
    if not count:
        raise EvaluationError(f"{one.name}: no case is covered by both encoders")
    truth, groups = left.truth[shared], left.groups[shared]
    found = left.found[shared], right.found[shared]
    try:
        difference = paired_difference(
            first.statistic, truth, found, groups, settings=first.bootstrap
        )
        if not one.higher_is_better or count < _LEAST_TESTED:
            difference = replace(difference, p_value=None)
        return Comparison(
            name=one.name,
            metric=one.metric,
            first=first.statistic(truth, found[0], groups),
            second=first.statistic(truth, found[1], groups),
            difference=difference,
            cases=count,
        )
    except EvaluationError as error:
        raise EvaluationError(
            f"{one.name}, {one.metric}, over the {count} of {len(shared)} cases that both encoders "
            f"cover: {error}"
        ) from error
