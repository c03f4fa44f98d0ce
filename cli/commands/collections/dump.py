"""``decant dump``: back a collection up into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...input.open import open_store
from ...options.shared import ApiKey, AsJson, CaFile, Grpc
from ...output.places import counted, place_of
from ...output.progress import bar
from ...output.terminal import printable, say, show_json, show_line


def dump(
    store: Annotated[
        str,
        typer.Argument(metavar="STORE", help="A folder, or a Qdrant server's http(s)://… address."),
    ],
    collection: Annotated[
        str, typer.Argument(metavar="NAME", help="The collection's name, or an alias.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write; it appears when it is whole.")
    ],
    *,
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant",
            metavar="NAME",
            help="Whose points alone to dump, of a collection with tenants; default: all of them.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if there is one.")
    ] = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Back a collection up into one file: recipe, settings, texts and vectors.

    No bundle is needed, and the store is only read. `decant restore` makes the
    collection of the file again, in a folder or on a server. If something writes
    to the collection meanwhile, the dump begins again, and is given up at the
    third time. The file has a checksum for each part; its own is printed.

    With --tenant the file is a dump of a collection without tenants that holds
    what this tenant has. Of an adopted collection it holds every point to the
    letter.

    Examples:
      decant dump ./index notes notes.dump
      decant dump http://localhost:6333 notes /backup/notes.dump --overwrite
      decant dump http://localhost:6333 notes acme.dump --tenant acme
    """
    from decant.integrations.qdrant import dump as write

    with open_store(store, api_key, grpc=grpc, ca=ca, read_only=True) as opened:
        place = place_of(opened)
        with bar("dumping", total=None, unit="points") as shown:

            def tell(done: int, total: int) -> None:
                shown.update(done, f"of {total:,} points")

            report = write(
                opened, collection, file, tenant=tenant, overwrite=overwrite, progress=tell
            )
    if report.left_out:
        say(f"{counted(report.left_out, 'point')} of other programs were left out")
    if as_json:
        owner = {} if tenant is None else {"tenant": tenant}
        show_json({"store": place, "collection": collection, **owner, "report": report})
        return
    whose = "" if tenant is None else f"of the tenant {tenant!r} "
    show_line(
        f"dumped {counted(report.documents, 'document')} and {counted(report.passages, 'passage')} "
        f"{whose}of {collection!r} in {printable(place)} to {printable(report.file)}: "
        f"{report.bytes:,} bytes, SHA-256 {report.sha256}"
    )
