"""``decant doctor``: find out what runs here, or what a store lacks, and how to repair it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from decant.embedders.doctor import Health
from decant.embedders.files import MANIFEST

from ..exit_codes import Exit
from ..input.open import open_store
from ..options.shared import ApiKey, AsJson, CaFile, Grpc
from ..output.progress import steps
from ..output.quiet import silenced
from ..output.terminal import printable, say, show, show_json

if TYPE_CHECKING:
    from decant.embedders.doctor import Diagnosis, Finding
    from decant.integrations.qdrant import Store


def doctor(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="BUNDLE|STORE",
            help="Also check how this bundle runs here; or examine this store, as --store does: a "
            "folder of collections, or a Qdrant server's http(s)://… address.",
        ),
    ] = None,
    *,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Examine this store instead of the machine: a folder, or a Qdrant server's "
            "http(s)://… address.",
        ),
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the store, examine this collection alone."),
    ] = None,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Find out what runs on this machine and what does not, or what a store lacks.

    Opens a session on every execution provider; names missing libraries,
    packages that overwrite each other and, with BUNDLE, operators that fell back
    to the CPU. With STORE, names missing payload indexes, wrong vector sizes, an
    index that is not built, replicas that failed, limits of strict mode that bind
    or are near, mixed precisions, a disk that is nearly full, and collections of
    other programs, and changes nothing. Exits with 1 if there is a problem; notes
    do not count.

    Examples:
      decant doctor
      decant doctor minilm --json
      decant doctor ./index
      decant doctor http://localhost:6333 --collection notes
    """
    if place is not None and store is None and _is_store(place):
        place, store = None, place
    bundle = None if place is None else Path(place)
    if store is None:
        _check_alone({"--collection": collection, "--grpc": grpc or None, "--ca": ca})
        diagnosis = _of_machine(bundle)
    else:
        if bundle is not None:
            raise typer.BadParameter(
                "give one bundle or one store, not both", param_hint="BUNDLE|STORE"
            )
        with open_store(store, api_key, grpc=grpc, ca=ca, read_only=True) as opened:
            diagnosis = _of_store(opened, collection)
    problems = len(diagnosis.problems)
    if as_json:
        show_json({"problems": problems, "findings": diagnosis.findings})
    else:
        show(_table(diagnosis.findings))
    if problems:
        say(f"{problems} problem{'s' if problems > 1 else ''}", label="doctor", style="bold red")
        raise typer.Exit(Exit.FINDING)
    say("no problems", label="doctor", style="bold green")


def _is_store(place: str) -> bool:
    """Return whether an argument is an address, or a folder that holds collections."""
    if place.startswith(("http://", "https://")):
        return True
    folder = Path(place)
    if not folder.is_dir() or (folder / MANIFEST).exists():
        return False
    from decant.integrations.qdrant import EdgeStore

    with EdgeStore(folder) as found:
        return bool(found.names())


def _check_alone(options: dict[str, object]) -> None:
    for name, given in options.items():
        if given is not None:
            raise typer.BadParameter("needs --store, the store to examine", param_hint=name)


def _of_machine(bundle: Path | None) -> Diagnosis:
    from decant.embedders.doctor import diagnose

    with silenced(), steps(keep=False) as on_step:
        on_step("trying what runs here")
        return diagnose(bundle)


def _of_store(store: Store, collection: str | None) -> Diagnosis:
    from decant.integrations.qdrant import diagnose_store

    with steps(keep=False) as on_step:
        on_step("examining the store")
        return diagnose_store(store, collection)


def _table(findings: tuple[Finding, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    topic = ""
    for finding in findings:
        if topic and finding.topic != topic:
            table.add_section()
        topic = finding.topic
        detail = Text(printable(finding.detail))
        if finding.advice:
            detail.append(f"\n→ {finding.advice}", "bold")
        table.add_row(_mark(finding.health), finding.name, detail)
    return table


def _mark(health: Health) -> Text:
    match health:
        case Health.GOOD:
            return Text("ok", "green")
        case Health.NOTE:
            return Text("note", "yellow")
        case Health.PROBLEM:
            return Text("problem", "bold red")
        case _:
            assert_never(health)
