"""One text of a request and what is wanted of it, in a module of its own: all protocols make it."""

from __future__ import annotations

from dataclasses import dataclass

from decant.embedders import Role

from ..batches import PassKey
from ..errors import RequestError
from .model_address import ModelAddress, VectorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A text, and which vector of it a client wants.

    Args:
        text: The text.
        address: The model, and which of its vectors.
        role: Whether the text is a query or a passage.
        instruction: The task, in place of the recipe's own; None: the recipe's.
        dim: The width to which the dense vector is cut; None keeps all of it.
        truncate: Whether a text that is too long is cut; if not, it is refused.
        normalize: Whether the dense vector gets unit length; None: as the recipe says.

    Raises:
        RequestError: The model cannot be asked for this.
    """

    text: str
    address: ModelAddress
    role: Role
    instruction: str | None = None
    dim: int | None = None
    truncate: bool = True
    normalize: bool | None = None

    def __post_init__(self) -> None:
        model, kind = self.address.model, self.address.kind
        model.check_instruction(self.key)
        if self.dim is not None:
            if kind is not VectorKind.DENSE:
                raise RequestError(f"only dense vectors can be cut, and these are {kind}")
            model.check_width(self.dim)
        if self.normalize is False and model.encoder.recipe.normalize:
            raise RequestError(f"{model.name} gives vectors of unit length only")

    @property
    def key(self) -> PassKey:
        """How the text is encoded, but for outputs."""
        return PassKey(role=self.role, instruction=self.instruction)
