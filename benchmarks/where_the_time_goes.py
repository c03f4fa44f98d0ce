"""Say where the time of encoding goes on the CPU: products at the machine's ceiling, and the rest.

In turns, on the same real texts: `encode`; the same batches through the open graph on the same
workers, without tokenising; tokenising alone; and the products of the model's shapes alone, in the
fastest library. ONNX Runtime's profile divides the graph's time among its operators (one thread;
OpenVINO has no such profile, so its graph is one line). Shares are of `encode`'s seconds and add up
to 100 %; tokenising runs beside the graph, so only what is left over of it costs time.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench.corpus import LONGEST, Cutter, load_corpus
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.report import Figure, Result
from bench.rounds import Contender, Lap, interleave
from decant.embedders import OnnxEncoder, Role, load
from decant.embedders.encoding.outputs import DENSE
from decant.embedders.onnx import (
    CONTAINERS,
    CPU,
    NodeRun,
    fastest_library,
    find_provider,
    graph_products,
    is_weight_product,
    profile,
)
from decant.embedders.onnx.encoder import batching
from decant.embedders.tokens.batching import Batching
from decant.embedders.tokens.rows import TokenBatch

ATTENTION = "attention and softmax"
ACTIVATIONS = "GELU and other activations"
NORMS = "layer norms"
QUANTIZING = "rounding states to integers"
OTHERS = "other operators"
PRODUCTS = "products with weights"
_KINDS = {
    "Attention": ATTENTION,
    "GroupQueryAttention": ATTENTION,
    "MultiHeadAttention": ATTENTION,
    "RotaryEmbedding": ATTENTION,
    "Softmax": ATTENTION,
    "MatMul": ATTENTION,  # those that are no product with weights
    "FusedMatMul": ATTENTION,
    "BiasGelu": ACTIVATIONS,
    "FastGelu": ACTIVATIONS,
    "Gelu": ACTIVATIONS,
    "QuickGelu": ACTIVATIONS,
    "Sigmoid": ACTIVATIONS,
    "LayerNormalization": NORMS,
    "RMSNormalization": NORMS,
    "SimplifiedLayerNormalization": NORMS,
    "SkipLayerNormalization": NORMS,
    "SkipSimplifiedLayerNormalization": NORMS,
    "DynamicQuantizeLinear": QUANTIZING,
    "QuantizeLinear": QUANTIZING,
}
_PROFILED = 40  # batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        tokens: Tokens of mixed lengths in a run.
        provider: Of the bundle.
        precision: Of the graph.
        certified: Whether the bundle must be certified on the provider.
    """

    common: Common
    tokens: int
    provider: str
    precision: str
    certified: bool


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=7)
    made.add_argument("--tokens", type=positive, default=16_000, help="size of a run (%(default)s)")
    made.add_argument("--provider", default="cpu", help="cpu or openvino (%(default)s)")
    made.add_argument("--precision", default="fp32", help="of the bundle's graph (%(default)s)")
    made.add_argument(
        "--certified", action=argparse.BooleanOptionalAction, default=True,
        help="refuse a bundle that is not certified on the provider",
    )  # fmt: skip
    found = made.parse_args(arguments)
    return Options(
        common=common(found), tokens=found.tokens, provider=found.provider,
        precision=found.precision, certified=found.certified,
    )  # fmt: skip


