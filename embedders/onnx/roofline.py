"""The machine's own ceiling: how fast it multiplies by the model's weights, and does nothing else.

Products of the same shapes as the graph's, with as many rows as a batch has tokens, run on the
same workers and threads as encoding, in turns with it. Every installed library is tried and the
fastest counts. Only products with weights are counted, on both sides: attention's own products,
padding, softmax, norms, tokenising and copies are what keeps encoding from the ceiling.

A ceiling repeats one matrix a shape, which a cache may hold, so no encoder reaches all of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Self

from ..bundle.bundle import Bundle
from ..bundle.precision import Precision
from ..errors import ProviderError
from ..recipe.prompt import Role
from ..tokens.batching import Batching
from .gemm_libraries import LIBRARIES, Call, GemmLibrary, multiplied_in
from .node_profile import Product, weight_products
from .providers.machine import instruction_sets
from .providers.options import Settled
from .providers.table import CPU, find_provider
from .session import profile

Clock = Callable[[], float]
_GIGA = 1e9
_ROUND_SECONDS = 0.3
_ROUNDS = 5
_TEXT = "harbour " * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmRate:
    """How fast a library multiplies: 10^9 multiplications and additions a second."""

    library: str
    giga: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """How much of the machine's matrix products encoding reaches.

    Args:
        precision: In which products are computed: fp32, bf16 or int8.
        library: The fastest library.
        products: 10^9 multiplications and additions a second of the products alone, the median.
        reached: The same of encoding in the same rounds; tokens of padding do not count.
        share: ``reached / products``, the median over the rounds.
        operations_per_token: Multiplications and additions with weights that a token needs.
        rates: Every library that was timed.
        not_timed: The others, each with the reason.
        instruction_sets: The processor's vector and matrix instructions.
    """

    precision: Precision
    library: str
    products: float
    reached: float
    share: float
    operations_per_token: int
    rates: tuple[GemmRate, ...]
    not_timed: tuple[str, ...]
    instruction_sets: tuple[str, ...]

    def __str__(self) -> str:
        """Return the share in a line."""
        unit = "GOP/s" if self.precision is Precision.INT8 else "GFLOP/s"
        has = f"; {' '.join(self.instruction_sets)}" if self.instruction_sets else ""
        share = f"{100 * self.share:.0f} %"
        return (
            f"encoding reaches {share} of this machine's {self.precision} products "
            f"({self.reached:,.0f} of {self.products:,.0f} {unit}, {self.library}{has})"
        )


class ProductRun:
    """A graph's products in one library, ready to run; close it, for it holds worker threads.

    Args:
        library: What multiplies.
        products: The graph's.
        precision: In which they are computed.
        settings: Workers, threads and rows, as for encoding.
    """

    def __init__(
        self,
        library: GemmLibrary,
        products: Sequence[Product],
        precision: Precision,
        settings: Settled,
    ) -> None:
        self.library = library.name
        self._operations = sum(product.operations for product in products)
        shapes = [library.calls(product, precision, settings) for product in products]
        self._slots: SimpleQueue[list[Call]] = SimpleQueue()
        for calls in zip(*shapes, strict=True):
            repeated = zip(calls, products, strict=True)
            self._slots.put([call for call, product in repeated for _ in range(product.count)])
        self._workers = self._slots.qsize()
        # One call on every core has the rows of all workers.
        self.tokens_per_pass = settings.token_budget * settings.workers // self._workers
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decant-products")

    def run(self, passes: int) -> None:
        """Multiply ``passes`` batches by all weights; the workers share them."""
        for _ in self._pool.map(lambda _: self._run_pass(), range(passes)):
            pass

    def rate(self, passes: int, *, clock: Clock = time.perf_counter) -> float:
        """Return multiplications and additions a second over so many passes."""
        begun = clock()
        self.run(passes)
        return passes * self.tokens_per_pass * self._operations / (clock() - begun)

    def passes_of(self, seconds: float, *, clock: Clock = time.perf_counter) -> int:
        """Warm up, and return how many passes take about so long."""
        self.run(self._workers)
        begun = clock()
        self.run(self._workers)
        return self._workers * max(1, round(seconds / max(clock() - begun, 1e-9)))

    def close(self) -> None:
        """End the worker threads."""
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run_pass(self) -> None:
        calls = self._slots.get()
        try:
            for call in calls:
                call()
        finally:
            self._slots.put(calls)


def graph_products(bundle: Bundle, precision: Precision, provider: str) -> tuple[Product, ...]:
    """Return the products with weights that a token needs in a bundle's graph.

    Args:
        bundle: The bundle.
        precision: In which the graph runs.
        provider: The full name of a provider on the CPU; ONNX Runtime reads the graph in any case.

    Raises:
        ProviderError: The provider is not on the CPU, or ONNX Runtime finds no product with
            weights in the graph.
    """
    row = find_provider(provider)
    if not row.is_cpu:
        raise ProviderError(
            f"products are timed on CPUs only, and not on {row.full_name}; see `make bench-gpu`"
        )
    tokens = bundle.tokenizer()(
        [_TEXT[: 8 * bundle.tokenizer().max_text_tokens(Role.PASSAGE)]], role=Role.PASSAGE
    )
    batch = Batching(token_budget=1, pad_id=bundle.manifest.pad_id).stack(tokens)
    size = batch.input_ids.size
    path = bundle.graph(row.graph_of(precision))
    found = weight_products(profile(path, CPU, batch), tokens=size)
    if not found:
        raise ProviderError(
            f"ONNX Runtime's profile of {path} shows no product of all tokens with weights, so "
            "there is nothing to compare its speed with"
        )
    # A recipe of several prompts runs a text in several rows.
    rows = size // tokens[0].width
    return tuple(Product(k=one.k, n=one.n, count=one.count * rows) for one in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class FastestLibrary:
    """The fastest library for a graph's products, and what the others gave.

    Args:
        run: Its products, ready to run; close it.
        passes: How many of its passes take a round.
        rates: Every library that was timed.
        not_timed: The others, each with the reason.
    """

    run: ProductRun
    passes: int
    rates: tuple[GemmRate, ...]
    not_timed: tuple[str, ...]


def fastest_library(
    products: Sequence[Product],
    precision: Precision,
    settings: Settled,
    *,
    libraries: Sequence[GemmLibrary] = LIBRARIES,
    clock: Clock = time.perf_counter,
) -> FastestLibrary:
    """Time every library, and return the fastest, open.

    Raises:
        ProviderError: None multiplies in this precision here.
    """
    kind = multiplied_in(precision)
    best: tuple[ProductRun, int] | None = None
    rates: list[GemmRate] = []
    refused = []
    for library in libraries:
        if reason := library.why_not(kind, settings):
            refused.append(f"{library.name}: {reason}")
            continue
        try:
            run = ProductRun(library, products, kind, settings)
            passes = run.passes_of(_ROUND_SECONDS, clock=clock)
        except Exception as error:  # noqa: BLE001 - a damaged installation, or a lack of memory
            refused.append(f"{library.name}: {str(error).partition(chr(10))[0]}")
            continue
        rate = max(run.rate(passes, clock=clock) for _ in range(2)) / _GIGA
        if best is None or rate > max(one.giga for one in rates):
            if best is not None:
                best[0].close()
            best = run, passes
        else:
            run.close()
        rates.append(GemmRate(library=library.name, giga=round(rate, 1)))
    if best is None:
        raise ProviderError(f"no library multiplies in {kind} here ({'; '.join(refused)})")
    run, passes = best
    return FastestLibrary(run=run, passes=passes, rates=tuple(rates), not_timed=tuple(refused))


def measure_ceiling(
    products: Sequence[Product],
    precision: Precision,
    settings: Settled,
    *,
    encode: Callable[[], float],
    libraries: Sequence[GemmLibrary] = LIBRARIES,
    clock: Clock = time.perf_counter,
) -> Ceiling:
    """Run encoding and the products in turns, and return what share of these encoding reaches.

    Args:
        products: The products with weights that a token needs; see :func:`graph_products`.
        precision: In which the graph runs.
        settings: Workers, threads and batch size of both.
        encode: Encodes for a second or so, and returns tokens a second, without padding.
        libraries: What is timed.
        clock: Seconds; another one in tests.

    Raises:
        ProviderError: No library multiplies in this precision here.
    """
    per_token = sum(product.operations for product in products)
    fastest = fastest_library(products, precision, settings, libraries=libraries, clock=clock)
    with fastest.run as run:
        rounds = [
            (encode() * per_token, run.rate(fastest.passes, clock=clock)) for _ in range(_ROUNDS)
        ]
    return Ceiling(
        precision=multiplied_in(precision),
        library=run.library,
        products=round(statistics.median(alone for _, alone in rounds) / _GIGA, 1),
        reached=round(statistics.median(ours for ours, _ in rounds) / _GIGA, 1),
        share=round(statistics.median(ours / alone for ours, alone in rounds), 3),
        operations_per_token=per_token,
        rates=fastest.rates,
        not_timed=fastest.not_timed,
        instruction_sets=instruction_sets(),
    )
