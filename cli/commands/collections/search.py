"""``decant search``: search a collection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ...exit_codes import Exit
from ...input.open import open_encoder, open_store
from ...options.shared import (
    AnyDim,
    ApiKey,
    AsJson,
    BundlePath,
    CaFile,
    CollectionName,
    CutDim,
    Grpc,
    PrecisionName,
    Provider,
    StorePlace,
)
from ...output.terminal import say, show_json
from ...output.views import show_hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decant.integrations.qdrant import Condition, Filling, Fusion, Hit, SearchMode


def search(
    bundle: BundlePath,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="The text to search for.")],
    *,
    store: StorePlace = "./index",
    collection: CollectionName = "docs",
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="The most hits to show.")] = 5,
    offset: Annotated[
        int, typer.Option(metavar="N", min=0, help="How many of the best hits to skip.")
    ] = 0,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Only passages with this metadata; several must all match. VALUE is a number, "
            'true, false or text ("2020" in quotes is text).',
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE", help="Only passages of this source; several are alternatives."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="dense, sparse, words or hybrid; by default what `decant tune-search` chose, else "
            "hybrid if the collection has more than dense vectors, else dense.",
        ),
    ] = None,
    fusion: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How hybrid makes one ranking of several: dbsf (the default if `decant "
            "tune-search` chose none), relative or rrf.",
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RANKING=NUMBER",
            help="How much a ranking of hybrid counts, for example words=2; else 1. Repeatable.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show each hit's rank and score in every ranking."),
    ] = False,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    dim: CutDim = None,
    allow_any_dim: AnyDim = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Search a collection that `decant index` made.

    BUNDLE must hold the model that filled the collection. Exits with 1 if there
    are no hits.

    Examples:
      decant search minilm "who approves a PEP?"
      decant search minilm "rust" --source metals.md --limit 3 --json
      decant search minilm "E1234" --mode words
      decant search minilm "error E1234" --weight words=2 --explain
    """
    from decant.integrations.qdrant import Collection, read_fillings

    chosen = _mode(mode)
    condition = _condition(where or [], source or [])
    with (
        open_store(store, api_key, grpc=grpc, ca=ca) as opened,
        open_encoder(
            bundle, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
        ) as encoder,
    ):
        target = Collection.open(opened, collection, encoder)
        hits = target.search(
            query,
            limit=limit,
            offset=offset,
            where=condition,
            mode=chosen,
            fusion=_fusion(fusion, weight or []),
        )
        filled_by = read_fillings(opened, collection)
    if as_json:
        asked_by = {
            "model": encoder.recipe.base,
            "digest": encoder.recipe.digest(),
            "precision": encoder.precision,
            "provider": encoder.provider,
        }
        show_json(
            {
                "query": query,
                "encoder": asked_by,
                "filled_by": filled_by,
                "hits": [_plain(hit) for hit in hits],
            }
        )
    else:
        show_hits(hits, first=offset + 1, explain=explain)
        if note := mixture(filled_by, encoder.precision):
            say(note, label="note", style="yellow")
    if not hits:
        say("no hits")
        raise typer.Exit(Exit.FINDING)


def mixture(filled_by: Sequence[Filling], asked_by: str) -> str:
    """Return what to say where vectors of several precisions meet; "" where they do not.

    Args:
        filled_by: How the collection's vectors were made; what nobody knows does not count.
        asked_by: The precision of the query's vector.
    """
    known = {one.precision for one in filled_by if one.is_known}
    if known <= {asked_by}:
        return ""
    return (
        f"the collection was filled in {', '.join(sorted(known))} and is asked in {asked_by}; "
        "choose one with --precision"
    )


def _mode(name: str | None) -> SearchMode | None:
    from decant.integrations.qdrant import SearchMode

    if name is None:
        return None
    try:
        return SearchMode(name)
    except ValueError as error:
        names = ", ".join(SearchMode)
        raise typer.BadParameter(f"{name!r} is none of {names}", param_hint="--mode") from error


def _fusion(name: str | None, weights: list[str]) -> Fusion | None:
    from decant.integrations.qdrant import Fusion, FusionMethod

    if name is None and not weights:
        return None
    known = {method.value: method for method in FusionMethod}
    if name is not None and name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--fusion")
    found: dict[str, float] = {}
    for pair in weights:
        ranking, _, number = pair.partition("=")
        try:
            found[ranking] = float(number)
        except ValueError as error:
            hint = f"{pair!r} is not RANKING=NUMBER"
            raise typer.BadParameter(hint, param_hint="--weight") from error
    return Fusion(method=known[name] if name else FusionMethod.DBSF, weights=found)


def _condition(where: list[str], sources: list[str]) -> Condition | None:
    from decant.integrations.qdrant import And, Equals, Field, FieldIn

    parts: list[Condition] = []
    for pair in where:
        key, sign, value = pair.partition("=")
        if not key or not sign:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--where")
        parts.append(Equals(key, _value(value)))
    if sources:
        parts.append(FieldIn(Field.SOURCE, sources))
    return And(parts) if parts else None


def _value(text: str) -> str | int | float | bool:
    """Read a JSON scalar; anything else is text as it stands."""
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


def _plain(hit: Hit) -> dict[str, object]:
    return {
        "id": hit.id,
        "score": hit.score,
        "source": hit.source,
        "root": hit.root,
        "start": hit.start,
        "text": hit.text,
        "metadata": hit.metadata,
        "branches": hit.branches,
    }
