"""How many floating-point operations a forward pass needs, from a model's configuration alone.

Counted are the products with weights in the layers and the two products of attention; not counted
are embeddings (look-ups), norms, activations, softmax, pooling, and padding, which nobody needs.
For a text of T tokens: ``T * (2 * weights + layers * 4 * T * width)``, where ``weights`` are those
of all linear layers (a multiplication and an addition each) and ``width`` is heads times head
width: QK' and AV cost ``2 * T * width`` a token each. Where attention is causal its part counts
half, as a token sees half of the others on average.
Source: Kaplan et al. 2020, arXiv 2001.08361, section 2.1 and table 1 (there causal: ``2 * n_layer
* n_ctx * d_attn`` a token).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig

from decant.embedders import RecipeError

_CAUSAL = {"llama", "mistral", "qwen2", "qwen3"}
_ENCODERS = {"bert"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """What the count needs.

    Args:
        weights: Of the linear layers in all layers, biases not counted.
        layers: How many there are.
        width: Of attention: heads times head width.
        causal: Whether tokens see only earlier ones.
    """

    weights: int
    layers: int
    width: int
    causal: bool

    def operations(self, lengths: Sequence[int]) -> int:
        """Return the floating-point operations for texts of so many tokens each.

        >>> Arithmetic(weights=10, layers=2, width=3, causal=False).operations([1, 5])
        744
        """
        tokens = sum(lengths)
        attention = 4 * self.layers * self.width * sum(length * length for length in lengths)
        return 2 * self.weights * tokens + (attention // 2 if self.causal else attention)


def arithmetic(model: Path) -> Arithmetic:
    """Read what the count needs from a Transformers folder's ``config.json``.

    Raises:
        RecipeError: The architecture is not one whose layers are known here.
    """
    config = AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    kind = config.model_type
    if kind not in _CAUSAL | _ENCODERS:
        known = ", ".join(sorted(_CAUSAL | _ENCODERS))
        raise RecipeError(f"the operations of a {kind!r} model cannot be counted, only of {known}")
    heads: int = config.num_attention_heads
    key_heads: int = getattr(config, "num_key_value_heads", None) or heads
    head: int = getattr(config, "head_dim", None) or config.hidden_size // heads
    # Queries and the output take every head, keys and values their own.
    attention = 2 * config.hidden_size * head * (heads + key_heads)
    inner = (3 if kind in _CAUSAL else 2) * config.hidden_size * config.intermediate_size
    layers: int = config.num_hidden_layers
    return Arithmetic(
        weights=layers * (attention + inner),
        layers=layers,
        width=heads * head,
        causal=kind in _CAUSAL,
    )
