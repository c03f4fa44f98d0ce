"""Migrate a collection slowly, to be killed meanwhile; run by ``test_kill.py`` on its own.

Arguments: the folder of the index, seconds to spend on each text.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

from decant.embedders import HashEncoder
from decant.integrations.qdrant import connect
from migration_scene import NEW, migrate_now


class SlowEncoder(HashEncoder):
    """Takes as long as a real one, and gives the same as the fast one."""

    def _states(self, words: list[str]) -> NDArray[np.float32]:
        time.sleep(float(sys.argv[2]))
        return super()._states(words)


def main() -> None:
    """Migrate, and say when that begins and ends."""
    with connect(sys.argv[1]) as store:
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        migrate_now(store, SlowEncoder(NEW.dim))
    sys.stdout.write("ended\n")


if __name__ == "__main__":
    main()