def measure(options: Options, stage: Stage) -> Result:
    """Time `encode` and its parts, and account for its seconds."""
    encoder = load(
        stage.bundle,
        provider=options.provider,
        precision=options.precision,
        allow_uncertified=not options.certified,
    )
    cutter = Cutter(encoder.tokenizer, longest=min(LONGEST, encoder.recipe.max_tokens))
    corpus = load_corpus(options.common.data)
    texts = cutter.mixed(corpus, options.tokens, seed=options.common.seed)
    rows = encoder.text_tokenizer(texts, role=Role.PASSAGE)
    tokens = sum(row.width for row in rows)
    made = batches(encoder, texts)
    computed = sum(batch.input_ids.size for batch in made)
    stage.on_step("timing the products of the model's shapes")
    products = graph_products(encoder.bundle, encoder.precision, encoder.provider)
    fastest = fastest_library(products, encoder.precision, encoder.runtime)
    run = fastest.run
    passes = -(-tokens // run.tokens_per_pass)
    contenders = [
        _contender("encode", partial(encoder.encode, texts, role=Role.PASSAGE)),
        _contender("graph", partial(run_graph, encoder, made)),
        _contender("tokenizer", partial(encoder.text_tokenizer, texts, role=Role.PASSAGE)),
        _contender("batches", partial(batches, encoder, texts)),
        _contender("products", partial(run.run, passes)),
    ]
    with run:
        laps = interleave(contenders, rounds=options.common.rounds, on_step=stage.on_step)
    kinds: dict[str, float] = {}
    if encoder.provider == CPU:
        stage.on_step("profiling the graph")
        kinds = operator_shares(encoder, made)
    times = Times(
        encode=seconds(laps["encode"]),
        graph=seconds(laps["graph"]),
        # The passes are whole batches, and more than the texts' tokens.
        products=seconds(laps["products"]) * tokens / (passes * run.tokens_per_pass),
        padding=1 - tokens / computed,
    )
    giga = tokens * sum(product.operations for product in products) / 1e9
    figures = [
        Figure(name=f"share of encode: {name}", value=100 * share, unit="%")
        for name, share in account(times, kinds).items()
    ]
    figures += [
        Figure(name="tokenizing alone", value=100 * seconds(laps["tokenizer"]) / times.encode,
               unit="% of encode, beside the graph"),
        Figure(name="tokenizing and stacking batches alone",
               value=100 * seconds(laps["batches"]) / times.encode,
               unit="% of encode, beside the graph"),
        Figure(name="tokens in a batch, mean", value=computed / len(made), unit="tokens"),
        Figure(name="encode", value=tokens / times.encode, unit="tokens/s"),
        Figure(name="encode's products", value=giga / times.encode, unit="10^9 operations/s"),
        Figure(name=f"the same alone, {run.library}", value=giga / times.products,
               unit="10^9 operations/s"),
    ]  # fmt: skip
    return Result(
        benchmark="where_the_time_goes",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings={
            "precision": str(encoder.precision),
            "provider": encoder.provider,
            "runtime": str(encoder.runtime),
            "corpus": corpus.name,
            "libraries": ", ".join(f"{rate.library} {rate.giga:.0f}" for rate in fastest.rates),
        },
        figures=tuple(figures),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds of a run, and the share of computed tokens that are padding."""

    encode: float
    graph: float
    products: float
    padding: float


def account(times: Times, kinds: dict[str, float]) -> dict[str, float]:
    """Return the shares of `encode`'s seconds; they add up to 1.

    Args:
        times: Of `encode` and its parts.
        kinds: The shares of the graph's time by kind of operator, which add up to 1; empty where
            the runtime has no profile.
    """
    graph = times.graph / times.encode
    padding = graph * times.padding
    useful = graph - padding
    ceiling = times.products / times.encode
    found = {"products with weights at the ceiling": ceiling}
    if kinds:
        slower = useful * kinds.get(PRODUCTS, 0.0) - ceiling
        found["products with weights, beyond the ceiling"] = slower
        others = sorted(kinds.items(), key=lambda pair: -pair[1])
        found |= {name: useful * share for name, share in others if name != PRODUCTS}
    else:
        found["everything else in the graph"] = useful - ceiling
    found["padding"] = padding
    found["tokenizing that the graph waits for, copies, Python"] = 1 - graph
    return found


def operator_shares(encoder: OnnxEncoder, made: Sequence[TokenBatch]) -> dict[str, float]:
    """Return the shares of the graph's time by kind of operator, over some of the batches."""
    path = encoder.bundle.graph(find_provider(encoder.provider).graph_of(encoder.precision))
    spent: Counter[str] = Counter()
    for batch in made[:: max(1, len(made) // _PROFILED)]:
        runs = profile(path, CPU, batch, runs=2)
        warm = runs[len(runs) // 2 :]  # the first run allocates
        spent += shares_of(warm, tokens=batch.input_ids.size)
    whole = sum(spent.values())
    return {name: count / whole for name, count in spent.items()}


def shares_of(runs: Iterable[NodeRun], *, tokens: int) -> Counter[str]:
    """Return microseconds by kind of operator."""
    spent: Counter[str] = Counter()
    for run in runs:
        if run.operator in CONTAINERS:
            continue
        weights = is_weight_product(run, tokens=tokens)
        spent[PRODUCTS if weights else _KINDS.get(run.operator, OTHERS)] += run.microseconds
    return spent


def batches(encoder: OnnxEncoder, texts: Sequence[str]) -> list[TokenBatch]:
    """Return the batches of some texts, as `encode` makes them of one block."""
    rows = encoder.text_tokenizer(texts, role=Role.PASSAGE)
    cut = _batching(encoder)
    return [cut.stack([rows[index] for index in group]) for group in cut.batches(rows)]


def run_graph(encoder: OnnxEncoder, made: Sequence[TokenBatch]) -> None:
    """Run batches on the encoder's own workers and session, and drop what they give."""
    with ThreadPoolExecutor(encoder.runtime.workers) as pool:
        for _ in pool.map(lambda batch: encoder.run_batch(batch, [DENSE], alone=False), made):
            pass


def seconds(laps: Sequence[Lap]) -> float:
    """Return the median."""
    return median(lap.wall for lap in laps)


def _batching(encoder: OnnxEncoder) -> Batching:
    session = encoder._session_for_many()  # noqa: SLF001 - what is measured is how it works
    return batching(encoder.bundle, session, encoder.runtime.token_budget)


def _contender(name: str, run: Callable[[], object]) -> Contender:
    return Contender(name=name, settings="", run=run, warm_up=run)


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
