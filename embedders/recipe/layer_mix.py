"""Several layers' vectors, averaged into one.

Every chosen layer is pooled by itself, and the results are averaged. States before the final norm
are larger by orders of magnitude in some layers than in others, so the largest would dominate a
plain average: hence ``unit``. Names: ``first+last`` is BERT-flow's (arXiv 2011.05864, section 4)
and Sentence-BERT's usual baseline, ``last4`` the sum of BERT (arXiv 1810.04805, section 5.3),
``all`` the layer average of "Revisiting Word Embeddings in the LLM Era" (arXiv 2402.11094).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ..errors import RecipeError

_NAMES: dict[str, tuple[int, ...]] = {"all": (), "first+last": (1, -1), "last4": (-1, -2, -3, -4)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMix:
    """Which layers are averaged, and how.

    Args:
        layers: Indices into Transformers' ``hidden_states``, as in :attr:`Recipe.layer`: 0 holds
            the token embeddings, -1 the last states after the final norm. Empty: all of them.
        unit: Bring each layer's vector to unit length first.
        weights: One positive number for each of ``layers``, for example learnt ones
            (sentence-transformers' ``WeightedLayerPooling``); empty weighs all alike.

    >>> LayerMix.parse("first+last").layers
    (1, -1)
    >>> LayerMix.parse("-2, -3").layers
    (-2, -3)
    """

    layers: tuple[int, ...] = ()
    unit: bool = True
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.layers)) != len(self.layers):
            raise RecipeError(f"a layer stands twice among {list(self.layers)}")
        if self.weights and len(self.weights) != len(self.layers):
            raise RecipeError(f"{len(self.weights)} weights for {len(self.layers)} named layers")
        if any(not 0 < weight < float("inf") for weight in self.weights):
            raise RecipeError(f"weights must be positive and finite, got {list(self.weights)}")

    @classmethod
    def parse(cls, text: str, *, unit: bool = True) -> Self:
        """Read ``all``, ``first+last``, ``last4``, or indices with commas between.

        Raises:
            RecipeError: It is none of these.
        """
        if text in _NAMES:
            return cls(layers=_NAMES[text], unit=unit)
        try:
            layers = tuple(int(part) for part in text.split(","))
        except ValueError:
            raise RecipeError(
                f"layers are {', '.join(_NAMES)}, or indices such as -1,-2; got {text!r}"
            ) from None
        return cls(layers=layers, unit=unit)

    def indices(self, count: int) -> tuple[int, ...]:
        """Return which of ``count`` hidden states are read, in the order of the weights.

        Raises:
            RecipeError: A layer does not exist, or two indices mean the same layer.
        """
        wanted = self.layers or tuple(range(count))
        if beyond := [layer for layer in wanted if not -count <= layer < count]:
            raise RecipeError(f"layer {beyond[0]} is not among the model's {count - 1} layers")
        places = tuple(layer % count for layer in wanted)
        if len(set(places)) != len(places):
            raise RecipeError(
                f"layers {list(wanted)} of a model with {count - 1} layers name one of them twice"
            )
        return places

    def shares(self, count: int) -> tuple[float, ...]:
        """Return what each layer of :meth:`indices` contributes; they add up to 1."""
        weights = self.weights or (1.0,) * (len(self.layers) or count)
        return tuple(weight / sum(weights) for weight in weights)
