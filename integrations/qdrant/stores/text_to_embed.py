"""A text that goes to a Qdrant server in place of a vector, which the server has made of it.

The server asks the inference service of its configuration, such as ``decant serve``, for the
vector. Only a :class:`RemoteStore` of a server takes such texts; Qdrant Edge and the client's local
mode ask no service.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

from decant.embedders import Role

from .input_errors import StoreInputError
from .sparse_vector import SparseVector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToEmbed:
    """A text of which the server has a vector made.

    Args:
        text: The text, which is not blank.
        model: The model's name at the service, with what pins it: ``minilm@64c6de690e8b399a``.
        role: Whether it is a query or a passage, whatever the server does with it.
        using: The name of the vector in the collection: ``dense`` or ``sparse``.
    """

    text: str
    model: str
    role: Role
    using: str

    @property
    def options(self) -> dict[str, str]:
        """What goes to the service with the text."""
        return {"role": self.role.value}


Embedding: TypeAlias = Union["NDArray[np.float32]", TextToEmbed]
"""A dense vector, float32 of shape ``(D,)``, or the text of which the server makes one."""

SparseEmbedding: TypeAlias = SparseVector | TextToEmbed
"""A sparse vector, or the text of which the server makes one."""


def texts_need_a_server(what: str) -> StoreInputError:
    """Return the error of a store that was given a text in place of a vector.

    Args:
        what: The store, as the subject of the sentence.
    """
    return StoreInputError(
        f"{what} asks no inference service, and was given a text in place of a vector; open the "
        "collection with an encoder, such as load('./minilm'), or on a Qdrant server with "
        "inference.address in its configuration"
    )


def refuse_texts(texts: Iterable[TextToEmbed], what: str) -> None:
    """Refuse texts in place of vectors, if there are any.

    Raises:
        StoreInputError: There is one.
    """
    for _ in texts:
        raise texts_need_a_server(what)
