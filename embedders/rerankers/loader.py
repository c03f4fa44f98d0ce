"""Open a reranker by its place: the folder of a bundle, or ``hash`` for dry runs.

Nothing heavy loads before the place is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BundleError
from .hash_reranker import HashReranker

if TYPE_CHECKING:
    from ..onnx.providers.options import ExecutionOptions
    from .protocol import Reranker

HASH = "hash"


def load_reranker(
    path: str | Path,
    *,
    provider: str = "auto",
    precision: str = "auto",
    runtime: ExecutionOptions | None = None,
    allow_uncertified: bool = False,
) -> Reranker:
    """Open a reranker's bundle. Needs no network and no torch.

    Args:
        path: A folder that ``decant export`` made of a reranker, or ``hash`` for
            :class:`HashReranker`, which needs no model.
        provider: As for :func:`load`.
        precision: As for :func:`load`.
        runtime: As for :func:`load`.
        allow_uncertified: As for :func:`load`.

    Raises:
        BundleError: The bundle is missing or damaged, or holds no reranker.
        ProviderError: The provider is unknown, not installed, or does not start.
        ParityError: The graph is not certified on this provider, or failed.

    >>> load_reranker("hash").score("a cat", ["a cat sat", "rain"]).argmax()
    0
    """
    if str(path) == HASH:
        return HashReranker()
    del provider, precision, runtime, allow_uncertified
    raise BundleError(f"{path} holds no reranker; export one with decant export")
