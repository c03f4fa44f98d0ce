"""Rerankers: decant against sentence-transformers and fastembed, and passages of one query.

    python experiments/ordering/reranker_speed.py FOLDER BUNDLE [--fastembed FOLDER]

FOLDER is the model as sentence-transformers opens it, BUNDLE what `decant export FOLDER BUNDLE
--precision int8` made of it. The systems take turns; the best batch size of CrossEncoder counts.
With a causal reranker, 50 passages under one query are also timed without sharing what stands
before them. Prints medians of pairs per second.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from decant.embedders import DecantError, load_reranker
from decant.embedders.tokens import PairTokenizer

_QUERIES = (
    "why does iron rust",
    "when does the ferry to the island leave",
    "how do vaccines train the immune system",
    "what becomes of a river where the land is flat",
)
_WORDS = ("harbour", "quiet", "winter", "boats", "covered", "gulls", "watch", "water", "rise")
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_ROUNDS = 5
_SEED = 0
_FASTEMBED = "Xenova/ms-marco-MiniLM-L-6-v2"  # names the layout of its folder: onnx/model.onnx

Pairs = list[tuple[str, str]]


def make_pairs(count: int, *, words: tuple[int, int]) -> Pairs:
    """Return pairs of made-up passages of so many words, in random order."""
    draw = np.random.default_rng(_SEED)
    lengths = draw.integers(*words, count)
    texts = [" ".join(draw.choice(_WORDS, int(length)).tolist()) for length in lengths]
    return [(_QUERIES[number % len(_QUERIES)], text) for number, text in enumerate(texts)]


def medians(systems: Mapping[str, Callable[[], object]], pairs: int) -> dict[str, float]:
    """Return pairs per second of systems that run in turns; the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(1 + _ROUNDS):
        for name, run in systems.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    return {name: pairs / statistics.median(found[1:]) for name, found in seconds.items()}


def systems_of(
    folder: Path, bundle: Path, pairs: Pairs, fastembed: Path | None
) -> dict[str, Callable[[], object]]:
    """Return what scores the pairs, by name."""
    from sentence_transformers import CrossEncoder

    found: dict[str, Callable[[], object]] = {}
    for precision in ("fp32", "int8"):
        try:
            reranker = load_reranker(bundle, precision=precision)
        except DecantError as error:
            print(f"decant {precision}: {error}")
            continue
        found[f"decant {precision}"] = partial(reranker.score_pairs, pairs)
    model = CrossEncoder(str(folder), device="cpu")
    for size in _SIZES:
        found[f"CrossEncoder, batches of {size}"] = partial(
            model.predict, pairs, batch_size=size, show_progress_bar=False
        )
    if fastembed is not None:
        from fastembed.rerank.cross_encoder import TextCrossEncoder

        theirs = TextCrossEncoder(_FASTEMBED, specific_model_path=str(fastembed))
        found["fastembed"] = lambda: list(theirs.rerank_pairs(pairs))
    return found


def shared_query(bundle: Path) -> dict[str, Callable[[], object]]:
    """Return 50 passages under one query, behind its cached tokens and each as a whole.

    Nothing comes back for a reranker without a template, whose passages share nothing.
    """
    reranker = load_reranker(bundle)
    if reranker.recipe.pair.template is None:
        return {}
    tokenizer = reranker.encoder.text_tokenizer
    assert isinstance(tokenizer, PairTokenizer)
    texts = [text for _, text in make_pairs(50, words=(20, 60))]
    batching = reranker.encoder.settings.batching

    def whole() -> None:
        rows = tokenizer.pairs([(_QUERIES[0], text) for text in texts])
        for group in batching.batches(rows, whole=True):
            batch = replace(batching.stack([rows[at] for at in group]), prompt=0)
            reranker.encoder.run_batch(batch, ["sentence_embedding"], alone=True)

    return {"shared": lambda: reranker.score(_QUERIES[0], texts), "each as a whole": whole}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--fastembed", type=Path, help="the same weights as fastembed has them")
    given = parser.parse_args()
    pairs = make_pairs(given.pairs, words=(10, 120))
    rates = medians(systems_of(given.folder, given.bundle, pairs, given.fastembed), len(pairs))
    best = max(rate for name, rate in rates.items() if name.startswith("CrossEncoder"))
    for name, rate in rates.items():
        print(f"{name:32} {rate:10.1f} pairs/s  {rate / best:6.2f} x CrossEncoder's fastest")
    for name, rate in medians(shared_query(given.bundle), 50).items():
        print(f"50 passages, {name:19} {rate:10.1f} pairs/s")


if __name__ == "__main__":
    main()
