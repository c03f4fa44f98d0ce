"""Compare a graph with its reference, in numpy alone, whatever runs the graph.

Every condition is one named check (one text at a time, right padding, left padding, …), so a failed
certificate names the broken assumption.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from decant.embedders import (
    CertificateCheck,
    CertificateEntry,
    OnStep,
    Pooling,
    Precision,
    ProviderError,
)
from decant.embedders.bundle import NEIGHBOURS
from decant.embedders.tokens import TokenBatch, Tokens, pad

from .reference import Reference

Run = Callable[[TokenBatch], NDArray[np.float32]]

AFTER_ONE_TOKEN = "after one token"  # noqa: S105 - the name of a check
"""The check of texts that run after a batch of one token; older certificates lack it."""
_GROUP = 8
_CROWD_TOKENS = 128
_MIXED_TOKENS = 512
_NEIGHBOURS = (3, 15)
_ACCOMPANIED = 8  # texts that run together with neighbours of their own length,
_ACCOMPANIED_TOKENS = 32  # of at most so many tokens in addition to the prompt
_AFTER_ONE_TOKEN = 6  # texts that run after a batch of one token
_SAME_POOLING = 0.9999
_MAGNITUDE = {Precision.FP32: 1e-3}
_MAGNITUDE_OTHER = 2e-2
_ROUNDED = {Precision.INT8, Precision.W8, Precision.W4}
_SHARED_SCALE = (
    "texts of a batch share one scale for their integers, so that a vector depends on its "
    "neighbours; take the float32 graph, and `decant convert` makes int8 without that"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A graph to certify, and its reference.

    Args:
        run: Runs one batch.
        rows: The probe texts as tokens, M rows.
        reference: Their vectors.
        pooling: The recipe's pooling.
        precision: The precision, which decides the gates.
        pad_id: The token id of padded positions.
        on_step: Called with each group of probes as it begins, and the tokens of its longest.
    """

    run: Run
    rows: Sequence[Tokens]
    reference: Reference
    pooling: Pooling
    precision: Precision
    pad_id: int
    on_step: OnStep = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The graph's file, and its provider."""

    file: str
    sha256: str
    provider: str


