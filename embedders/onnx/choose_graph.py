"""Choose what of a bundle runs: by certificate first, and by measured speed second.

``auto`` takes what is installed, certified on its provider, and near enough to float32. Of those it
takes the one that ``tune`` found clearly fastest on this machine; where nothing was measured, the
first in the order of the table. No graph is opened here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..bundle.bundle import Bundle
from ..bundle.certificate import AnyEntry
from ..bundle.precision import Precision
from ..bundle.score_entry import ScoreEntry
from ..errors import BundleError, ProviderError
from .graph_choice import Cause, GraphChoice, Ranking, RejectedGraph
from .providers.machine import machine_name, unsupported
from .providers.table import CPU, ON_THE_PROCESSOR, Provider, find_provider
from .session import candidates, installed_providers, provider_name
from .tuning_file import CLEARLY_FASTER, Comparison, Speed, read_tuning

LEAST_MEAN_COSINE = 0.995
LEAST_OVERLAP = 0.9
MOST_TASK_LOSS = 0.005
"""What ``precision="auto"`` allows a graph to lose: see :func:`loses_little`."""
LEAST_TAU = 0.95
MOST_NDCG_LOSS = 0.01
"""The same of a reranker's graph: the order of passages, and what it costs."""
LEAST_COMPUTED_COSINE = 0.9999
"""The worst cosine below which ``auto`` leaves a precision that has no graph of its own.

Nobody exported it, so nobody agreed to its loss.
"""
MOST_COMPUTED_DIFFERENCE = 5e-3
"""The same of a reranker, in shares of its scores' spread."""

_Pair = tuple[Provider, Precision]


def rank_choices(
    bundle: Bundle, *, provider: str = "auto", precision: str = "auto", device: int = 0
) -> Ranking:
    """Return what of a bundle should run here, best first.

    Args:
        bundle: Its graphs, certificate and measurements.
        provider: A provider's name, which is then taken; or ``auto``: the installed ones.
        precision: A precision, which is then taken whatever its certificate says; or ``auto``.
        device: The GPU's number, for measurements on it.

    Raises:
        BundleError: The precision is unknown or not in the bundle, or a file is damaged.
        ProviderError: The provider is unknown, or none runs any of the bundle's graphs.
    """
    names = candidates() if provider == "auto" else [provider_name(provider)]
    rows = [find_provider(name) for name in names]
    if not rows:
        raise ProviderError("the installed onnxruntime has no provider that decant knows")
    if precision != "auto":
        return _named(bundle, rows, precision)
    graphs = _known_graphs(bundle)
    pairs = list(_automatic_pairs(rows) if provider == "auto" else _pairs_of(rows[0]))
    pairs = [pair for pair in pairs if pair[0].graph_of(pair[1]) in graphs]
    if not (runnable := [row for row in rows if row.runnable(graphs)]):
        refused = [f" ({one}: {why})" for row in rows for one, why in row.refused if one in graphs]
        raise ProviderError(
            f"{' and '.join(names)} runs none of the graphs in {bundle.folder}, which are "
            f"{', '.join(graphs)}{''.join(refused)}; add one with `decant export`"
        )
    rejected = {
        (row.full_name, one): found
        for row, one in pairs
        if (found := _objection(bundle, row, one, named=provider != "auto")) is not None
    }
    eligible = [pair for pair in pairs if _key(pair) not in rejected]
    speeds = _speeds(bundle, eligible, device)
    first, reason = _fastest(eligible, speeds)
    seats = _seats(runnable, graphs, eligible, first)
    rejected |= {_key(pair): _passed_over(pair, first, speeds) for pair in eligible}
    advice = _advice(bundle, rejected.values(), eligible, speeds)
    choices = [
        GraphChoice(
            provider=pair[0].full_name,
            precision=pair[1],
            reason=reason if pair == first else _next_reason(pair, seats[0], eligible),
            rejected=tuple(found for key, found in rejected.items() if key != _key(pair)),
            advice=advice,
        )
        for pair in seats
    ]
    return Ranking(choices=tuple(choices), eligible=tuple(_key(pair) for pair in eligible))


def automatic_providers() -> list[str]:
    """Return the full names of the installed providers that ``auto`` may take, the CPU last."""
    installed = installed_providers()
    beside = dict.fromkeys(name for name, _ in ON_THE_PROCESSOR if name in installed)
    return [*(name for name in candidates() if name not in beside), *reversed(beside)]


def loses_little(entry: AnyEntry) -> bool:
    """Return whether a graph is near enough to float32 for ``precision="auto"``.

    Its mean cosine to the reference must be at least 0.995; at least 0.9 of the ten nearest probe
    texts must be the same; and it must lose at most 0.005 (half a point of a hundred) on every task
    in the entry. A reranker's mean Kendall tau must be at least 0.95, and its mean loss of nDCG at
    most 0.01.
    """
    if isinstance(entry, ScoreEntry):
        kept = entry.kendall_tau >= LEAST_TAU and entry.ndcg_loss <= MOST_NDCG_LOSS
        return kept and all(task.loss <= MOST_TASK_LOSS for task in entry.tasks)
    near = entry.mean_cosine >= LEAST_MEAN_COSINE and entry.top10_overlap >= LEAST_OVERLAP
    return near and all(task.loss <= MOST_TASK_LOSS for task in entry.tasks)


