"""Restore a dump slowly, to be killed meanwhile; run by ``test_kill.py`` on its own.

Arguments: the dump, the folder of the index. A line is written after each block.
"""

from __future__ import annotations

import sys
import time

from decant.integrations.qdrant import connect, restore


def main() -> None:
    """Restore the collection ``copy``."""

    def tell(done: int, _total: int) -> None:
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
        time.sleep(0.2)

    with connect(sys.argv[2]) as store:
        restore(sys.argv[1], store, "copy", progress=tell)


if __name__ == "__main__":
    main()
