"""``decant explain-vector``: decode a vector into words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from decant.embedders import Role

from ..exit_codes import Exit
from ..input.explained_texts import Explained, of_ids, of_query, of_source, of_texts, open_model
from ..input.open import open_store
from ..options.shared import (
    ApiKey,
    AsJson,
    CaFile,
    CollectionName,
    Grpc,
    StorePlace,
    TenantName,
)
from ..output.quiet import no_more_download_bars
from ..output.terminal import printable, say, show, show_json

if TYPE_CHECKING:
    from decant.embedders import Encoder, Explanation

_SHOWN = 200  # characters of a text, for people


def explain_vector(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A bundle, or the folder of a trained model.")
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Texts whose vectors are explained.")
    ] = None,
    *,
    decoder: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="The language model that MODEL was trained from, with its head."
        ),
    ],
    role: Annotated[
        Role, typer.Option(metavar="ROLE", help="query or passage, for TEXT; selects the prompt.")
    ] = Role.PASSAGE,
    identity: Annotated[
        list[str] | None,
        typer.Option(
            "--id", metavar="ID", help="Explain stored passages by their ids; may be repeated."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Explain the passages of a stored document."),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(metavar="QUERY", help="Explain the stored passages that match a query best."),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, help="The most passages to explain.")
    ] = 5,
    store: StorePlace = "./index",
    collection: CollectionName = "docs",
    tenant: TenantName = None,
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="The longest explanation, in tokens.")
    ] = 64,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many tokens to show for each state.")
    ] = 5,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Decode vectors into text with a frozen language model.

    For models that append tokens (AutoRegEmbed, LLM2Vec-Gen). Give texts, or one
    of --id, --source and --query for a collection that was made with `decant
    index --soft-tokens`, whose passages are read without embedding them again.
    Exits with 1 if there is nothing to explain.

    Examples:
      decant explain-vector mine "why is the sky blue?" --decoder ./llama
      decant explain-vector mine --query "rust" --limit 3 --decoder ./llama
      decant explain-vector mine --source metals.md --decoder ./llama --json
    """
    ways = {"TEXT": texts, "--id": identity, "--source": source, "--query": query}
    given = [name for name, value in ways.items() if value]
    if len(given) != 1:
        raise typer.BadParameter(
            f"give one of {', '.join(ways)}; got {' and '.join(given) or 'none'}"
        )

    def stored(encoder: Encoder) -> list[Explained]:
        from decant.integrations.qdrant import Collection

        with open_store(store, api_key, grpc=grpc, ca=ca) as opened:
            target = Collection.open(opened, collection, encoder).for_tenant(tenant)
            if identity:
                return of_ids(target, identity)
            if source:
                return of_source(target, source, limit)
            return of_query(target, query or "", limit)

    with open_model(model) as encoder:
        found = of_texts(encoder, texts, role) if texts else stored(encoder)
    explained = _explained(decoder, found, max_new_tokens=max_new_tokens, top=top)
    if as_json:
        rows = [_plain(one, said) for one, said in explained]
        show_json({"decoder": str(decoder), "explained": rows})
    else:
        for one, said in explained:
            _show(one, said)
    if not explained:
        say("nothing to explain")
        raise typer.Exit(Exit.FINDING)


def _explained(
    decoder: Path, found: list[Explained], *, max_new_tokens: int, top: int
) -> list[tuple[Explained, Explanation]]:
    if not found:
        return []
    no_more_download_bars()  # before Transformers is imported, which it speaks to
    from decant.embedders import Explainer

    explainer = Explainer.from_pretrained(decoder)
    return [
        (one, explainer.explain(one.states, max_new_tokens=max_new_tokens, top=top))
        for one in found
    ]


def _plain(one: Explained, said: Explanation) -> dict[str, object]:
    passage = one.passage
    where = {} if passage is None else {"id": passage.id, "source": passage.source}
    score = {} if one.score is None else {"score": one.score}
    return {**where, **score, "text": one.text, "says": said.text, "tokens": said.tokens}


def _show(one: Explained, said: Explanation) -> None:
    """Print a text, what its vector says, and a line for each state."""
    source = "" if one.passage is None else f"{one.passage.source or one.passage.id}: "
    show(Text.assemble((printable(source), "bold"), _short(one.text)))
    show(Text.assemble(("says ", "bold"), (_short(said.text) or "nothing", "cyan")))
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("state", justify="right")
    table.add_column("nearest tokens", overflow="fold")
    for number, tokens in enumerate(said.tokens, start=1):
        named = " · ".join(printable(token).strip() or repr(token) for token in tokens)
        table.add_row(str(number), Text(named))
    show(table)


def _short(text: str) -> str:
    line = " ".join(printable(text).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]} …"
