"""Commands of ``decant train`` that make data instead of a model: negatives, answers, queries."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

from decant.embedders.errors import need

from ...input.open import open_encoder
from ...input.wanted_files import ALONE, DOCUMENTS, PAIRS, existing
from ...options.shared import AsJson, PrecisionName, Provider
from ...output.progress import bar
from ...output.quiet import no_more_download_bars, silenced
from ...output.terminal import say, show_json
from ...output.views import show_facts
from .negative_searcher import searcher_of

if TYPE_CHECKING:
    from decant.training import Columns, Generated, Mined

Named = TypeVar("Named", bound=StrEnum)

ColumnsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAMES",
        help="Columns of the data: 'query=question,positive=answer', or 'score,query,positive' "
        "for files without a header.",
    ),
]
Made: TypeAlias = Annotated[
    Path, typer.Option(metavar="FILE", help="The file to write, in JSON lines.")
]


def mine(
    *,
    bundle: Annotated[
        Path,
        typer.Option(
            metavar="BUNDLE", help="The encoder that searches: a folder that `decant export` made."
        ),
    ],
    pairs: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            callback=existing(PAIRS),
            help="Queries with their answers: .jsonl or .tsv.",
        ),
    ],
    out: Made,
    negatives: Annotated[
        int, typer.Option(metavar="N", min=1, help="The most negatives of a row.")
    ] = 4,
    max_positive_ratio: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Leave out passages that score above this share of the positive's score.",
        ),
    ] = 0.95,
    share: Annotated[
        float | None, typer.Option(hidden=True, help="The old name of --max-positive-ratio.")
    ] = None,
    skip: Annotated[
        int, typer.Option(metavar="N", min=0, help="Pass over this many of the best passages.")
    ] = 0,
    depth: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many results of a search are considered.")
    ] = 100,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            callback=existing(DOCUMENTS),
            help="Documents whose passages are searched in addition to the positives.",
        ),
    ] = None,
    columns: ColumnsOption = None,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    as_json: AsJson = False,
) -> None:
    """Find hard negatives: passages near a query that do not answer it.

    Searches all positives, and the passages of --corpus, with each query. A hit
    becomes a negative if its cosine is at most --max-positive-ratio of that of the
    positive (NV-Retriever's threshold).

    Examples:
      decant train mine --bundle minilm --pairs faq.tsv --out mined.jsonl
      decant train contrastive --base my-minilm --pairs mined.jsonl --out tuned
      decant train rerank --base my-minilm --pairs mined.jsonl --out reranker
    """
    from decant.training import Column, Mining, read_table
    from decant.training import mine as run

    mining = Mining(
        count=negatives,
        max_positive_ratio=max_positive_ratio if share is None else share,
        skip=skip,
        depth=depth,
    )
    _refuse_existing(out)  # before anything is embedded
    table = read_table(pairs, columns=_columns(columns), needs=(Column.QUERY, Column.POSITIVE))
    done = 0
    with (
        open_encoder(bundle, provider=provider, precision=precision) as encoder,
        searcher_of(table, corpus or [], encoder) as searcher,
        bar("searching", total=len(table), unit="rows") as shown,
        silenced(),
    ):

        def update(count: int) -> None:
            nonlocal done
            done += count
            shown.update(done)

        mined = run(table, searcher, out, mining, progress=update)
    if as_json:
        show_json({"file": str(out), "mined": mined, "without": mined.without})
        return
    show_facts(_facts(mined))
    say(f"wrote {out}; next: decant train contrastive --pairs {out} …, or rerank")


def generate(
    *,
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="A causal language model: a folder, or a hub id.")
    ],
    texts: Annotated[
        list[Path],
        typer.Option(metavar="FILE", callback=existing(ALONE), help="Texts: .jsonl or .tsv."),
    ],
    out: Made,
    written: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="COLUMN",
            help="The column of the answers: response, with the texts as queries; or query, with "
            "the texts as positives.",
        ),
    ] = "response",
    template: Annotated[
        str | None,
        typer.Option(
            metavar="PROMPT",
            help="The prompt, with {text} in it; it is used without the model's chat template.",
        ),
    ] = None,
    chat: Annotated[
        bool | None,
        typer.Option("--chat/--no-chat", help="Apply the chat template to the prompt, or not."),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample/--greedy", help="Sample answers, or decode greedily.")
    ] = True,
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="The most tokens of an answer.")
    ] = 500,
    max_tokens: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="The most tokens of a prompt; longer texts are cut."),
    ] = 1024,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Texts per batch.")] = 16,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the sampling.")] = 0,
    precision: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Precision of the weights: fp32; bf16 and fp16 are for GPUs."
        ),
    ] = "fp32",
    columns: ColumnsOption = None,
    as_json: AsJson = False,
) -> None:
    """Let a language model answer texts, or write questions about them.

    An interrupted run is resumed when the same command is given again. Texts
    with an empty answer are counted and left out.

    Examples:
      decant train generate --model qwen --texts faq.tsv --out answers.jsonl
      decant train generate --model qwen --texts a.tsv --as query --out b.jsonl
          --chat --template "Ask a question that this answers: {text}"
    """
    no_more_download_bars()
    for module in ("torch", "transformers"):
        need(module, extra="training")
    from decant.training import (
        GenerationSettings,
        MixedPrecision,
        OutputColumn,
        TextGenerator,
        read_table,
    )
    from decant.training import generate as run

    generating = GenerationSettings(
        template=template,
        chat=chat,
        max_tokens=max_tokens,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        sample=sample,
        seed=seed,
        written=_member(OutputColumn, written, "--as"),
    )
    kind = _member(MixedPrecision, precision, "--precision")
    _refuse_existing(out)  # before a model is loaded
    table = read_table(texts, columns=_columns(columns))
    with silenced():
        speaker = TextGenerator.open(model, precision=kind)
    done = 0
    with bar("generating", total=len(table), unit="texts") as shown, silenced():

        def update(count: int) -> None:
            nonlocal done
            done += count
            shown.update(done)

        generated = run(speaker, table, out, generating, progress=update)
    if as_json:
        show_json({"file": str(out), "generated": generated})
        return
    show_facts(_counts(generated))
    say(f"wrote {out}")


def _member(kind: type[Named], name: str, option: str) -> Named:
    try:
        return kind(name)
    except ValueError as error:
        names = ", ".join(kind)
        raise typer.BadParameter(f"{name!r} is none of {names}", param_hint=option) from error


def _counts(generated: Generated) -> dict[str, str]:
    return {
        "rows": f"{generated.rows:,}",
        "left out": f"{generated.empty:,} with an empty answer",
        "cut": f"{generated.cut:,} texts were longer than a prompt may be",
    }


def _refuse_existing(out: Path) -> None:
    from decant.training import TrainingError

    if out.exists():
        raise TrainingError(f"{out} exists; choose another name or delete it")


def _facts(mined: Mined) -> dict[str, str]:
    return {
        "rows": f"{mined.rows:,}",
        "negatives": ", ".join(
            f"{count} each for {rows:,}" for count, rows in mined.negatives.items() if count
        ),
        "without any": f"{mined.without:,}",
    }


def _columns(text: str | None) -> Columns | None:
    from decant.training import Columns

    return None if text is None else Columns.parse(text)
