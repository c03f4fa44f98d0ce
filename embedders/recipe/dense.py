"""A linear layer that a recipe names; a file of its own, for two parts of a recipe hold some.

Its weights lie in the model's folder; ``pytorch/load.py`` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..enum_fields import settle
from ..errors import RecipeError
from .enums import Activation


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """One linear layer, ``activation(W x + b)``.

    The weights lie in the model's folder, under ``path``: in a folder, or in one file. They are not
    part of the recipe's JSON but of its ``revision``.
    """

    path: str
    inputs: int
    outputs: int
    bias: bool = True
    activation: Activation = Activation.IDENTITY

    def __post_init__(self) -> None:
        kinds = {"activation": Activation}
        settle(self, kinds, ("inputs", "outputs"), error=RecipeError)
        if self.inputs < 1 or self.outputs < 1:
            raise RecipeError(f"a dense layer needs widths of at least 1, got {self}")
