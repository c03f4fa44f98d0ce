"""Time a single query: ``encode`` against tokenising and running the bare graph.

For each query both are timed, turn by turn. The bare side is what one would write by hand: the
``tokenizers`` library, three numpy arrays, and an ONNX Runtime session of the same graph with the
same settings. Texts are real, and so are the lengths of queries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bench.bare import bare_session, vectors_of
from bench.corpus import Cutter, load_corpus, some_queries
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.peers import worst_cosine
from bench.report import Figure, Result, Target
from decant.embedders import Bundle, Encoder, OnStep, ParityError, Precision, Role, load
from decant.embedders.onnx import available_cores

WANTED = 10.0  # percent
Embed = Callable[[str], NDArray[np.float32]]
_LEAST_COSINE = 0.99999


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        queries: How many different ones.
    """

    common: Common
    queries: int


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of each query in each round, in the same order."""

    encode: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=5)
    made.add_argument(
        "--queries", type=positive, default=200, help="how many different ones (%(default)s)"
    )
    found = made.parse_args(arguments)
    return Options(common=common(found), queries=found.queries)


def measure(options: Options, stage: Stage) -> Result:
    """Time the fp32 graph of the bundle both ways."""
    corpus = load_corpus(options.common.data)
    with load(stage.bundle, provider="cpu", precision="fp32") as encoder:
        cutter = Cutter(encoder.tokenizer)
        queries = some_queries(corpus, cutter, options.queries, seed=options.common.seed)
        ours = by_encoder(encoder)
        bare = by_hand(encoder, Bundle.open(stage.bundle).graph(Precision.FP32))
        agree(ours, bare, queries)
        times = take_turns(ours, bare, queries, rounds=options.common.rounds, on_step=stage.on_step)
        lengths = cutter.tokens(queries)
    beyond = 100 * (median(times.encode) / median(times.bare) - 1)
    return Result(
        benchmark="query",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings={"corpus": corpus.name, "threads": str(available_cores())},
        figures=(
            Figure(name="queries", value=len(queries), unit="queries"),
            Figure(name="timed", value=len(times.encode), unit="times each way"),
            Figure(name="median length", value=median(lengths), unit="tokens"),
            *_figures("encode", times.encode),
            *_figures("tokenising and the bare session", times.bare),
        ),
        targets=(
            Target(
                name="encode, p50 beyond the bare session",
                wanted=WANTED,
                measured=beyond,
                unit="%",
                at_most=True,
            ),
        ),
    )


def by_encoder(encoder: Encoder) -> Embed:
    """Return a function that gives one query's vector, (D,), as users get it."""
    return lambda query: encoder.encode([query], role=Role.QUERY).dense[0]


def by_hand(encoder: Encoder, graph: Path) -> Embed:
    """Return the same without decant, for recipes without a prompt."""
    tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
    tokenizer.enable_truncation(encoder.recipe.max_tokens)
    run = vectors_of(bare_session(graph, threads=available_cores()))

    def embed(query: str) -> NDArray[np.float32]:
        ids = np.array([tokenizer.encode(query).ids], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        vector: NDArray[np.float32] = run(feeds)[0]
        return vector

    return embed


def agree(ours: Embed, bare: Embed, queries: Sequence[str]) -> None:
    """Check that both sides do the same work; both are warm afterwards.

    Raises:
        ParityError: They give different vectors.
    """
    both = [np.stack([embed(query) for query in queries]) for embed in (ours, bare)]
    if (worst := worst_cosine(*both)) < _LEAST_COSINE:
        raise ParityError(
            f"encode and the bare session give different vectors, worst cosine {worst:.6f}; "
            "measure a bundle whose recipe has no query prompt and no EOS of its own"
        )


def take_turns(
    ours: Embed,
    bare: Embed,
    queries: Sequence[str],
    *,
    rounds: int,
    on_step: OnStep,
) -> Times:
    """Time every query both ways once a round; who is first alternates."""
    times = Times()
    sides = [(times.encode, ours), (times.bare, bare)]
    for number in range(rounds):
        on_step(f"round {number + 1} of {rounds}")
        for turn, query in enumerate(queries, start=number):
            for kept, embed in sides if turn % 2 else reversed(sides):
                start = time.perf_counter()
                embed(query)
                kept.append(1000 * (time.perf_counter() - start))
    return times


def _figures(name: str, milliseconds: Sequence[float]) -> list[Figure]:
    p95 = quantiles(milliseconds, n=20)[-1]
    return [
        Figure(name=f"{name}, p50", value=median(milliseconds), unit="ms"),
        Figure(name=f"{name}, p95", value=p95, unit="ms"),
    ]


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
