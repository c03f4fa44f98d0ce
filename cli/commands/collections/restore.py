"""``decant restore``: make a collection of a file that ``decant dump`` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...input.open import open_store
from ...options.layout import OriginalsPlace, StorageName, read_layout
from ...options.shared import ApiKey, AsJson, CaFile, Grpc
from ...output.places import counted, place_of
from ...output.progress import bar
from ...output.terminal import printable, show_json, show_line


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `decant dump` wrote.")],
    store: Annotated[
        str,
        typer.Argument(metavar="STORE", help="A folder, or a Qdrant server's http(s)://… address."),
    ],
    collection: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The name of the collection, which must be free but with --tenant.",
        ),
    ],
    *,
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant",
            metavar="NAME",
            help="Give the points to a tenant without any, in a collection that is there.",
        ),
    ] = None,
    storage: StorageName = None,
    originals: OriginalsPlace = None,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a collection of a file that `decant dump` wrote; nothing is embedded.

    The whole file is checked before anything is made. Nobody can open the
    collection before it is complete. If this is interrupted, the same command
    completes it, and `decant drop` deletes what is there.

    With --tenant the points come into a collection with tenants, which holds
    none of this tenant's; nobody sees any before all are there, and those of
    others stay as they are.

    Examples:
      decant restore notes.dump ./index notes
      decant restore notes.dump http://localhost:6333 notes --storage turbo4
      decant restore acme.dump ./index notes --tenant acme
    """
    from decant.integrations.qdrant import restore as make

    layout = read_layout(storage, originals)
    with open_store(store, api_key, grpc=grpc, ca=ca) as opened:
        place = place_of(opened)
        with bar("restoring", total=None, unit="points") as shown:

            def tell(done: int, total: int) -> None:
                shown.update(done, f"of {total:,} points")

            report = make(file, opened, collection, tenant=tenant, layout=layout, progress=tell)
    if as_json:
        owner = {} if tenant is None else {"tenant": tenant}
        show_json({"store": place, "collection": collection, **owner, "report": report})
        return
    whose = "" if tenant is None else f"tenant {tenant!r} of "
    show_line(
        f"{whose}collection {collection!r} in {printable(place)} holds "
        f"{counted(report.documents, 'document')} and {counted(report.passages, 'passage')} "
        f"of {printable(str(file))}"
    )
