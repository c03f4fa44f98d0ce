"""``decant relayout``: change how a collection that is in use is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from ...input.open import open_store
from ...options.layout import (
    OriginalsPlace,
    StorageName,
    Strict,
    WriteConsistency,
    read_layout,
)
from ...options.shared import ApiKey, AsJson, CaFile, Grpc, StorePlace
from ...output.places import place_of
from ...output.terminal import printable, say, show_json, show_line


def relayout(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection's name.")],
    *,
    store: StorePlace = "./index",
    storage: StorageName = None,
    originals: OriginalsPlace = None,
    write_consistency: WriteConsistency = None,
    strict: Strict = None,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Change how a collection is stored: its compression, and where its vectors lie.

    No bundle is needed and nothing is embedded again. A Qdrant server goes on
    searching meanwhile, and the command waits for it. If it is interrupted, the
    same command completes it. Without options it completes what was begun.

    Examples:
      decant relayout notes --storage turbo4
      decant relayout notes --storage full --store http://localhost:6333
      decant relayout notes --originals disk
    """
    layout = replace(
        read_layout(storage, originals), write_consistency=write_consistency, strict=strict
    )
    with open_store(store, api_key, grpc=grpc, ca=ca) as opened:
        place = place_of(opened)
        name = opened.find(collection).name  # refuses what decant did not make
        held = opened.layout(name)
        say(f"collection {collection!r} in {place} is stored as {held}")
        opened.relayout(name, layout)
        changed = opened.layout(name)
    if as_json:
        show_json({"store": place, "collection": collection, "before": held, "layout": changed})
    else:
        show_line(f"collection {collection!r} in {printable(place)} is stored as {changed}")
