"""Time something short many times, several contenders turn by turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import chain, islice


def turn_by_turn(
    sides: Mapping[str, Callable[[], object]],
    *,
    count: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Run every side ``count`` times and return the milliseconds of each, by name.

    Who is first rotates from turn to turn; one turn before the first is not timed.

    Args:
        sides: What to time, by name.
        count: How many times; at least one.
        clock: Gives seconds.
    """
    for run in sides.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for turn in range(count):
        first = turn % len(names)
        for name in chain(islice(names, first, None), islice(names, first)):
            start = clock()
            sides[name]()
            found[name].append(1000 * (clock() - start))
    return found
