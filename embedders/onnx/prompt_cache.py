"""Compute a prompt once for all texts behind it, if the graph takes a KV cache.

A causal model gives the tokens of a prompt the same keys and values whatever follows. Graphs that
were exported for this take them as ``prompt_states``; ``docs/architecture.md`` has the contract.
Invariant: the cache changes the time that vectors take, never the vectors.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..encoding.outputs import PRESENT, TOKENS
from ..forks import renew_after_fork

if TYPE_CHECKING:
    from ..tokens.rows import TokenBatch
    from .providers.graph_session import GraphSession

_KEPT = 8  # prompts: a query's, a passage's, and some instructions
_KEPT_BYTES = 2**28  # of all cached prompts; a token of a model of 0.6 billion weights takes 230 kB
_REMEMBERED = 64  # prompts that were seen once


class SharedPrompts:
    """Replaces the prompts of batches by their cached keys and values.

    A prompt that comes with a single text for the first time is not cached, because it may never
    come again (an instruction made for one query), and caching would cost more than it saves.

    Args:
        session: Computes prompts, if its graph takes any; it is safe to use from several threads.
    """

    def __init__(self, session: GraphSession) -> None:
        self._session = session
        self._kept: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock; called in a forked child."""
        self._lock = Lock()

    def cut_shared_prompt(self, batch: TokenBatch, names: Sequence[str]) -> TokenBatch:
        """Return the rest of a batch that must run; the whole batch if no prompt is shared.

        Args:
            batch: Rows whose first columns may be one prompt.
            names: The requested outputs; token embeddings need the whole rows.
        """
        count = batch.prompt
        pools_it = "pooling_mask" in self._session.inputs and batch.pooling_mask[:, :count].any()
        if count == 0 or not self._session.takes_prompts or TOKENS in names or pools_it:
            return batch
        states = self._states(batch)
        if states is None:
            return batch
        return replace(
            batch,
            input_ids=batch.input_ids[:, count:],
            attention_mask=batch.attention_mask[:, count:],
            pooling_mask=batch.pooling_mask[:, count:],
            prompt=0,
            prompt_states=states,
        )

    def _states(self, batch: TokenBatch) -> NDArray[np.float32] | None:
        """Return the keys and values of a batch's prompt; None if it is not worth caching yet."""
        first = replace(
            batch,
            input_ids=batch.input_ids[:1, : batch.prompt],
            attention_mask=batch.attention_mask[:1, : batch.prompt],
            pooling_mask=batch.pooling_mask[:1, : batch.prompt],
            word_ids=None if batch.word_ids is None else batch.word_ids[:1],
            prompt=0,
        )
        key = first.input_ids.tobytes()
        with self._lock:
            if key not in self._kept:
                if len(batch.input_ids) == 1 and not self._came_before(key):
                    return None
                (states,) = self._session.outputs_of(first, [PRESENT])
                self._kept[key] = np.asarray(states[0], np.float32)
                while len(self._kept) > 1 and self._too_much():
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def _came_before(self, key: bytes) -> bool:
        """Return whether a prompt was seen before, and remember it."""
        before = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return before

    def _too_much(self) -> bool:
        size = sum(states.nbytes for states in self._kept.values())
        return len(self._kept) > _KEPT or size > _KEPT_BYTES
