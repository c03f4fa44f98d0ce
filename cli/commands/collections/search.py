"""``decant search``: search a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...exit_codes import Exit
from ...input.conditions import read_condition
from ...input.open import open_encoder, open_store, reranker_facts
from ...input.search_options import (
    Asked,
    AskedReranker,
    Boosts,
    Candidates,
    Distinct,
    Ef,
    Exact,
    FusionName,
    LateOrder,
    ModeName,
    PerDocument,
    Recent,
    RerankBy,
    RerankInstruction,
    Thresholds,
    Variety,
    Weights,
    read_fusion,
    read_mode,
    read_options,
    reranked,
)
from ...options.shared import (
    AnyDim,
    ApiKey,
    AsJson,
    BundlePlace,
    CaFile,
    CollectionName,
    CutDim,
    Grpc,
    PrecisionName,
    Provider,
    StorePlace,
    TenantName,
)
from ...output.terminal import say, show_json
from ...output.views import show_hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decant.integrations.qdrant import Filling, Hit, SearchOptions


def search(
    bundle: BundlePlace,
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
            help="Search only passages with this metadata. VALUE is a number, true, false or text "
            '("2020" in quotes is text). Other forms: KEY!=VALUE; >, >=, < and <= for numbers and '
            "dates; KEY^=PREFIX. KEY is a metadata entry, author.name a nested one, or source, the "
            "document's source; quotes make '\"a.b\"' or '\"source\"' one name. Repeatable: all "
            "must match.",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Search only passages of this source. Repeatable: one must match.",
        ),
    ] = None,
    tenant: TenantName = None,
    mode: ModeName = None,
    fusion: FusionName = None,
    weight: Weights = None,
    threshold: Thresholds = None,
    per_document: PerDocument = None,
    distinct: Distinct = False,
    recent: Recent = None,
    boost: Boosts = None,
    mmr: Variety = None,
    ef: Ef = None,
    exact: Exact = False,
    late: LateOrder = False,
    rerank: RerankBy = None,
    candidates: Candidates = None,
    rerank_instruction: RerankInstruction = None,
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
      decant search minilm "budget" --where "date>=2025-01-01" --per-document 1
      decant search minilm "who approves a PEP?" --rerank reranker --candidates 20
    """
    from decant.integrations.qdrant import Collection, read_fillings

    chosen = read_mode(mode)
    condition = read_condition(where or [], source or [])
    options = read_options(
        Asked(
            threshold=threshold or [],
            per_document=per_document,
            distinct=distinct,
            recent=recent or [],
            boost=boost or [],
            mmr=mmr,
            ef=ef,
            exact=exact,
            late=late,
        )
    )
    reranker = AskedReranker(place=rerank, candidates=candidates, instruction=rerank_instruction)
    with (
        reranked(options, reranker, provider=provider) as options,
        open_store(store, api_key, grpc=grpc, ca=ca) as opened,
        open_encoder(
            bundle, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
        ) as encoder,
    ):
        target = Collection.open(opened, collection, encoder).for_tenant(tenant)
        hits = target.search(
            query,
            limit=limit,
            offset=offset,
            where=condition,
            mode=chosen,
            fusion=read_fusion(fusion, weight or [], target.search_defaults),
            options=options,
        )
        filled_by = read_fillings(target.store, opened.find(collection).name)
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
                **_reranker(options),
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


def _reranker(options: SearchOptions) -> dict[str, object]:
    rerank = options.rerank
    if rerank is None:
        return {}
    return {"reranker": {**reranker_facts(rerank.reranker), "candidates": rerank.candidates}}


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
        "boost": hit.boost,
    }