def certify(
    subject: Subject, graph: Graph, *, known: Sequence[CertificateCheck] = ()
) -> CertificateEntry:
    """Check every condition and return the entry; failing is recorded, not raised.

    Args:
        subject: The graph to certify, and its reference.
        graph: The file and the provider of the entry.
        known: Checks that were made elsewhere, for example of the weights.
    """
    # First, because what a batch of one token leaves may be hidden by another batch before it.
    after_one_token = _after_one_token(subject)
    alone = _alone(subject)
    target = subject.reference.vectors
    conditions = {**_padded(subject), AFTER_ONE_TOKEN: after_one_token}
    checks = [*known, _compare(subject, "one by one", alone, target, _explain(subject, alone))]
    for name, (rows, vectors) in conditions.items():
        finding = (
            "a batch of one token changes the vectors of the batches after it"
            if name == AFTER_ONE_TOKEN
            else f"{name} changes vectors: the graph reads columns where it should read the mask"
        )
        check = _compare(subject, name, vectors, target[rows], finding)
        checks.append(_blamed_on_neighbours(check, subject, cosines_of(vectors, alone[rows])))
    rows, among = _accompanied(subject)
    among_others = cosines_of(among, alone[rows])
    checks.append(_neighbours(subject.precision, among_others))
    padded = [cosines_of(vectors, alone[rows]) for rows, vectors in conditions.values()]
    invariance = np.concatenate([*padded, among_others])
    everything = np.concatenate([alone, *(vectors for _, vectors in conditions.values())])
    expected = np.concatenate([target, *(target[rows] for rows, _ in conditions.values())])
    finding = "a text sees its neighbours"
    check = least(subject.precision, "batch invariance", invariance, finding)
    checks.append(_blamed_on_neighbours(check, subject, invariance))
    checks.append(_magnitude(subject, everything, expected))
    broken = int((~np.isfinite(everything).all(axis=1)).sum())
    checks.append(
        CertificateCheck(
            name="finite",
            cases=len(everything),
            worst_cosine=1.0 if broken == 0 else -1.0,
            passed=broken == 0,
            finding="" if broken == 0 else f"{broken} vectors hold NaN or infinity",
        )
    )
    cosines = cosines_of(everything, expected)
    return CertificateEntry(
        file=graph.file,
        sha256=graph.sha256,
        precision=subject.precision,
        provider=graph.provider,
        worst_cosine=_number(cosines.min()),
        mean_cosine=_number(cosines.mean()),
        max_abs_error=_number(np.nan_to_num(np.abs(everything - expected), nan=np.inf).max()),
        top10_overlap=_overlap(alone, target),
        batch_invariance=_number(invariance.min()),
        not_finite=broken,
        longest=max(row.width for row in subject.rows),
        checks=tuple(checks),
        environment=environment(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _alone(subject: Subject) -> NDArray[np.float32]:
    _announce(subject, "one by one", np.arange(len(subject.rows)))
    vectors = [subject.run(pad([row], pad_id=subject.pad_id)) for row in subject.rows]
    return np.concatenate(vectors)


def _padded(
    subject: Subject,
) -> dict[str, tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Run the rows in batches under each condition; row numbers and vectors by condition."""
    lengths = np.array([row.width for row in subject.rows])
    order = np.arange(len(lengths))
    prompt = lengths.min() - 1  # the part that all rows share
    short = order[lengths <= prompt + _CROWD_TOKENS]
    mixed = order[lengths <= prompt + _MIXED_TOKENS]
    # Longest with shortest, which gives the most padding that these rows can have.
    ragged = mixed[np.argsort(lengths[mixed], kind="stable")]
    ragged = np.concatenate([ragged[:_GROUP], ragged[-_GROUP:]])[: len(ragged)]
    conditions = {
        "right padding": (short, partial(_grouped, left=False)),
        "left padding": (short, partial(_grouped, left=True)),
        "large batch": (short, partial(_once, left=False)),
        "long beside short, right": (ragged, partial(_once, left=False)),
        "long beside short, left": (ragged, partial(_once, left=True)),
    }
    found = {}
    for name, (rows, run) in conditions.items():
        _announce(subject, name, rows)
        found[name] = (rows, run(subject, rows))
    return found


def _after_one_token(subject: Subject) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Run some rows, each alone and in the same session right after a batch of one token.

    OpenVINO 2026.4 has an operator for attention that gives wrong vectors where the first batch of
    a session has one token (``experiments/log/2026-11-30-openvino-on-the-cpu.md``).

    Returns:
        Row numbers from short to long, and their vectors.
    """
    lengths = np.array([row.width for row in subject.rows])
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] < lengths.min() + _CROWD_TOKENS]
    places = np.linspace(0, len(order) - 1, min(_AFTER_ONE_TOKEN, len(order))).round()
    chosen = order[places.astype(np.intp)]
    _announce(subject, AFTER_ONE_TOKEN, chosen)
    vectors = []
    for number in chosen:
        run_one_token(subject)
        vectors.append(subject.run(pad([subject.rows[number]], pad_id=subject.pad_id)))
    return chosen, np.concatenate(vectors)


def run_one_token(subject: Subject) -> None:
    """Run the first token of the shortest row alone; its vector is compared with nothing.

    Where a text has several rows, or the graph refuses a single token because it reads several of
    each row, no shorter batch than the shortest row exists, and that one runs.
    """
    shortest = min(subject.rows, key=lambda row: row.width)
    if not shortest.others:
        first = Tokens(ids=shortest.ids[:1], counted=0, words=shortest.words)
        try:
            subject.run(pad([first], pad_id=subject.pad_id))
        except ProviderError:
            pass
        else:
            return
    subject.run(pad([shortest], pad_id=subject.pad_id))


def _announce(subject: Subject, name: str, rows: NDArray[np.intp]) -> None:
    longest = max(subject.rows[row].width for row in rows)
    subject.on_step(f"probes, {name}: {len(rows)} of up to {longest:,} tokens")


def _accompanied(subject: Subject) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Run some rows with 3 and with 15 others of their own length, so that nothing is padded.

    The neighbours consist of the row's own prompt and tokens of other probes.

    Returns:
        Row numbers, and their vectors.
    """
    lengths = np.array([row.width for row in subject.rows])
    order = np.argsort(lengths, kind="stable")
    near = order[lengths[order] < lengths.min() + _ACCOMPANIED_TOKENS]
    places = np.linspace(0, len(near) - 1, min(_ACCOMPANIED, len(near))).round().astype(np.intp)
    pool = np.concatenate([row.ids for row in subject.rows])
    numbers, vectors = [], []
    for number in near[places]:
        row = subject.rows[number]
        for count in _NEIGHBOURS:
            others = [_of_its_length(row, np.roll(pool, -len(row.ids) * k)) for k in range(count)]
            batch = pad([*others, row], pad_id=subject.pad_id)
            vectors.append(subject.run(batch)[-1:])
            numbers.append(number)
    return np.array(numbers, np.intp), np.concatenate(vectors)


def _of_its_length(row: Tokens, ids: NDArray[np.int64]) -> Tokens:
    """Return a row of the same length with other tokens behind the same prompt."""
    kept = row.ids[: row.prompt]
    drawn = np.resize(ids, len(row.ids) - len(kept))
    return replace(row, ids=(*kept, *drawn.tolist()))


def _neighbours(precision: Precision, cosines: NDArray[np.float64]) -> CertificateCheck:
    """Return the check that a text has the same vector alone and among others of its length."""
    worst, gate = float(cosines.min()), precision.invariance_gate
    passed = worst >= gate
    integers = precision is Precision.INT8
    finding = _SHARED_SCALE if integers else "a text sees others of its own length"
    return CertificateCheck(
        name=NEIGHBOURS,
        cases=len(cosines),
        worst_cosine=_number(worst),
        passed=passed,
        finding="" if passed else f"worst cosine {worst:.6f}: {finding}",
    )


def _grouped(subject: Subject, rows: NDArray[np.intp], *, left: bool) -> NDArray[np.float32]:
    starts = range(0, len(rows), _GROUP)
    parts = [_once(subject, rows[start : start + _GROUP], left=left) for start in starts]
    return np.concatenate(parts)


def _once(subject: Subject, rows: NDArray[np.intp], *, left: bool) -> NDArray[np.float32]:
    return subject.run(pad([subject.rows[row] for row in rows], pad_id=subject.pad_id, left=left))


def cosines_of(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each row in float64; -1 if a row is zero or not finite."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    usable = np.isfinite(norms) & (norms > 0)
    found = np.full(len(a), -1.0)
    found[usable] = (a[usable] * b[usable]).sum(axis=1) / norms[usable]
    clipped: NDArray[np.float64] = np.clip(found, -1.0, 1.0)
    return clipped


def _compare(
    subject: Subject,
    name: str,
    vectors: NDArray[np.float32],
    target: NDArray[np.float32],
    finding: str,
) -> CertificateCheck:
    return least(subject.precision, name, cosines_of(vectors, target), finding)


def least(
    precision: Precision, name: str, cosines: NDArray[np.float64], finding: str
) -> CertificateCheck:
    """Return the check that cosines to the reference are not below a precision's gates."""
    if precision in _ROUNDED:
        finding = f"rounding to {precision} loses too much on this model"
    passed = _within(precision, cosines)
    return CertificateCheck(
        name=name,
        cases=len(cosines),
        worst_cosine=_number(cosines.min()),
        passed=passed,
        finding="" if passed else f"worst cosine {cosines.min():.6f}: {finding}",
    )


def _blamed_on_neighbours(
    check: CertificateCheck, subject: Subject, to_alone: NDArray[np.float64]
) -> CertificateCheck:
    """Return a check whose finding names the scale that the texts of a batch share."""
    moved = not _within(subject.precision, to_alone)
    if check.passed or not moved or subject.precision is not Precision.INT8:
        return check
    return replace(check, finding=f"worst cosine {check.worst_cosine:.6f}: {_SHARED_SCALE}")


def _within(precision: Precision, cosines: NDArray[np.float64]) -> bool:
    """Return whether cosines to the reference are not below a precision's gates."""
    least_worst, least_mean = precision.gates
    return bool(cosines.min() >= least_worst and cosines.mean() >= least_mean)


def _magnitude(
    subject: Subject, vectors: NDArray[np.float32], target: NDArray[np.float32]
) -> CertificateCheck:
    """Return the check of the vectors' lengths, which cosines do not see (normalisation)."""
    expected = np.linalg.norm(target, axis=1)
    found = np.nan_to_num(np.linalg.norm(vectors, axis=1), nan=np.inf)
    worst = float(np.abs(found / np.maximum(expected, 1e-30) - 1).max())
    passed = worst <= _MAGNITUDE.get(subject.precision, _MAGNITUDE_OTHER)
    return CertificateCheck(
        name="magnitude",
        cases=len(vectors),
        worst_cosine=_number(cosines_of(vectors, target).min()),
        passed=passed,
        finding="" if passed else f"vector lengths are off by up to {worst:.1%}",
    )


def _explain(subject: Subject, alone: NDArray[np.float32]) -> str:
    """Return why the vectors are wrong: another pooling, or other weights or operators."""
    for pooling, vectors in subject.reference.others.items():
        if cosines_of(alone[: len(vectors)], vectors).min() > _SAME_POOLING:
            return f"the graph pools by {pooling}, the recipe by {subject.pooling}"
    return f"weights or operators differ from {subject.reference.origin}"


def _overlap(vectors: NDArray[np.float32], target: NDArray[np.float32]) -> float:
    """Return the mean share of each reference vector's ten nearest that the graph finds, too."""
    count = min(10, len(target) - 1)
    if count < 1:
        return 1.0
    near = [_nearest(item, count) for item in (vectors, target)]
    shared = [len(set(a) & set(b)) for a, b in zip(*near, strict=True)]
    return float(np.mean(shared) / count)


def _nearest(vectors: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1, kind="stable")[:, :count]


def _number(value: float | np.floating) -> float:
    """Return a float that JSON can hold."""
    return float(np.clip(np.nan_to_num(value, nan=-1.0), -1e30, 1e30))


def environment() -> dict[str, str]:
    """Return the versions of what measured, and the kind of machine."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in (
        "onnxruntime",
        "onnxruntime-gpu",
        "openvino",
        "torch",
        "transformers",
        "tokenizers",
    ):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