def _named(bundle: Bundle, rows: Sequence[Provider], precision: str) -> Ranking:
    """Return a precision that was asked for, on each provider in turn."""
    if precision not in list(Precision):
        raise BundleError(
            f"no precision is called {precision!r}; known are auto, {', '.join(Precision)}"
        )
    wanted = Precision(precision)
    for row in rows:
        bundle.graph(row.graph_of(wanted))
    reason = f"precision {wanted} was asked for"
    choices = [GraphChoice(provider=row.full_name, precision=wanted, reason=reason) for row in rows]
    return Ranking(choices=tuple(choices), eligible=())


def _known_graphs(bundle: Bundle) -> list[str]:
    graphs = sorted(bundle.manifest.graphs)
    if not set(graphs) & {*Precision}:
        raise BundleError(
            f"{bundle.folder} has only graphs that this decant does not know: {', '.join(graphs)}; "
            "upgrade decant"
        )
    return graphs


def _pairs_of(row: Provider) -> Iterator[_Pair]:
    return ((row, precision) for precision in row.precisions)


def _automatic_pairs(rows: Sequence[Provider]) -> Iterator[_Pair]:
    """Yield all that ``auto`` considers, in the order that holds where nothing was measured."""
    for row in rows:
        if row.full_name != CPU:
            yield from _pairs_of(row)
            continue
        installed = installed_providers()
        for name, precision in ON_THE_PROCESSOR:
            rival = find_provider(name)
            # What is not installed is named once, for what it would add.
            if name in installed or precision in rival.computed:
                yield rival, precision


def _key(pair: _Pair) -> tuple[str, Precision]:
    return pair[0].full_name, pair[1]


def _objection(
    bundle: Bundle, row: Provider, precision: Precision, *, named: bool
) -> RejectedGraph | None:
    """Return why ``auto`` may not take a precision on a provider; None if it may."""

    def rejected(cause: Cause, reason: str) -> RejectedGraph:
        return RejectedGraph(
            provider=row.full_name, precision=precision, cause=cause, reason=reason
        )

    if reason := unsupported(row, precision):
        return rejected(Cause.NOT_HERE, reason)
    if not named and row.full_name not in installed_providers():
        return rejected(Cause.NOT_INSTALLED, f"not installed: {row.advice}")
    graph = row.graph_of(precision)
    entry = bundle.entry(precision, row.full_name, graph=graph)
    if entry is None:
        command = f"decant verify {bundle.folder} --provider {row.name} --precision {precision}"
        return rejected(Cause.NOT_CERTIFIED, f"not certified here; certify it with: {command}")
    if not entry.passed:
        return rejected(Cause.FAILED, f"it failed its certificate: {entry.failures}")
    if not loses_little(entry):
        return rejected(
            Cause.LOSES,
            f"it loses too much: {_lost(entry)}"
            + "".join(f", {task.name} {-task.loss:+.4f}" for task in entry.tasks),
        )
    if precision in row.computed and (difference := _computed_loss(entry)):
        return rejected(
            Cause.LOSES,
            f"{difference}, and without being asked auto takes a precision that has no graph of "
            f"its own only where next to nothing is lost; pass provider={row.name!r}, "
            f"precision={str(precision)!r}",
        )
    return None


def _lost(entry: AnyEntry) -> str:
    if isinstance(entry, ScoreEntry):
        return f"Kendall tau {entry.kendall_tau:.4f}, nDCG loss {entry.ndcg_loss:.4f}"
    return f"mean cosine {entry.mean_cosine:.5f}, top-10 overlap {entry.top10_overlap:.3f}"


def _computed_loss(entry: AnyEntry) -> str:
    """Return what a precision without a graph of its own loses too much of; "" if nothing."""
    if isinstance(entry, ScoreEntry):
        lost = entry.worst_difference > MOST_COMPUTED_DIFFERENCE
        return f"its worst difference is {entry.worst_difference:.4f} spreads" if lost else ""
    lost = entry.worst_cosine < LEAST_COMPUTED_COSINE
    return f"its worst cosine is {entry.worst_cosine:.6f}" if lost else ""


def _speeds(
    bundle: Bundle, eligible: Sequence[_Pair], device: int
) -> Mapping[tuple[str, Precision], Speed]:
    """Return what was measured of these graphs on this machine."""
    compared = read_tuning(bundle).comparisons
    comparison: Comparison | None = None
    if compared:
        here = machine_name(CPU)
        comparison = next((one for one in compared if one.machine == here), None)
    if comparison is None:
        return {}
    found = {}
    for row, precision in eligible:
        speed = comparison.speed(
            bundle.manifest.files[bundle.manifest.graphs[row.graph_of(precision)]],
            row.full_name,
            precision,
        )
        if speed is not None and speed.machine == machine_name(row.full_name, device=device):
            found[row.full_name, precision] = speed
    return found


