"""The certificate: what was measured of a graph on a provider, and whether that is good enough.

This module holds the record, its gates and the check that a loader makes; ``decant.export``
measures. The stored result of an entry (``passed``) is not trusted: its figures are compared with
the gates again each time. Gates (``docs/architecture.md``): the worst cosine to the float32 PyTorch
reference is at least 0.99999 for fp32, 0.999 for fp16 and bf16, 0.95 (mean 0.99) for integers. A
text among others of its own length, where nothing is padded, has a gate of its own
(:attr:`Precision.invariance_gate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..errors import ParityError
from ..json_records import absent_by_default
from .precision import Precision
from .score_entry import ScoreEntry, TaskScore

CERTIFICATE_FORMAT = 1
NEIGHBOURS = "neighbours"
"""The check of texts among others of their own length; certificates of older versions lack it."""
_ROUNDING = 1e-9  # of a mean of means
_WORST = "worst cosine "


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateCheck:
    """One condition that was tried.

    Args:
        name: What was tried, for example ``left padding``.
        cases: How many vectors were compared.
        worst_cosine: Smallest cosine to the reference, in [-1, 1].
        passed: Whether it met its gate.
        finding: What is wrong, in words; empty if nothing is.
    """

    name: str
    cases: int
    worst_cosine: float
    passed: bool
    finding: str = ""

    @property
    def reason(self) -> str:
        """The finding without the number that it begins with."""
        number, _, reason = self.finding.partition(": ")
        return reason if number.startswith(_WORST) else self.finding


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateEntry:
    """What was measured of one graph on one execution provider.

    Args:
        file: The graph's path in the bundle.
        sha256: Its hash; the entry holds for no other file.
        precision: The graph's precision.
        provider: ONNX Runtime's name of the provider, for example ``CPUExecutionProvider``.
        worst_cosine: Smallest cosine to the float32 PyTorch reference over all checks.
        mean_cosine: Mean cosine over all checks.
        max_abs_error: Largest absolute difference of a vector element.
        top10_overlap: Share of the reference's ten nearest probe texts that the graph finds too.
        batch_invariance: Smallest cosine of a text alone to the same text among others.
        not_finite: Vectors with NaN or infinity.
        longest: Tokens of the longest probe.
        checks: The conditions, each by name.
        environment: Versions and machine, for readers; no code reads it.
        date: When, as ISO 8601 in UTC.
        tasks: Scores on the tasks that :func:`decant.export.verify` was given; stated, not gated.
    """

    file: str
    sha256: str
    precision: Precision
    provider: str
    worst_cosine: float
    mean_cosine: float
    max_abs_error: float
    top10_overlap: float
    batch_invariance: float
    not_finite: int
    longest: int
    checks: tuple[CertificateCheck, ...]
    environment: dict[str, str]
    date: str
    tasks: tuple[TaskScore, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check and every figure meets its gate."""
        return not self.failures

    @property
    def failures(self) -> str:
        """The failed checks with their findings, and the figures that miss a gate, in one line.

        Checks that failed for the same reason share one sentence, with the worst of their cosines.
        """
        reasons: dict[str, list[CertificateCheck]] = {}
        for check in self.checks:
            if not check.passed:
                reasons.setdefault(check.reason, []).append(check)
        failed = [_describe_failure(reason, checks) for reason, checks in reasons.items()]
        return "; ".join(failed or self._contradictions())

    def _contradictions(self) -> list[str]:
        """Return the figures that an entry whose checks all passed cannot have."""
        least_worst, least_mean = self.precision.gates
        # A list, because two checks of one name must not hide each other.
        figures = [
            ("worst cosine", self.worst_cosine, least_worst),
            ("mean cosine", self.mean_cosine, least_mean),
            ("batch invariance", self.batch_invariance, least_worst),
        ]
        for item in self.checks:
            gate = self.precision.invariance_gate if item.name == NEIGHBOURS else least_worst
            figures.append((f"{item.name}, worst cosine", item.worst_cosine, gate))
        found = [
            f"{name} {value:.6f} is not between {gate} and 1, as {self.precision} has to be"
            for name, value, gate in figures
            if not gate - _ROUNDING <= value <= 1 + _ROUNDING
        ]
        if not self.checks:
            found.append("it holds no check")
        if empty := [check.name for check in self.checks if check.cases < 1]:
            found.append(f"{empty[0]} compared no vector")
        if self.not_finite != 0:
            found.append(f"{self.not_finite} vectors hold NaN or infinity")
        if not 0 <= self.top10_overlap <= 1:
            found.append(f"top10 overlap {self.top10_overlap} is no share")
        if self.max_abs_error < 0:
            found.append(f"max abs error {self.max_abs_error} is negative")
        if self.longest < 1:
            found.append(f"the longest probe has {self.longest} tokens")
        return found


