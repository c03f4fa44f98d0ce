"""``decant delete``: delete documents from a collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decant.embedders import StoreError

from ...exit_codes import Exit
from ...input.confirm import confirm
from ...input.open import open_store, store_of
from ...options.shared import (
    ApiKey,
    AsJson,
    CaFile,
    CollectionName,
    Grpc,
    StorePlace,
    TenantName,
    Yes,
)
from ...output.places import counted, place_of
from ...output.terminal import say, show, show_json

if TYPE_CHECKING:
    from decant.integrations.qdrant import Selection, Store


def delete(
    *,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="Delete documents of this source; may be repeated."),
    ] = None,
    root: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROOT",
            help="Delete documents of this root: its name in `decant list`, or its folder. With "
            "--source, only those that match both.",
        ),
    ] = None,
    identity: Annotated[
        list[str] | None,
        typer.Option(
            "--id", metavar="ID", help="Delete the passage with this id, as --json shows it."
        ),
    ] = None,
    store: StorePlace = "./index",
    collection: CollectionName = "docs",
    tenant: TenantName = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")
    ] = False,
    yes: Yes = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents from a collection. Files are never touched.

    No bundle is needed. Shows what will be deleted and asks; without a terminal,
    --yes must be given. Documents whose files still exist are added again by the
    next `decant index` of their folder. Exits with 1 if nothing matches.

    Examples:
      decant delete --source ferry.txt
      decant delete --root /home/me/old-notes --dry-run
      decant delete --root /home/me/old-notes --yes
    """
    from decant.integrations.qdrant import count_selected, delete_selected

    chosen = _selection(source or [], root or [], identity or [])
    with open_store(store, api_key, grpc=grpc, ca=ca) as opened:
        folder = place_of(opened)
        place = f"collection {collection!r} in {folder}"
        owned = store_of(opened, collection, tenant)
        chosen = _with_paths(chosen, owned, collection)
        held = count_selected(owned, collection, chosen)
        if held.documents or held.passages:
            what = f"{counted(held.documents, 'document')}, {counted(held.passages, 'passage')}"
            if not dry_run:
                say(f"{what} of {place} will be deleted")
                confirm("Delete them?", yes=yes)
                held = delete_selected(owned, collection, chosen)
                what = f"{counted(held.documents, 'document')}, {counted(held.passages, 'passage')}"
            if not as_json:
                show(f"{'would delete' if dry_run else 'deleted'} {what} of {place}")
    if as_json:
        show_json(
            {
                "store": folder,
                "collection": collection,
                "dry_run": dry_run,
                "documents": held.documents,
                "passages": held.passages,
            }
        )
    if not held.documents and not held.passages:
        say(f"nothing in {place} matches; `decant list` shows what there is")
        raise typer.Exit(Exit.FINDING)


def _selection(sources: list[str], roots: list[str], ids: list[str]) -> Selection:
    from decant.integrations.qdrant import Selection

    try:
        return Selection(sources=tuple(sources), roots=tuple(roots), ids=tuple(ids))
    except StoreError as error:
        raise typer.BadParameter(str(error), param_hint="--source, --root, --id") from error


def _with_paths(chosen: Selection, store: Store, collection: str) -> Selection:
    """Return the selection with full paths for roots that are not stored as they were typed."""
    from decant.integrations.qdrant import Selection, summarize

    if not chosen.roots:
        return chosen
    known = {one.root for one in summarize(store, collection).roots}
    roots = tuple(
        root if root in known else str(Path(root).expanduser().resolve()) for root in chosen.roots
    )
    return Selection(sources=chosen.sources, roots=roots)
