"""What each layout of a collection costs and finds: bytes per vector, recall@10, time of a search.

``python experiments/layout_presets.py BUNDLE --data DATA --scratch FOLDER --count 100000`` cuts the
texts of DATA into chunks of 60 words, embeds as many as are asked for (kept in the scratch folder;
a second call goes on), stores them on Edge once for each storage, and for prefixes, and compares
the hits of real queries with exact ones. The layouts take turns query by query, so they share the
machine's noise.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from decant.embedders import HashEncoder, Role, load
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Record,
    SearchMode,
    SearchOptions,
    Storage,
    StoredLayout,
    connect,
)
from decant.integrations.qdrant.edge.points import to_request
from decant.integrations.qdrant.stores.protocol import PREFIX, Select

SEED = 0
WORDS = 60
SETS = ("adi", "cisi", "cosqa_dev", "cranfield", "squad2_dev_cs224n", "wikiqa_dev", "xquad_en")
QUERIES_OF_A_SET = 29
LAYOUTS = {
    **{storage.value: CollectionSettings(storage=storage) for storage in Storage},
    "prefix 128": CollectionSettings(prefix=128, allow_any_dim=True),
    "prefix 128, turbo4": CollectionSettings(
        prefix=128, allow_any_dim=True, storage=Storage.TURBO4
    ),
}
LIMIT = 10
PART = 2_000
SWEEP = (None, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)  # None: without rescoring
PREFIX_SWEEP = (1, 2, 4, 10, 20, 40, 80)

Floats = NDArray[np.float32]


def main() -> None:
    """Print one table of the layouts, and one of their oversampling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100_000)
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    vectors, queries = embed(options.bundle, options.data, options.scratch, options.count)
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :LIMIT]
    print(f"{len(vectors)} chunks, {len(queries)} queries, width {vectors.shape[1]}")
    for name, settings in LAYOUTS.items():
        build(options.scratch / "index", name, settings, vectors)
    measure(options.scratch / "index", vectors.shape[1], queries, exact)
    sweep(options.scratch / "index", queries, exact)
    sweep_prefixes(options.scratch / "index", queries, exact)


def embed(bundle: str, data: Path, scratch: Path, count: int) -> tuple[Floats, Floats]:
    """Return vectors of passages and queries, from the scratch folder as far as they are there."""
    chunks = list(dict.fromkeys(read_chunks(data)))
    random.Random(SEED).shuffle(chunks)  # noqa: S311
    held, asked = scratch / "vectors.npy", scratch / "queries.npy"
    parts = [np.load(held)] if held.exists() else []
    done = sum(map(len, parts))
    if done < count or not asked.exists():
        with load(bundle, precision="int8") as encoder:
            np.save(asked, encoder.encode(read_queries(data), role=Role.QUERY).dense)
            for start in range(done, count, PART):
                part = chunks[start : min(start + PART, count)]
                parts.append(encoder.encode(part, role=Role.PASSAGE).dense)
                np.save(held, np.concatenate(parts))
    return np.concatenate(parts)[:count], np.load(asked)


