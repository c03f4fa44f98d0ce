"""Causal attention behind a prompt whose keys and values are cached.

Texts under one prompt have the same tokens before them, and a causal model gives these the same
states. So the graph takes the prompt's keys and values in ``prompt_states``, float32 of shape
(L, 2, H, P, d): L layers, keys and values, H heads that hold them, P tokens, width d. This input is
optional; without it P is 0, and every layer is the operator of ``group_query_attention.py``. With a
prompt the layers are plain operators, because that operator takes earlier keys for one row only.
The output ``present_states`` holds the keys and values of the rows in ``prompt_rows``, int64 (R,),
as (R, L, 2, H, T, d), from which ``prompt_states`` are made; without ``prompt_rows`` it is empty.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from decant.embedders import PooledTokens, Pooling
from decant.embedders.encoding import PROMPT, PROMPT_ROWS
from decant.embedders.pytorch import PooledModel

from ..graph.builder import Pen
from ..graph.if_node import branch
from ..graph.layers import MICROSOFT
from .attention_impl import attending
from .group_query_attention import RightPadded, fusable, grouped_attributes, grouped_inputs

_NAME = "decant_shared"
_DOMAIN = "decant"
_OPERATOR = "SharedAttention"
_LOWEST = float(np.finfo(np.float32).min)


def shareable(model: PooledModel) -> bool:
    """Return whether texts of this model can share their prompts.

    That is so if the prompt is not pooled and only the last layer is read.
    """
    recipe = model.recipe
    prompted = recipe.instruction_template is not None or bool(
        recipe.query_prompt.prefix or recipe.passage_prompt.prefix
    )
    # Half precision is for GPUs, and is traced without branches.
    single = model.backbone.dtype == torch.float32
    last = recipe.layer == -1 and recipe.mix is None
    own = recipe.prepending is None and not recipe.further
    unread = recipe.span is not PooledTokens.ALL or (
        recipe.pooling is Pooling.LAST and recipe.sparse_head is None
    )
    return fusable(model) and prompted and single and last and own and unread


def no_prompt(model: PooledModel, tokens: int = 0) -> Tensor:
    """Return zeros in the shape of so many tokens' keys and values, float32, (L, 2, H, P, d)."""
    config = model.backbone.config
    heads: int = config.num_attention_heads
    holding = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return torch.zeros(config.num_hidden_layers, 2, holding, tokens, width)


@contextlib.contextmanager
def shared_prompt(model: PooledModel) -> Iterator[nn.Module]:
    """Yield a module that is traced with a placeholder for each layer's attention.

    Args:
        model: A model that is :func:`shareable`. Its attention implementation changes meanwhile.
    """
    behind = _Behind(model)
    with attending(model, _NAME, behind.attend):
        yield behind


