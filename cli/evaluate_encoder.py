"""``decant evaluate``: bundles and their peers side by side on the user's own tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from .opening import open_encoder
from .options import Provider
from .progress import steps
from .quiet import silenced
from .terminal import printable, say, show

if TYPE_CHECKING:
    from rich.table import Table

    from decant.evaluation import Embedder, Score, Standing, SystemResult, Task, Versus


def evaluate(
    systems: Annotated[
        list[Path],
        typer.Argument(
            metavar="SYSTEM...",
            help="Bundles, sentence-transformers folders, or files of word vectors.",
        ),
    ],
    *,
    sts: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Lines of score, sentence, sentence; tabs between."),
    ] = None,
    retrieval: Annotated[
        list[Path] | None, typer.Option(metavar="FOLDER", help="A retrieval set as BEIR has it.")
    ] = None,
    words: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Lines of word, word, score.")
    ] = None,
    analogies: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Google's questions, or a folder of BATS."),
    ] = None,
    pairs: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Lines of 0 or 1, text, text.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write all numbers as JSON.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write a report with plots.")
    ] = None,
    resamples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of the bootstrap behind the intervals.")
    ] = 1000,
    provider: Provider = "auto",
) -> None:
    """Compare encoders on STS, retrieval, words, analogies and pairs.

    Every option for data may be given several times. Numbers come with 95 %
    bootstrap intervals; each later system is tested against the first over the
    cases that both cover. Unknown words of word vectors lower the coverage.

    Examples:
      decant evaluate minilm --sts sts-dev.tsv --retrieval cranfield
      decant evaluate minilm glove.txt --words wordsim.txt --html report.html
    """
    from decant.evaluation import score_system, side_by_side

    given = _Given(sts or [], retrieval or [], words or [], analogies or [], pairs or [])
    tasks, vocabulary = _tasks(given, resamples)
    if not tasks:
        raise typer.BadParameter("give --sts, --retrieval, --words, --analogies or --pairs")
    names, kinds = _names(systems), [_kind(place) for place in systems]
    results: list[SystemResult] = []
    with steps(keep=False) as step:
        for place, name, kind in zip(systems, names, kinds, strict=True):
            step(f"opening {name}")
            with silenced(), _opened(place, kind, provider) as embedder:
                results.append(score_system(name, embedder, tasks, words=vocabulary, told=step))
        step("comparing")
        standing = side_by_side(results)
    _show(standing)
    if json is not None:
        _write_json(standing, json)
    if html is not None:
        from decant.evaluation import write_html

        write_html(html, results, standing, agreement_task=given.agreement_task)
        say(f"wrote {html}")


class _Given:
    """What the user gave to score on."""

    def __init__(self, *kinds: list[Path]) -> None:
        self.sts, self.retrieval, self.words, self.analogies, self.pairs = kinds

    @property
    def agreement_task(self) -> str | None:
        """The first word similarity set, over which systems are set against each other."""
        return self.words[0].stem if self.words else None


def _tasks(given: _Given, resamples: int) -> tuple[list[Task], tuple[str, ...]]:
    """Return the tasks, and the words in them."""
    from dataclasses import replace

    from decant.evaluation import (
        Analogies,
        Bootstrap,
        PairClassification,
        Retrieval,
        read_bats,
        read_beir,
        read_google_analogies,
        read_labelled_pairs,
        sts_task,
        word_similarity_task,
    )

    bootstrap = Bootstrap(resamples=resamples)
    tasks: list[Task] = []
    seen: dict[str, None] = {}
    if given.sts:
        name = given.sts[0].stem if len(given.sts) == 1 else "STS"
        tasks.append(replace(sts_task(given.sts, name=name), bootstrap=bootstrap))
    tasks += [Retrieval(data=read_beir(one), bootstrap=bootstrap) for one in given.retrieval]
    for one in given.words:
        similarity = replace(word_similarity_task(one), bootstrap=bootstrap)
        seen |= dict.fromkeys([*similarity.sets[0].first, *similarity.sets[0].second])
        tasks.append(similarity)
    for one in given.analogies:
        categories = read_bats(one) if one.is_dir() else read_google_analogies(one)
        questions = Analogies(name=one.stem, categories=categories, bootstrap=bootstrap)
        seen |= dict.fromkeys(questions.words)
        tasks.append(questions)
    tasks += [
        PairClassification(data=read_labelled_pairs(one), bootstrap=bootstrap)
        for one in given.pairs
    ]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"two data sets have the same name: {', '.join(names)}")
    return tasks, tuple(seen)


def _names(places: list[Path]) -> list[str]:
    """Return the last parts of the paths, or whole paths if these are alike."""
    short = [place.name or place.resolve().name for place in places]
    names = short if len(set(short)) == len(short) else [str(place) for place in places]
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"a system is given twice: {', '.join(names)}")
    return names


class _Kind(Enum):
    BUNDLE = "decant.json"
    SENTENCE_TRANSFORMER = "modules.json"
    WORD_VECTORS = ""


def _kind(place: Path) -> _Kind:
    """Return what stands at a path; a bundle may hold the files of the other kind too."""
    for kind in (_Kind.BUNDLE, _Kind.SENTENCE_TRANSFORMER):
        if (place / kind.value).is_file():
            return kind
    if place.is_file():
        return _Kind.WORD_VECTORS
    raise typer.BadParameter(
        f"{place} is no bundle, no sentence-transformers folder and no file of word vectors"
    )


@contextmanager
def _opened(place: Path, kind: _Kind, provider: str) -> Iterator[Embedder]:
    """Open a system; provider is for bundles."""
    from decant.embedders import need
    from decant.evaluation import WrappedModel, read_word_vectors, word_format

    match kind:
        case _Kind.BUNDLE:
            with open_encoder(place, provider=provider) as encoder:
                yield encoder
        case _Kind.SENTENCE_TRANSFORMER:
            library = need("sentence_transformers", extra="peers")
            yield WrappedModel(library.SentenceTransformer(str(place), local_files_only=True))
        case _Kind.WORD_VECTORS:
            yield read_word_vectors(place, word_format(place), fold=True)
        case _:
            assert_never(kind)


def _show(standing: Standing) -> None:
    from rich.text import Text

    rows: dict[str, list[tuple[int, Score]]] = {}
    for number, system in enumerate(standing.systems):
        for score in system.scores:
            rows.setdefault(score.name, []).append((number, score))
    versus = {
        (one.second, one.comparison.name, one.comparison.metric): one
        for one in standing.comparisons
    }
    for task, scores in rows.items():
        table = _table(task, [system.name for system in standing.systems])
        metrics: dict[str, dict[int, Score]] = {}
        for number, score in scores:
            metrics.setdefault(score.metric, {})[number] = score
        for metric, found in metrics.items():
            cells = [
                _cell(score, versus.get((standing.systems[number].name, task, metric)))
                for number, score in sorted(found.items())
            ]
            table.add_row(Text(printable(metric)), *cells)
        show(table)


def _table(task: str, systems: list[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(task), "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for name in systems:
        table.add_column(Text(printable(name)), justify="right")
    return table


def _cell(score: Score, versus: Versus | None) -> str:
    """Return value x 100, its interval, coverage if not whole, and the test against the first."""
    lines = [
        f"{100 * score.value:.1f}",
        f"{100 * score.low:.1f} to {100 * score.high:.1f}",
        f"{score.coverage:.0%} of cases" if score.coverage < 1 else "",
    ]
    if versus is not None:
        difference = versus.comparison.difference
        lines.append(f"{100 * difference.value:+.1f}, p {difference.p_value:.2g}")
    return "\n".join(line for line in lines if line)


def _write_json(standing: Standing, file: Path) -> None:
    from decant.embedders import to_json, write_atomically

    write_atomically(file, to_json(standing))
    say(f"wrote {file}")
