"""Time hybrid search on Qdrant Edge beside the engine's own fusion, filters, and hybrid ingest.

Searching: a collection of real chunks with hashed vectors and an index of words, optimized. decant
fuses two rankings of 100 and reads ten hits; the engine does the same in one call of its own, on a
copy of the same files, and its caller reads ids, scores and payloads, which Edge makes Python
objects of only then. One thread alone, and sixteen at once. Then a condition that one chunk in a
hundred meets, on an entry with a payload index and on the same entry without.

Ingest: documents into new collections with and without words, by the model, interleaved.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from threading import Thread
from typing import cast

import qdrant_edge as edge
from semantic_text_splitter import TextSplitter

from bench.corpus import Corpus, chance, draw, load_corpus
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.report import Figure, Result, Target
from bench.rounds import Contender, interleave
from decant.embedders import Encoder, HashEncoder, Role, TextError, load
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    Equals,
    FieldType,
    PayloadIndex,
    Record,
    Words,
    connect,
)

LAYOUT = CollectionSettings(
    words=Words(language="english"),
    indexed=(PayloadIndex(key="indexed", type=FieldType.INTEGER),),
)
WANTED, WANTED_FILTER, WANTED_INGEST = 1.3, 5.0, 1.15
_CHARACTERS = 120  # of a chunk, at most
_WORDS = 8  # of a chunk make a query
_DEPTH, _HITS, _BATCH, _KINDS = 100, 10, 2_000, 100
_CROWD = 16

Search = Callable[[int], object]
"""Runs the query of this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        chunks: How many to search in.
        queries: How many different ones.
        documents: How many to ingest.
    """

    common: Common
    chunks: int
    queries: int
    documents: int


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=5)
    for name, default, what in (
        ("chunks", 100_000, "how many to search in"),
        ("queries", 200, "how many different ones"),
        ("documents", 10, "how many to ingest"),
    ):
        made.add_argument(f"--{name}", type=positive, default=default, help=f"{what} (%(default)s)")
    found = made.parse_args(arguments)
    return Options(
        common=common(found),
        chunks=found.chunks,
        queries=found.queries,
        documents=found.documents,
    )


def measure(options: Options, stage: Stage) -> Result:
    """Fill a collection and search it; ingest documents with and without words."""
    corpus = load_corpus(options.common.data)
    chunks = some_chunks(corpus, options.chunks)
    searched = search(chunks, options, stage)
    ingested = ingest(corpus, options, stage)
    return Result(
        benchmark="hybrid",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings={"corpus": corpus.name, "characters of a chunk": str(_CHARACTERS)},
        figures=(
            Figure(name="stored chunks", value=len(chunks), unit="chunks"),
            *searched[0],
            *ingested[0],
        ),
        targets=(*searched[1], *ingested[1]),
    )


def some_chunks(corpus: Corpus, wanted: int) -> list[str]:
    """Return as many different chunks as were asked for.

    Raises:
        TextError: The corpus is too small.
    """
    splitter = TextSplitter(_CHARACTERS)
    found: dict[str, None] = {}
    for text in corpus.texts:
        found |= dict.fromkeys(splitter.chunks(text.text))
        if len(found) >= wanted:
            return list(found)[:wanted]
    raise TextError(f"the {corpus.name} give {len(found)} chunks; lower --chunks")


def search(
    chunks: Sequence[str], options: Options, stage: Stage
) -> tuple[list[Figure], list[Target]]:
    """Time searches of one collection, and of a copy of its files by the engine alone."""
    encoder = HashEncoder(384)
    drawn = chance(options.common.seed).sample(list(chunks), options.queries)
    texts = [" ".join(chunk.split()[:_WORDS]) for chunk in drawn]
    vectors = encoder.encode(texts, role=Role.QUERY).dense
    folder = stage.work / "store"
    with connect(folder) as store:
        fill(Collection.create(store, "bench", encoder, settings=LAYOUT), chunks, stage)
    shutil.copytree(folder / "bench" / "shard", stage.work / "copy")
    engine = edge.EdgeShard.load(str(stage.work / "copy"))
    with connect(folder) as store:
        collection = Collection.open(store, "bench", encoder)

        def ours(number: int) -> object:
            return collection.search_vector(vectors[number], text=texts[number], limit=_HITS)

        def theirs(number: int) -> object:
            vector = cast(
                "list[float]", vectors[number]
            )  # it reads arrays; its stub does not say so
            rankings: list[edge.Query | edge.TextQuery] = [
                edge.Query.Nearest(vector, using="dense"),
                edge.TextQuery("text", texts[number], edge.Bm25Params(k=1.2, b=0.75)),
            ]
            request = edge.QueryRequest(
                limit=_HITS,
                query=cast("edge.Fusion", edge.Fusion.Dbsf()),
                prefetches=[edge.Prefetch(limit=_DEPTH, query=ranking) for ranking in rankings],
                with_payload=True,
            )
            return [(str(hit.id), hit.score, hit.payload) for hit in engine.query(request)]

        def filtered(key: str) -> Search:
            def run(number: int) -> object:
                where = Equals(key, number % _KINDS)
                return collection.search_vector(vectors[number], limit=_HITS, where=where)

            return run

        fused: dict[str, Search] = {"decant's fusion": ours, "the engine's fusion": theirs}
        kinds = {
            "filtered, with a payload index": filtered("indexed"),
            "filtered, without": filtered("plain"),
        }
        times = timed({**fused, **kinds}, options, stage)
        crowds = crowd(fused, options, stage)
        engine.close()
    figures = [
        figure
        for name, found in {
            **times,
            **{f"{_CROWD} threads, {n}": t for n, t in crowds.items()},
        }.items()
        for figure in _figures(name, found)
    ]
    (alone, own), (with_index, without) = (
        [median(times[name]) for name in fused],
        [median(times[name]) for name in kinds],
    )
    targets = [
        Target(
            name=f"hybrid search of {len(chunks):,} chunks, p50 over the engine's",
            wanted=WANTED,
            measured=alone / own,
            unit="×",
            at_most=True,
        ),
        Target(
            name="filtered search, p50 without a payload index over that with one",
            wanted=WANTED_FILTER,
            measured=without / with_index,
            unit="×",
        ),
    ]
    return figures, targets


def fill(collection: Collection, chunks: Sequence[str], stage: Stage) -> None:
    """Store chunks, each with the same number in two entries, and build the vector index."""
    numbers = count()
    for start in range(0, len(chunks), _BATCH):
        stage.on_step(f"storing chunk {start:,} of {len(chunks):,}")
        collection.add(
            [
                Record(text=chunk, metadata=dict.fromkeys(("indexed", "plain"), number % _KINDS))
                for chunk, number in zip(chunks[start : start + _BATCH], numbers, strict=False)
            ]
        )
    stage.on_step("building the vector index")
    collection.optimize()


def timed(tasks: dict[str, Search], options: Options, stage: Stage) -> dict[str, list[float]]:
    """Return the milliseconds of every query once a round, after a round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    named = [*tasks.items()]
    for turn in range(options.common.rounds + 1):
        stage.on_step(f"round {turn} of {options.common.rounds}" if turn else "warm-up")
        for number in range(options.queries):
            first = number % len(named)
            for name, task in (*named[first:], *named[:first]):
                start = time.perf_counter()
                task(number)
                if turn:
                    times[name].append(1000 * (time.perf_counter() - start))
    return times