class _Behind(nn.Module):
    """A model of texts behind a cached prompt."""

    def __init__(self, model: PooledModel) -> None:
        super().__init__()
        self.padded = RightPadded(model)
        self._before: Tensor | None = None
        self._rows: Tensor | None = None
        self._present: list[Tensor] = []

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pooling_mask: Tensor | None = None,
        word_ids: Tensor | None = None,
        prompt_states: Tensor | None = None,
        prompt_rows: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return the model's outputs, and the keys and values of some rows."""
        assert prompt_states is not None
        self._before, self._rows, self._present = prompt_states, prompt_rows, []
        backbone = self.padded.model.backbone

        def later(
            _: nn.Module, args: tuple[object, ...], given: dict[str, Any]
        ) -> tuple[tuple[object, ...], dict[str, Any]]:
            moved = given["position_ids"] + prompt_states.shape[3]
            return args, {**given, "position_ids": moved}

        hook = backbone.register_forward_pre_hook(later, with_kwargs=True)
        try:
            found = self.padded(input_ids, attention_mask, pooling_mask, word_ids)
        finally:
            hook.remove()
        given = (found,) if isinstance(found, Tensor) else found
        present = torch.stack(self._present)  # (L, 2, R, T, H, d)
        return (*given, present.permute(2, 0, 1, 4, 3, 5))

    def attend(  # noqa: PLR0913 - Transformers calls it
        self,
        module: nn.Module,
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
        """Emit a placeholder for (B, heads, T, width); return (B, T, heads, width)."""
        assert self._before is not None
        rows, heads, tokens, width = query.shape
        layer = self._before[int(module.layer_idx)]  # type: ignore[arg-type]
        attributes = grouped_attributes(
            query, key, scaling=scaling, window=sliding_window, softcap=softcap
        )
        inputs = grouped_inputs(query, key, value, attention_mask)
        # Taken from the operator's inputs, because an earlier reader would keep their
        # transpositions.
        asked = [part[self._rows] for part in inputs[1:3] if part is not None]
        both = torch.stack(asked)  # (2, R, T, H x d)
        # Of no rows, ONNX Runtime before 1.30 cannot find out how many heads there are.
        self._present.append(both.reshape(*both.shape[:3], key.shape[1], width))
        states: Tensor = torch.onnx.ops.symbolic(
            f"{_DOMAIN}::{_OPERATOR}",
            (*inputs, layer[0], layer[1]),
            attrs={**attributes},
            dtype=query.dtype,
            shape=(rows, tokens, heads * width),
            version=1,
        )
        return states.reshape(rows, tokens, heads, width), None


def lower_shared(model: ir.Model, nothing: Tensor) -> None:
    """Replace the placeholders by branches, in place; a graph without any is not changed.

    Args:
        model: The traced graph.
        nothing: The default of ``prompt_states``; see :func:`no_prompt`.
    """
    graph = model.graph
    holders = [node for node in graph if (node.domain, node.op_type) == (_DOMAIN, _OPERATOR)]
    if not holders:
        return
    inputs = {str(value.name): value for value in graph.inputs}
    defaults = {PROMPT: nothing.numpy(), PROMPT_ROWS: np.zeros(0, np.int64)}
    for name, values in defaults.items():
        inputs[name].const_value = ir.tensor(values, name=name)
        graph.initializers[name] = inputs[name]
    pen = Pen(graph)
    hidden = _Hidden(pen, inputs[PROMPT], inputs["attention_mask"])
    for number, holder in enumerate(holders):
        _branch(pen, graph, holder, hidden, number)
    graph.sort()
    graph.opset_imports.pop(_DOMAIN, None)
    graph.opset_imports.setdefault(MICROSOFT, 1)


class _Hidden:
    """Masks of unseen tokens, built once for each window and number of heads that share keys."""

    def __init__(self, pen: Pen, prompt: ir.Value, mask: ir.Value) -> None:
        self._pen = pen
        self._made: dict[tuple[int, int], ir.Value] = {}
        before = pen("Shape", [prompt], {"start": 3, "end": 4})
        columns = pen("Shape", [mask], {"start": 1, "end": 2})
        nothing = pen("Equal", [before, pen.integers(0)])
        self.alone = pen("Squeeze", [nothing])
        # Without a prompt no node reads this, so it costs nothing.
        texts = pen("Where", [nothing, pen.integers(0), columns])
        zero, one = (pen.constant(np.array(number, np.int64)) for number in (0, 1))
        self._keys = pen("Range", [zero, pen("Squeeze", [pen("Add", [before, texts])]), one])
        own = pen("Add", [pen("Range", [zero, pen("Squeeze", [texts]), one]), before])
        self._own = pen("Unsqueeze", [own, pen.integers(1)])  # (T, 1), and keys (P + T,)

    def bias(self, *, window: int, shared: int) -> ir.Value:
        """Return float32 of shape (shared x T, P + T): zero, or the lowest number."""
        if (window, shared) not in self._made:
            pen = self._pen
            hidden = pen("Greater", [self._keys, self._own])
            if window > 0:
                past = pen("Sub", [self._own, self._keys])
                hidden = pen("Or", [hidden, pen("GreaterOrEqual", [past, pen.integers(window)])])
            bias = pen("Where", [hidden, pen.number(_LOWEST), pen.number(0.0)])
            self._made[window, shared] = pen("Tile", [bias, pen.integers(shared, 1)])
        return self._made[window, shared]


def _branch(pen: Pen, graph: ir.Graph, holder: ir.Node, hidden: _Hidden, number: int) -> None:
    """Replace a placeholder by a branch: one operator without a prompt, else plain ones."""
    grouped = ir.node(
        "GroupQueryAttention", holder.inputs[:7], {**holder.attributes}, domain=MICROSOFT
    )
    plain = _plain(pen, holder, hidden)
    branch(graph, holder, hidden.alone, ([grouped], plain), name=f"decant.shared.{number}")


def _plain(pen: Pen, holder: ir.Node, hidden: _Hidden) -> list[ir.Node]:
    """Return plain attention: B rows of T tokens behind P, G heads for each of H that hold keys."""
    query, key, value = holder.inputs[:3]
    prompt_key, prompt_value = holder.inputs[7:]  # (H, P, d)
    said = holder.attributes
    heads, holding = said["num_heads"].as_int(), said["kv_num_heads"].as_int()
    shared, width = heads // holding, _last(holder.outputs[0].shape) // heads
    bias = hidden.bias(window=said["local_window_size"].as_int(), shared=shared)
    nodes: list[ir.Node] = []

    def add(
        operator: str, inputs: list[ir.Value | None], **attributes: int | list[int]
    ) -> ir.Value:
        nodes.append(ir.node(operator, inputs, attributes))
        return nodes[-1].outputs[0]

    split = add("Reshape", [query, pen.integers(0, 0, holding, shared, width)])
    turned = add("Transpose", [split], perm=[0, 2, 3, 1, 4])
    queries = add("Reshape", [turned, pen.integers(0, 0, -1, width)])  # (B, H, G x T, d)
    single = pen.integers(0, 0, holding, width)
    keys = add("Transpose", [add("Reshape", [key, single])], perm=[0, 2, 3, 1])  # (B, H, d, T)
    values = add("Transpose", [add("Reshape", [value, single])], perm=[0, 2, 1, 3])
    upright = add("Transpose", [prompt_key], perm=[0, 2, 1])  # (H, d, P)
    of_prompt = add("MatMul", [queries, upright])
    scores = add("Concat", [of_prompt, add("MatMul", [queries, keys])], axis=-1)
    scores = add("Mul", [scores, pen.number(said["scale"].as_float())])
    if cap := said["softcap"].as_float():
        capped = add("Tanh", [add("Div", [scores, pen.number(cap)])])
        scores = add("Mul", [capped, pen.number(cap)])
    shares = add("Softmax", [add("Add", [scores, bias])], axis=-1)  # (B, H, G x T, P + T)
    count = add("Shape", [prompt_key], start=1, end=2)
    end = pen.integers(np.iinfo(np.int64).max)
    axis = pen.integers(3)
    first = add("MatMul", [add("Slice", [shares, pen.integers(0), count, axis]), prompt_value])
    second = add("MatMul", [add("Slice", [shares, count, end, axis]), values])
    mixed = add("Add", [first, second])
    apart = add("Reshape", [mixed, pen.integers(0, 0, shared, -1, width)])
    back = add("Transpose", [apart], perm=[0, 3, 1, 2, 4])  # (B, T, H, G, d)
    add("Reshape", [back, pen.integers(0, 0, -1)])
    return nodes


def _last(shape: ir.Shape | None) -> int:
    assert shape is not None
    width = shape[2]
    assert isinstance(width, int)
    return width