def _fastest(
    eligible: Sequence[_Pair], speeds: Mapping[tuple[str, Precision], Speed]
) -> tuple[_Pair | None, str]:
    """Return the pair to take and why.

    A measurement decides only if the first in the order was measured too: a graph that came later
    than the measurement was perhaps exported for its speed.
    """
    if not eligible:
        return None, ""
    first = eligible[0]
    start = speeds.get(_key(first))
    if len(eligible) == 1:
        return first, "nothing else is certified here and near enough to float32"
    if start is None:
        return first, (
            "the first in decant's order of speed that is certified and near enough to float32; "
            "its speed was not measured on this machine"
        )
    measured = [pair for pair in eligible if _key(pair) in speeds]
    best = max(measured, key=lambda pair: speeds[_key(pair)].speedup)
    speed = speeds[_key(best)]
    if best is not first and speed.speedup >= CLEARLY_FASTER * start.speedup:
        over = (
            f"{speed.speedup / start.speedup:.2f} x {first[1]} on {first[0].full_name}"
            if start.speedup
            else f"{first[1]} on {first[0].full_name} does not run"
        )
        figure = f"{speed.tokens_per_second:,.0f} tokens/s"
        return best, f"measured fastest of {len(measured)} on this machine: {figure}, {over}"
    return first, f"none of {len(measured)} measured on this machine is clearly faster"


def _seats(
    rows: Sequence[Provider],
    graphs: Sequence[str],
    eligible: Sequence[_Pair],
    first: _Pair | None,
) -> list[_Pair]:
    """Return the pairs to try: the best of each provider, and nothing after the CPU.

    A provider without an eligible pair keeps its place with float32, or else the fastest that it
    runs: it is opened, and then refused for want of a certificate, instead of passed over quietly.
    """
    found: list[_Pair] = []
    for row in rows:
        near = {CPU, *(name for name, _ in ON_THE_PROCESSOR)}
        group = near if row.full_name == CPU else {row.full_name}
        for pair in eligible:
            if pair[0].full_name in group and pair[0] not in [one for one, _ in found]:
                found.append(pair)
        if row not in [one for one, _ in found]:
            found.append((row, _last_resort(row, graphs)))
    if first is not None:
        refused = next(place for place, pair in enumerate(found) if pair in eligible)
        found = [pair for pair in found if pair != first]
        found.insert(refused, first)
    ends = next((place for place, pair in enumerate(found) if pair[0].full_name == CPU), None)
    return found if ends is None else found[: ends + 1]


def _last_resort(row: Provider, graphs: Sequence[str]) -> Precision:
    there = row.runnable(graphs)
    return Precision.FP32 if Precision.FP32 in there else there[0]


def _next_reason(pair: _Pair, first: _Pair, eligible: Sequence[_Pair]) -> str:
    """Return why a pair that is not the chosen one is tried."""
    if pair not in eligible:
        return f"nothing on {pair[0].full_name} is certified and near enough to float32 for auto"
    return f"{first[1]} on {first[0].full_name} does not open"


def _advice(
    bundle: Bundle,
    rejected: Iterable[RejectedGraph],
    eligible: Sequence[_Pair],
    speeds: Mapping[tuple[str, Precision], Speed],
) -> str:
    """Return what may make encoding faster here, with its command; empty if nothing is known."""
    for found in rejected:
        row = find_provider(found.provider)
        if found.precision not in row.computed or Precision.FP32 not in bundle.manifest.graphs:
            continue
        name = f"{found.precision} on {row.full_name}"
        verify = (
            f"decant verify {bundle.folder} --provider {row.name} --precision {found.precision}"
        )
        match found.cause:
            case Cause.NOT_CERTIFIED:
                return f"{name} may be faster and is not certified yet: {verify}"
            case Cause.NOT_INSTALLED:
                return f"{name} may be faster and is not installed: {row.advice}; then {verify}"
            case _:
                continue
    if len(eligible) > 1 and _key(eligible[0]) not in speeds:
        return f"which is fastest was not measured on this machine: decant tune {bundle.folder}"
    return ""


def _passed_over(
    pair: _Pair, first: _Pair | None, speeds: Mapping[tuple[str, Precision], Speed]
) -> RejectedGraph:
    """Return why an eligible pair is not the one that runs."""
    speed = speeds.get(_key(pair))
    best = None if first is None else speeds.get(_key(first))
    if speed is None or best is None:
        cause, reason = Cause.LATER, "later in decant's order of speed, and not measured here"
    elif speed.failure:
        cause, reason = Cause.NOT_OPENED, f"it did not run when measured: {speed.failure}"
    else:
        times = speed.speedup / best.speedup if best.speedup else 0.0
        figure = f"{speed.tokens_per_second:,.0f} tokens/s, {times:.2f} x what runs"
        cause, reason = Cause.SLOWER, f"not clearly faster when measured here: {figure}"
    return RejectedGraph(provider=pair[0].full_name, precision=pair[1], cause=cause, reason=reason)
