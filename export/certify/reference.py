"""The reference vectors of a bundle, by which it can be certified again without torch.

``reference.npz`` holds the probe texts and their vectors from the float32 PyTorch model, run alone
and unpadded. For a few of them it holds the vectors of every other pooling, which distinguish a
wrong pooling from damaged weights.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decant.embedders import BundleError, Pooling

from .output_checks import Extras

PYTORCH = "PyTorch float32"
_OTHER = "pooled_by_"
_EXTRA = "extra_"
# Errors of numpy and zipfile for files that are cut off, altered, or claim to exceed memory.
DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The PyTorch model's vectors of the probe texts.

    Args:
        texts: N probe texts, as :func:`probe_rows` turns them into M rows, M = N or 2 N.
        vectors: float32, shape (M, D).
        others: For each other pooling, float32 vectors of the first rows, shape (m, D), m < M.
        origin: What computed the vectors, for readers; no code reads it.
        extras: Their sparse vectors and token embeddings, if the recipe has them.
    """

    texts: list[str]
    vectors: NDArray[np.float32]
    others: dict[Pooling, NDArray[np.float32]]
    origin: str = PYTORCH
    extras: Extras = field(default_factory=Extras)

    def save(self, path: Path) -> None:
        """Write the reference; no pickles."""
        arrays = {f"{_OTHER}{pooling}": vectors for pooling, vectors in self.others.items()}
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                texts=np.array(self.texts, dtype=np.str_),
                vectors=self.vectors,
                origin=np.array(self.origin),
                **{f"{_EXTRA}{name}": value for name, value in self.extras.arrays().items()},
                **arrays,
            )

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Read what :meth:`save` wrote.

        Raises:
            BundleError: The file is missing or damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return cls(
                    texts=[str(text) for text in stored["texts"]],
                    vectors=np.asarray(stored["vectors"], np.float32),
                    origin=str(stored["origin"]) if "origin" in stored.files else PYTORCH,
                    others={
                        Pooling(name.removeprefix(_OTHER)): np.asarray(stored[name], np.float32)
                        for name in stored.files
                        if name.startswith(_OTHER)
                    },
                    extras=Extras.from_arrays(
                        {
                            name.removeprefix(_EXTRA): stored[name]
                            for name in stored.files
                            if name.startswith(_EXTRA)
                        }
                    ),
                )
        except DAMAGED as error:
            raise BundleError(f"{path} is missing or damaged ({error}); export again") from error
