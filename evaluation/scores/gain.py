"""What one way gains over another case by case: the mean of differences, and the losses by name.

A mean hides that some cases get worse. So the note of a gain counts the cases that are better,
worse and equal, and names those that lose most.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .measurement import Measurement, cases_of, described, measure
from .statistics import Floats, mean_statistic
from .units import Unit

_EQUAL = 1e-9  # the same measure, added in another order
_MOST_NAMED = 5


def measure_gain(
    metric: str, before: Measurement, after: Measurement, *, ids: Sequence[str]
) -> Measurement:
    """Return the mean difference of two measurements of the same cases, with a paired interval.

    Cases are resampled with both of their values, over those that both measurements cover.

    Args:
        metric: What the gain is called.
        before: A mean over cases.
        after: Another one, over the same cases.
        ids: What each case is called, in their order.
    """
    covered = before.cases.covered & after.cases.covered
    gains = np.where(covered, after.cases.found - before.cases.found, 0.0)
    found = measure(
        before.score.name,
        metric,
        cases_of(np.zeros(len(gains)), gains, covered=covered),
        mean_statistic,
        bootstrap=before.bootstrap,
    )
    return described(
        found, unit=before.score.unit, note=_note(gains, covered, ids, found.score.unit)
    )


def _note(gains: Floats, covered: NDArray[np.bool_], ids: Sequence[str], unit: Unit) -> str:
    """Return how many cases are better, worse and equal, and which lose most, the worst first."""
    better = int((gains > _EQUAL).sum())
    losses = [int(place) for place in np.argsort(gains, kind="stable") if gains[place] < -_EQUAL]
    equal = int(covered.sum()) - better - len(losses)
    shown = [
        f"{ids[place]} {unit.shown(float(gains[place]), signed=True)}"
        for place in losses[:_MOST_NAMED]
    ]
    more = len(losses) - len(shown)
    named = f" ({', '.join(shown)}{f' and {more} more' if more else ''})" if shown else ""
    return f"{better:,} better, {len(losses):,} worse{named}, {equal:,} equal"
