"""Open the encoders and stores that commands work on, without messages of libraries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..output.quiet import silenced

if TYPE_CHECKING:
    from decant.embedders import OnnxEncoder, Recipe, RemoteEncoder, Reranker, TorchEncoder
    from decant.integrations.qdrant import Store

HASH = "hash"
"""What stands in place of a bundle for the reranker without a model."""


def open_encoder(
    bundle: Path | str,
    *,
    provider: str = "auto",
    precision: str = "auto",
    dim: int | None = None,
    allow_any_dim: bool = False,
) -> OnnxEncoder | RemoteEncoder:
    """Load a bundle, or the encoder that a server has; see :func:`decant.embedders.load`."""
    from decant.embedders import load

    with silenced():
        return load(
            bundle, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
        )


def open_reranker(
    bundle: Path | str, *, provider: str = "auto", precision: str = "auto"
) -> Reranker:
    """Load a reranker's bundle, that of a server, or for ``hash`` the reranker without a model.

    See :func:`decant.embedders.load_reranker`.
    """
    from decant.embedders import HashReranker, load_reranker

    if str(bundle) == HASH:
        return HashReranker()
    with silenced():
        return load_reranker(bundle, provider=provider, precision=precision)


def is_reranker_place(place: Path) -> bool:
    """Return whether a place of a model has a reranker, and no encoder.

    Raises:
        BundleError: It is no bundle.
    """
    from decant.embedders import Bundle

    return str(place) == HASH or Bundle.unchecked(place).manifest.reranker is not None


def reranker_facts(reranker: Reranker) -> dict[str, str]:
    """Return what JSON output says of a reranker."""
    facts = {"model": reranker.recipe.base, "digest": reranker.recipe.digest()}
    for name in ("precision", "provider"):
        if (value := getattr(reranker, name, None)) is not None:
            facts[name] = str(value)
    return facts


def open_store(
    place: str,
    api_key: str | None = None,
    *,
    grpc: bool = False,
    ca: Path | None = None,
    read_only: bool = False,
) -> Store:
    """Connect to a store.

    Args:
        place: A folder, or the address of a server.
        api_key: Key of a server; it is not used for a folder, because it may come from the
            environment.
        grpc: Whether to reach a server over gRPC.
        ca: PEM file of the authority of a server's certificate.
        read_only: Whether to refuse every write.
    """
    from decant.integrations.qdrant import connect

    key = api_key if place.startswith(("http://", "https://")) else None
    return connect(place, api_key=key, grpc=grpc, ca=ca, read_only=read_only)


def store_of(opened: Store, collection: str, tenant: str | None) -> Store:
    """Return the store of one tenant of a collection; the store itself, if none is given."""
    if tenant is None:
        return opened
    from decant.integrations.qdrant import TenantStore

    return TenantStore.of(opened, collection, tenant)


def open_model_by_recipe(model: Path, recipe: Recipe) -> TorchEncoder:
    """Load a model's folder in PyTorch, by the recipe of a bundle made of it.

    Args:
        model: The folder.
        recipe: The bundle's recipe.
    """
    from decant.embedders import TorchEncoder, find_model

    with silenced():
        return TorchEncoder.from_source(find_model(model), recipe)
