"""``decant rerank``: order passages by how well they answer a query."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from decant.embedders import TextError

from ...exit_codes import Exit
from ...input.open import open_reranker, reranker_facts
from ...input.text_lines import Line, read_lines
from ...input.wanted_files import TEXTS
from ...options.shared import AsJson, JsonLines, PrecisionName, Provider, RerankerPlace, SkipEmpty
from ...output.progress import bar
from ...output.terminal import printable, say, show_json
from ...output.views import show_scores

_STANDARD = "-"


def rerank(
    bundle: RerankerPlace,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What the passages answer.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE]...", help="Passages, one per line; - or nothing is standard input."
        ),
    ] = None,
    *,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Show only the N best.")
    ] = None,
    jsonl: JsonLines = False,
    skip_empty: SkipEmpty = False,
    instruction: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The task, for rerankers that take an instruction."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show raw scores, without the model's activation.")
    ] = False,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    as_json: AsJson = False,
) -> None:
    """Order passages by a reranker's scores, best first; equal ones in their order.

    BUNDLE is a reranker that `decant export` made, or the address of one that
    `decant serve` has, whose key is DECANT_API_KEY; `hash` compares words,
    without a model. Exits with 1 if there are no passages.

    Examples:
      decant rerank reranker "who approves a PEP?" passages.txt
      cat passages.txt | decant rerank reranker "who approves a PEP?" --limit 3
      decant rerank http://localhost:6900 "who approves a PEP?" passages.txt
      decant rerank reranker "rust" docs.jsonl --jsonl --json | jq .passages
    """
    places = files or [_STANDARD]
    _check(query, places)
    with closing(open_reranker(bundle, provider=provider, precision=precision)) as reranker:
        read = partial(_read, jsonl=jsonl, skip_empty=skip_empty)
        lines = [(place, line) for place in places for line in read(place)]
        with bar("scoring", total=len(lines), unit="passages") as shown:
            done = 0

            def update(finished: int) -> None:
                nonlocal done
                done += finished
                shown.update(done, f"{done / max(shown.seconds, 1e-9):,.0f}/s")

            scores = reranker.score(
                query,
                [line.text for _, line in lines],
                instruction=instruction,
                raw=raw,
                progress=update,
            ).tolist()
        asked = reranker_facts(reranker)
    order = sorted(range(len(lines)), key=lambda place: -scores[place])[:limit]
    if as_json:
        passages = [{**lines[at][1].fields, "place": at, "score": scores[at]} for at in order]
        show_json({"query": query, "reranker": asked, "passages": passages})
    else:
        show_scores(
            (_place(*lines[at], several=len(places) > 1), scores[at], lines[at][1].text)
            for at in order
        )
    if not lines:
        say("no passages")
        raise typer.Exit(Exit.FINDING)


def _check(query: str, places: Sequence[str]) -> None:
    """Refuse what cannot be scored before anything is read or a model is loaded."""
    if not query:
        raise typer.BadParameter("the query is empty; give one", param_hint="QUERY")
    for place in places:
        if place == _STANDARD:
            continue
        if not Path(place).exists():
            raise typer.BadParameter(f"{place} does not exist; give {TEXTS}", param_hint="FILE")
        if Path(place).is_dir():
            raise typer.BadParameter(f"{place} is a folder; give {TEXTS}", param_hint="FILE")


def _place(place: str, line: Line, *, several: bool) -> str:
    """Return where a passage stands: its line, after its file if there are several."""
    return f"{printable(place)}:{line.number}" if several else f"{line.number:,}"


def _read(place: str, *, jsonl: bool, skip_empty: bool) -> Iterator[Line]:
    if place != _STANDARD:
        try:
            with Path(place).open("rb") as stream:
                yield from read_lines(stream, jsonl=jsonl, skip_empty=skip_empty)
        except TextError as error:
            raise TextError(f"{place}: {error}") from error
        return
    if sys.stdin.isatty():
        say("reading passages from the keyboard, one per line; Ctrl-D ends the input")
    yield from read_lines(sys.stdin.buffer, jsonl=jsonl, skip_empty=skip_empty)
