"""Compare the scores of a graph with its reference, in numpy alone, whatever runs the graph.

Every condition is one named check, as for vectors (``checks.py``), so a failed certificate names
the broken assumption. Differences are those of raw scores, in shares of the reference's spread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from decant.embedders import OnStep, Precision, ProviderError, ScoreCheck, ScoreEntry
from decant.embedders.bundle import NEIGHBOURS
from decant.embedders.tokens import TokenBatch, Tokens, pad

from .checks import AFTER_ONE_TOKEN, Graph, environment
from .rank_agreement import kendall_tau, largest_inversion, ndcg_loss
from .score_reference import ScoreReference

RunScores = Callable[[TokenBatch], NDArray[np.float32]]

SHARED = "shared query"
"""The check of passages behind the cached tokens of their query."""
TOGETHER = "one query's passages"
"""The check of all passages of a query in one batch."""
_SAME_LENGTH = (AFTER_ONE_TOKEN, NEIGHBOURS)  # nothing is padded, so sums have the same order
_GROUP = 8
_SHORT = 128  # tokens beyond the shortest pair
_PADDED = 40  # pairs of a condition; all of them run one by one
_SHARED_QUERIES = 8
_ACCOMPANIED = 8
_NEIGHBOURS = 7
_AFTER_ONE_TOKEN = 4
# Of the standard deviation of the ranked passages' scores. Measured: at most 0.17 in int8, w8 and
# w4 (experiments/log/2026-12-01-rerankers.md).
_MOST_INVERTED = 0.25

HELD_APART = "held apart"
"""The check that passages change places only where their scores were near each other."""

_Found = tuple[NDArray[np.intp], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSubject:
    """A graph of a reranker to certify, and its reference.

    Args:
        run: Runs one batch; returns raw scores, float32 (B,).
        shared: Runs one batch behind the cached tokens of its query; None where nothing is cached.
        rows: The probe pairs as tokens, N.
        reference: Their scores.
        precision: The precision, which decides the gates.
        pad_id: The token id of padded positions.
        on_step: Called with each group of probes as it begins.
    """

    run: RunScores
    shared: Callable[[TokenBatch], NDArray[np.float32] | None]
    rows: Sequence[Tokens]
    reference: ScoreReference
    precision: Precision
    pad_id: int
    on_step: OnStep = lambda _: None


def certify_scores(
    subject: ScoreSubject, graph: Graph, *, known: Sequence[ScoreCheck] = ()
) -> ScoreEntry:
    """Check every condition and return the entry; failing is recorded, not raised.

    Args:
        subject: The graph to certify, and its reference.
        graph: The file and the provider of the entry.
        known: Checks that were made elsewhere, for example of the weights.
    """
    reference = subject.reference
    gates = subject.precision.score_gates.in_shares(reference.spread)
    after = _after_one_token(subject)  # first, see checks.py
    alone = _alone(subject)
    conditions = {**_padded(subject), AFTER_ONE_TOKEN: after, NEIGHBOURS: _accompanied(subject)}
    if gates.difference is None:
        conditions[TOGETHER] = _together(subject)
    behind = _behind_query(subject)
    if len(behind[0]):
        conditions[SHARED] = behind
    first = _difference_check(
        subject,
        "one by one",
        alone - reference.scores,
        f"weights or operators differ from {reference.origin}",
        gates.difference,
    )
    checks = [*known, first]
    apart, company = [alone - reference.scores], [np.zeros(1, np.float32)]
    for name, (numbers, scores) in conditions.items():
        moved = scores - alone[numbers]
        apart.append(scores - reference.scores[numbers])
        gate: float | None = gates.company
        if gates.difference is None and name not in _SAME_LENGTH:
            # Attention over padding or behind cached tokens rounds otherwise, and a bit that flips
            # before a layer of integers is a whole step behind it: there the order counts.
            gate = None
        else:
            company.append(moved)
        finding = "a pair gets another score in company than alone"
        checks.append(_difference_check(subject, name, moved, finding, gate))
    everything = np.concatenate(apart)
    broken = int((~np.isfinite(everything)).sum())
    orders = [alone]
    for name in {SHARED, TOGETHER} & conditions.keys():
        numbers, scores = conditions[name]
        orders.append(alone.copy())
        orders[-1][numbers] = scores
    tau, loss = _agreement(orders, reference)
    checks += [
        _check("finite", len(everything), _worst(subject, everything), broken == 0,
               f"{broken} scores are NaN or infinite"),
        _check("order", len(alone), _worst(subject, alone - reference.scores),
               tau >= gates.least_tau and loss <= gates.most_loss,
               f"Kendall tau {tau:.4f} and nDCG loss {loss:.4f}: {subject.precision} puts passages "
               "into another order"),
    ]  # fmt: skip
    if gates.difference is None:
        checks.append(_held_apart(orders, reference))
    return ScoreEntry(
        file=graph.file,
        sha256=graph.sha256,
        precision=subject.precision,
        provider=graph.provider,
        spread=reference.spread,
        worst_difference=_worst(subject, everything),
        kendall_tau=tau,
        ndcg_loss=loss,
        company=_worst(subject, np.concatenate(company)),
        not_finite=broken,
        longest=max(row.width for row in subject.rows),
        checks=tuple(checks),
        environment=environment(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _agreement(
    orders: Sequence[NDArray[np.float32]], reference: ScoreReference
) -> tuple[float, float]:
    """Return the mean tau and loss of nDCG of all queries, those of the worst of some orders."""
    groups = reference.groups
    if not groups:
        return 1.0, 0.0
    taus = [
        np.mean([kendall_tau(scores[group], reference.scores[group]) for group in groups])
        for scores in orders
    ]
    losses = [
        np.mean([ndcg_loss(scores[group], reference.scores[group]) for group in groups])
        for scores in orders
    ]
    return float(min(taus)), float(max(losses))


def _held_apart(orders: Sequence[NDArray[np.float32]], reference: ScoreReference) -> ScoreCheck:
    """Check that no two passages of a query change places that the reference holds apart."""
    exact, groups = reference.scores, reference.groups
    inverted = [largest_inversion(one[group], exact[group]) for one in orders for group in groups]
    worst = max(inverted, default=0.0)
    allowed = _MOST_INVERTED * float(exact[: reference.ranked].astype(np.float64).std())
    finding = (
        f"two passages of a query change places whose scores are {worst:.2g} apart, {allowed:.2g} "
        "is allowed"
    )
    cases = max(1, sum(len(group) for group in groups))
    return _check(HELD_APART, cases, worst / reference.spread, worst <= allowed, finding)


def run_one_pair(subject: ScoreSubject) -> None:
    """Run the first token of the shortest pair; a graph that refuses it runs the whole pair."""
    shortest = min(subject.rows, key=lambda row: row.width)
    try:
        subject.run(pad([replace(shortest, ids=shortest.ids[:1], prompt=0)], pad_id=subject.pad_id))
    except ProviderError:
        subject.run(pad([shortest], pad_id=subject.pad_id))


def _alone(subject: ScoreSubject) -> NDArray[np.float32]:
    numbers = np.arange(len(subject.rows))
    _announce(subject, "one by one", numbers)
    return np.concatenate([_once(subject, numbers[at : at + 1]) for at in numbers])


def _padded(subject: ScoreSubject) -> Mapping[str, _Found]:
    """Run the pairs in batches under each condition."""
    lengths = np.array([row.width for row in subject.rows])
    order = np.argsort(lengths, kind="stable")
    short = np.sort(order[lengths[order] <= lengths.min() + _SHORT])
    short = short[:: -(-len(short) // _PADDED)]
    ragged = np.unique(np.concatenate([order[:_GROUP], order[-_GROUP:]]))
    cut = np.flatnonzero(lengths == lengths.max())[-_GROUP:]  # as long as the model takes
    conditions = {
        "right padding": (short, False, _GROUP),
        "left padding": (short, True, _GROUP),
        "large batch": (short, False, len(short)),
        "long beside short, right": (ragged, False, len(ragged)),
        "long beside short, left": (ragged, True, len(ragged)),
        "truncated": (np.unique(np.concatenate([cut, order[:2]])), True, len(cut) + 2),
    }
    found = {}
    for name, (numbers, left, size) in conditions.items():
        _announce(subject, name, numbers)
        parts = [
            _once(subject, numbers[at : at + size], left=left)
            for at in range(0, len(numbers), size)
        ]
        found[name] = (numbers, np.concatenate(parts))
    return found


def _after_one_token(subject: ScoreSubject) -> _Found:
    """Run some pairs, each alone and right after a batch of one token; see ``checks.py``."""
    order = np.argsort([row.width for row in subject.rows], kind="stable")
    numbers = order[:_AFTER_ONE_TOKEN]
    scores = []
    for at in range(len(numbers)):
        run_one_pair(subject)
        scores.append(_once(subject, numbers[at : at + 1]))
    return numbers, np.concatenate(scores)


def _accompanied(subject: ScoreSubject) -> _Found:
    """Run some pairs with others of their own length, so that nothing is padded.

    The neighbours have the pair's tokens in another order.
    """
    order = np.argsort([row.width for row in subject.rows], kind="stable")
    places = np.linspace(0, len(order) // 2, min(_ACCOMPANIED, len(order))).astype(np.intp)
    numbers = np.unique(order[places])
    scores = []
    for number in numbers:
        row = subject.rows[number]
        others = [
            replace(row, ids=tuple(np.roll(row.ids, shift).tolist()), prompt=0)
            for shift in range(1, 1 + _NEIGHBOURS)
        ]
        scores.append(subject.run(pad([*others, row], pad_id=subject.pad_id))[-1:])
    return numbers, np.concatenate(scores)


def _behind_query(subject: ScoreSubject) -> _Found:
    """Run the passages of each query behind its cached tokens; empty if nothing is cached."""
    numbers: list[NDArray[np.intp]] = []
    scores: list[NDArray[np.float32]] = []
    for group in subject.reference.groups[:_SHARED_QUERIES]:
        batch = pad([subject.rows[number] for number in group], pad_id=subject.pad_id)
        found = subject.shared(batch)
        if found is not None:
            numbers.append(group)
            scores.append(found)
    if not numbers:
        return np.zeros(0, np.intp), np.zeros(0, np.float32)
    return np.concatenate(numbers), np.concatenate(scores)


def _together(subject: ScoreSubject) -> _Found:
    """Run the passages of each query in one batch."""
    groups = subject.reference.groups or [np.arange(len(subject.rows))[:_GROUP]]
    return np.concatenate(groups), np.concatenate([_once(subject, group) for group in groups])


def _once(
    subject: ScoreSubject, numbers: NDArray[np.intp], *, left: bool = False
) -> NDArray[np.float32]:
    rows = [subject.rows[number] for number in numbers]
    return subject.run(pad(rows, pad_id=subject.pad_id, left=left))


def _announce(subject: ScoreSubject, name: str, numbers: NDArray[np.intp]) -> None:
    longest = max(subject.rows[number].width for number in numbers)
    subject.on_step(f"probes, {name}: {len(numbers)} of up to {longest:,} tokens")


def _worst(subject: ScoreSubject, differences: NDArray[np.float32]) -> float:
    """Return the largest difference in shares of the spread, as a number that JSON can hold."""
    found = np.nan_to_num(np.abs(differences), nan=np.inf).max() / subject.reference.spread
    return float(min(found, 1e30))


def _difference_check(
    subject: ScoreSubject,
    name: str,
    differences: NDArray[np.float32],
    finding: str,
    gate: float | None,
) -> ScoreCheck:
    worst = _worst(subject, differences)
    passed = gate is None or worst <= gate
    allowed = 0.0 if gate is None else gate
    said = f"scores differ by {worst:.2g} of their spread, {allowed:.2g} is allowed: {finding}"
    return _check(name, len(differences), worst, passed, said)


def _check(name: str, cases: int, worst: float, passed: bool, finding: str) -> ScoreCheck:  # noqa: FBT001
    return ScoreCheck(
        name=name, cases=cases, worst=worst, passed=passed, finding="" if passed else finding
    )
