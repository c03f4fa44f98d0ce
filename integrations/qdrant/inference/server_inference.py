"""What a user says instead of giving an encoder: the name of a model that a Qdrant server asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from decant.embedders import StoreError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


@dataclass(frozen=True, slots=True)
class ServerInference:
    """A model that a Qdrant server asks for vectors, in place of an encoder on this machine.

    ``Collection.open(store, name, ServerInference("minilm"))`` sends texts to the server, which
    asks the inference service of its configuration, such as ``decant serve``. The recipe is that of
    the collection, and the service is asked for it by its digest.

    Args:
        model: The model's name at the service.
        tokenizer: The model's tokenizer, to cut documents by tokens; None cuts them by characters.

    Raises:
        StoreError: The name is empty, pins a digest or has a suffix.
    """

    model: str
    tokenizer: Tokenizer | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        model: object = self.model
        if not isinstance(model, str) or not _NAME.fullmatch(model):
            raise StoreError(
                f"ServerInference takes the model's name at the inference service, as in "
                f"ServerInference('minilm'), got {self.model!r}; the recipe's digest and the kinds "
                "of vectors are added from the collection"
            )
