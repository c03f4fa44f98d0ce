"""Time searches of a Qdrant Edge collection, and what they cost beyond embedding the query.

For each query both are timed, the order alternating: embedding it alone, and the whole call, which
embeds it, searches and reads the hits; that without a filter and with two that half of the chunks
pass, one on metadata with a payload index and one on metadata without. Texts are real, and so are
their vectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from bench.corpus import Corpus, Cutter, chance, load_corpus
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.report import Figure, Result, Target
from decant.embedders import Encoder, OnStep, Role, TextError, load
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Equals,
    FieldType,
    PayloadIndex,
    Record,
    connect,
)

WANTED = 15.0  # milliseconds
LAYOUT = CollectionSettings(indexed=(PayloadIndex(key="indexed", type=FieldType.BOOL),))
_WORDS = 10  # of a chunk make a query
_BATCH = 2_000
_INDEXED = Equals("indexed", True)
_PLAIN = Equals("plain", True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        chunks: How many to store.
        chunk_tokens: The longest chunk, special tokens included.
        queries: How many different ones.
        limit: How many hits to ask for.
        optimized: Whether to build the vector index first.
    """

    common: Common
    chunks: int
    chunk_tokens: int
    queries: int
    limit: int
    optimized: bool


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of each query in each round, in the same order."""

    embedding: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    filtered: list[float] = field(default_factory=list)
    filtered_plain: list[float] = field(default_factory=list)


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=5)
    made.add_argument(
        "--chunks", type=positive, default=10_000, help="how many to store (%(default)s)"
    )
    made.add_argument(
        "--chunk-tokens", type=positive, default=40, help="the longest chunk (%(default)s)"
    )
    made.add_argument(
        "--queries", type=positive, default=100, help="how many different ones (%(default)s)"
    )
    made.add_argument("--limit", type=positive, default=10, help="hits to ask for (%(default)s)")
    made.add_argument(
        "--optimized", action="store_true", help="build the vector index before searching"
    )
    found = made.parse_args(arguments)
    return Options(
        common=common(found),
        chunks=found.chunks,
        chunk_tokens=found.chunk_tokens,
        queries=found.queries,
        limit=found.limit,
        optimized=found.optimized,
    )


def measure(options: Options, stage: Stage) -> Result:
    """Fill a collection and search it."""
    encoder = load(stage.bundle, provider="cpu")
    corpus = load_corpus(options.common.data)
    chunks = some_chunks(corpus, Cutter(encoder.tokenizer), options)
    drawn = chance(options.common.seed).choices(chunks, k=options.queries)
    queries = [" ".join(chunk.split()[:_WORDS]) for chunk in drawn]
    with connect(stage.work / "store") as store:
        collection = Collection.create(store, "benchmark", encoder, settings=LAYOUT)
        fill(collection, chunks, on_step=stage.on_step)
        if options.optimized:
            stage.on_step("building the vector index")
            collection.optimize()
        times = search(collection, queries, options, on_step=stage.on_step)
        stored = collection.count()
    return Result(
        benchmark="search",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings={
            "corpus": corpus.name,
            "chunk tokens": str(options.chunk_tokens),
            "hits": str(options.limit),
            "vector index built": str(options.optimized),
        },
        figures=(
            Figure(name="stored chunks", value=stored, unit="chunks"),
            Figure(name="timed searches", value=len(times.whole), unit="searches"),
            *_figures("embedding the query alone", times.embedding),
            *_figures("the whole search", times.whole),
            *_figures("the whole search, filtered by indexed metadata", times.filtered),
            *_figures("the whole search, filtered by other metadata", times.filtered_plain),
        ),
        targets=(
            _target("search", times.embedding, times.whole, stored),
            _target("filtered search", times.embedding, times.filtered, stored),
        ),
    )


def some_chunks(corpus: Corpus, cutter: Cutter, options: Options) -> list[str]:
    """Return as many different chunks as were asked for.

    Raises:
        TextError: The corpus is too small.
    """
    found: dict[str, None] = {}
    for text in corpus.texts:
        found |= dict.fromkeys(cutter.cut(text.text, options.chunk_tokens))
        if len(found) >= options.chunks:
            return list(found)[: options.chunks]
    raise TextError(
        f"the {corpus.name} give {len(found)} chunks of {options.chunk_tokens} tokens, "
        f"{options.chunks} were asked for; lower --chunks or --chunk-tokens"
    )


def fill(collection: Collection, chunks: Sequence[str], *, on_step: OnStep) -> None:
    """Store chunks, every other one marked so that filters find it."""
    records = [
        Record(text=chunk, metadata=dict.fromkeys(("indexed", "plain"), index % 2 == 0))
        for index, chunk in enumerate(chunks)
    ]
    for start in range(0, len(records), _BATCH):
        on_step(f"storing chunk {start:,} of {len(records):,}")
        collection.add(records[start : start + _BATCH])


def search(
    collection: Collection,
    queries: Sequence[str],
    options: Options,
    *,
    on_step: OnStep,
) -> Times:
    """Time every query once a round, after one round that does not count."""
    times = Times()
    encoder: Encoder = collection.encoder
    limit = options.limit
    tasks: list[tuple[list[float], Callable[[str], object]]] = [
        (times.embedding, lambda query: encoder.encode([query], role=Role.QUERY)),
        (times.whole, lambda query: collection.search(query, limit=limit)),
        (times.filtered, lambda query: collection.search(query, limit=limit, where=_INDEXED)),
        (
            times.filtered_plain,
            lambda query: collection.search(query, limit=limit, where=_PLAIN),
        ),
    ]
    for number in range(options.common.rounds + 1):
        on_step(f"round {number} of {options.common.rounds}" if number else "warm-up")
        for turn, query in enumerate(queries):
            first = turn % len(tasks)
            for kept, task in (*tasks[first:], *tasks[:first]):
                start = time.perf_counter()
                task(query)
                if number:
                    kept.append(1000 * (time.perf_counter() - start))
    return times


def _figures(name: str, milliseconds: Sequence[float]) -> list[Figure]:
    p95 = quantiles(milliseconds, n=20)[-1]
    return [
        Figure(name=f"{name}, p50", value=median(milliseconds), unit="ms"),
        Figure(name=f"{name}, p95", value=p95, unit="ms"),
    ]


def _target(name: str, alone: Sequence[float], whole: Sequence[float], stored: int) -> Target:
    return Target(
        name=f"{name} of {stored:,} chunks, p50 beyond embedding the query",
        wanted=WANTED,
        measured=median(whole) - median(alone),
        unit="ms",
        at_most=True,
    )


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
