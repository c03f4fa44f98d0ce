"""Reports: what the tables say, what the JSON holds, when a target is met."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.machine import circumstances, installed
from bench.report import (
    Amount,
    Figure,
    Result,
    Section,
    Target,
    lowest_speed_up,
    save,
    section,
    show,
)
from bench.rounds import Contender, Lap
from decant.embedders.distribution import DISTRIBUTION


def nothing() -> None:
    """Stand in for work."""


@pytest.fixture
def compared() -> Section:
    """Return us at 2 s against two settings of a peer at 3 s and 5 s; 100 chunks each."""
    walls = {"decant": 2.0, "peer, batch 8": 3.0, "peer, batch 32": 5.0}
    contenders = [Contender(name=name, settings=f"of {name}", run=nothing) for name in walls]
    laps = {name: (Lap(wall=wall, cpu=2 * wall),) * 3 for name, wall in walls.items()}
    amount = Amount(chunks=100, tokens=12_000)
    return section("mixed", contenders, laps, dict.fromkeys(walls, amount))


@pytest.fixture
def result(compared: Section) -> Result:
    """Return a result with one of everything."""
    return Result(
        benchmark="encode",
        circumstances=circumstances(["--rounds", "3"]),
        seed=7,
        settings={"corpus": "PEPs"},
        sections=(compared,),
        figures=(Figure(name="second run", value=0.4, unit="%"),),
        targets=(
            Target(name="faster", wanted=1.4, measured=1.5, unit="times"),
            Target(name="quick", wanted=15, measured=20, unit="ms", at_most=True),
        ),
    )


def test_a_section_divides_amounts_by_median_times(compared: Section) -> None:
    ours, theirs, _ = compared.rows
    assert (ours.chunks_per_second, ours.tokens_per_second) == (50, 6000)
    assert ours.chunks_per_cpu_second == 25
    assert ours.our_speed_up is None
    assert theirs.our_speed_up is not None
    assert theirs.our_speed_up.median == 1.5


def test_the_lowest_speed_up_is_over_the_peers_best_setting(compared: Section) -> None:
    assert lowest_speed_up(compared, "peer") == 1.5


@pytest.mark.parametrize(
    ("wanted", "measured", "at_most", "met"),
    [
        (1.4, 1.4, False, True),
        (1.4, 1.39, False, False),
        (15, 15, True, True),
        (15, 16, True, False),
    ],
)
def test_a_target_is_met_at_its_bound_and_beyond(
    wanted: float, measured: float, at_most: bool, met: bool
) -> None:
    target = Target(name="x", wanted=wanted, measured=measured, unit="", at_most=at_most)
    assert target.met is met


def test_the_tables_show_every_number(result: Result) -> None:
    file = io.StringIO()
    show(result, Console(file=file, width=110))
    shown = file.getvalue()
    assert "peer, batch 8 " in shown
    assert "1.50 (1.50–1.50)" in shown
    assert "6,000" in shown
    assert "of peer, batch 32" in shown
    assert "second run: 0.4 %" in shown
    assert "target met: faster at least 1.4 times, measured 1.5" in shown
    assert "target missed: quick at most 15 ms, measured 20" in shown


def test_the_json_holds_laps_and_circumstances(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    save(result, path)
    held = json.loads(path.read_text(encoding="utf-8"))
    assert held["seed"] == 7
    assert held["circumstances"]["command"].endswith("--rounds 3")
    assert held["circumstances"]["cores"] >= 1
    assert held["circumstances"]["versions"][DISTRIBUTION]
    assert held["sections"][0]["rows"][1]["laps"][0] == {"wall": 3.0, "cpu": 6.0}


def test_versions_are_of_installed_packages_only() -> None:
    assert set(installed(("numpy", "no-such-package"))) == {"numpy"}
