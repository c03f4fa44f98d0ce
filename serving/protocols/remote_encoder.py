"""decant's own protocol: the encoder of another machine, for ``load("http://…")``.

A client names the recipe and the graph that it was opened with; another model refuses it. Vectors
are answered as numbers, not as text (``decant.embedders.remote``), with the bits of the encoder's.
"""

from __future__ import annotations

from dataclasses import dataclass

from decant.embedders import Output, Role, Vectors
from decant.embedders.json_records import Json, encode
from decant.embedders.remote import EncoderFacts, RerankerFacts, pack_vectors

from ..batches import PassKey
from ..errors import OtherModel, RequestError
from ..models import ModelAddress, VectorKind
from .json_fields import JsonFields

_FIELDS = ("texts", "role", "instruction", "outputs", "digest", "graph", "first")
_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeRequest:
    """A request of a remote encoder.

    Args:
        texts: The texts, in order.
        key: How they are encoded.
        digest: The recipe that the client was opened with.
        graph: The graph that it was opened with; None for a model without a bundle.
        first: The client's number of the first text, for messages.
    """

    texts: tuple[str, ...]
    key: PassKey
    digest: str
    graph: str | None
    first: int

    def check_model(self, facts: EncoderFacts) -> None:
        """Refuse a client that was opened with another model.

        Raises:
            OtherModel: The recipe or the graph is another.
        """
        check_same_model(facts, digest=self.digest, graph=self.graph)


def check_same_model(
    facts: EncoderFacts | RerankerFacts, *, digest: str, graph: str | None
) -> None:
    """Refuse a client that was opened with another model than there is.

    Args:
        facts: The model that there is.
        digest: The recipe that the client wants.
        graph: The graph that it wants; None for a model without a bundle.

    Raises:
        OtherModel: The recipe or the graph is another.
    """
    if digest != facts.digest:
        raise OtherModel(
            f"{facts.name} has the recipe {facts.digest} here, and the client wants "
            f"{digest[:_SHOWN]}"
        )
    if graph != facts.graph:
        raise OtherModel(
            f"{facts.name} has another graph of the recipe {facts.digest} here, in "
            f"{facts.precision}, than the client wants"
        )


def whole_model(address: ModelAddress) -> ModelAddress:
    """Return the address of a model with all its vectors and both roles.

    Raises:
        RequestError: The name asks for one kind of vectors, or for one role.
    """
    if address.kind is not VectorKind.DENSE or address.role is not None:
        raise RequestError(
            f"an encoder has all vectors and both roles; ask for {address.model.name} without a "
            "suffix"
        )
    return address


def read_encode_request(data: object) -> EncodeRequest:
    """Read the body of ``/encode``.

    Raises:
        RequestError: It has another form.
    """
    body = JsonFields(data, known=_FIELDS)
    items = body.items("texts")
    texts = tuple(item for item in items if isinstance(item, str))
    if len(texts) < len(items):
        raise RequestError("texts must be a list of strings")
    role = body.choice("role", Role)
    if role is None:
        raise RequestError("role is missing; say query or passage")
    return EncodeRequest(
        texts=texts,
        key=PassKey(
            role=role, instruction=body.optional_text("instruction"), outputs=_outputs(body)
        ),
        digest=body.text("digest"),
        graph=body.optional_text("graph"),
        first=body.natural("first"),
    )


def facts_answer(facts: EncoderFacts) -> Json:
    """Return the answer of ``/encoder``."""
    return encode(facts)


def encode_answer(vectors: Vectors) -> bytes:
    """Return the answer of ``/encode``."""
    return pack_vectors(vectors)


def _outputs(body: JsonFields) -> frozenset[Output]:
    given = body.value("outputs")
    if not isinstance(given, list) or not all(one in [*Output] for one in given):
        raise RequestError(f"outputs must be a list of {', '.join(Output)}")
    return frozenset(Output(one) for one in given)
