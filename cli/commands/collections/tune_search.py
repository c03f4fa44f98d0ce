"""``decant tune-search``: choose how a collection is searched from labelled queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from ...input.open import open_encoder, open_store
from ...input.wanted_files import QUERIES, existing
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
from ...output.progress import steps
from ...output.terminal import say, show, show_json
from ...output.views import show_facts

if TYPE_CHECKING:
    from decant.integrations.qdrant import SearchTuning

_MOST_UNKNOWN = 3


def tune_search(
    bundle: BundlePlace,
    queries: Annotated[
        Path,
        typer.Argument(
            metavar="QUERIES",
            callback=existing(QUERIES),
            help='A file with a line {"query": "…", "relevant": ["id or source", …]} for each '
            "query, or a folder in BEIR's format whose documents have such ids.",
        ),
    ],
    *,
    store: StorePlace = "./index",
    collection: CollectionName = "docs",
    metric: Annotated[
        str,
        typer.Option(metavar="NAME", help="The metric: ndcg@K or recall@K, K up to 100."),
    ] = "ndcg@10",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only measure; do not change the collection.")
    ] = False,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    tenant: TenantName = None,
    dim: CutDim = None,
    allow_any_dim: AnyDim = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Choose how a collection is searched, from queries whose answers are known.

    Tries each ranking alone and several fusions of them, and measures the gain
    of the choice on queries held out of it. If the gain is more than chance, the
    best mode and fusion are stored in the collection, and every search that
    specifies neither uses them. Otherwise nothing is changed. At least 20 queries
    must have an answer in the collection; 50 or more are recommended.

    Examples:
      decant tune-search minilm questions.jsonl --dry-run
      decant tune-search minilm questions.jsonl --collection notes
      decant tune-search minilm cranfield --metric recall@20 --json
    """
    from decant.integrations.qdrant import (
        Collection,
        RankingMetric,
        StoreInputError,
        read_labelled_queries,
    )
    from decant.integrations.qdrant import tune_search as run

    try:
        counted_by = RankingMetric.parse(metric)
    except StoreInputError as error:
        raise typer.BadParameter(str(error), param_hint="--metric") from error
    labelled = read_labelled_queries(queries)
    with (
        open_store(store, api_key, grpc=grpc, ca=ca, read_only=dry_run) as opened,
        open_encoder(
            bundle, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
        ) as encoder,
    ):
        target = Collection.open(opened, collection, encoder)
        with steps(keep=False) as on_step:
            on_step(f"searching for {len(labelled):,} queries")
            tuning = run(target.for_tenant(tenant), labelled, metric=counted_by)
        kept = tuning.is_better and not dry_run
        if kept:
            target.set_search_defaults(tuning.chosen)
    if as_json:
        show_json({"collection": collection, "kept": kept, "tuning": _plain(tuning)})
    else:
        _show(tuning)
    say(str(tuning))
    if kept:
        say(f"{collection} in {store} is now searched by: {tuning.chosen}")
    elif tuning.is_better:
        say("nothing was changed, because of --dry-run")


def _show(tuning: SearchTuning) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("search", overflow="fold")
    table.add_column(f"{tuning.metric} on all", justify="right")
    table.add_column("")
    for number, one in enumerate(tuning.candidates):
        marks = ["default"] if number == 0 else []
        marks += ["best"] if one == tuning.best else []
        marks += ["chosen"] if one.defaults == tuning.chosen else []
        table.add_row(str(one.defaults), f"{one.score:.3f}", ", ".join(marks))
    show(table)
    facts = {"queries": f"{tuning.queries:,}"}
    if tuning.left_out:
        facts["left out"] = f"{tuning.left_out:,} without a relevant passage in the collection"
    if tuning.unknown:
        first = ", ".join(tuning.unknown[:_MOST_UNKNOWN])
        more = len(tuning.unknown) - _MOST_UNKNOWN
        facts["not there"] = first + (f" and {more:,} more" if more > 0 else "")
    facts["held-out gain"] = f"{tuning.gain} {tuning.metric}"
    show_facts(facts)


def _plain(tuning: SearchTuning) -> dict[str, object]:
    return {
        "metric": str(tuning.metric),
        "queries": tuning.queries,
        "left_out": tuning.left_out,
        "unknown": tuning.unknown,
        "candidates": tuning.candidates,
        "held_out_gain": tuning.gain,
        "best": tuning.best.defaults,
        "chosen": tuning.chosen,
        "is_better": tuning.is_better,
    }
