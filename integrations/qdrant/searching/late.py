"""Order the candidates of a search anew by late interaction: MaxSim over the vectors of tokens.

The engine scores the candidates by their ids, which takes a tenth of the time of reading their
vectors (``experiments/log/2026-12-01-late-interaction.md``). It comes before boosts, duplicates,
groups and variety, and never looks at the page.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from decant.embedders import Vectors

from ..coroutines.reads import Source
from ..inference.server_encoder import ServerEncoder
from ..late.token_vectors import StoredTokenVectors
from ..points.handle import Target
from ..stores.input_errors import StoreInputError
from ..stores.protocol import Ranking, slices
from ..stores.queries import TokensQuery
from .candidates import Depth
from .fusion import by_score
from .options import LATE, SearchOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def query_tokens(target: Target, given: Vectors | None = None) -> StoredTokenVectors:
    """Return the form of a query's token vectors, which are never pooled.

    Args:
        target: The collection.
        given: The query's vectors, if they come from the caller.

    Raises:
        StoreInputError: The collection has no token vectors, none are given, or the server makes
            the vectors of queries, which are none of tokens.
    """
    if target.token_vectors is None:
        raise StoreInputError(
            f"the collection {target.name!r} has no token vectors to order hits by; make it with "
            "CollectionSettings(token_vectors=TokenVectors()) (decant index --token-vectors), and "
            "with an encoder whose recipe has late interaction"
        )
    if isinstance(target.encoder, ServerEncoder):
        raise StoreInputError(
            "an inference service gives no token vectors; open the collection with its encoder to "
            "order hits by late interaction"
        )
    if given is not None and given.token_embeddings is None:
        raise StoreInputError(
            "late interaction compares token vectors, and the query has none; give what "
            "encode([query], role=Role.QUERY, outputs=[Output.TOKEN_EMBEDDINGS]) returns, or "
            "search by text"
        )
    return replace(target.token_vectors, pool_to=None)


def late_thresholds(options: SearchOptions) -> dict[str, float]:
    """Return the least MaxSim of hits under the name of its ranking, if there is one."""
    given = options.score_threshold
    if options.late is None or not isinstance(given, Mapping) or LATE not in given:
        return {}
    return {LATE: given[LATE]}


async def scored_anew(
    source: Source,
    depths: AsyncGenerator[Depth, None],
    tokens: NDArray[np.float32] | None,
    options: SearchOptions,
) -> AsyncGenerator[Depth, None]:
    """Yield the depths of a search with their hits in the order of MaxSim.

    Each depth is cut into blocks of as many candidates as the options say.

    Args:
        source: The collection, and what reads it.
        depths: As :func:`in_depths` yields them; closed in the end.
        tokens: The query's token vectors.
        options: The number of candidates, and the least score.
    """
    assert tokens is not None
    assert options.late is not None
    least = late_thresholds(options).get(LATE, -math.inf)
    ranked: Ranking = []
    async with aclosing(depths):
        async for depth in depths:
            hits: Ranking = []
            for block in slices(depth.hits, options.late.candidates):
                ids = tuple(identity for identity, _ in block)
                query = TokensQuery(vectors=tokens, ids=ids)
                (found,) = await source.reads.rank(source.name, [query], limit=len(ids))
                # Engines give equal scores in any order.
                ordered = by_score(found)
                ranked = [*ranked, *ordered]
                scored = {identity for identity, _ in ordered}
                lowest = -float(len(tokens))
                lacking = [(one, lowest) for one in ids if one not in scored]
                hits += [hit for hit in (*ordered, *lacking) if hit[1] >= least]
            named = {**depth.rankings.named, LATE: ranked}
            yield Depth(replace(depth.rankings, named=named), hits)
