"""The reference scores of a reranker's bundle, by which it is certified again without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decant.embedders import BundleError

from .reference import DAMAGED, PYTORCH


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreReference:
    """The PyTorch model's raw scores of the probe pairs, each alone and unpadded.

    Args:
        queries: The query of each pair, N.
        passages: The passage of each.
        scores: float32, shape (N,).
        ranked: So many first pairs are ranked, those of one query among themselves.
        origin: What computed the scores, for readers; no code reads it.
    """

    queries: list[str]
    passages: list[str]
    scores: NDArray[np.float32]
    ranked: int
    origin: str = PYTORCH

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of a query and a passage."""
        return list(zip(self.queries, self.passages, strict=True))

    @property
    def spread(self) -> float:
        """The standard deviation of the scores, or 1 if that is smaller."""
        return max(1.0, float(self.scores.astype(np.float64).std()))

    @property
    def groups(self) -> list[NDArray[np.intp]]:
        """The numbers of the ranked pairs of each query with several."""
        names = np.array(self.queries[: self.ranked])
        found = [np.flatnonzero(names == query) for query in dict.fromkeys(names.tolist())]
        return [group for group in found if len(group) > 1]

    def save(self, path: Path) -> None:
        """Write the reference; no pickles."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                queries=np.array(self.queries, dtype=np.str_),
                passages=np.array(self.passages, dtype=np.str_),
                scores=self.scores,
                ranked=np.array(self.ranked),
                origin=np.array(self.origin),
            )

    @classmethod
    def read(cls, path: Path) -> ScoreReference:
        """Read what :meth:`save` wrote.

        Raises:
            BundleError: The file is missing or damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                found = cls(
                    queries=[str(text) for text in stored["queries"]],
                    passages=[str(text) for text in stored["passages"]],
                    scores=np.asarray(stored["scores"], np.float32),
                    ranked=int(stored["ranked"]),
                    origin=str(stored["origin"]),
                )
        except DAMAGED as error:
            raise BundleError(f"{path} is missing or damaged ({error}); export again") from error
        counts = {len(found.queries), len(found.passages)}
        if counts != {found.scores.size} or found.scores.ndim != 1 or not found.queries:
            raise BundleError(f"{path} is damaged: its pairs have not one score each; export again")
        return found
