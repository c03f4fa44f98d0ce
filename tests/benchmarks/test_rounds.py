"""Rounds: who runs when, and what the medians are of."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rounds import Contender, Lap, Spread, interleave, orders, speed_up, timed


@given(st.integers(1, 6), st.integers(1, 12))
def test_every_contender_runs_once_a_round(count: int, rounds: int) -> None:
    found = orders(count, rounds)
    assert len(found) == rounds
    assert all(sorted(order) == list(range(count)) for order in found)


@given(st.integers(1, 6), st.integers(1, 4))
def test_every_contender_is_first_equally_often(count: int, times: int) -> None:
    firsts = Counter(order[0] for order in orders(count, count * times))
    assert set(firsts.values()) == {times}


def test_warm_ups_come_before_all_rounds_and_are_not_timed() -> None:
    log: list[str] = []
    contenders = [
        Contender(
            name=name,
            settings="",
            run=partial(log.append, f"run {name}"),
            warm_up=partial(log.append, f"warm {name}"),
        )
        for name in ("a", "b")
    ]
    told: list[str] = []
    laps = interleave(contenders, rounds=2, on_step=told.append)
    assert log == ["warm a", "warm b", "run a", "run b", "run b", "run a"]
    assert told == [
        "a, warm-up", "b, warm-up",
        "a, round 1 of 2", "b, round 1 of 2", "b, round 2 of 2", "a, round 2 of 2",
    ]  # fmt: skip
    assert {name: len(found) for name, found in laps.items()} == {"a": 2, "b": 2}


def test_a_lap_counts_work_in_both_clocks() -> None:
    lap = timed(lambda: sum(range(300_000)))
    assert lap.wall > 0
    assert lap.cpu > 0


def test_a_speed_up_is_the_median_of_the_ratios_within_the_rounds() -> None:
    def laps(*walls: float) -> tuple[Lap, ...]:
        return tuple(Lap(wall=wall, cpu=1.0) for wall in walls)

    # In the second round the machine was ten times as slow for both.
    found = speed_up({"we": laps(1, 10, 2), "they": laps(2, 20, 6)}, "we", "they")
    assert found == Spread(median=2.0, low=2.0, high=3.0)


def test_a_speed_up_needs_the_same_rounds_of_both() -> None:
    one, two = (Lap(wall=1, cpu=1),), (Lap(wall=1, cpu=1),) * 2
    with pytest.raises(ValueError, match="argument 2 is longer"):
        speed_up({"we": one, "they": two}, "we", "they")
