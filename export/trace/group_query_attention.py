"""Causal attention as one operator, ``com.microsoft::GroupQueryAttention``.

The operator never holds masks or repeated keys and values, and skips what a token may not see. It
reads right-padded rows only, so left-padded rows are rolled first; the pooled vector does not
depend on the padding side. Specification: ONNX Runtime's ContribOperators, GroupQueryAttention:
``seqlens_k`` is the number of keys minus one; ``local_window_size`` includes the token itself;
``head_sink`` is a logit of each head that takes its share in the softmax and has no value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from decant.embedders import Attention
from decant.embedders.encoding import TOKENS
from decant.embedders.pytorch import PooledModel
from decant.embedders.sources import Operator, architecture

from ..graph.layers import MICROSOFT, constant
from .attention_impl import attending

_NAME = "decant_grouped"
_WIDTH_STEP = 8
_SINK = 11  # its place among the operator's inputs
_LOWEST = float(np.finfo(np.float32).min)


def fusable(model: PooledModel) -> bool:
    """Return whether the model's attention can be traced as one operator."""
    config = model.backbone.config
    causal = model.recipe.attention is Attention.CAUSAL
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    known = Operator.GROUP_QUERY in architecture(config.model_type).operators
    # The operator takes no other widths ("head_size must be a multiple of 8").
    return causal and known and width % _WIDTH_STEP == 0


@contextlib.contextmanager
def fused_attention(model: PooledModel) -> Iterator[nn.Module]:
    """Yield a module that is traced with one operator for each layer's attention.

    Args:
        model: A model that is :func:`fusable`. Its attention implementation changes meanwhile.
    """
    with attending(model, _NAME, _attend):
        yield RightPadded(model)


class RightPadded(nn.Module):
    """A model whose rows are rolled so that each begins in the first column.

    Args:
        model: The model, which takes the same inputs.
    """

    def __init__(self, model: PooledModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pooling_mask: Tensor | None = None,
        word_ids: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Return float32 vectors of shape (B, D) and further outputs; see PooledModel."""
        order = right_padding_order(attention_mask)
        rolled = [
            None if values is None else values.gather(1, order)
            for values in (input_ids, attention_mask, pooling_mask)
        ]
        found: Tensor | tuple[Tensor, ...] = self.model(*rolled, word_ids)
        if isinstance(found, Tensor) or TOKENS not in self.model.outputs:
            return found
        *others, states = found
        back = original_order(attention_mask).unsqueeze(-1).expand_as(states)
        return (*others, states.gather(1, back))


def right_padding_order(mask: Tensor) -> Tensor:
    """Return the columns that put each row's padding at its end, int64, shape (B, T).

    Args:
        mask: int64, shape (B, T); 1 where there is a token.
    """
    columns, before = _columns(mask)
    moved = columns + before
    # A remainder by a symbolic size cannot be exported to ONNX.
    width = columns[:, -1:] + 1
    return torch.where(moved >= width, moved - width, moved)


def original_order(mask: Tensor) -> Tensor:
    """Return the columns that undo :func:`right_padding_order`, int64, shape (B, T)."""
    columns, before = _columns(mask)
    moved = columns - before
    return torch.where(moved < 0, moved + columns[:, -1:] + 1, moved)


def _columns(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of columns, (B, T), and how many precede the first token, (B, 1)."""
    columns = torch.ones_like(mask).cumsum(1) - 1
    return columns, (mask.cumsum(1) == 0).sum(1, keepdim=True)


def grouped_inputs(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the operator's inputs for states (B, heads, T, width) and a padding mask (B, T)."""
    rows, _, tokens, _ = query.shape
    flat = [part.transpose(1, 2).reshape(rows, tokens, -1) for part in (query, key, value)]
    last_key = mask.sum(1).to(torch.int32) - 1  # (B,)
    columns = torch.ones_like(mask[0]).sum().to(torch.int32)  # the scalar T
    return (*flat, None, None, last_key, columns)


def grouped_attributes(
    query: Tensor,
    key: Tensor,
    *,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> dict[str, int | float]:
    """Return the operator's attributes; None takes its default."""
    return {
        "num_heads": query.shape[1],
        "kv_num_heads": key.shape[1],
        "scale": float(query.shape[3] ** -0.5 if scaling is None else scaling),
        "local_window_size": -1 if window is None else window,
        "softcap": softcap or 0.0,
    }


def add_sinks(model: ir.Model) -> None:
    """Give each operator a sink that takes nothing, in place; the vectors stay as they are.

    ONNX Runtime's WebGPU provider (1.27) has a fused kernel for this operator that is wrong on
    devices whose subgroups have four lanes, and takes another one, which is right, for a softmax
    with a sink (``experiments/log/2026-11-30-webgpu-multi-head-attention.md``). Half precision is
    left alone, because not all of CUDA's kernels take a sink.
    """
    for node in model.graph.all_nodes():
        if (node.domain, node.op_type) == (MICROSOFT, "GroupQueryAttention"):
            heads = node.attributes["num_heads"].as_int()
            nothing = np.full(heads, _LOWEST, np.float32)
            node.resize_inputs(_SINK + 1)
            node.replace_input_with(_SINK, constant(model, f"decant.sink.{heads}", nothing))
            node.attributes["smooth_softmax"] = ir.AttrInt64("smooth_softmax", 1)


def _attend(  # noqa: PLR0913 - Transformers calls it
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Emit the operator for states of shape (B, heads, T, width); return (B, T, heads, width)."""
    rows, heads, tokens, width = query.shape
    states: Tensor = torch.onnx.ops.symbolic(
        "com.microsoft::GroupQueryAttention",
        grouped_inputs(query, key, value, attention_mask),
        attrs=dict(
            grouped_attributes(query, key, scaling=scaling, window=sliding_window, softcap=softcap)
        ),
        dtype=query.dtype,
        shape=(rows, tokens, heads * width),
        version=1,
    )
    return states.reshape(rows, tokens, heads, width), None
