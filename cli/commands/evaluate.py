"""``decant evaluate``: compare bundles and other systems on the user's own tasks."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decant.embedders.errors import need
from decant.embedders.files import write_atomically
from decant.embedders.json_records import to_json

from ..input.evaluation_tasks import Given, tasks_of
from ..input.language import words_of
from ..input.open import open_reranker
from ..input.retrieval_searcher import Reranking
from ..input.search_options import RerankInstruction
from ..input.systems import Place, kind_of, opened, system_names
from ..input.wanted_files import (
    ANALOGIES,
    ANCHORS,
    BEIR,
    LABELLED,
    SCORED,
    WORDS,
    existing,
)
from ..options.shared import AsJson, PrecisionName, Provider
from ..output.comparison_tables import show_standing
from ..output.progress import steps
from ..output.quiet import silenced
from ..output.terminal import say, show_json

if TYPE_CHECKING:
    from decant.evaluation import SystemResult


def evaluate(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="SYSTEM",
            help="Bundles, sentence-transformers folders, or files of word vectors. BUNDLE@int8 is "
            "the graph of a bundle in that precision.",
        ),
    ],
    *,
    sts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            callback=existing(SCORED),
            help="STS: lines of score, sentence, sentence, separated by tabs.",
        ),
    ] = None,
    retrieval: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", callback=existing(BEIR), help="A retrieval set in BEIR's format."
        ),
    ] = None,
    words: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            callback=existing(WORDS),
            help="Word similarity: lines of word, word, score.",
        ),
    ] = None,
    analogies: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            callback=existing(ANALOGIES),
            help="Analogies: Google's questions, or a folder of BATS.",
        ),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            callback=existing(LABELLED),
            help="Pair classification: lines of 0 or 1, text, text.",
        ),
    ] = None,
    anchors: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            callback=existing(ANCHORS),
            help="Lines of sentence, kind of variation, varied sentence.",
        ),
    ] = None,
    make_variations: Annotated[
        bool,
        typer.Option(
            "--make-variations",
            help="Also vary sentences of --anchors by rules; a line may then be one sentence.",
        ),
    ] = False,
    hybrid: Annotated[
        bool,
        typer.Option(
            "--hybrid",
            help="Search --retrieval in a Qdrant index: by dense vectors, by sparse ones where the "
            "bundle makes them, by words (BM25), and by all of these. For bundles.",
        ),
    ] = False,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGE",
            help="The language of the words of --hybrid and --rerank, for stems and stop words; "
            "none: words as they are. By default english.",
        ),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE",
            help="Compare the best search of --retrieval in a Qdrant index, as --hybrid makes it, "
            "with the same after this reranker: what it gains, where it loses, what it costs. Also "
            "the http(s)://… address of `decant serve`.",
        ),
    ] = None,
    candidates: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="How many of the best hits --rerank scores."),
    ] = 50,
    rerank_instruction: RerankInstruction = None,
    geometry: Annotated[
        bool,
        typer.Option(
            "--geometry",
            help="Measure the geometry of the vectors of the given sentences, documents, words and "
            "texts.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write all numbers as JSON to a file."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report with plots.")
    ] = None,
    resamples: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Number of bootstrap resamples for the intervals."),
    ] = 1000,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare encoders on STS, retrieval, words, analogies, pairs and anchors.

    Every option for data may be given several times. Scores have 95 % bootstrap
    intervals; each further system is tested against the first over the cases
    that both cover. Unknown words of word vectors lower the coverage.

    --make-variations negates English statements, shuffles their words, and ends
    them with an exclamation or a question mark. --geometry is measured over the
    distinct sentences of --sts, documents of --retrieval (as passages), words of
    --words and texts of --pairs, separately for each set.

    Examples:
      decant evaluate minilm --sts sts-dev.tsv --retrieval cranfield
      decant evaluate minilm@fp32 minilm@int8 --sts sts-dev.tsv
      decant evaluate minilm glove.txt --words wordsim.txt --html report.html
      decant evaluate minilm --sts sts-dev.tsv --json | jq .systems
      decant evaluate minilm --retrieval cranfield --hybrid
      decant evaluate minilm --retrieval cranfield --rerank reranker
      decant evaluate minilm --anchors sentences.txt --make-variations
    """
    from decant.evaluation import Bootstrap, compare_systems, score_system

    is_searched = hybrid or rerank is not None
    _check_search(retrieval or [], is_searched=is_searched, language=language, rerank=rerank)
    if rerank_instruction is not None and rerank is None:
        raise typer.BadParameter("--rerank-instruction is the task of --rerank; give --rerank, too")
    given = Given(
        sts=sts or [],
        retrieval=retrieval or [],
        words=words or [],
        analogies=analogies or [],
        pairs=pairs or [],
        anchors=anchors or [],
        make_variations=make_variations,
        hybrid=(words_of(language or "english", option="--language") if is_searched else None),
        reranking=None,
        geometry=geometry,
    )
    for file in (output, html):
        if file is not None and not file.absolute().parent.is_dir():
            raise typer.BadParameter(f"{file}: there is no folder {file.parent}; make it first")
    if html is not None:
        need("matplotlib", extra="evaluation")  # report it now, not after hours
    places = [Place.parse(system) for system in systems]
    names, kinds = system_names(places), [kind_of(place) for place in places]
    results: list[SystemResult] = []
    with ExitStack() as stack, steps(keep=False) as on_step:
        if rerank is not None:
            on_step(f"opening {rerank}")
            reranker = open_reranker(rerank, provider=provider)
            stack.enter_context(closing(reranker))
            reranking = Reranking(
                reranker=reranker, candidates=candidates, instruction=rerank_instruction
            )
            given = replace(given, reranking=reranking)
        tasks, vocabulary = tasks_of(given, Bootstrap(resamples=resamples))
        for place, name, kind in zip(places, names, kinds, strict=True):
            on_step(f"opening {name}")
            opening = opened(place, kind, provider=provider, precision=precision)
            with silenced(), opening as embedder:
                results.append(
                    score_system(name, embedder, tasks, words=vocabulary, on_step=on_step)
                )
        on_step("comparing")
        standing = compare_systems(results)
    if as_json:
        show_json(standing)
    else:
        show_standing(standing)
    if output is not None:
        write_atomically(output, to_json(standing))
        say(f"wrote {output}")
    if html is not None:
        from decant.evaluation import write_html

        write_html(html, results, standing, agreement_task=given.agreement_task)
        say(f"wrote {html}")


def _check_search(
    retrieval: list[Path], *, is_searched: bool, language: str | None, rerank: str | None
) -> None:
    """Refuse options of a search without their search, and a reranker without anything to search.

    Raises:
        BadParameter: Says which option is missing.
    """
    if language is not None and not is_searched:
        raise typer.BadParameter(
            "--language is that of the words of --hybrid and --rerank; give --hybrid, too"
        )
    if rerank is not None and not retrieval:
        raise typer.BadParameter("--rerank searches the sets of --retrieval; give one")