def read_chunks(data: Path) -> Iterator[str]:
    """Yield the chunks of all retrieval sets and of the corpus."""
    for name in SETS:
        with (data / "retrieval" / name / "corpus.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                yield from cut(json.loads(line)["text"])
    for path in sorted((data / "corpus").rglob("*")):
        if path.is_file():
            yield from cut(path.read_text(encoding="utf-8", errors="replace"))


def cut(text: str) -> Iterator[str]:
    """Yield stretches of sixty words; a last one of fewer than eight is left out."""
    words = text.split()
    for start in range(0, len(words), WORDS):
        if len(part := words[start : start + WORDS]) >= 8:
            yield " ".join(part)


def read_queries(data: Path) -> list[str]:
    """Return the same number of real queries of each set."""
    queries: list[str] = []
    for name in SETS:
        with (data / "retrieval" / name / "queries.jsonl").open(encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
        random.Random(SEED).shuffle(texts)  # noqa: S311
        queries += texts[:QUERIES_OF_A_SET]
    return queries


def build(folder: Path, name: str, settings: CollectionSettings, vectors: Floats) -> None:
    """Store and optimize the vectors in one layout, if that is not done."""
    encoder = HashEncoder(dim=vectors.shape[1])
    with connect(folder) as store:
        if folder_of(name) in store.names():
            return
        collection = Collection.create(store, folder_of(name), encoder, settings=settings)
        began = time.perf_counter()
        for start in range(0, len(vectors), PART):
            part = vectors[start : start + PART]
            records = [Record(id=str(start + n), text=f"{start + n}") for n in range(len(part))]
            collection.add(records, vectors=part)
        stored = time.perf_counter()
        collection.optimize()
        print(
            f"{name}: stored in {stored - began:.1f} s, indexed in "
            f"{time.perf_counter() - stored:.1f} s",
            flush=True,
        )


def measure(folder: Path, width: int, queries: Floats, exact: NDArray[np.int64]) -> None:
    """Print bytes, recall and times of every layout, searched as decant searches it."""
    encoder = HashEncoder(dim=width)
    times: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    found: dict[str, float] = dict.fromkeys(LAYOUTS, 0.0)
    with connect(folder) as store:
        opened = {one: Collection.open(store, folder_of(one), encoder) for one in LAYOUTS}
        for turn in range(3):  # the first turn reads the files
            for row, query in enumerate(queries):
                for name, collection in opened.items():
                    began = time.perf_counter()
                    hits = collection.search_vector(query, limit=LIMIT, mode=SearchMode.DENSE)
                    times[name].append(time.perf_counter() - began)
                    if turn == 0:
                        ids = {int(hit.id) for hit in hits}
                        found[name] += len(ids & {*exact[row].tolist()}) / LIMIT
        wide = SearchOptions(ef=256)
        for name, collection in opened.items():
            hits_of = [
                {int(hit.id) for hit in collection.search_vector(query, limit=LIMIT, options=wide)}
                for query in queries
            ]
            deep = sum(len(h & {*e.tolist()}) for h, e in zip(hits_of, exact, strict=True))
            taken = np.array(times[name][len(queries) :]) * 1_000
            against = np.array(times["full"][len(queries) :]) * 1_000
            count = collection.info().passages
            original, prefix, compressed = bytes_of(folder / folder_of(name) / "shard")
            print(
                f"| {name} | {original / count:.0f} | {prefix / count:.0f} | "
                f"{compressed / count:.0f} | {found[name] / len(queries):.4f} | "
                f"{deep / LIMIT / len(queries):.4f} | {np.percentile(taken, 50):.2f} | "
                f"{np.percentile(taken, 99):.2f} | {np.median(taken) / np.median(against):.2f} |",
                flush=True,
            )


def sweep(folder: Path, queries: Floats, exact: NDArray[np.int64]) -> None:
    """Print recall and the median time of every compressed layout by its oversampling."""
    for storage in Storage:
        if storage is Storage.FULL:
            continue
        shard = edge.EdgeShard.load(str(folder / storage.value / "shard"))
        numbers = numbers_of(shard)
        cells = []
        for factor in SWEEP:
            rescoring = edge.QuantizationSearchParams(
                rescore=factor is not None, oversampling=factor
            )
            params = edge.SearchParams(quantization=rescoring)
            found, taken = 0, []
            for query, right in zip(queries, exact, strict=True):
                nearest = edge.Query.Nearest(query, using="dense")
                request = edge.QueryRequest(limit=LIMIT, query=nearest, params=params)
                began = time.perf_counter()
                hits = shard.query(request)
                taken.append(time.perf_counter() - began)
                found += len({numbers[str(hit.id)] for hit in hits} & {*right.tolist()})
            cells.append(f"{found / LIMIT / len(queries):.3f} ({np.median(taken) * 1_000:.2f} ms)")
        shard.close()
        print(f"| {storage} | {' | '.join(cells)} |", flush=True)


def sweep_prefixes(folder: Path, queries: Floats, exact: NDArray[np.int64]) -> None:
    """Print recall and the median time of prefixes by how many candidates are rescored."""
    for name, settings in LAYOUTS.items():
        if not settings.prefix:
            continue
        shard = edge.EdgeShard.load(str(folder / folder_of(name) / "shard"))
        numbers, layout = numbers_of(shard), StoredLayout().after(settings)
        cells = []
        for factor in PREFIX_SWEEP:
            found, taken = 0, []
            for query, right in zip(queries, exact, strict=True):
                request = to_request(
                    query, Select(fields=()), limit=LIMIT, chosen=None, layout=layout
                )
                (stage,) = request.prefetches
                stage = edge.Prefetch(limit=factor * LIMIT, query=stage.query, params=stage.params)
                request = edge.QueryRequest(limit=LIMIT, query=request.query, prefetches=[stage])
                began = time.perf_counter()
                hits = shard.query(request)
                taken.append(time.perf_counter() - began)
                found += len({numbers[str(hit.id)] for hit in hits} & {*right.tolist()})
            cells.append(f"{found / LIMIT / len(queries):.3f} ({np.median(taken) * 1_000:.2f} ms)")
        shard.close()
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def numbers_of(shard: edge.EdgeShard) -> dict[str, int]:
    """Return the numbers of all points by their ids."""
    records = shard.scroll(edge.ScrollRequest(limit=10**7, with_payload=["text"]))[0]
    return {str(one.id): int((one.payload or {}).get("text") or -1) for one in records}


def folder_of(name: str) -> str:
    """Return the name of the collection of a layout."""
    return name.replace(", ", "_").replace(" ", "_")


def bytes_of(shard: Path) -> tuple[int, int, int]:
    """Return the bytes on the disk of original vectors, of prefixes, and of compressed ones."""
    files = [path for path in (shard / "segments").rglob("*") if path.is_file()]
    compressed = [path for path in files if path.name.startswith("quantized")]
    plain = [path for path in files if path not in compressed]
    prefixes = [path for path in plain if f"vector_storage-{PREFIX}" in str(path)]
    dense = [path for path in plain if "vector_storage-dense" in str(path)]
    return _allocated(dense) - _allocated(prefixes), _allocated(prefixes), _allocated(compressed)


def _allocated(paths: list[Path]) -> int:
    return sum(512 * path.stat().st_blocks for path in paths)


if __name__ == "__main__":
    main()
