"""The options of a collection's layout, which ``create``, ``index`` and ``relayout`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from decant.embedders import StoreError

if TYPE_CHECKING:
    from decant.integrations.qdrant import Layout, TokenVectors

StorageName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How vectors are compressed for searching: full (not at all), int8, turbo4, turbo1 or "
        "binary. Hits are always rescored by the original vectors.",
    ),
]
OriginalsPlace: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Where the original vectors lie: memory or disk. By default on disk where they are "
        "compressed for searching.",
    ),
]
PrefixDim: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--prefix",
        metavar="N",
        min=0,
        help="Also store the first N values of each vector, and search these first; the whole "
        "vectors, on disk, rescore what they find. For models trained for it (Matryoshka), or with "
        "--allow-any-dim; 0: not.",
    ),
]
Shards: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Into how many shards a Qdrant server cuts the collection."
    ),
]
Replicas: TypeAlias = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="How many nodes of a cluster hold each shard."),
]
WriteConsistency: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="How many replicas must have stored a write before it counts."
    ),
]
Strict: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--strict/--no-strict",
        help="Whether the server refuses filters on metadata entries without a payload index.",
    ),
]


def read_token_vectors(*, kept: bool, pool_to: int | None) -> TokenVectors | None:
    """Return what a new collection keeps of token vectors; None for nothing.

    Args:
        kept: Whether they are asked for.
        pool_to: At most so many of each passage; None: all.
    """
    from decant.integrations.qdrant import TokenVectors

    return TokenVectors(pool_to=pool_to) if kept or pool_to is not None else None


def read_layout(
    storage: str | None,
    originals: str | None,
    *,
    prefix: int | None = None,
    allow_any_dim: bool = False,
) -> Layout:
    """Return the layout of these names, and of a prefix, if there is one.

    Raises:
        BadParameter: One of them is unknown; the message lists those that there are.
    """
    from decant.integrations.qdrant import Layout

    try:
        # A layout takes the names of members for them.
        return Layout(
            storage=storage,  # type: ignore[arg-type]
            originals=originals,  # type: ignore[arg-type]
            prefix=prefix,
            allow_any_dim=prefix is not None and allow_any_dim,
        )
    except StoreError as error:
        raise typer.BadParameter(str(error)) from None
