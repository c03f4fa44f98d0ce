"""Open what commands work on: encoders and stores, without noise from the libraries beneath."""

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
    """Connect to a store; a key from the environment is not meant for a folder."""
    from decant.integrations.qdrant import connect

    return connect(place, api_key=api_key if place.startswith(("http://", "https://")) else None)
