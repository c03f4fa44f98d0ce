"""What an encoder needs of an open graph, whatever runtime holds it.

``session.py`` opens graphs with ONNX Runtime, ``openvino_session.py`` with OpenVINO. Invariant: a
session runs on the provider in its name or raises; it never runs elsewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ...bundle.file_list import CheckedFile
from ...bundle.precision import Precision
from ...encoding.outputs import DENSE, STATES

if TYPE_CHECKING:
    from ...tokens.rows import TokenBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFile:
    """A graph to open.

    Args:
        path: The ONNX file.
        precision: In which it runs; some runtimes compute a float32 graph in bfloat16.
        files: The file and its weights as they were checked; empty if they were not checked.
    """

    path: Path
    precision: Precision
    files: tuple[CheckedFile, ...] = ()


class GraphSession(ABC):
    """An open graph on one provider; safe to run from several threads.

    Attributes:
        provider: The full name of the provider that runs it.
        files: The file and its weights as they were checked; empty if they were not checked.
        threads: Cores that one run uses on the CPU.
        inputs: Names of the graph's inputs.
        shapes: The shape of each output; a dynamic size is a name or None.
        takes_prompts: Whether texts can go on from a prompt's states.
    """

    provider: str
    files: tuple[CheckedFile, ...]
    threads: int
    inputs: list[str]
    shapes: dict[str, Sequence[int | str | None]]
    takes_prompts: bool

    @property
    def outputs(self) -> list[str]:
        """Names of the graph's outputs."""
        return list(self.shapes)

    @property
    def read_shape(self) -> tuple[int, int] | None:
        """Number and width of the soft tokens; None if the graph gives none."""
        if STATES not in self.shapes:
            return None
        _, count, width = self.shapes[STATES]
        assert isinstance(count, int)
        assert isinstance(width, int)
        return count, width

    @abstractmethod
    def twin(self, *, threads: int, workers: int) -> Self:
        """Open the same graph once more, for several runs at the same time.

        Args:
            threads: Cores that one run uses on the CPU.
            workers: Runs at the same time; more than these may wait for each other.

        Raises:
            ProviderError: It does not open.
            BundleError: The files changed since they were checked.
        """

    @abstractmethod
    def outputs_of(self, batch: TokenBatch, names: Sequence[str]) -> list[NDArray[np.generic]]:
        """Return the named outputs for a batch; ``present_states`` are those of its first row."""

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Return ``sentence_embedding`` for a batch: float32, shape (B, D)."""
        return np.asarray(self.outputs_of(batch, [DENSE])[0], np.float32)

    def values(self, names: list[str], batch: TokenBatch) -> list[NDArray[np.float32]]:
        """Return other outputs of the graph for a batch, float32; for measuring a graph."""
        return [np.asarray(value, np.float32) for value in self.outputs_of(batch, names)]
