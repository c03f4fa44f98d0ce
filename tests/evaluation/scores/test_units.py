"""Each measure is shown in its own unit, and there is a test only where there can be one."""

from __future__ import annotations

import re

import numpy as np
import pytest

from decant.cli.output.comparison_tables import show_standing
from decant.embedders import HashEncoder
from decant.evaluation import (
    Anchor,
    Anchors,
    Bootstrap,
    ComparisonReport,
    Geometry,
    ScoredPairs,
    Separation,
    Sts,
    SystemResult,
    Task,
    Unit,
    Variation,
    compare_systems,
    html_page,
    score_system,
)

QUICK = Bootstrap(resamples=20)
WORDS = tuple(f"w{number} v{number % 7}" for number in range(520))
GEOMETRY = Geometry(
    name="shape",
    texts=WORDS,
    related=tuple((f"w{n} v", f"w{n} u") for n in range(8)),
    random_pairs=100,
    bootstrap=QUICK,
)


def pairs(count: int) -> Sts:
    """Return so many pairs, nearer and nearer."""
    draw = np.random.default_rng(1)
    return Sts(
        name="sts",
        sets=(
            ScoredPairs(
                name="set",
                scores=tuple(float(n) for n in range(count)),
                first=tuple(f"one {n} x{draw.integers(9)}" for n in range(count)),
                second=tuple(f"one {n} y{draw.integers(9)} z{n % 3}" for n in range(count)),
            ),
        ),
        bootstrap=QUICK,
    )


def two_systems(*tasks: Task) -> tuple[list[SystemResult], ComparisonReport]:
    results = [
        score_system(f"hash {dim}", HashEncoder(dim=dim), tasks, on_step=lambda _: None)
        for dim in (64, 8)
    ]
    return results, compare_systems(results)


def test_every_measure_has_its_unit() -> None:
    tasks: list[Task] = [
        GEOMETRY,
        pairs(8),
        Separation(name="words", related=(("a b", "a c"), ("d e", "d f")), random_pairs=20),
        Anchors(
            name="anchors",
            anchors=tuple(
                Anchor(
                    base=f"a cat {n}",
                    variants={
                        Variation.PARAPHRASE: f"the cat {n}",
                        Variation.ANTONYM: f"a dog {n}",
                    },
                )
                for n in range(3)
            ),
        ),
    ]
    (first, _), _ = two_systems(*tasks)
    assert {one.score.metric: one.score.unit.value for one in first.measurements} == {
        "anisotropy (mean cosine of random pairs)": "cosine",
        "uniformity": "number",
        "effective rank (of 256 texts)": "number",
        "alignment": "number",
        "cosine Spearman": "fraction",
        "AUROC, related over random": "fraction",
        "Cohen's d, related over random": "number",
        "mean cosine, related": "cosine",
        "mean cosine, random": "cosine",
        "std of cosine, related": "cosine",
        "std of cosine, random": "cosine",
        "win rate, paraphrase over antonym": "fraction",
        "mean cosine, paraphrase": "cosine",
        "mean cosine, antonym": "cosine",
    }


def test_a_rank_is_shown_as_a_rank_and_without_a_test(
    capfd: pytest.CaptureFixture[str],
) -> None:
    results, standing = two_systems(GEOMETRY)
    score = next(one for one in standing.systems[0].scores if "rank" in one.metric)
    assert 1 < score.value < 64
    assert score.cases == 2
    show_standing(standing)
    table, page = capfd.readouterr().out, html_page(results, standing)
    for text in (table, page):
        assert f"{score.value:.2f}" in text
        assert f"{100 * score.value:,.1f}" not in text
    assert "a case is a block of 256 texts" in page
    assert ", p " not in table
    assert not re.search(r"<small>[^<]*, p [\d.e-]+</small>", page)
    assert {one.comparison.difference.p_value for one in standing.comparisons} == {None}


@pytest.mark.parametrize(("count", "is_tested"), [(5, False), (6, True)])
def test_a_few_cases_are_no_test(count: int, is_tested: bool) -> None:
    results, standing = two_systems(pairs(count))
    (versus,) = standing.comparisons
    assert versus.comparison.cases == count
    assert (versus.comparison.difference.p_value is not None) is is_tested
    assert (re.search(r", p [\d.]+</small>", html_page(results, standing)) is not None) is is_tested


def test_shares_and_cosines_share_an_axis_and_numbers_have_their_own() -> None:
    results, standing = two_systems(GEOMETRY, pairs(8))
    shape, _, sts = html_page(results, standing).partition("<h2>sts</h2>")
    assert shape.count("cosine, with 95 % interval") == 1
    assert shape.count("value, with 95 % interval") == 3
    assert "value × 100" not in shape
    assert sts.count("value × 100, with 95 % interval") == 1


@pytest.mark.parametrize(
    ("unit", "value", "shown", "signed"),
    [
        (Unit.FRACTION, 0.8213, "82.1", "+82.1"),
        (Unit.FRACTION, -0.5, "-50.0", "-50.0"),
        (Unit.COSINE, 0.53, "0.530", "+0.530"),
        (Unit.NUMBER, 169.402, "169.40", "+169.40"),
        (Unit.NUMBER, -2.314, "-2.31", "-2.31"),
        (Unit.NUMBER, 1234.5, "1,234.50", "+1,234.50"),
    ],
)
def test_a_value_is_shown_in_its_unit(unit: Unit, value: float, shown: str, signed: str) -> None:
    assert unit.shown(value) == shown
    assert unit.shown(value, signed=True) == signed