def crowd(tasks: dict[str, Search], options: Options, stage: Stage) -> dict[str, list[float]]:
    """Return the milliseconds of every query once a round, sixteen threads at a time."""
    times: dict[str, list[float]] = {name: [] for name in tasks}

    def work(task: Search, kept: list[float], part: int) -> None:
        for number in range(part, options.queries, _CROWD):
            start = time.perf_counter()
            task(number)
            kept.append(1000 * (time.perf_counter() - start))

    for turn in range(options.common.rounds):
        stage.on_step(f"{_CROWD} threads, round {turn + 1} of {options.common.rounds}")
        for name, task in tasks.items():
            threads = [Thread(target=work, args=(task, times[name], n)) for n in range(_CROWD)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    return times


def ingest(corpus: Corpus, options: Options, stage: Stage) -> tuple[list[Figure], list[Target]]:
    """Time the indexing of documents into new collections, with and without words."""
    texts = draw(corpus, options.documents, seed=options.common.seed)
    documents = [Document(source=text.name, text=text.text) for text in texts]
    encoder = load(stage.bundle, provider="cpu")
    numbers = count()

    def into(words: Words | None, some: Sequence[Document] = documents) -> None:
        folder: Path = stage.work / f"ingest-{next(numbers)}"
        fresh(folder, encoder, CollectionSettings(words=words), some)
        shutil.rmtree(folder)

    contenders = [
        Contender(
            name=name,
            settings="",
            run=partial(into, words),
            warm_up=partial(into, words, documents[:2]),
        )
        for name, words in (("hybrid", Words(language="english")), ("dense", None))
    ]
    laps = interleave(contenders, rounds=options.common.rounds, on_step=stage.on_step)
    ratios = [
        one.wall / other.wall for one, other in zip(laps["hybrid"], laps["dense"], strict=True)
    ]
    figures = [
        Figure(
            name=f"{name} ingest of {len(documents)} documents",
            value=median(lap.wall for lap in laps[name]),
            unit="s",
        )
        for name in laps
    ]
    target = Target(
        name="hybrid ingest, over dense ingest",
        wanted=WANTED_INGEST,
        measured=median(ratios),
        unit="×",
        at_most=True,
    )
    return figures, [target]


def fresh(
    folder: Path, encoder: Encoder, settings: CollectionSettings, documents: Sequence[Document]
) -> None:
    """Index documents into a new collection in this folder."""
    with connect(folder) as store:
        Collection.create(store, "bench", encoder, settings=settings).index(documents)


def _figures(name: str, milliseconds: Sequence[float]) -> list[Figure]:
    percentiles = quantiles(milliseconds, n=100)
    return [
        Figure(name=f"{name}, p50", value=median(milliseconds), unit="ms"),
        Figure(name=f"{name}, p99", value=percentiles[-1], unit="ms"),
    ]


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
