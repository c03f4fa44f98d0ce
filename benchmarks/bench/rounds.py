"""Time several contenders fairly: interleaved, in an order that rotates from round to round.

A machine that is slow for a minute is slow for all of them, so ratios are taken within a round and
their median over the rounds counts. Nothing here knows what is timed.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from decant.embedders import OnStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something to time.

    Args:
        name: As it stands in the tables.
        settings: What it was set to, for the reader.
        run: The timed work; where it returns a :class:`Lap`, measured in another process, that
            counts.
        warm_up: Run once before any timing, if not None; loads what the first run would load.
    """

    name: str
    settings: str
    run: Callable[[], object]
    warm_up: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """One timed run, in seconds.

    Args:
        wall: By the clock on the wall.
        cpu: Of all cores together, this process only; other load on the machine changes it
            little, threads that wait by spinning raise it.
    """

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The middle and the ends of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one number."""
        return cls(median=median(values), low=min(values), high=max(values))


def orders(count: int, rounds: int) -> list[list[int]]:
    """Return, for each round, the order of ``count`` contenders; each comes first in turn.

    >>> orders(3, 2)
    [[0, 1, 2], [1, 2, 0]]
    """
    every = list(range(count))
    return [every[turn % count :] + every[: turn % count] for turn in range(rounds)]


def interleave(
    contenders: Sequence[Contender], *, rounds: int, on_step: OnStep
) -> dict[str, tuple[Lap, ...]]:
    """Warm every contender up, then time each once a round.

    Args:
        contenders: With names that differ.
        rounds: At least one.
        on_step: Called with the name of each step as it begins.

    Returns:
        For each name its laps, one a round, in the order of the rounds.
    """
    for contender in contenders:
        if contender.warm_up is not None:
            on_step(f"{contender.name}, warm-up")
            contender.warm_up()
    laps: dict[str, list[Lap]] = {contender.name: [] for contender in contenders}
    for number, order in enumerate(orders(len(contenders), rounds), start=1):
        for index in order:
            contender = contenders[index]
            on_step(f"{contender.name}, round {number} of {rounds}")
            laps[contender.name].append(timed(contender.run))
    return {name: tuple(found) for name, found in laps.items()}


def timed(work: Callable[[], object]) -> Lap:
    """Run ``work`` once and return how long it took; garbage of earlier work is not its own."""
    gc.collect()
    cpu = time.process_time()
    wall = time.perf_counter()
    found = work()
    lap = Lap(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)
    return found if isinstance(found, Lap) else lap


def speed_up(laps: Mapping[str, Sequence[Lap]], ours: str, theirs: str) -> Spread:
    """Return how many times as fast as ``theirs`` ``ours`` is, over the rounds."""
    pairs = zip(laps[ours], laps[theirs], strict=True)
    return Spread.of([their.wall / our.wall for our, their in pairs])