def _describe_failure(reason: str, checks: Sequence[CertificateCheck]) -> str:
    """Return one sentence for all checks that failed for the same reason."""
    more = len(checks) - 1
    names = checks[0].name + (f" and {more} more check{'s' * (more > 1)}" if more else "")
    if any(check.finding and check.finding == reason for check in checks):
        return f"{names} ({reason})"
    worst = f"{_WORST}{min(check.worst_cosine for check in checks):.6f}"
    return f"{names} ({worst}: {reason})" if reason else f"{names} ({worst})"


AnyEntry: TypeAlias = CertificateEntry | ScoreEntry
"""What was measured of a graph's vectors, or of its scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """``certificate.json``: the entries of one bundle.

    Args:
        format: Version of this record.
        digest: Digest of the recipe that the reference was computed by.
        entries: At most one for each file, provider and precision; none of a reranker.
        scores: The same of a reranker.
    """

    format: int
    digest: str
    entries: tuple[CertificateEntry, ...] = ()
    scores: tuple[ScoreEntry, ...] = field(default=(), metadata=absent_by_default())

    @property
    def measured(self) -> tuple[AnyEntry, ...]:
        """All entries, of vectors and of scores."""
        return (*self.entries, *self.scores)

    @property
    def passed(self) -> bool:
        """Whether there are entries and all of them passed."""
        return bool(self.measured) and all(entry.passed for entry in self.measured)

    @property
    def failed(self) -> tuple[AnyEntry, ...]:
        """The entries that missed a gate."""
        return tuple(entry for entry in self.measured if not entry.passed)

    def entry(
        self, *, sha256: str, provider: str, precision: Precision | None = None
    ) -> AnyEntry | None:
        """Return the entry for a graph's hash on a provider, or None; of several, one that failed.

        Args:
            sha256: The graph's hash.
            provider: ONNX Runtime's name of it.
            precision: The precision by whose gates it was judged; None accepts any.
        """
        found = [
            entry
            for entry in self.measured
            if entry.sha256 == sha256
            and entry.provider == provider
            and precision in (None, entry.precision)
        ]
        return next((entry for entry in found if not entry.passed), found[0] if found else None)

    def with_entry(self, entry: AnyEntry) -> Certificate:
        """Return a certificate in which ``entry`` replaces its predecessor."""
        same = (entry.file, entry.provider, entry.precision)

        def other(item: AnyEntry) -> bool:
            return (item.file, item.provider, item.precision) != same

        if isinstance(entry, ScoreEntry):
            return replace(self, scores=(*filter(other, self.scores), entry))
        return replace(self, entries=(*filter(other, self.entries), entry))

    def require(
        self, *, sha256: str, provider: str, bundle: str, precision: Precision | None = None
    ) -> AnyEntry:
        """Return the passed entry for a graph on a provider.

        Args:
            sha256: As for :meth:`entry`.
            provider: As for :meth:`entry`.
            bundle: Its name, for messages.
            precision: As for :meth:`entry`.

        Raises:
            ParityError: There is none, or it failed; says what to do.
        """
        entry = self.entry(sha256=sha256, provider=provider, precision=precision)
        other = self.entry(sha256=sha256, provider=provider)
        if entry is None and other is not None:
            raise ParityError(
                f"the {precision} graph of {bundle} is certified on {provider} as "
                f"{other.precision}, which has other gates; certify it on this machine with "
                f"`decant verify {bundle} --provider {provider}`, or pass allow_uncertified=True"
            )
        if entry is None:
            raise ParityError(
                f"{bundle} is not certified on {provider}; certify it on this machine with "
                f"`decant verify {bundle} --provider {provider}`, or pass allow_uncertified=True"
            )
        if not entry.passed:
            raise ParityError(
                f"{bundle} failed its certificate on {provider}: {entry.failures}; export it "
                "again, use another provider or precision, or pass allow_uncertified=True"
            )
        return entry
