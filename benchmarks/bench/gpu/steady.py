"""What a graph does over time: the latency of lone queries, and memory under changing shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from statistics import median

import numpy as np

from decant.embedders.tokens import Tokens

from ..peers import Embed
from ..report import Figure
from .matches import QUERY, QUERY_TOKENS

WARM_UPS = 21
_ROWS = 16  # at most, of the random batches


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


def latencies(title: str, sides: Mapping[str, Embed], *, count: int) -> list[Figure]:
    """Return each side's p50 of one query of 16 tokens, turn by turn; the first is ours.

    Args:
        title: The model's.
        sides: Embed a list of names at a batch size, by name.
        count: Turns.
    """
    works = {name: partial(embed, [QUERY], 1) for name, embed in sides.items()}
    times = turn_by_turn(works, count=count)
    return [
        Figure(name=f"{title}, one query of {QUERY_TOKENS} tokens, {name}, p50", value=p50,
               unit="ms")
        for name, p50 in ((name, median(found)) for name, found in times.items())
    ]  # fmt: skip


def growth(
    title: str,
    run: Callable[[Sequence[str]], object],
    batches: Sequence[Sequence[str]],
    in_use: Callable[[], int],
) -> list[Figure]:
    """Run batches of random shapes and return the memory after the warm-up, and what was added.

    On a GPU the numbers are the whole device's; nothing else runs on it meanwhile.

    Args:
        title: Of the model and graph.
        run: Encodes rows by name.
        batches: Of names; see :func:`random_rows`. The first 21 warm up.
        in_use: Tells how many bytes are in use.
    """
    for names in batches[:WARM_UPS]:
        run(names)
    before = in_use()
    for names in batches[WARM_UPS:]:
        run(names)
    added = in_use() - before
    what = f"{title}, memory in use"
    return [
        Figure(name=f"{what} after the warm-up", value=before / 2**20, unit="MiB"),
        Figure(
            name=f"{what}, added by {len(batches) - WARM_UPS} batches of random shapes",
            value=added / 2**20,
            unit="MiB",
        ),
    ]


def random_rows(
    batches: int, *, longest: int, vocabulary: int, seed: int
) -> list[dict[str, Tokens]]:
    """Return rows by name, batch by batch: 21 for warming up, the first the largest, and the rest.

    A batch has 1 to 16 rows of random ids; one row has the batch's length, the others any up to it.

    Args:
        batches: How many after the warm-up.
        longest: Most tokens of a row.
        vocabulary: Ids are below it.
        seed: Draws shapes, lengths and ids.
    """
    drawing = np.random.default_rng(seed)
    limits = (_ROWS + 1, longest + 1)
    shapes = drawing.integers(1, limits, (WARM_UPS + batches, 2)).tolist()
    shapes[0] = [_ROWS, longest]
    found = []
    for number, (rows, width) in enumerate(shapes):
        lengths = [width, *drawing.integers(1, width + 1, rows - 1).tolist()]
        ids = [tuple(drawing.integers(0, vocabulary, length).tolist()) for length in lengths]
        found.append(
            {
                f"random {number}/{row}": Tokens(ids=drawn, counted=0)
                for row, drawn in enumerate(ids)
            }
        )
    return found
