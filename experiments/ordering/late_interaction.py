"""What late interaction costs in a collection: bytes of a passage, and time of 100 candidates.

Random unit vectors stand for those of a model, for neither bytes nor time depend on their values.
Ways to score the same candidates take turns: the engine does it (what decant does), the vectors are
read and multiplied here, they are only read, and they are only multiplied. Every score is compared
with a loop.

    python experiments/ordering/late_interaction.py --scratch SCRATCH --passages 4000
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decant.embedders import HashEncoder, Vectors, pool_tokens
from decant.embedders.late.max_sim import max_sims
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Late,
    Record,
    SearchOptions,
    Select,
    TokenVectors,
    connect,
)
from decant.integrations.qdrant.stores.point_ids import record_id
from decant.integrations.qdrant.stores.queries import TokensQuery

DIM, QUERY_TOKENS, CANDIDATES, ROUNDS, BATCH = 128, 32, 100, 25, 200


def unit(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    """Return random rows of unit length."""
    drawn = rng.standard_normal((rows, DIM)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def rounded(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows as they are stored."""
    return rows.astype(np.float16).astype(np.float32)


def allocated(folder: Path) -> int:
    """Return the bytes that the system has allocated for a folder's files."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


def timed(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median of each call in milliseconds; they take turns."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            took[name].append(1_000 * (time.perf_counter() - begun))
    return {name: statistics.median(times) for name, times in took.items()}


def measure(scratch: Path, *, passages: int, tokens: int, pool_to: int | None) -> str:
    """Return a row of the table."""
    rng = np.random.default_rng(0)
    encoder = HashEncoder(DIM, tokens=True)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    settings = CollectionSettings(token_vectors=TokenVectors(pool_to=pool_to))
    held: dict[str, NDArray[np.float32]] = {}
    pooling = 0.0
    with connect(folder) as store:
        made = Collection.create(store, "docs", encoder, settings=settings)
        for start in range(0, passages, BATCH):
            ids = [str(n) for n in range(start, min(start + BATCH, passages))]
            rows = [unit(rng, tokens) for _ in ids]
            if pool_to is not None:
                begun = time.perf_counter()
                rows = [pool_tokens(one, pool_to) for one in rows]
                pooling += time.perf_counter() - begun
            held |= {record_id(one): rounded(two) for one, two in zip(ids, rows, strict=True)}
            vectors = Vectors(dense=unit(rng, len(ids)), token_embeddings=tuple(rows))
            made.add([Record(id=one, text=f"text {one}") for one in ids], vectors=vectors)
        made.optimize()
        store.flush("docs")
        size = allocated(folder)
        query, dense = rounded(unit(rng, QUERY_TOKENS)), unit(rng, 1)
        chosen = tuple(rng.choice(list(held), CANDIDATES, replace=False).tolist())
        asked = TokensQuery(vectors=query, ids=chosen)
        fetch = Select(fields=(), token_vectors=True)
        engine = store._shard("docs", "reading").engine  # type: ignore[attr-defined]  # noqa: SLF001

        def multiplied() -> dict[str, float]:
            points = store.retrieve("docs", chosen, fetch)
            rows = [one.token_vectors for one in points if one.token_vectors is not None]
            ids = [one.id for one in points if one.token_vectors is not None]
            return dict(zip(ids, max_sims(query, rows).tolist(), strict=True))

        found = dict(store.rank("docs", [asked], limit=CANDIDATES)[0])
        loop = {one: sum(max(float(a @ b) for b in held[one]) for a in query) for one in chosen}
        apart = max(abs(found[one] - loop[one]) for one in chosen)
        also = multiplied()
        apart_here = max(abs(also[one] - loop[one]) for one in chosen)
        both = Vectors(dense=dense, token_embeddings=(query,))
        late = SearchOptions(late=Late(candidates=CANDIDATES))
        times = timed(
            {
                "engine": lambda: store.rank("docs", [asked], limit=CANDIDATES),
                "read": lambda: engine.retrieve([*chosen], False, ["tokens"]),
                "here": multiplied,
                "product": lambda: max_sims(query, [held[one] for one in chosen]),
                "dense": lambda: made.search_vector(dense[0], limit=10),
                "late": lambda: made.search_vector(both, limit=10, options=late),
            }
        )
    kept = tokens if pool_to is None else min(tokens, pool_to)
    return (
        f"| {tokens} | {kept} | {2 * DIM * kept:,} | {size / passages:,.0f} | "
        f"{1_000 * pooling / passages:.1f} | {times['read']:.2f} | {times['engine']:.2f} | "
        f"{times['here']:.1f} | {times['product']:.2f} | {times['dense']:.2f} | "
        f"{times['late']:.2f} | {apart:.0e} | {apart_here:.0e} |"
    )


def main() -> None:
    """Measure several lengths of passages, with and without pooling."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=4_000)
    asked = parser.parse_args()
    asked.scratch.mkdir(parents=True, exist_ok=True)
    for tokens, pool_to in ((80, None), (80, 32), (180, None), (180, 60)):
        row = measure(asked.scratch, passages=asked.passages, tokens=tokens, pool_to=pool_to)
        print(row, flush=True)


if __name__ == "__main__":
    main()
