"""Pair classification: does a cosine tell pairs that belong together from pairs that do not?

Average precision needs no threshold. Best accuracy and best F1 do: the threshold is chosen on the
same pairs, as in sentence-transformers and MTEB, so both are upper ends and not estimates for new
pairs; their intervals choose it again in each resample.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from decant.embedders import Role

from ..errors import EvaluationError
from ..models.protocol import Embedder, known_cosines
from ..scores.measurement import Measurement, cases_of, check_groups, measure
from ..scores.statistics import BOOTSTRAP, Bootstrap, Floats, Groups
from .data_lines import columns, numbered_lines, text


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPairs:
    """Pairs of texts that belong together or not, in the order of the file.

    Args:
        name: The name of the set.
        labels: Whether each pair belongs together.
        first: One text of each pair.
        second: The other.

    Raises:
        EvaluationError: The parts differ in length, or a label does not occur, or is another.
    """

    name: str
    labels: tuple[bool, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.labels) == len(self.first) == len(self.second):
            raise EvaluationError(
                f"{self.name}: {len(self.labels)} labels for {len(self.first)} and "
                f"{len(self.second)} texts"
            )
        if not set(self.labels) <= {False, True}:
            raise EvaluationError(f"{self.name}: labels must be true or false, got {self.labels}")
        if len(set(self.labels)) < 2:
            raise EvaluationError(f"{self.name}: {len(self.labels)} pairs without both labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The best cut of cosines for some measure.

    Args:
        value: The measure at the cut, [0, 1].
        at: Pairs at or above this cosine are taken to belong together.
    """

    value: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairClassification:
    """Average precision, best accuracy and best F1 of cosines.

    Pairs of which the embedder does not know a text are left out and lower the coverage.

    Args:
        data: The pairs.
        role: The role of both texts, which selects their prompt.
        bootstrap: Settings of the intervals; each label is drawn separately.
    """

    data: LabelledPairs
    role: Role = Role.QUERY
    bootstrap: Bootstrap = BOOTSTRAP

    @property
    def name(self) -> str:
        """The name of the set."""
        return self.data.name

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return average precision, best accuracy and best F1, in this order."""
        found, covered = known_cosines(embedder, self.data.first, self.data.second, role=self.role)
        labels = np.array(self.data.labels)
        cases = cases_of(
            labels.astype(np.float64), found, groups=labels.astype(np.intp), covered=covered
        )
        both = "both labels are needed"
        check_groups(
            self.name, cases, [f"the pairs labelled 0; {both}", f"the pairs labelled 1; {both}"]
        )
        return tuple(
            measure(self.name, metric, cases, statistic, bootstrap=self.bootstrap)
            for metric, statistic in (
                ("average precision", average_precision_statistic),
                ("best accuracy", _best_accuracy_statistic),
                ("best F1", _best_f1_statistic),
            )
        )


def read_labelled_pairs(file: Path) -> LabelledPairs:
    """Read lines of 0 or 1, text and text, with tabs between; named after the file.

    Raises:
        EvaluationError: A line has other columns, a label is neither 0 nor 1, a text is empty, or
            one label does not occur.
        OSError: The file cannot be read.
    """
    labels: list[bool] = []
    first: list[str] = []
    second: list[str] = []
    for number, line in numbered_lines(file):
        label, one, two = columns(file, number, line, count=3)
        if label.strip() not in ("0", "1"):
            raise EvaluationError(f"{file}:{number}: the label {label!r} is neither 0 nor 1")
        labels.append(label.strip() == "1")
        first.append(text(file, number, one))
        second.append(text(file, number, two))
    if len(set(labels)) < 2:
        raise EvaluationError(
            f"{file}: {sum(labels)} pairs labelled 1 and {len(labels) - sum(labels)} labelled 0; "
            "both labels are needed"
        )
    return LabelledPairs(
        name=file.stem, labels=tuple(labels), first=tuple(first), second=tuple(second)
    )


def average_precision_statistic(truth: Floats, found: Floats, _groups: Groups) -> float:
    """Return average precision, by scikit-learn: precision at each step of recall, summed."""
    return float(average_precision_score(truth > 0.5, found))


def best_accuracy(truth: Floats, found: Floats) -> Threshold:
    """Return the cut with the highest share of right decisions; shapes ``(C,)``.

    Cutting above or below all pairs is among the choices; of equal cuts, the highest is taken.

    Raises:
        EvaluationError: There are no pairs, or a cosine is not finite.

    >>> best_accuracy(np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.5, 0.1])).value
    0.6666666666666666
    """
    cuts, taken, right = _cuts(truth, found)
    negatives = len(truth) - right[-1]
    accuracy = (right + negatives - (taken - right)) / len(truth)
    best = int(accuracy.argmax())
    return Threshold(value=float(accuracy[best]), at=float(cuts[best]))


def best_f1(truth: Floats, found: Floats) -> Threshold:
    """Return the cut with the highest harmonic mean of precision and recall; shapes ``(C,)``.

    Raises:
        EvaluationError: As :func:`best_accuracy`, or no pair belongs together.
    """
    cuts, taken, right = _cuts(truth, found)
    if not right[-1]:
        raise EvaluationError(f"none of {len(truth)} pairs belongs together: F1 is not defined")
    f1 = 2 * right / np.maximum(taken + right[-1], 1)
    best = int(f1.argmax())
    return Threshold(value=float(f1[best]), at=float(cuts[best]))


def _cuts(truth: Floats, found: Floats) -> tuple[Floats, Floats, Floats]:
    """Return possible cuts, how many pairs are above each, and how many of these are rightly so.

    Equal cosines cannot be cut apart; a cut lies in the middle between two neighbours.
    """
    if not len(found) or not np.isfinite(found).all():
        raise EvaluationError(f"a threshold needs pairs with finite cosines, got {found}")
    order = np.argsort(-found, kind="stable")
    values = found[order]
    right = np.concatenate([[0.0], np.cumsum(truth[order])])
    ends = np.concatenate([[0], np.flatnonzero(values[:-1] != values[1:]) + 1, [len(values)]])
    between = (values[ends[1:-1] - 1] + values[ends[1:-1]]) / 2
    cuts = np.concatenate([[np.nextafter(values[0], np.inf)], between, [values[-1]]])
    return cuts, ends.astype(np.float64), right[ends]


def _best_accuracy_statistic(truth: Floats, found: Floats, _groups: Groups) -> float:
    return best_accuracy(truth, found).value


def _best_f1_statistic(truth: Floats, found: Floats, _groups: Groups) -> float:
    return best_f1(truth, found).value
