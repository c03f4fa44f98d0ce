"""A reranker whose model runs on another machine, behind ``decant serve``.

Queries and passages are checked and cut into requests here, and the activation is applied; the
server puts pairs together and scores them. Invariant: the raw scores are those of the served
reranker, bit for bit, and of the model that was there when this reranker was opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from ..encoding.encode_span import encode_span
from ..encoding.outputs import joined
from ..encoding.protocol import Progress
from ..errors import BundleError
from ..recipe.prompt import Role
from ..recipe.rerank_recipe import RerankRecipe
from ..remote.address import RemoteAccess
from ..remote.client import EncoderClient
from ..remote.nodes import first_model, open_clients
from ..remote.request_blocks import BlockLimits, pair_blocks
from ..remote.requests_underway import UNDERWAY, RequestPool
from ..remote.score_sender import ScoreSender, read_reranker
from ..remote.score_wire import RerankerFacts
from ..tokens.pair_tokenizer import Pair
from ..tokens.texts import checked
from .encoder_reranker import activated, checked_pairs
from .protocol import checked_query

if TYPE_CHECKING:
    import numpy as np

    from ..bundle.precision import Precision

_WHAT = "reranker"


class RemoteReranker(RequestPool):
    """The reranker of a server; made by :meth:`connect`, or by ``load_reranker``.

    With the addresses of several servers of one model it goes on when one of them ends. It is safe
    to share between threads. A forked child opens its own connections. Unpickling connects again,
    and only to the same recipe and graph; a key that was given as an argument is not pickled, so
    the other process needs ``DECANT_API_KEY``.

    Args:
        clients: One for each server; the first has the model.
        facts: What the server says of the model.

    Attributes:
        precision: The precision of the graph that runs there.
        provider: What runs it there.
    """

    precision: Precision
    provider: str

    def __init__(self, clients: Sequence[EncoderClient], facts: RerankerFacts) -> None:
        self._facts = facts
        self.precision = facts.precision
        self.provider = facts.provider
        super().__init__(tuple(clients))
        self._sender = self._sender_to(ScoreSender(clients[0], facts), self._prove)

    @classmethod
    def connect(cls, address: str, *, access: RemoteAccess | None = None) -> RemoteReranker:
        """Return the reranker that a server has; it is asked at once for the recipe.

        Args:
            address: ``http(s)://HOST:PORT`` of a server with one reranker, or
                ``http(s)://HOST:PORT/models/NAME``; ``NAME@DIGEST`` takes no other recipe. Several
                of one model, ``http://A,http://B``: when one gives no answer, the next is asked.
            access: Key, certificates and timeout; None: the key of ``DECANT_API_KEY``, if any.

        Raises:
            RemoteError: There is no such server or reranker, it refuses the key, it is busy for too
                long, or it speaks another version of the protocol.
            BundleError: Its recipe gives something else on this side.
        """
        clients = open_clients(address, access or RemoteAccess(), what=_WHAT)
        try:
            client, facts = first_model(clients, read_reranker)
        except BaseException:
            for one in clients:
                one.close()
            raise
        return cls([client, *(one for one in clients if one is not client)], facts)

    def __repr__(self) -> str:
        return (
            f"RemoteReranker({self.address!r}, {self.recipe.base!r}, {self.precision}, "
            f"{self.provider})"
        )

    @property
    def facts(self) -> RerankerFacts:
        """What the server said of the model when this reranker was opened."""
        return self._facts

    @property
    def recipe(self) -> RerankRecipe:
        """The recipe, which decides the scores."""
        return self._facts.recipe

    def score(
        self,
        query: str,
        texts: Iterable[str],
        *,
        instruction: str | None = None,
        raw: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the score of each passage; see :meth:`decant.embedders.Reranker.score`.

        Raises:
            RemoteError: The server gives no answer in time, or what is no answer.
            BundleError: Another model answers by now.
        """
        known = checked_query(query)
        pairs = ((known, text) for text in checked(texts))
        return self._scores(pairs, instruction, raw=raw, progress=progress)

    def score_pairs(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | None = None,
        raw: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the score of each pair; see :meth:`decant.embedders.Reranker.score_pairs`.

        Raises:
            RemoteError: As :meth:`score`.
            BundleError: As :meth:`score`.
        """
        return self._scores(checked_pairs(pairs), instruction, raw=raw, progress=progress)

    def __reduce__(self) -> tuple[object, ...]:
        """Return a call that connects to the same model in another process."""
        access = self._clients[0].access
        if access.api_key:
            access = replace(access, api_key=None)
        return _connect_again, (self.address, access, (self._facts.digest, self._facts.graph))

    @property
    def _model_name(self) -> str:
        return self.recipe.base

    def _scores(
        self,
        pairs: Iterable[Pair],
        instruction: str | None,
        *,
        raw: bool,
        progress: Progress | None,
    ) -> NDArray[np.float32]:
        self.recipe.pair.check_instruction(instruction)
        limits = BlockLimits.of_pairs(self._facts, instruction, underway=UNDERWAY)
        blocks = pair_blocks(pairs, limits)
        with encode_span(self, self.recipe.model, role=Role.PASSAGE) as work:
            found = self._answers(blocks, instruction, self._sender, progress=progress, work=work)
            scores = joined(list(found), dim=1, outputs=()).dense[:, 0]
        return scores if raw else activated(scores, self.recipe.activation)

    def _prove(self, client: EncoderClient) -> ScoreSender:
        """Return what sends requests to another server, if its model is this reranker's.

        Raises:
            RemoteError: It gives no answer.
            BundleError: It has another model.
        """
        found, own = read_reranker(client), self._facts
        if (found.digest, found.graph, found.precision) != (own.digest, own.graph, own.precision):
            raise BundleError(
                f"{client.url} has recipe {found.digest} in {found.precision}, or another graph, "
                f"and this reranker is of recipe {own.digest} in {own.precision}; serve the same "
                "bundle at all its addresses"
            )
        return ScoreSender(client, found)


def _connect_again(
    address: str, access: RemoteAccess, identity: tuple[str, str | None]
) -> RemoteReranker:
    """Connect to the model of a reranker that was pickled.

    Raises:
        BundleError: Another model is there by now.
    """
    reranker = RemoteReranker.connect(address, access=access)
    if (reranker.facts.digest, reranker.facts.graph) != identity:
        digest = reranker.facts.digest
        reranker.close()
        raise BundleError(
            f"{address} has recipe {digest} by now, or another graph of it, and the reranker that "
            f"was pickled had recipe {identity[0]}; its scores would be others. Pickle it anew, or "
            "serve the first bundle again"
        )
    return reranker
