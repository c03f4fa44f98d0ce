"""``decant snapshot``: make, list, download, recover and delete snapshots on a Qdrant server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...input.confirm import confirm
from ...input.open import open_store
from ...options.shared import ApiKey, AsJson, CaFile, Grpc, Yes
from ...output.terminal import printable, say, show_json, show_line

if TYPE_CHECKING:
    from decant.integrations.qdrant import Snapshot, Snapshots


def snapshot(
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="A Qdrant server's http(s)://… address.")
    ],
    collection: Annotated[
        str, typer.Argument(metavar="NAME", help="The collection's name, or an alias.")
    ],
    *,
    list_them: Annotated[bool, typer.Option("--list", help="List the snapshots.")] = False,
    delete: Annotated[
        str | None, typer.Option(metavar="SNAPSHOT", help="Delete this snapshot.")
    ] = None,
    recover: Annotated[
        str | None,
        typer.Option(
            metavar="SNAPSHOT",
            help="Replace what the collection holds by this snapshot: its name, or a file:// or "
            "http(s):// address that the server can read.",
        ),
    ] = None,
    download: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Copy the new snapshot, or that of --name, to this file."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="SNAPSHOT", help="The snapshot that --download copies."),
    ] = None,
    yes: Yes = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a snapshot of a collection on a Qdrant server, which keeps it.

    A snapshot is the server's own backup, with the vector index, for a server of
    the same version or the next. `decant dump` makes a file that every store
    reads; folders have no snapshots.

    Examples:
      decant snapshot http://localhost:6333 notes
      decant snapshot http://localhost:6333 notes --download notes.snapshot
      decant snapshot http://localhost:6333 notes --list
      decant snapshot http://localhost:6333 notes --delete notes-1-2026.snapshot
    """
    asked = [list_them, delete is not None, recover is not None, download is not None]
    if asked.count(True) > 1:
        raise typer.BadParameter("give one of --list, --delete, --recover and --download")
    if name is not None and download is None:
        raise typer.BadParameter("it goes with --download FILE", param_hint="--name")
    from decant.integrations.qdrant import Snapshots

    reads = list_them or name is not None
    with open_store(store, api_key, grpc=grpc, ca=ca, read_only=reads) as opened:
        held = Snapshots(opened, collection)
        if list_them:
            _show(held.list(), as_json=as_json)
        elif delete is not None:
            confirm(f"Delete the snapshot {delete!r} of {collection!r}?", yes=yes)
            held.delete(delete)
            _tell({"deleted": delete}, f"deleted the snapshot {delete!r}", as_json=as_json)
        elif recover is not None:
            confirm(
                f"Replace what {collection!r} holds by the snapshot {recover!r}?",
                yes=yes,
                action="recover",
            )
            held.recover(recover)
            said = f"collection {collection!r} holds what the snapshot {recover!r} held"
            _tell({"recovered": recover}, said, as_json=as_json)
        else:
            _make(held, name, download, as_json=as_json)


def _make(held: Snapshots, name: str | None, file: Path | None, *, as_json: bool) -> None:
    if name is None:
        made = held.create()
        name = made.name
        if file is None:
            _show((made,), as_json=as_json)
            return
        say(f"made the snapshot {made.name!r}")
    assert file is not None
    held.download(name, file)
    said = f"copied the snapshot {name!r} to {printable(str(file))}"
    _tell({"snapshot": name, "file": str(file)}, said, as_json=as_json)


def _show(found: tuple[Snapshot, ...], *, as_json: bool) -> None:
    if as_json:
        show_json({"snapshots": found})
        return
    for one in found:
        show_line(f"{printable(one.name)}: {one.bytes:,} bytes, made {one.created or 'once'}")
    if not found:
        say("there are no snapshots")


def _tell(facts: dict[str, str], said: str, *, as_json: bool) -> None:
    if as_json:
        show_json(facts)
    else:
        show_line(said)
