"""NV-Embed's latent attention: each token state attends to learned latents before pooling.

The block is that of arXiv 2405.17428, section 3.1, as NV-Embed's code builds it: with latents Z,
``[K, V] = LayerNorm(Z) W_kv``, ``O = softmax(LayerNorm(H) W_q K' / sqrt(w)) V W_o + H`` over heads
of width w, and then ``O + FF(LayerNorm(O))``, where FF is a linear layer to two halves y and g, ``y
· gelu(g)``, and a linear layer back. The recipe's pooling comes after this block. Keys and values
do not depend on the text: they are computed once, at loading.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..errors import RecipeError
from ..sources.weight_files import check_finite_weights, check_weight_file, readable

_PREFIX = "latent_attention_model."
_CROSS = "cross_attend_blocks.0."
_FORWARD = "cross_attend_blocks.1."


class LatentAttention(nn.Module):
    """Maps token states to token states of the same shape.

    Args:
        weights: Tensors by NV-Embed's names, without their common prefix.
        heads: How many heads share the inner width.

    Raises:
        KeyError: A tensor is missing.
        ValueError: The inner width is no multiple of ``heads``.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, weights: dict[str, Tensor], *, heads: int) -> None:
        super().__init__()
        inner = weights[f"{_CROSS}fn.to_q.weight"].shape[0]
        if inner % heads:
            raise ValueError(f"the inner width {inner} is no multiple of {heads} heads")
        self.heads = heads
        self.norm = _norm(weights, f"{_CROSS}norm")
        self.ask = _linear(weights, f"{_CROSS}fn.to_q")
        self.answer = _linear(weights, f"{_CROSS}fn.to_out")
        self.norm_between = _norm(weights, f"{_FORWARD}norm")
        self.widen = _linear(weights, f"{_FORWARD}fn.net.0")
        self.narrow = _linear(weights, f"{_FORWARD}fn.net.2")
        with torch.no_grad():
            context = _norm(weights, f"{_CROSS}norm_context")(weights["latents"])  # (N, d)
            both = nn.functional.linear(context, weights[f"{_CROSS}fn.to_kv.weight"])
            keys, values = both.reshape(-1, 2, heads, inner // heads).permute(1, 2, 0, 3)
        # The softmax's scale is a factor of the keys; both are (heads, N, w).
        self.register_buffer("keys", keys.contiguous() * (inner // heads) ** -0.5)
        self.register_buffer("values", values.contiguous())

    def forward(self, hidden: Tensor) -> Tensor:
        """Return states of the same shape, (B, T, d), in the type of the block's weights."""
        hidden = hidden.to(self.keys.dtype)
        asked = self.ask(self.norm(hidden)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        shares = (asked @ self.keys.transpose(1, 2)).softmax(-1)  # (B, heads, T, N)
        found = (shares @ self.values).transpose(1, 2).flatten(2)  # (B, T, inner)
        between: Tensor = hidden + self.answer(found)
        states, gate = self.widen(self.norm_between(between)).chunk(2, dim=-1)
        return between + cast("Tensor", self.narrow(states * nn.functional.gelu(gate)))


def load_latent_attention(folder: Path, heads: int) -> LatentAttention:
    """Read the block from a folder with NV-Embed's tensor names.

    Args:
        folder: Holds ``*.safetensors`` with tensors under ``latent_attention_model.``.
        heads: How many heads share the inner width.

    Raises:
        RecipeError: Tensors are missing or do not fit each other or ``heads``.
    """
    weights: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        check_weight_file(path)
        with readable(path), safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(_PREFIX)]  # noqa: SIM118
            weights |= {name.removeprefix(_PREFIX): file.get_tensor(name).float() for name in names}
    check_finite_weights(weights.items(), folder)
    try:
        return LatentAttention(weights, heads=heads)
    except KeyError as error:
        raise RecipeError(f"{folder} lacks the tensor {_PREFIX}{error.args[0]}") from error
    except (ValueError, RuntimeError) as error:
        raise RecipeError(f"the latent attention of {folder} does not fit: {error}") from error


def _norm(weights: dict[str, Tensor], name: str) -> nn.LayerNorm:
    made = nn.LayerNorm(weights[f"{name}.weight"].shape[0])
    made.load_state_dict({part: weights[f"{name}.{part}"] for part in ("weight", "bias")})
    return made


def _linear(weights: dict[str, Tensor], name: str) -> nn.Linear:
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    parts = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    made.load_state_dict(parts)
    return made
