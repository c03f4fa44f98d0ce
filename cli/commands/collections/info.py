"""``decant info``: what one collection is, how large, how it is stored, and how it fares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...input.open import open_store
from ...options.shared import ApiKey, AsJson, CaFile, Grpc, StorePlace
from ...output.places import counted, place_of
from ...output.terminal import show_json
from ...output.views import show_facts

if TYPE_CHECKING:
    from decant.integrations.qdrant import CollectionState, CollectionSummary

_MIB = 2**20


def info(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection's name.")],
    *,
    store: StorePlace = "./index",
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what a collection holds, how it is stored, and how it fares.

    Model and recipe, documents and passages, the kinds of vectors and their bytes,
    precisions, search defaults, payload indexes, shards and replicas, status and
    optimizers, the server's version and its warnings; in a folder, what it takes on
    the disk. No bundle is needed, and nothing is changed.

    Examples:
      decant info notes
      decant info notes --store http://localhost:6333 --json
    """
    from decant.integrations.qdrant import read_collection_state, summarize

    with open_store(store, api_key, grpc=grpc, ca=ca, read_only=True) as opened:
        place = place_of(opened)
        held = summarize(opened, collection)
        state = read_collection_state(opened, collection)
    if as_json:
        show_json(_plain(place, held, state))
    else:
        show_facts(_facts(place, held, state))


def _facts(place: str, held: CollectionSummary, state: CollectionState) -> dict[str, str]:
    card = held.card
    return {
        "collection": f"{held.name} in {place}",
        "model": f"{card.recipe.base}, recipe {card.recipe.digest()}",
        "holds": f"{counted(held.held.documents, 'document')}, "
        f"{counted(held.held.passages, 'passage')}, {counted(held.records, 'record')} among them",
        "points": f"{state.points:,}, with markers and notes; about {_mib(state.vector_bytes)} of "
        "vectors",
        **_vectors(state),
        "filled by": ", ".join(map(str, held.filled_by)) or "not noted",
        "searched by": "decant's defaults" if card.search is None else str(card.search),
        "stored as": str(held.layout),
        "vector index": f"{state.indexed_vectors:,} vectors, {counted(state.segments, 'segment')}",
        "payload indexes": ", ".join(f"{it.path} ({it.type})" for it in state.payload_indexes)
        or "none",
        "status": f"{state.status}; optimizers: {state.optimizer}",
        **_replicas(state),
        **({} if state.server_version is None else {"server": f"Qdrant {state.server_version}"}),
        **{f"warning {n}": said for n, said in enumerate(state.warnings, 1)},
        **_disk(state),
    }


def _vectors(state: CollectionState) -> dict[str, str]:
    shown = {}
    for one in state.vectors:
        said = "as many numbers as the text has words or tokens"
        if one.dim is not None:
            said = f"{one.dim} wide"
        if one.bytes_each is not None:
            said += f", {one.bytes_each:,} bytes each"
        if one.compressed_bytes_each:
            said += f", and {one.compressed_bytes_each:,} compressed"
        shown[f"  {one.kind}"] = said
    return shown


def _replicas(state: CollectionState) -> dict[str, str]:
    if not state.replicas:
        return {}
    failed = [one for one in state.replicas if not one.is_active]
    shards = len({one.shard for one in state.replicas})
    said = f"{counted(shards, 'shard')}, {counted(len(state.replicas), 'replica')}"
    bad = ", ".join(f"shard {one.shard} on peer {one.peer} is {one.state}" for one in failed)
    return {"replicas": f"{said}; {bad or 'all active'}"}


def _disk(state: CollectionState) -> dict[str, str]:
    if state.disk_bytes is None or state.free_bytes is None:
        return {}
    return {"disk": f"{_mib(state.disk_bytes)}, and {_mib(state.free_bytes)} are free"}


def _mib(count: int) -> str:
    return f"{count / _MIB:,.1f} MiB"


def _plain(place: str, held: CollectionSummary, state: CollectionState) -> dict[str, object]:
    card = held.card
    return {
        "store": place,
        "collection": held.name,
        "model": card.recipe.base,
        "digest": card.recipe.digest(),
        "dim": card.dim,
        "documents": held.held.documents,
        "passages": held.held.passages,
        "records": held.records,
        "filled_by": held.filled_by,
        "search_defaults": card.search,
        "layout": held.layout,
        "vector_bytes": state.vector_bytes,
        "state": state,
    }
