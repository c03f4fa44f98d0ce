"""Make the tasks of ``decant evaluate`` from the user's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .retrieval_searcher import Reranking, SearchedRetrieval

if TYPE_CHECKING:
    from decant.embedders import Role
    from decant.evaluation import Bootstrap, Task
    from decant.integrations.qdrant import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The files and options that specify an evaluation.

    Args:
        sts: Files of score, sentence, sentence, which make one task.
        retrieval: Folders in BEIR's format.
        words: Files of word, word, score.
        analogies: Google's files or folders of BATS.
        pairs: Files of 0 or 1, text, text.
        anchors: Files of sentences and their variations.
        make_variations: Add to anchors the variations that need no model.
        hybrid: Search the retrieval sets through a collection, in every mode, with its words
            indexed so; None: rank them exactly.
        reranking: A reranker, which is compared with the best search of the retrieval sets; then
            ``hybrid`` is given, too.
        geometry: Measure the shape of the space over the texts of all sets but the analogies and
            anchors.
    """

    sts: Sequence[Path]
    retrieval: Sequence[Path]
    words: Sequence[Path]
    analogies: Sequence[Path]
    pairs: Sequence[Path]
    anchors: Sequence[Path]
    make_variations: bool
    hybrid: Words | None
    reranking: Reranking | None
    geometry: bool

    def __post_init__(self) -> None:
        measured = (*self.sts, *self.retrieval, *self.words, *self.pairs)
        if not (*measured, *self.analogies, *self.anchors):
            raise typer.BadParameter(
                "give --sts, --retrieval, --words, --analogies, --pairs or --anchors"
            )
        if self.geometry and not measured:
            raise typer.BadParameter(
                "--geometry is measured on the texts of --sts, --retrieval, --words or --pairs; "
                "give one of them"
            )
        if self.hybrid is not None and not self.retrieval:
            raise typer.BadParameter("--hybrid searches the sets of --retrieval; give one")
        if self.make_variations and not self.anchors:
            raise typer.BadParameter("--make-variations adds to --anchors; give a file of them")

    @property
    def agreement_task(self) -> str | None:
        """The name of the first word similarity set, on which the report compares systems."""
        return self.words[0].stem if self.words else None


def tasks_of(given: Given, bootstrap: Bootstrap) -> tuple[list[Task], tuple[str, ...]]:
    """Return the tasks, and the words in those of words and analogies.

    Raises:
        BadParameter: Two data sets have the same name.
        EvaluationError: A file is malformed, or holds fewer than two texts to measure the geometry
            over.
        OSError: A file cannot be read.
    """
    from decant.evaluation import Geometry

    parts = list(_parts(given, bootstrap))
    tasks = [part.task for part in parts]
    if given.geometry:
        tasks += [
            Geometry(
                name=f"{part.task.name}: geometry over {len(part.texts):,} {part.what}",
                texts=part.texts,
                related=part.related,
                role=part.role,
                bootstrap=bootstrap,
            )
            for part in parts
            if part.role is not None
        ]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"two data sets have the same name: {', '.join(names)}")
    return tasks, tuple(dict.fromkeys(word for part in parts for word in part.words))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A task, and the texts in its data.

    Args:
        task: A task over one data set.
        role: The role of the texts; None if no geometry is measured over them.
        texts: The distinct texts.
        what: What the texts are, in the plural.
        related: Pairs of texts that belong together, for the alignment.
        words: Single words, whose cosines are spread out in the report.
    """

    task: Task
    role: Role | None = None
    texts: tuple[str, ...] = ()
    what: str = ""
    related: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()


def _parts(given: Given, bootstrap: Bootstrap) -> Iterator[_Part]:
    from decant.evaluation import Analogies, Anchors, read_anchors, read_bats, read_google_analogies

    if given.sts:
        yield _sts(given.sts, bootstrap)
    for folder in given.retrieval:
        yield _retrieval(folder, bootstrap, given.hybrid, given.reranking)
    yield from (_words(file, bootstrap) for file in given.words)
    for place in given.analogies:
        categories = read_bats(place) if place.is_dir() else read_google_analogies(place)
        questions = Analogies(name=place.stem, categories=categories, bootstrap=bootstrap)
        yield _Part(task=questions, words=questions.words)
    yield from (_pairs(file, bootstrap) for file in given.pairs)
    for file in given.anchors:
        anchors = read_anchors(file, make=given.make_variations)
        yield _Part(task=Anchors(name=file.stem, anchors=anchors, bootstrap=bootstrap))


def _sts(files: Sequence[Path], bootstrap: Bootstrap) -> _Part:
    from decant.evaluation import sts_task

    name = files[0].stem if len(files) == 1 else "STS"
    task = replace(sts_task(files, name=name), bootstrap=bootstrap)
    sentences = (text for one in task.sets for text in (*one.first, *one.second))
    return _Part(task=task, role=task.role, texts=tuple(dict.fromkeys(sentences)), what="sentences")


def _retrieval(
    folder: Path, bootstrap: Bootstrap, hybrid: Words | None, reranking: Reranking | None
) -> _Part:
    from decant.embedders import Role
    from decant.evaluation import Retrieval, read_beir

    retrieval = Retrieval(data=read_beir(folder), bootstrap=bootstrap)
    task: Task = retrieval
    if hybrid is not None:
        task = SearchedRetrieval(retrieval=retrieval, words=hybrid, reranking=reranking)
    documents = tuple(dict.fromkeys(retrieval.data.documents.values()))
    return _Part(task=task, role=Role.PASSAGE, texts=documents, what="documents")


def _words(file: Path, bootstrap: Bootstrap) -> _Part:
    from decant.evaluation import word_similarity_task

    task = replace(word_similarity_task(file), bootstrap=bootstrap)
    words = tuple(dict.fromkeys([*task.sets[0].first, *task.sets[0].second]))
    return _Part(task=task, role=task.role, texts=words, what="words", words=words)


def _pairs(file: Path, bootstrap: Bootstrap) -> _Part:
    from decant.evaluation import PairClassification, read_labelled_pairs

    task = PairClassification(data=read_labelled_pairs(file), bootstrap=bootstrap)
    data = task.data
    pairs = zip(data.labels, data.first, data.second, strict=True)
    return _Part(
        task=task,
        role=task.role,
        texts=tuple(dict.fromkeys([*data.first, *data.second])),
        what="texts",
        related=tuple((one, two) for label, one, two in pairs if label),
    )
