"""``decant drop``: delete a whole collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from decant.embedders import StoreError

from ...input.confirm import confirm
from ...input.open import open_store
from ...options.shared import ApiKey, AsJson, CaFile, Grpc, StorePlace, Yes
from ...output.places import counted, place_of
from ...output.terminal import say, show, show_json

if TYPE_CHECKING:
    from decant.integrations.qdrant import Store


def drop(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection's name.")],
    *,
    store: StorePlace = "./index",
    yes: Yes = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete a collection with all that it holds. Files are never touched.

    No bundle is needed. Shows what will be deleted and asks; without a terminal,
    --yes must be given. A damaged collection can be deleted, too.

    Examples:
      decant drop notes
      decant drop notes --store http://localhost:6333 --yes
    """
    with open_store(store, api_key, grpc=grpc, ca=ca) as opened:
        place = place_of(opened)
        say(f"collection {collection!r} in {place} will be deleted: {_held(opened, collection)}")
        confirm("Delete it?", yes=yes)
        opened.drop(collection)
    if as_json:
        show_json({"store": place, "collection": collection, "dropped": True})
    else:
        show(f"deleted the collection {collection!r} in {place}")


def _held(store: Store, name: str) -> str:
    from decant.integrations.qdrant import StoreInputError, summarize

    try:
        found = summarize(store, name)
    except StoreInputError:
        raise
    except StoreError as error:
        return f"what it holds cannot be read ({error})"
    return (
        f"{counted(found.held.documents, 'document')}, {counted(found.held.passages, 'passage')}, "
        f"vectors of {found.card.recipe.base}"
    )
