"""Commands of ``decant train`` that make data instead of a model: negatives, answers, queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from .opening import open_encoder
from .options import AsJson, PrecisionName, Provider
from .progress import bar
from .quiet import silenced
from .searched_negatives import searcher_of
from .terminal import say, show_json
from .views import show_facts

if TYPE_CHECKING:
    from decant.training import Columns, Mined

ColumnsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAMES",
        help="'query=question,positive=answer', or 'score,query,positive' without a header.",
    ),
]
Made: TypeAlias = Annotated[
    Path, typer.Option(metavar="FILE", help="JSON lines; the file is made.")
]


def mine(
    *,
    bundle: Annotated[
        Path, typer.Option(metavar="BUNDLE", help="What searches: a folder of `decant export`.")
    ],
    pairs: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="Queries with what answers them: .jsonl or .tsv."),
    ],
    out: Made,
    negatives: Annotated[
        int, typer.Option(metavar="N", min=1, help="Negatives of a row, at most.")
    ] = 4,
    share: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Nearer than so much of the positive's score: left."),
    ] = 0.95,
    skip: Annotated[
        int, typer.Option(metavar="N", min=0, help="Pass over so many of the best.")
    ] = 0,
    depth: Annotated[
        int, typer.Option(metavar="N", min=1, help="How far down a ranking is read.")
    ] = 100,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Further passages to find negatives among."),
    ] = None,
    columns: ColumnsOption = None,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    as_json: AsJson = False,
) -> None:
    """Find hard negatives for pairs: near a query, and no answer to it.

    Searches all positives, and the passages of --corpus, by each query. A hit
    becomes a negative if its cosine is at most --share of that of the positive
    (NV-Retriever's threshold).

    Examples:
      decant train mine --bundle minilm --pairs faq.tsv --out mined.jsonl
      decant train contrastive --base my-minilm --pairs mined.jsonl --out tuned
    """
    from decant.training import Field, Mining, TrainingError, read_table
    from decant.training import mine as run

    mining = Mining(count=negatives, share=share, skip=skip, depth=depth)
    if out.exists():  # said before anything is embedded
        raise TrainingError(f"{out} exists; choose another name or delete it")
    table = read_table(pairs, columns=_columns(columns), needs=(Field.QUERY, Field.POSITIVE))
    done = 0
    with (
        open_encoder(bundle, provider=provider, precision=precision) as encoder,
        searcher_of(table, corpus or [], encoder) as searcher,
        bar("searching", total=len(table), unit="rows", steady=True) as shown,
        silenced(),
    ):

        def tell(count: int) -> None:
            nonlocal done
            done += count
            shown.tell(done)

        mined = run(table, searcher, out, mining, progress=tell)
    if as_json:
        show_json({"file": str(out), "mined": mined, "without": mined.without})
        return
    show_facts(_facts(mined))
    say(f"wrote {out}; next: decant train contrastive --pairs {out} …")


def _facts(mined: Mined) -> dict[str, str]:
    return {
        "rows": f"{mined.rows:,}",
        "negatives": ", ".join(
            f"{count} each for {rows:,}" for count, rows in mined.negatives.items() if count
        ),
        "without any": f"{mined.without:,}",
    }


def _columns(said: str | None) -> Columns | None:
    from decant.training import Columns

    return None if said is None else Columns.parse(said)
