"""The precisions of graphs, with the gates of their vectors and of their scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from ..errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreGates:
    """What the scores of a reranker's graph may lose.

    Differences are those of raw scores, as shares of their spread: the standard deviation of the
    reference's scores, or 1 if that is smaller. Those of float32 are the raw scores' own: nothing
    is rounded there but the last bits of each number, so the scale of a model is no excuse. Scores
    of several hundred would be, for float32 holds them to 3e-5; those of rerankers are below 100.

    Args:
        difference: The largest to the float32 PyTorch reference; None: order alone counts.
        company: The largest between a pair alone and the same pair among others, where
            ``difference`` is None only among others of its own length; None: kernels multiply few
            tokens in another way than many, so that order counts there, too.
        least_tau: The least mean Kendall tau of the passages of a query.
        most_loss: The largest mean loss of nDCG.
        is_absolute: Whether differences are no shares of the spread.
    """

    difference: float | None
    company: float | None
    least_tau: float
    most_loss: float
    is_absolute: bool = False

    def in_shares(self, spread: float) -> ScoreGates:
        """Return these gates with differences as shares of a spread.

        >>> Precision.FP32.score_gates.in_shares(8.0).difference
        1.25e-05
        """
        if not self.is_absolute:
            return self
        difference, company = (
            None if gate is None else gate / spread for gate in (self.difference, self.company)
        )
        return replace(self, difference=difference, company=company, is_absolute=False)


class Precision(StrEnum):
    """How a graph's weights are stored and multiplied.

    INT8: weights in eight bits, a scale for each output channel; activations in eight bits, one
    scale for each layer, set beforehand, or one for each token; the CPU provider. W8, W4: weights
    in eight or four bits in blocks, activations in float32.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    W8 = "w8"
    W4 = "w4"

    @property
    def gates(self) -> tuple[float, float]:
        """Lower bounds for the worst and for the mean cosine to the reference."""
        match self:
            case Precision.FP32:
                return 0.99999, 0.99999
            case Precision.FP16 | Precision.BF16:
                return 0.999, 0.999
            case Precision.INT8 | Precision.W8 | Precision.W4:
                return 0.95, 0.99
            case _:
                assert_never(self)

    @property
    def invariance_gate(self) -> float:
        """The least cosine of a text alone to the same text among others of its own length.

        Nothing is padded there. So a graph whose rows are independent adds the same numbers in the
        same order, and rounds equally. Integers with a scale for the whole batch
        (``DynamicQuantizeLinear``) miss this gate on every text. Kernels for weights in blocks
        multiply few tokens in another way than many tokens, so only their gate for rounding
        applies.
        """
        match self:
            case Precision.FP32:
                return 0.99999
            case Precision.INT8:
                return 0.9999
            case Precision.FP16 | Precision.BF16 | Precision.W8 | Precision.W4:
                return self.gates[0]
            case _:
                assert_never(self)

    @property
    def score_gates(self) -> ScoreGates:
        """What the scores of a reranker may lose.

        Measured in ``experiments/log/2026-12-01-rerankers.md``. Float32 and halves are judged by
        their differences, for the order of passages of nearly equal scores says nothing of a graph.
        """
        match self:
            case Precision.FP32:
                return ScoreGates(
                    difference=1e-4, company=1e-4, least_tau=-1.0, most_loss=1.0, is_absolute=True
                )
            case Precision.FP16 | Precision.BF16:
                return ScoreGates(difference=2e-2, company=2e-2, least_tau=-1.0, most_loss=1.0)
            case Precision.INT8:
                return ScoreGates(difference=None, company=1e-2, least_tau=0.8, most_loss=0.05)
            case Precision.W8 | Precision.W4:
                return ScoreGates(difference=None, company=None, least_tau=0.8, most_loss=0.05)
            case _:
                assert_never(self)


def convertible(precision: Precision | str) -> Precision:
    """Return the precision to which a bundle is to be converted.

    Raises:
        BundleError: It is unknown, or its graphs are not made from the float32 graph.

    >>> convertible("w8").value
    'w8'
    """
    if precision not in list(Precision) or precision in (Precision.FP32, Precision.BF16):
        raise BundleError(
            f"a bundle cannot be converted to {precision!r}, only to fp16, int8, w8 or w4; "
            "fp32 is what it is made of, and bf16 is traced from the model: "
            "decant export MODEL TARGET --precision bf16"
        )
    return Precision(precision)
