"""``decant create``: make an empty collection for a model."""

from __future__ import annotations

from typing import Annotated

import typer

from ...input.language import words_of
from ...input.open import open_encoder, open_store
from ...input.payload_indexes import read_payload_indexes
from ...options.layout import (
    OriginalsPlace,
    PrefixDim,
    Replicas,
    Shards,
    StorageName,
    Strict,
    WriteConsistency,
    read_layout,
    read_token_vectors,
)
from ...options.shared import (
    AnyDim,
    ApiKey,
    AsJson,
    CaFile,
    CutDim,
    Grpc,
    KeepTokenVectors,
    PoolTokens,
    PrecisionName,
    Provider,
    SoftTokens,
    WithTenants,
)
from ...output.places import place_of
from ...output.terminal import printable, show_json, show_line


def create(
    store: Annotated[
        str,
        typer.Argument(metavar="STORE", help="A folder, or a Qdrant server's http(s)://… address."),
    ],
    collection: Annotated[str, typer.Argument(metavar="NAME", help="The collection's name.")],
    *,
    model: Annotated[
        str,
        typer.Option(
            metavar="BUNDLE",
            help="The model: a folder that `decant export` made, or the http(s)://… address of a "
            "decant server.",
        ),
    ],
    soft_tokens: SoftTokens = False,
    token_vectors: KeepTokenVectors = False,
    pool_tokens: PoolTokens = None,
    payload_index: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY:TYPE",
            help="Index this metadata entry, which makes filters on it fast: year:integer. "
            "Several are allowed.",
        ),
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGE",
            help="Also index the words of the texts, so that searches find names and codes: "
            "english, german …, or none for stems of no language.",
        ),
    ] = None,
    tenants: WithTenants = False,
    storage: StorageName = None,
    originals: OriginalsPlace = None,
    prefix: PrefixDim = None,
    shards: Shards = None,
    replicas: Replicas = None,
    write_consistency: WriteConsistency = None,
    strict: Strict = None,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    dim: CutDim = None,
    allow_any_dim: AnyDim = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Make an empty collection that holds vectors of one model.

    `decant index` makes collections by itself. This is for a Qdrant server whose
    clients have no model: they send texts, the server asks `decant serve`, and by
    the vectors that the collection keeps from here they know that it is the
    right model (ServerInference in Python).

    Examples:
      decant create http://localhost:6333 notes --model minilm
      decant create http://localhost:6333 notes --model minilm --words english
      decant create http://localhost:6333 notes --model minilm --storage turbo4
      decant create http://localhost:6333 notes --model nomic --prefix 128
    """
    from decant.integrations.qdrant import Collection, CollectionSettings, Engine, Tenants

    indexed_words = None if words is None else words_of(words, option="--words")
    layout = read_layout(storage, originals, prefix=prefix, allow_any_dim=allow_any_dim)
    settings = CollectionSettings(
        storage=layout.storage,
        originals=layout.originals,
        prefix=layout.prefix,
        allow_any_dim=layout.allow_any_dim,
        shards=shards,
        replicas=replicas,
        write_consistency=write_consistency,
        strict=strict,
        soft_tokens=soft_tokens,
        token_vectors=read_token_vectors(kept=token_vectors, pool_to=pool_tokens),
        indexed=read_payload_indexes(payload_index or ()),
        words=indexed_words,
        tenants=Tenants() if tenants else None,
    )
    with (
        open_store(store, api_key, grpc=grpc, ca=ca) as opened,
        open_encoder(
            model, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
        ) as encoder,
    ):
        made = Collection.create(opened, collection, encoder, settings=settings)
        if opened.engine is Engine.REMOTE:
            made.keep_golden_vectors()
        place, recipe = place_of(opened), encoder.recipe
        width = encoder.dim
    if as_json:
        show_json(
            {
                "store": place,
                "collection": collection,
                "model": recipe.base,
                "digest": recipe.digest(),
                "dim": width,
            }
        )
    else:
        show_line(
            f"made the collection {collection!r} in {printable(place)} for {recipe.base}, {width} "
            f"wide, recipe {recipe.digest()}"
        )
