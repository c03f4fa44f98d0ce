"""What a served reranker tells the clients that use it as a reranker of their own.

They need no tokenizer: a query and a passage are put together on the server.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from decant.embedders import Bundle, Precision
from decant.embedders.distribution import decant_version
from decant.embedders.remote import PROTOCOL, RequestLimits, RerankerFacts

from .served_reranker import ServedReranker


@runtime_checkable
class _OfBundle(Protocol):
    """A reranker that shows the bundle that it runs."""

    @property
    def bundle(self) -> Bundle: ...


def describe_reranker(model: ServedReranker, limits: RequestLimits) -> RerankerFacts:
    """Return what clients have to know of a reranker.

    Args:
        model: The model.
        limits: How much one request may ask for.
    """
    reranker = model.reranker
    precision = Precision(getattr(reranker, "precision", Precision.FP32))
    manifest = reranker.bundle.manifest if isinstance(reranker, _OfBundle) else None
    return RerankerFacts(
        protocol=PROTOCOL,
        version=decant_version(),
        name=model.name,
        recipe=reranker.recipe,
        digest=model.digest,
        precision=precision,
        provider=str(getattr(reranker, "provider", type(reranker).__name__)),
        graph=None if manifest is None else manifest.files[manifest.graphs[precision]],
        limits=limits,
    )
