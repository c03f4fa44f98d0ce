"""Choose the graph of a bundle that runs: the fastest that is certified and loses little.

No graph is opened here.
"""

from __future__ import annotations

from ..bundle.bundle import Bundle
from ..bundle.certificate import CertificateEntry, Precision
from ..errors import BundleError, ProviderError
from .providers.machine import unsupported
from .providers.table import find_provider

LEAST_MEAN_COSINE = 0.995
LEAST_OVERLAP = 0.9
MOST_TASK_LOSS = 0.005
"""What ``precision="auto"`` allows a graph to lose: see :func:`loses_little`."""


def choose_precision(bundle: Bundle, wanted: str, provider: str) -> Precision:
    """Return the precision to open.

    Args:
        bundle: Its graphs and certificate.
        wanted: A precision, which is then taken whatever its certificate says; or ``auto``: the
            fastest precision on this provider and processor that passed and :func:`loses_little`;
            if there is none, float32.
        provider: ONNX Runtime's name of the provider.

    Raises:
        BundleError: The precision is unknown or not in the bundle.
        ProviderError: The provider runs none of the bundle's precisions.
    """
    row = find_provider(provider)
    if wanted != "auto":
        if wanted not in list(Precision):
            raise BundleError(
                f"no precision is called {wanted!r}; known are auto, {', '.join(Precision)}"
            )
        bundle.graph(row.graph_of(Precision(wanted)))
        return Precision(wanted)
    graphs = sorted(bundle.manifest.graphs)
    if not set(graphs) & {*Precision}:
        raise BundleError(
            f"{bundle.folder} has only graphs that this decant does not know: {', '.join(graphs)}; "
            "upgrade decant"
        )
    there = row.runnable(graphs)
    if not there:
        refused = [f" ({one}: {why})" for one, why in row.refused if one in graphs]
        raise ProviderError(
            f"{provider} runs none of the graphs in {bundle.folder}, which are "
            f"{', '.join(graphs)}{''.join(refused)}; add one with `decant export`"
        )
    for precision in there:
        if unsupported(row, precision):
            continue
        entry = bundle.entry(precision, provider, graph=row.graph_of(precision))
        if entry is not None and entry.passed and loses_little(entry):
            return precision
    exact = Precision.FP32
    return exact if exact in there else there[0]


def loses_little(entry: CertificateEntry) -> bool:
    """Return whether a graph is near enough to float32 for ``precision="auto"``.

    Its mean cosine to the reference must be at least 0.995; at least 0.9 of the ten nearest probe
    texts must be the same; and it must lose at most 0.005 (half a point of a hundred) on every task
    in the entry.
    """
    near = entry.mean_cosine >= LEAST_MEAN_COSINE and entry.top10_overlap >= LEAST_OVERLAP
    return near and all(task.loss <= MOST_TASK_LOSS for task in entry.tasks)
