"""What was measured of a reranker's graph on a provider, and whether that is good enough.

Scores are compared as numbers and by the order into which they put passages, not by cosines. Like
an entry of vectors, one that says ``passed`` is not trusted: its figures are compared with the
gates again each time (:attr:`Precision.score_gates`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .precision import Precision

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """The score of a graph on a task, and that of the float32 graph on the same provider.

    Args:
        name: Task and metric, for example ``cranfield nDCG@10``.
        value: The graph's score in the metric's own unit; higher is better.
        exact: The float32 graph's.
    """

    name: str
    value: float
    exact: float

    @property
    def loss(self) -> float:
        """How much worse than float32; negative where better."""
        return self.exact - self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCheck:
    """One condition that was tried.

    Args:
        name: What was tried, for example ``left padding``.
        cases: How many scores were compared.
        worst: The largest difference of raw scores, in shares of their spread.
        passed: Whether it met its gate.
        finding: What is wrong, in words; empty if nothing is.
    """

    name: str
    cases: int
    worst: float
    passed: bool
    finding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreEntry:
    """What was measured of one graph of a reranker on one execution provider.

    Args:
        file: The graph's path in the bundle.
        sha256: Its hash; the entry holds for no other file.
        precision: The graph's precision.
        provider: ONNX Runtime's name of the provider.
        spread: The standard deviation of the reference's raw scores, or 1 if that is smaller:
            differences are shares of it.
        worst_difference: The largest to the float32 PyTorch reference over all checks.
        kendall_tau: Mean over the probe's queries: the order of their passages against that of the
            reference (tau-b, scipy.stats.kendalltau).
        ndcg_loss: Mean over the queries: what the order loses of nDCG, with the reference's order
            as graded truth.
        company: The largest difference of a pair alone to the same pair among others; of integers
            without that behind cached tokens of a query, whose order enters the tau. The tau and
            the loss are those of the worst way to run the pairs.
        not_finite: Scores that are NaN or infinite.
        longest: Tokens of the longest probe.
        checks: The conditions, each by name.
        environment: Versions and machine, for readers; no code reads it.
        date: When, as ISO 8601 in UTC.
        tasks: Scores on tasks; stated, not gated.
    """

    file: str
    sha256: str
    precision: Precision
    provider: str
    spread: float
    worst_difference: float
    kendall_tau: float
    ndcg_loss: float
    company: float
    not_finite: int
    longest: int
    checks: tuple[ScoreCheck, ...]
    environment: dict[str, str]
    date: str
    tasks: tuple[TaskScore, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check and every figure meets its gate."""
        return not self.failures

    @property
    def failures(self) -> str:
        """The failed checks with their findings, and the figures that miss a gate, in one line."""
        found = [
            f"{check.name} ({check.finding})" if check.finding else check.name
            for check in self.checks
            if not check.passed
        ]
        return "; ".join(found or self._contradictions())

    def _contradictions(self) -> list[str]:
        """Return the figures that an entry whose checks all passed cannot have."""
        gates = self.precision.score_gates.in_shares(max(self.spread, 1.0))
        most = math.inf if gates.difference is None else gates.difference
        moved = math.inf if gates.company is None else gates.company
        figures = [
            ("worst difference", self.worst_difference, 0.0, most),
            ("difference in company", self.company, 0.0, moved),
            ("Kendall tau", self.kendall_tau, gates.least_tau, 1.0),
            ("nDCG loss", self.ndcg_loss, -1.0, gates.most_loss),
        ]
        found = [
            f"{name} {value:.3g} is not between {low:.3g} and {high:.3g}, as {self.precision} has "
            "to be"
            for name, value, low, high in figures
            if not low - _ROUNDING <= value <= high + _ROUNDING
        ]
        if not self.checks:
            found.append("it holds no check")
        if empty := [check.name for check in self.checks if check.cases < 1]:
            found.append(f"{empty[0]} compared no score")
        if self.not_finite != 0:
            found.append(f"{self.not_finite} scores are NaN or infinite")
        if self.spread < 1:
            found.append(f"spread {self.spread} is below 1")
        if self.longest < 1:
            found.append(f"the longest probe has {self.longest} tokens")
        return found
