"""The machine's ceiling as a row beside each precision: the model's products alone, in turns.

The row multiplies as often as the encoder must for the same tokens, in the fastest library that is
installed, so its tokens a second are what no encoder of this model passes on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

from decant.embedders import OnnxEncoder
from decant.embedders.onnx import (
    ProductRun,
    fastest_library,
    graph_products,
    instruction_sets,
    multiplied_in,
)

from .report import Amount, Figure
from .rounds import Contender, Lap


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingRow:
    """An encoder's products alone.

    Args:
        ours: The name of the encoder's row.
        contender: The products alone.
        amount: What a run of them is worth.
        operations: Multiplications and additions with weights that a token needs.
        kind: In which precision they are computed.
    """

    ours: str
    contender: Contender
    amount: Amount
    operations: int
    kind: str

    def figure(
        self, title: str, laps: Mapping[str, Sequence[Lap]], amounts: Mapping[str, Amount]
    ) -> Figure:
        """Return the share of the ceiling that the encoder reaches, round by round."""
        tokens = amounts[self.ours].tokens
        pairs = [
            (tokens / our.wall, self.amount.tokens / alone.wall)
            for our, alone in zip(laps[self.ours], laps[self.contender.name], strict=True)
        ]
        ours, alone = (median(rates) * self.operations / 1e9 for rates in zip(*pairs, strict=True))
        return Figure(
            name=f"{title}: {self.ours} reaches of this machine's {self.kind} products",
            value=100 * median(our / most for our, most in pairs),
            unit=f"% ({ours:,.0f} of {alone:,.0f} x 10^9 operations/s; "
            f"{' '.join(instruction_sets())})",
        )


@contextmanager
def ceilings(encoders: Mapping[str, OnnxEncoder], tokens: int) -> Iterator[list[CeilingRow]]:
    """Give a row for each encoder, open until the end of the block.

    Args:
        encoders: By the name of their row.
        tokens: Of a run of theirs.
    """
    with ExitStack() as stack:
        rows = []
        for ours, encoder in encoders.items():
            products = graph_products(encoder.bundle, encoder.precision, encoder.provider)
            fastest = fastest_library(products, encoder.precision, encoder.runtime)
            run = stack.enter_context(fastest.run)
            kind = str(multiplied_in(encoder.precision))
            rates = ", ".join(f"{rate.library} {rate.giga:,.0f}" for rate in fastest.rates)
            rows.append(
                CeilingRow(
                    ours=ours,
                    contender=_contender(f"{ours}: its {kind} products alone", run, tokens, rates),
                    amount=Amount(chunks=0, tokens=_passes(run, tokens) * run.tokens_per_pass),
                    operations=sum(product.operations for product in products),
                    kind=kind,
                )
            )
        yield rows


def _contender(name: str, run: ProductRun, tokens: int, rates: str) -> Contender:
    return Contender(
        name=name,
        settings=f"{run.library}; 10^9 operations/s of each library at first: {rates}",
        run=partial(run.run, _passes(run, tokens)),
        warm_up=partial(run.run, 2),
    )


def _passes(run: ProductRun, tokens: int) -> int:
    return -(-tokens // run.tokens_per_pass)
