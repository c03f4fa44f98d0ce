"""``decant migrate``: change the model, layout or store of a collection while it is used."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decant.embedders import TextError

from ...input.confirm import confirm
from ...input.open import open_encoder, open_store
from ...options.layout import OriginalsPlace, PrefixDim, StorageName, read_layout
from ...options.shared import (
    AnyDim,
    ApiKey,
    AsJson,
    CaFile,
    CutDim,
    Grpc,
    PrecisionName,
    Provider,
    Yes,
)
from ...output.places import counted, place_of
from ...output.progress import bar
from ...output.terminal import printable, say, show_json, show_line

if TYPE_CHECKING:
    from decant.embedders import Encoder
    from decant.integrations.qdrant import (
        Migration,
        MigrationProgress,
        OverlapReport,
        RolledBack,
        Store,
    )

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The collection that the command is about, and the store to which it goes, if another."""

    store: Store
    name: str
    to: Store | None
    as_json: bool


def migrate(
    store: Annotated[
        str,
        typer.Argument(metavar="STORE", help="A folder, or a Qdrant server's http(s)://… address."),
    ],
    collection: Annotated[
        str, typer.Argument(metavar="NAME", help="The collection's name, or an alias.")
    ],
    *,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE",
            help="The model of the new vectors: a folder that `decant export` made, or the "
            "http(s)://… address of a decant server.",
        ),
    ] = None,
    old: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="BUNDLE",
            help="The model of the old vectors: to compare both by --queries, and to keep with "
            "--rollback what was written since the cut-over.",
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Queries, one per line, by which both are compared before the cut-over; needs "
            "--from. By default passages are searched by their own vectors.",
        ),
    ] = None,
    to_store: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Another folder or server to which the collection goes."
        ),
    ] = None,
    storage: StorageName = None,
    originals: OriginalsPlace = None,
    prefix: PrefixDim = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Take the migration back: the old vectors count.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Delete the old vectors of an earlier migration.")
    ] = False,
    keep: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="With --drop-old: how long ago the cut-over must be, such as 7d, 12h or 0d.",
        ),
    ] = "7d",
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    dim: CutDim = None,
    allow_any_dim: AnyDim = False,
    yes: Yes = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Change the model, the layout or the store of a collection while it is used.

    Builds a new collection beside the old one from the texts that it holds, so no
    files are needed. It is searched and written meanwhile. Then the best hits of
    both are compared, and after your answer the name means the new one. An
    interrupted migration is completed by the same command. The old vectors are
    kept: --rollback takes the migration back at once, --drop-old deletes them.

    Examples:
      decant migrate ./index notes --to bge-small
      decant migrate ./index notes --to minilm --precision int8 --yes
      decant migrate ./index notes --to minilm --to-store http://localhost:6333
      decant migrate ./index notes --rollback
      decant migrate ./index notes --drop-old --keep 0d
    """
    time_to_keep = _read_duration(keep, option="--keep")
    _check_one_task(to, rollback=rollback, drop_old=drop_old)
    asked = _read_queries(queries, old)
    with ExitStack() as stack:
        opened = stack.enter_context(open_store(store, api_key, grpc=grpc, ca=ca))
        there = None
        if to_store is not None:
            there = stack.enter_context(open_store(to_store, api_key, grpc=grpc, ca=ca))
        place = _Place(store=opened, name=collection, to=there, as_json=as_json)
        if drop_old:
            _drop_old(place, time_to_keep, yes=yes)
            return
        before: Encoder | None = None
        if old is not None:
            stack.enter_context(before := open_encoder(old, provider=provider))
        if rollback:
            _roll_back(place, before)
            return
        assert to is not None
        encoder = open_encoder(
            to, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
        )
        stack.enter_context(encoder)
        from decant.integrations.qdrant import migrate as begin

        layout = read_layout(storage, originals, prefix=prefix, allow_any_dim=allow_any_dim)
        migration = begin(opened, collection, encoder, layout=layout, to=there)
        _carry_out(place, migration, before, asked, yes=yes)


def _read_duration(text: str, *, option: str) -> timedelta:
    """Return the duration of a whole number with its unit.

    Raises:
        BadParameter: It is something else; the message shows what is right.
    """
    found = re.fullmatch(r"(\d{1,6})([dhms])", text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no duration; write a whole number with d, h, m or s, such as 7d or 12h",
            param_hint=option,
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _check_one_task(to: str | None, *, rollback: bool, drop_old: bool) -> None:
    if [to is not None, rollback, drop_old].count(True) != 1:
        raise typer.BadParameter(
            "give one of these three: --to BUNDLE for a migration, --rollback, or --drop-old"
        )


def _read_queries(file: Path | None, old: str | None) -> list[str]:
    if file is None:
        return []
    if old is None:
        raise typer.BadParameter(
            "queries are embedded by both models; give the old one with --from",
            param_hint="--queries",
        )
    try:
        found = [line.strip() for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"the queries in {file} cannot be read: {error}") from error
    return [line for line in found if line]


def _carry_out(
    place: _Place, migration: Migration, old: Encoder | None, queries: list[str], *, yes: bool
) -> None:
    where = place_of(place.to or place.store)
    if migration.is_done:
        say(f"{place.name!r} means {migration.target!r} in {where} already; nothing was changed")
        done, overlap = None, None
    else:
        say(f"{migration.source!r} is migrated to {migration.target!r} in {where}")
        done = _run(migration)
        overlap = _compare(migration, old, queries)
        confirm(
            f"Shall the name {place.name!r} mean the new vectors?",
            yes=yes,
            action="let the name mean the new vectors",
        )
        migration.cut_over()
    if place.as_json:
        show_json(
            {
                "store": where,
                "collection": place.name,
                "source": migration.source,
                "target": migration.target,
                "progress": done,
                "overlap": overlap,
            }
        )
        return
    show_line(f"the name {place.name!r} means {migration.target!r} in {printable(where)}")
    if done is not None:
        say("the old vectors are kept: --rollback takes this back, --drop-old deletes them")


def _run(migration: Migration) -> MigrationProgress:
    with bar("migrating", total=migration.points, unit="points") as shown:

        def tell(progress: MigrationProgress) -> None:
            shown.update(progress.compared, f"{progress.tokens_per_second:,.0f} tokens/s")

        done = migration.run(tell)
    say(
        f"{counted(done.embedded, 'text')} embedded with {counted(done.tokens, 'token')}, "
        f"{counted(done.changed, 'point')} written, in {done.seconds:,.1f} s"
    )
    if done.left_out:
        say(f"{counted(done.left_out, 'point')} without a text, of other programs, were left out")
    return done


def _compare(migration: Migration, old: Encoder | None, queries: list[str]) -> OverlapReport | None:
    from decant.integrations.qdrant import StoreInputError

    try:
        found = migration.overlap(queries, old_encoder=old)
    except StoreInputError:
        say("the collection holds no passage with a vector, so nothing can be compared")
        return None
    by = "passages, each searched by its own vector" if found.by_passages else "queries"
    say(
        f"of the best {found.limit} hits of {found.queries:,} {by}, {found.mean:.0%} are the same; "
        f"fewest, {found.least:.0%}, for {found.least_query[:60]!r}"
    )
    return found


def _roll_back(place: _Place, old: Encoder | None) -> None:
    from decant.integrations.qdrant import rollback_migration

    done: RolledBack = rollback_migration(place.store, place.name, old_encoder=old, to=place.to)
    where = place_of(place.store)
    if place.as_json:
        show_json({"store": where, "collection": place.name, "rolled_back": done})
        return
    show_line(f"the name {place.name!r} means {done.name!r} in {printable(where)} again")
    if done.was_cut_over and old is None:
        say(
            f"what was written since the cut-over is in {done.abandoned!r} alone; with --from it "
            "would have been copied"
        )


def _drop_old(place: _Place, keep: timedelta, *, yes: bool) -> None:
    from decant.integrations.qdrant import drop_replaced

    where = place_of(place.store)
    confirm(f"Delete the old vectors of {place.name!r} in {where}?", yes=yes)
    dropped = drop_replaced(place.store, place.name, keep=keep)
    if place.as_json:
        show_json({"store": where, "collection": place.name, "dropped": dropped})
    else:
        names = ", ".join(map(repr, dropped))
        show_line(f"deleted the old vectors of {place.name!r} in {printable(where)}: {names}")
