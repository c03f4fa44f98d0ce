"""Compute a prompt once for all texts that stand behind it, where a graph can go on from it.

A causal model gives the tokens of a prompt the same states whatever follows. Graphs that were
exported for it take these states as ``prompt_states``; the contract is ``docs/architecture.md``'s.
Nothing here knows prompts: what is shared is what the rows of a batch begin with, so that a result
never depends on what was computed before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .collating import PRESENT, TOKENS

if TYPE_CHECKING:
    from .onnx_session import Session
    from .tokens import TokenBatch

_KEPT = 8  # prompts: a query's, a passage's, and some instructions
_KEPT_BYTES = 2**28  # of them together; a token of a model of 0.6 billion weights takes 230 kB


class SharedPrompts:
    """Takes prompts out of batches, and puts their states in their place.

    Args:
        session: A graph that takes prompts; it computes them. Safe to use from several threads.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()

    def begun(self, batch: TokenBatch, names: Sequence[str]) -> TokenBatch:
        """Return what is left to run of a batch; all of it where nothing can be shared.

        Args:
            batch: Rows, the first columns of which may be one prompt.
            names: Outputs that are asked for; the states of all tokens want the whole rows.
        """
        count = batch.prompt
        pools_it = "pooling_mask" in self._session.inputs and batch.pooling_mask[:, :count].any()
        if count == 0 or TOKENS in names or pools_it:
            return batch
        rest = {
            name: getattr(batch, name)[:, count:]
            for name in ("input_ids", "attention_mask", "pooling_mask")
        }
        return replace(batch, **rest, prompt=0, prompt_states=self._states(batch))

    def _states(self, batch: TokenBatch) -> NDArray[np.float32]:
        first = {
            name: getattr(batch, name)[:1, : batch.prompt]
            for name in ("input_ids", "attention_mask", "pooling_mask")
        }
        key = first["input_ids"].tobytes()
        with self._lock:
            if key not in self._found:
                alone = replace(batch, **first, prompt=0)
                (states,) = self._session.outputs_of(alone, [PRESENT])
                self._found[key] = np.asarray(states, np.float32)
                while len(self._found) > 1 and self._too_much():
                    self._found.popitem(last=False)
            self._found.move_to_end(key)
            return self._found[key]

    def _too_much(self) -> bool:
        kept = sum(states.nbytes for states in self._found.values())
        return len(self._found) > _KEPT or kept > _KEPT_BYTES
