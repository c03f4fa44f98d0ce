"""An encoder whose model runs on another machine, behind ``decant serve``.

Texts are checked and cut into requests here; a bounded number of requests is under way, so that the
server is kept busy and memory stays flat. Invariant: the vectors are those that the served encoder
gives, bit for bit, and of the model that was there when this encoder was opened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..encoding.encode_span import encode_span
from ..encoding.outputs import joined
from ..encoding.protocol import Output, Progress, Vectors, check_outputs
from ..encoding.quantize import Quantization, Quantizer, VectorRanges
from ..encoding.truncate import cut_recipe
from ..enum_fields import member
from ..errors import BundleError, RecipeError
from ..recipe.prompt import Role
from ..recipe.recipe import Recipe
from ..span_protocol import Span
from ..tokens.texts import checked
from ..tokens.tokenizer import TextTokenizer
from .address import RemoteAccess
from .client import EncoderClient
from .nodes import first_model, open_clients
from .opened_model import OpenedModel, check_golden_vectors, read_model
from .request_blocks import BlockLimits, request_blocks
from .request_sender import RequestSender
from .requests_underway import UNDERWAY, RequestPool
from .wire import EncodeOptions, EncoderFacts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ..bundle.precision import Precision


class RemoteEncoder(RequestPool):
    """The encoder of a server; made by :meth:`connect`, or by :func:`decant.embedders.load`.

    With the addresses of several servers of one model it goes on when one of them ends.

    It has the recipe, the digest, the limits and the tokenizer of the model that is served, so
    collections take it for the bundle's own encoder. It is safe to share between threads. A forked
    child opens its own connections. Unpickling connects again, and only to the same recipe and
    graph; a key that was given as an argument is not pickled, so the other process needs
    ``DECANT_API_KEY``.

    Args:
        client: Sends requests.
        model: What the server says of the model, and its tokenizer.
        recipe: The recipe of the model, or the same with a smaller ``dim``, to which vectors are
            then cut here.
        others: Clients of other servers, each of which proves its model before it is used.
        allow_uncertified: Whether these may have other golden vectors.

    Attributes:
        precision: The precision of the graph that runs there.
        provider: What runs it there.
    """

    precision: Precision
    provider: str

    def __init__(
        self,
        client: EncoderClient,
        model: OpenedModel,
        *,
        recipe: Recipe,
        others: Sequence[EncoderClient] = (),
        allow_uncertified: bool = False,
    ) -> None:
        self._client = client
        self._model = model
        self._recipe = recipe
        self._allow_uncertified = allow_uncertified
        self.precision = model.facts.precision
        self.provider = model.facts.provider
        super().__init__((client, *others))
        self._sender = self._sender_to(RequestSender(client, model.facts, recipe), self._prove)

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        access: RemoteAccess | None = None,
        dim: int | None = None,
        allow_any_dim: bool = False,
        allow_uncertified: bool = False,
    ) -> RemoteEncoder:
        """Return the encoder that a server has.

        The server is asked at once for the recipe and the tokenizer, and for the vectors of a few
        golden texts, which must agree with those of the bundle as its certificate demands.

        Args:
            address: ``http(s)://HOST:PORT`` of a server with one model, or
                ``http(s)://HOST:PORT/models/NAME``; ``NAME@DIGEST`` takes no other recipe. Several
                of one model, ``http://A,http://B``: when one gives no answer, the next is asked.
            access: Key, certificates and timeout; None: the key of ``DECANT_API_KEY``, if any.
            dim: As for :func:`decant.embedders.load`; vectors are cut on this side.
            allow_any_dim: As for :func:`decant.embedders.load`.
            allow_uncertified: Take a model whose golden vectors are others.

        Raises:
            RemoteError: There is no such server or model, it refuses the key, it is busy for too
                long, or it speaks another version of the protocol.
            BundleError: Its recipe or its tokenizer gives something else on this side.
            ParityError: The golden vectors are others.
            RecipeError: The model cannot be cut to ``dim``, or was not trained to be.
        """
        clients = open_clients(address, access or RemoteAccess())
        try:
            client, model = first_model(clients, read_model)
            recipe = model.facts.recipe
            if dim is not None:
                recipe = cut_recipe(
                    recipe, width=model.facts.dim, dim=dim, allow_any_dim=allow_any_dim
                )
            if not allow_uncertified:
                _check_vectors(client, model)
        except BaseException:
            for one in clients:
                one.close()
            raise
        return _kind(model)(
            client,
            model,
            recipe=recipe,
            others=[one for one in clients if one is not client],
            allow_uncertified=allow_uncertified,
        )

    def __repr__(self) -> str:
        return (
            f"RemoteEncoder({self.address!r}, {self.recipe.base!r}, {self.precision}, "
            f"{self.provider}, dim={self.dim})"
        )

    @property
    def facts(self) -> EncoderFacts:
        """What the server said of the model when this encoder was opened."""
        return self._model.facts

    @property
    def recipe(self) -> Recipe:
        """The recipe, which decides the vectors and the width to which they are cut."""
        return self._recipe

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        return self._sender.dim

    @property
    def tokenizer(self) -> Tokenizer:
        """The bare tokenizer of the served model; see :class:`decant.embedders.Encoder`."""
        return self._model.tokenizer

    def max_text_tokens(self, role: Role) -> int:
        """Return how many tokens of text fit next to the prompt and the special tokens."""
        return self._model.facts.max_text_tokens[member(Role, role, error=RecipeError)]

    def quantizer(self, kind: str, *, calibration: VectorRanges | None = None) -> Quantizer:
        """Return a quantizer that turns this encoder's vectors into integers or bits.

        Args:
            kind: ``int8``, ``uint8`` or ``ubinary``.
            calibration: The ranges for the first two, which stay with the bundle on the server.

        Raises:
            QuantizationError: The kind is unknown, or the calibration is missing or of another
                recipe.
        """
        wanted = Quantization.named(kind)
        if calibration is not None:
            calibration.require(self._recipe)
        return Quantizer(kind=wanted, calibration=calibration)

    def encode(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Progress | None = None,
    ) -> Vectors:
        """Return one vector per text, in order; see :meth:`decant.embedders.Encoder.encode`.

        Raises:
            RemoteError: The server gives no answer in time, or what is no answer.
            BundleError: Another model answers by now.
        """
        given = checked(texts)
        options = self._options(role, instruction, outputs)
        with encode_span(self, self._recipe, role=options.role, outputs=outputs) as work:
            parts = list(self._blocks(given, options, progress, work))
        shape = self._model.facts.soft_tokens_shape
        read = None if shape is None else (shape[0], shape[1])
        return joined(parts, dim=self.dim, outputs=outputs, read_shape=read)

    def stream(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Progress | None = None,
    ) -> Iterator[Vectors]:
        """Yield vectors in blocks, in order; see :meth:`decant.embedders.Encoder.stream`.

        Raises:
            RemoteError: As :meth:`encode`.
            BundleError: As :meth:`encode`.
        """
        options = self._options(role, instruction, outputs)
        with encode_span(
            self, self._recipe, role=options.role, outputs=outputs, current=False
        ) as work:
            yield from self._blocks(checked(texts), options, progress, work)

    def __reduce__(self) -> tuple[object, ...]:
        """Return a call that connects to the same model in another process."""
        access = self._client.access
        if access.api_key:
            access = replace(access, api_key=None)
        identity = (self._model.facts.digest, self._model.facts.graph)
        return _connect_again, (self.address, access, self.dim, identity)

    @property
    def _model_name(self) -> str:
        return self.recipe.base

    def _prove(self, client: EncoderClient) -> RequestSender:
        """Return what sends requests to another server, if its model is this encoder's.

        Raises:
            RemoteError: It gives no answer.
            BundleError: It has another model.
            ParityError: Its golden vectors are others.
        """
        model = read_model(client)
        found, own = model.facts, self._model.facts
        if (found.digest, found.graph, found.precision) != (own.digest, own.graph, own.precision):
            raise BundleError(
                f"{client.url} has recipe {found.digest} in {found.precision}, or another graph, "
                f"and this encoder is of recipe {own.digest} in {own.precision}; serve the same "
                "bundle at all its addresses"
            )
        if not self._allow_uncertified:
            _check_vectors(client, model)
        return RequestSender(client, found, self._recipe)

    def _options(
        self, role: Role, instruction: str | None, outputs: Collection[Output]
    ) -> EncodeOptions:
        """Return how texts are encoded, or refuse what the model cannot do."""
        named = member(Role, role, error=RecipeError)
        check_outputs(self._recipe, outputs)
        if instruction is not None:
            if named is not Role.QUERY:
                raise RecipeError(
                    "an instruction is for queries; where both sides have a task (similarity, "
                    "clustering), encode both as queries"
                )
            self._recipe.instructed(instruction)
        return EncodeOptions(role=named, instruction=instruction, outputs=frozenset(outputs))

    def _blocks(
        self, texts: Iterable[str], options: EncodeOptions, progress: Progress | None, work: Span
    ) -> Iterator[Vectors]:
        """Yield the vectors of one request after the other, while the next are under way."""
        limits = BlockLimits.of(self._model.facts, options, underway=UNDERWAY)
        blocks = request_blocks(texts, limits)
        return self._answers(blocks, options, self._sender, progress=progress, work=work)


class _TokenizingRemoteEncoder(RemoteEncoder):
    """A remote encoder that maps characters to tokens, as those of bundles do."""

    @property
    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer with the recipe's prompts and limits."""
        assert self._model.text_tokenizer is not None, "connect() chooses the class by it"
        return self._model.text_tokenizer


def _kind(model: OpenedModel) -> type[RemoteEncoder]:
    return RemoteEncoder if model.text_tokenizer is None else _TokenizingRemoteEncoder


def _check_vectors(client: EncoderClient, model: OpenedModel) -> None:
    whole = _kind(model)(client, model, recipe=model.facts.recipe)
    check_golden_vectors(whole, model.facts, where=client.url)


def _connect_again(
    address: str, access: RemoteAccess, dim: int, identity: tuple[str, str | None]
) -> RemoteEncoder:
    """Connect to the model of an encoder that was pickled.

    Raises:
        BundleError: Another model is there by now.
    """
    # The first connection checked what these allow.
    encoder = RemoteEncoder.connect(
        address, access=access, dim=dim, allow_any_dim=True, allow_uncertified=True
    )
    facts = encoder.facts
    if (facts.digest, facts.graph) != identity:
        encoder.close()
        raise BundleError(
            f"{address} has recipe {facts.digest} by now, or another graph of it, and the encoder "
            f"that was pickled had recipe {identity[0]}; its vectors would be others. Pickle it "
            "anew, or serve the first bundle again"
        )
    return encoder
