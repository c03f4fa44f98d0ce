"""``decant index``: a folder of documents becomes searchable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit
from .opening import open_encoder, open_store
from .options import (
    AnyDim,
    ApiKey,
    AsJson,
    BundlePath,
    CollectionName,
    CutDim,
    PrecisionName,
    Provider,
    StorePlace,
)
from .progress import bar
from .terminal import say, show_json
from .views import show_report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from decant.integrations.qdrant import Chunking, Collection, Document, IndexReport


def index(
    bundle: BundlePath,
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Documents: a folder with all below, or one file."),
    ],
    *,
    store: StorePlace = "./index",
    collection: CollectionName = "docs",
    max_tokens_per_chunk: Annotated[
        int, typer.Option(metavar="N", min=1, help="The longest chunk, in the model's tokens.")
    ] = 256,
    overlap: Annotated[
        int, typer.Option(metavar="N", min=0, help="Tokens that a chunk repeats of the last one.")
    ] = 0,
    states: Annotated[
        bool,
        typer.Option(
            "--states",
            help="Keep what models with appended tokens read, for `decant explain-vector`.",
        ),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read all that is stored of the documents, and repair what is wrong."
        ),
    ] = False,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    dim: CutDim = None,
    any_dim: AnyDim = False,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Make documents searchable, or bring their index up to date.

    Unchanged documents cost next to nothing, vanished ones leave the index, and
    an interrupted run is completed by the next one. Exits with 1 if a file could
    not be read; all others are indexed.

    Examples:
      decant index minilm ./notes
      decant index minilm ./notes --store http://localhost:6333 --collection notes
    """
    from decant.integrations.qdrant import Chunking, Collection, CollectionSettings, read_documents

    chunking = Chunking(max_tokens=max_tokens_per_chunk, overlap=overlap)
    documents = read_documents(folder)
    with (
        open_store(store, api_key) as opened,
        open_encoder(
            bundle, provider=provider, precision=precision, dim=dim, any_dim=any_dim
        ) as encoder,
    ):
        say(f"{encoder.recipe.base} runs on {encoder.provider} in {encoder.precision}")
        settings = CollectionSettings(states=states)
        target = Collection.open_or_create(opened, collection, encoder, settings=settings)
        report, seconds = index_into(
            target, documents, total=documents.count(), chunking=chunking, verify=verify
        )
    if as_json:
        where = {"store": store, "collection": collection, "seconds": round(seconds, 3)}
        show_json({**where, "report": report})
    else:
        show_report(report, seconds=seconds)
    if report.unreadable:
        raise typer.Exit(Exit.FINDING)


def index_into(
    collection: Collection,
    documents: Iterable[Document],
    *,
    total: int,
    chunking: Chunking | None = None,
    verify: bool = False,
) -> tuple[IndexReport, float]:
    """Index while showing how far it is; return the report and the seconds it took."""
    with bar("indexing", total=total, unit="documents") as shown:

        def tell(report: IndexReport) -> None:
            rate = report.embedded / max(shown.seconds, 1e-9)
            shown.tell(report.documents, f"{report.embedded:,} chunks, {rate:.0f}/s")

        report = collection.index(documents, chunking=chunking, progress=tell, verify=verify)
        return report, shown.seconds
