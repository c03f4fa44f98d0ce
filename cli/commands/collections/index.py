"""``decant index``: make a folder of documents searchable."""

from __future__ import annotations

import os
import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decant.embedders import TextError

from ...exit_codes import Exit
from ...input.language import words_of
from ...input.open import open_encoder, open_store
from ...input.payload_indexes import add_payload_indexes, read_payload_indexes
from ...options.layout import (
    OriginalsPlace,
    PrefixDim,
    StorageName,
    read_layout,
    read_token_vectors,
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
    KeepTokenVectors,
    LogFormatOption,
    PoolTokens,
    PrecisionName,
    Provider,
    SoftTokens,
    StorePlace,
    TenantName,
)
from ...output.log_lines import LogFormat
from ...output.places import counted, place_of
from ...output.progress import bar
from ...output.terminal import printable, say, show_json, show_line
from ...output.views import show_report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from decant.integrations.qdrant import (
        Chunking,
        Collection,
        Document,
        Documents,
        IndexReport,
        Store,
    )


def index(
    bundle: BundlePlace,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Documents: a folder with its subfolders, or one file."
        ),
    ],
    *,
    store: StorePlace = "./index",
    collection: CollectionName = "docs",
    root: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The name of the set that the documents belong to; by default the path of the "
            "folder. After renaming a folder, give its old path.",
        ),
    ] = None,
    max_tokens_per_chunk: Annotated[
        int, typer.Option(metavar="N", min=1, help="The most tokens of a chunk.")
    ] = 256,
    overlap: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="How many tokens a chunk repeats from the previous one."
        ),
    ] = 0,
    soft_tokens: SoftTokens = False,
    token_vectors: KeepTokenVectors = False,
    pool_tokens: PoolTokens = None,
    payload_index: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY:TYPE",
            help="Index this metadata entry, which makes filters on it fast: year:integer. "
            "Several are allowed; an index that is there stays.",
        ),
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGE",
            help="Also index the words of the texts, in a new collection, so that searches find "
            "names and codes: english, german …, or none for stems of no language.",
        ),
    ] = None,
    tenant: TenantName = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read everything that is stored of the documents, and repair what is wrong.",
        ),
    ] = False,
    bulk: Annotated[
        bool,
        typer.Option(
            "--bulk",
            help="Let a server build its vector index once, at the end; for a first run of some "
            "hundred thousand chunks. Searches are slow meanwhile.",
        ),
    ] = False,
    storage: StorageName = None,
    originals: OriginalsPlace = None,
    prefix: PrefixDim = None,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    dim: CutDim = None,
    allow_any_dim: AnyDim = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    log_format: LogFormatOption = LogFormat.TEXT,  # noqa: ARG001 - its callback sets the log up
    as_json: AsJson = False,
) -> None:
    """Make documents searchable, or bring their index up to date.

    Unchanged documents take almost no time, documents that are gone are removed
    from the index, and an interrupted run is completed by the next one. Indexes,
    bundles, hidden files, virtual environments and folders of tools are skipped.
    The key of a server in place of BUNDLE comes from DECANT_API_KEY.
    With --tenant a new collection has tenants, each with documents of its own.
    Exits with 1 if a file could not be read; all others are indexed.

    Examples:
      decant index minilm ./notes
      decant index minilm ./notes --words english
      decant index minilm ./renamed --root /home/me/notes
      decant index minilm ./notes --payload-index year:integer
      decant index minilm ./acme --tenant acme
      decant index minilm ./notes --store http://localhost:6333 --collection notes
      decant index http://encoder:6900 ./notes
    """
    from decant.integrations.qdrant import (
        Chunking,
        Collection,
        CollectionSettings,
        Tenants,
        read_documents,
    )

    indexed_words = None if words is None else words_of(words, option="--words")
    layout = read_layout(storage, originals, prefix=prefix, allow_any_dim=allow_any_dim)
    chunking = Chunking(max_tokens=max_tokens_per_chunk, overlap=overlap)
    indexes = read_payload_indexes(payload_index or ())
    _check_exists(folder, root)
    documents = read_documents(folder, root=root)
    with (
        open_store(store, api_key, grpc=grpc, ca=ca) as opened,
        open_encoder(
            bundle, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
        ) as encoder,
    ):
        say(f"{encoder.recipe.base} runs on {encoder.provider} in {encoder.precision}")
        is_there = _check_readable(opened, collection, documents)
        settings = CollectionSettings(
            storage=layout.storage,
            originals=layout.originals,
            prefix=layout.prefix,
            allow_any_dim=layout.allow_any_dim,
            soft_tokens=soft_tokens,
            token_vectors=read_token_vectors(kept=token_vectors, pool_to=pool_tokens),
            indexed=indexes,
            words=indexed_words,
            tenants=None if tenant is None or is_there else Tenants(),
        )
        made = Collection.open_or_create(opened, collection, encoder, settings=settings)
        if is_there:
            add_payload_indexes(made, indexes)
        target = made.for_tenant(tenant)
        with made.bulk() if bulk else nullcontext():
            report, seconds = index_into(
                target, documents, total=documents.count(), chunking=chunking, verify=verify
            )
        place, info = place_of(opened), target.info()
    if as_json:
        show_json(
            {
                "store": place,
                "collection": collection,
                "root": documents.root,
                "documents": info.documents,
                "passages": info.passages,
                "precision": encoder.precision,
                "provider": encoder.provider,
                "seconds": round(seconds, 3),
                "report": report,
            }
        )
    else:
        show_report(report, seconds=seconds)
        show_line(
            f"collection {collection!r} in {printable(place)} holds "
            f"{counted(info.documents, 'document')}, {counted(info.passages, 'passage')}"
        )
    if report.unreadable:
        raise typer.Exit(Exit.FINDING)


def _check_exists(folder: Path, root: str | None) -> None:
    """Refuse a missing folder; the message says what to do if it was indexed before."""
    path = folder.expanduser()
    if os.path.lexists(path):
        return
    held = shlex.quote(root or str(path.resolve()))
    raise TextError(
        f"{folder} does not exist; give a folder of text files, or one file. If it was indexed and "
        f"is gone, `decant delete --root {held}` takes its documents out; if it was renamed, index "
        f"the new folder with --root {held}"
    )


def _check_readable(store: Store, collection: str, documents: Documents) -> bool:
    """Return whether a collection is there; refuse to make one of a folder without documents.

    Raises:
        TextError: There is no such collection, and no document to begin it with.
    """
    from decant.integrations.qdrant import StoreInputError

    try:
        store.find(collection)
    except StoreInputError:
        next(iter(documents))
        return False
    return True


def index_into(
    collection: Collection,
    documents: Iterable[Document],
    *,
    total: int,
    chunking: Chunking | None = None,
    verify: bool = False,
) -> tuple[IndexReport, float]:
    """Index documents with a progress bar; return the report and the seconds it took."""
    with bar("indexing", total=total, unit="documents") as shown:

        def update(report: IndexReport) -> None:
            rate = report.embedded / max(shown.seconds, 1e-9)
            shown.update(report.documents, f"{report.embedded:,} chunks, {rate:.0f}/s")

        report = collection.index(documents, chunking=chunking, progress=update, verify=verify)
        return report, shown.seconds
