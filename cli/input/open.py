"""Open the encoders and stores that commands work on, without messages of libraries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..output.quiet import silenced

if TYPE_CHECKING:
    from decant.embedders import OnnxEncoder
    from decant.integrations.qdrant import Store


def open_encoder(
    bundle: Path,
    *,
    provider: str = "auto",
    precision: str = "auto",
    dim: int | None = None,
    allow_any_dim: bool = False,
) -> OnnxEncoder:
    """Load a bundle; see :func:`decant.embedders.load`."""
    from decant.embedders import load

    with silenced():
        return load(
            bundle, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
        )


def open_store(place: str, api_key: str | None = None) -> Store:
    """Connect to a store.

    Args:
        place: A folder, or the address of a server.
        api_key: Key of a server; it is not used for a folder, because it may come from the
            environment.
    """
    from decant.integrations.qdrant import connect

    return connect(place, api_key=api_key if place.startswith(("http://", "https://")) else None)
