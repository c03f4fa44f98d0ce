"""Index a folder slowly, to be killed meanwhile; run by ``test_kill.py`` in a process of its own.

Arguments: the folder of texts, the folder of the index, seconds to spend on each text.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Chunking, Collection, connect, read_documents


class SlowEncoder(HashEncoder):
    """Takes as long as a real one, and gives the same as the fast one."""

    def _states(self, words: list[str]) -> NDArray[np.float32]:
        time.sleep(float(sys.argv[3]))
        return super()._states(words)


def main() -> None:
    """Index, and say when that begins and ends."""
    texts, index = sys.argv[1:3]
    collection = Collection.open_or_create(connect(index), "docs", SlowEncoder(16))
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    collection.index(read_documents(texts, root="r"), chunking=Chunking(max_tokens=8))
    sys.stdout.write("ended\n")


if __name__ == "__main__":
    main()
