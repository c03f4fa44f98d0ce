"""sentence-transformers' backends "onnx" and "openvino", each in a process and environment."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from decant.embedders import MissingExtra

from .rounds import Lap

_SERVER = Path(__file__).with_name("backend_server.py")
BACKENDS = ("onnx", "openvino")


class BackendProcess:
    """A running backend; close it, or use it in a ``with`` statement.

    Args:
        python: The interpreter of an environment with sentence-transformers and the backend's
            packages (``optimum-onnx``, ``optimum-intel``).
        model: A sentence-transformers folder; it is copied, because the backend may write into it.
        backend: One of ``BACKENDS``.
        work: Where the copy and vectors go.

    Raises:
        MissingExtra: The environment cannot load the model.
    """

    def __init__(self, python: Path, model: Path, backend: str, work: Path) -> None:
        self.name = f"sentence-transformers backend={backend}"
        self._vectors = work / "vectors.npy"
        copy = work / model.name
        shutil.copytree(model, copy)
        self._process = subprocess.Popen(
            [str(python), str(_SERVER), str(copy), backend],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        if not first:
            self._process.communicate()
            raise MissingExtra(
                f"{python} does not load {model.name} with backend={backend!r}, see above; install "
                "sentence-transformers with this backend there"
            )
        self.versions: dict[str, str] = json.loads(first)

    def run(self, texts: Sequence[str], batch: int) -> Lap:
        """Encode texts and return how long that took there."""
        return self._ask(texts, batch, None)

    def run_each(self, texts: Sequence[str]) -> Lap:
        """Encode texts one by one and return how long that took there."""
        laps = [self.run([text], 1) for text in texts]
        return Lap(wall=sum(lap.wall for lap in laps), cpu=sum(lap.cpu for lap in laps))

    def embed(self, texts: Sequence[str], batch: int) -> NDArray[np.float32]:
        """Return the vectors of texts, float32 (N, D)."""
        self._ask(texts, batch, self._vectors)
        found: NDArray[np.float32] = np.load(self._vectors)
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.communicate()

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.close()

    def _ask(self, texts: Sequence[str], batch: int, save: Path | None) -> Lap:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "texts": list(texts),
            "batch": batch,
            "save": None if save is None else str(save),
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Lap(wall=answer["wall"], cpu=answer["cpu"])
