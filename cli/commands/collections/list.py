"""``decant list``: list the collections of a store, and what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from decant.embedders import StoreError

from ...exit_codes import Exit
from ...input.open import open_store, store_of
from ...options.shared import ApiKey, AsJson, CaFile, Grpc, StorePlace, TenantName
from ...output.places import counted, place_of
from ...output.terminal import printable, say, show_json
from ...output.views import show_facts

if TYPE_CHECKING:
    from decant.integrations.qdrant import CollectionSummary

_MOST_ROOTS = 20
_MOST_TENANTS = 20


def list_collections(
    *,
    store: StorePlace = "./index",
    tenant: TenantName = None,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """List the collections of a store with their models, documents and roots.

    Also shown are the kinds of vectors, the language of the words if they are
    Also shown are the kinds of vectors, the language of the words if they are
    indexed, the mode, fusion and weights that `decant tune-search` stored, and
    how vectors are stored, with shards and replicas. A name that is an alias is
    shown with the collection that it means.
    Of a collection with tenants all passages are counted; with --tenant only
    those of that tenant, and collections without tenants are left out.
    No bundle is needed. A root is the set of documents of one folder, under its
    path or the name that `decant index --root` gave it. Exits with 1 if a
    collection cannot be opened; the others are listed.

    Examples:
      decant list
      decant list --store http://localhost:6333 --json
    """
    from decant.integrations.qdrant import TenantError, summarize

    found: list[CollectionSummary] = []
    broken: dict[str, str] = {}
    with open_store(store, api_key, grpc=grpc, ca=ca) as opened:
        place = place_of(opened)
        for name in opened.names():
            try:
                found.append(summarize(store_of(opened, name, tenant), name))
            except TenantError as error:
                if opened.find(name).card.tenants is not None:
                    broken[name] = str(error)
            except StoreError as error:
                broken[name] = str(error)
    if as_json:
        failed = [{"name": name, "error": reason} for name, reason in broken.items()]
        show_json({"store": place, "collections": [*map(_plain, found), *failed]})
    else:
        for one in found:
            _show(one)
        for name, reason in broken.items():
            show_facts({"collection": name, "error": reason})
        if not found and not broken:
            say(f"{place} holds no collections")
    if broken:
        raise typer.Exit(Exit.FINDING)


def _show(one: CollectionSummary) -> None:
    card = one.card
    there = {
        "sparse": card.sparse,
        "soft tokens": card.soft_tokens is not None,
        "token vectors": card.token_vectors is not None,
    }
    kinds = ["dense", *(name for name, is_there in there.items() if is_there)]
    records = f", {counted(one.records, 'record')} among them" if one.records else ""
    show_facts(
        {
            "collection": one.name,
            **({} if one.alias_of is None else {"alias of": one.alias_of}),
            **_migration(one),
            "model": f"{card.recipe.base}, recipe {card.recipe.digest()}",
            "vectors": f"{card.dim} wide, {' and '.join(kinds)}",
            **({} if card.words is None else {"words": str(card.words)}),
            **({} if card.search is None else {"searched by": str(card.search)}),
            "stored as": str(one.layout),
            **({} if card.tenants is None else {"tenants": _tenants(one)}),
            "filled by": ", ".join(map(str, one.filled_by)) or "not noted",
            "holds": f"{counted(one.held.documents, 'document')}, "
            f"{counted(one.held.passages, 'passage')}{records}",
        }
    )
    for root in one.roots[:_MOST_ROOTS]:
        name = "(no root)" if root.root is None else root.root
        show_facts({"  root": f"{name}: {counted(root.documents, 'document')}"})
    if (more := len(one.roots) - _MOST_ROOTS) > 0:
        show_facts({"  …": f"and {more} more roots; --json lists all"})


def _tenants(one: CollectionSummary) -> str:
    settings = str(one.card.tenants)
    if one.tenants is None:
        return settings
    names = ", ".join(map(printable, one.tenants[:_MOST_TENANTS]))
    more = len(one.tenants) - _MOST_TENANTS
    shown = f": {names}" + (f" and {more} more" if more > 0 else "") if names else ""
    return f"{counted(len(one.tenants), 'tenant')}{shown}; {settings}"


def _migration(one: CollectionSummary) -> dict[str, str]:
    """Return what is under way, or can be taken back, as a fact to show."""
    if (note := one.note) is None:
        return {}
    if note.following is not None:
        done = "replaced by" if note.cut_over_at is not None else "migrated to"
        return {"migration": f"{done} {note.following}"}
    if note.previous is not None and note.cut_over_at is not None:
        return {"migration": f"from {note.previous}, which is kept and can be rolled back to"}
    return {}


def _plain(one: CollectionSummary) -> dict[str, object]:
    return {
        "name": one.name,
        "alias_of": one.alias_of,
        "migration": one.note,
        "model": one.card.recipe.base,
        "digest": one.card.recipe.digest(),
        "dim": one.card.dim,
        "sparse": one.card.sparse,
        "states": one.card.soft_tokens is not None,
        "token_vectors": one.card.token_vectors,
        "words": one.card.words,
        "search_defaults": one.card.search,
        "layout": one.layout,
        **(
            {}
            if one.card.tenants is None
            else {"tenancy": one.card.tenants, "tenants": one.tenants}
        ),
        "filled_by": one.filled_by,
        "documents": one.held.documents,
        "passages": one.held.passages,
        "records": one.records,
        "roots": one.roots,
    }
