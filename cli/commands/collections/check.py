"""``decant check``: check that a collection still holds what was written into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ...exit_codes import Exit
from ...input.open import open_store, store_of
from ...options.shared import ApiKey, AsJson, CaFile, CollectionName, Grpc, StorePlace, TenantName
from ...output.places import counted
from ...output.terminal import printable, say, show, show_json
from ...output.views import show_facts

if TYPE_CHECKING:
    from decant.integrations.qdrant import CheckReport


def check(
    *,
    store: StorePlace = "./index",
    collection: CollectionName = "docs",
    tenant: TenantName = None,
    findings: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many findings to list; all are counted.")
    ] = 20,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Read a whole collection and compare it with what was written; change nothing.

    Documents must have all their chunks and no others, texts must be unchanged,
    and every passage needs a vector, and token vectors where the collection keeps
    them. No bundle is needed. Exits with 1 if something is wrong;
    `decant index … --verify` repairs it. Payload indexes that a server lacks are
    named.

    Examples:
      decant check
      decant check --store http://localhost:6333 --collection notes --json
    """
    from decant.integrations.qdrant import check_collection

    with open_store(store, api_key, grpc=grpc, ca=ca) as opened:
        held = store_of(opened, collection, tenant)
        report = check_collection(held, collection, most_findings=findings)
    if as_json:
        show_json({"store": store, "collection": collection, "report": report})
    else:
        _show(report)
    if not report.is_sound:
        raise typer.Exit(Exit.FINDING)


def _show(report: CheckReport) -> None:
    show_facts(
        {
            "holds": " · ".join(
                (
                    counted(report.documents, "document"),
                    counted(report.chunks, "chunk"),
                    counted(report.records, "record"),
                )
            ),
            "documents": _counts(report, ("interrupted", "replaced")),
            "chunks": _counts(report, ("missing", "surplus", "orphaned")),
            "passages": _counts(report, ("altered", "unsearchable", "incomplete")),
        }
    )
    for finding in report.findings:
        show(Text(printable(str(finding))))
    if report.missing_indexes:
        say(
            f"payload indexes are missing: {', '.join(report.missing_indexes)}; opening "
            "the collection with a key that may write makes them, and `decant doctor --store` "
            "shows what forbids it"
        )
    if report.is_index_deferred:
        say(
            "a bulk load has turned the vector index off; if its process was killed, the next "
            "`decant index` turns it on"
        )
    if report.is_sound:
        say("nothing is wrong" + (" with what is stored" if report.missing_indexes else ""))
    else:
        say("index the documents again with --verify, which repairs what is wrong with them")


def _counts(report: CheckReport, names: tuple[str, ...]) -> str:
    return " · ".join(f"{getattr(report, name):,} {name}" for name in names)
