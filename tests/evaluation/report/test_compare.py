"""Several systems side by side, and the page that shows them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from decant.embedders import HashEncoder
from decant.embedders.json_records import to_json
from decant.evaluation import (
    Bootstrap,
    Embedder,
    EvaluationError,
    Geometry,
    ScoredPairs,
    Sts,
    SystemResult,
    WordVectors,
    compare_systems,
    html_page,
    score_system,
    shared_agreement,
    write_html,
)

PAIRS = ScoredPairs(
    name="<words & co>",
    scores=(9.0, 7.0, 6.0, 2.0, 1.0),
    first=("red sun", "red sea", "red sun", "old sun", "sea"),
    second=("red sun", "red", "sun", "new sea", "moon"),
)
WORDS = ("red", "sun", "sea", "old", "new", "moon")


@cache
def results() -> tuple[SystemResult, ...]:
    task = Sts(name="<words & co>", sets=(PAIRS,), bootstrap=Bootstrap(resamples=50))
    matrix = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    systems: dict[str, Embedder] = {
        "hash": HashEncoder(dim=64),
        "narrow $x_1$": HashEncoder(dim=2),
        "classical": WordVectors(words=WORDS[:5], matrix=matrix),
    }
    return tuple(
        score_system(name, system, [task], words=WORDS, on_step=lambda _: None)
        for name, system in systems.items()
    )


class Page(HTMLParser):
    """Checks that every tag is closed and collects what would be loaded from elsewhere."""

    VOID = frozenset({"meta", "br", "img", "input", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag in {"script", "link", "img", "iframe"}:
            self.loaded.append(tag)
        self.loaded += [str(value) for name, value in attrs if name in {"src", "srcset"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_later_systems_are_compared_with_the_first_over_what_both_cover() -> None:
    standing = compare_systems(results())
    assert [system.name for system in standing.systems] == ["hash", "narrow $x_1$", "classical"]
    assert [(one.first, one.second) for one in standing.comparisons] == [
        ("hash", "narrow $x_1$"),
        ("hash", "classical"),
    ]
    assert [one.comparison.cases for one in standing.comparisons] == [5, 4]


def test_the_standing_is_plain_json() -> None:
    standing = compare_systems(results())
    read = json.loads(to_json(standing))
    score = read["systems"][2]["scores"][0]
    assert score["coverage"] == 0.8
    assert set(score) == {
        "name",
        "metric",
        "value",
        "low",
        "high",
        "cases",
        "coverage",
        "higher_is_better",
        "note",
        "unit",
    }
    assert score["unit"] == "fraction"
    assert set(read["comparisons"][1]["comparison"]["difference"]) == {
        "value",
        "low",
        "high",
        "p_value",
    }


def test_what_is_done_is_told_and_words_spread_over_known_pairs() -> None:
    told: list[str] = []
    task = Sts(name="sts", sets=(PAIRS,))
    found = score_system("hash", HashEncoder(dim=8), [task], words=WORDS, on_step=told.append)
    assert told == ["hash: sts", "hash: cosines of 6 words"]
    assert found.spread is not None
    assert found.spread.pairs == 15
    assert results()[2].spread.pairs == 10  # type: ignore[union-attr]


def test_an_error_names_the_system() -> None:
    unknown = WordVectors(words=("x",), matrix=np.ones((1, 2), np.float32))
    with pytest.raises(EvaluationError, match="glove: sts: none of the 5 cases"):
        score_system("glove", unknown, [Sts(name="sts", sets=(PAIRS,))], on_step=lambda _: None)


def test_systems_scored_on_different_tasks_are_not_compared() -> None:
    first, second, _ = results()
    with pytest.raises(EvaluationError, match="there are no systems"):
        compare_systems([])
    bare = SystemResult(name="bare", measurements=())
    with pytest.raises(EvaluationError, match="hash and bare were scored on different tasks"):
        compare_systems([first, bare])
    with pytest.raises(EvaluationError, match="bare was not scored on sts"):
        shared_agreement([bare, second], "sts")


def test_agreement_is_over_the_pairs_that_all_know() -> None:
    found = shared_agreement(results(), "<words & co>")
    assert (found.cases, found.coverage) == (4, 0.8)
    assert found.spearman.shape == (3, 3)


def test_the_page_is_whole_escaped_and_needs_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_html(file, results(), compare_systems(results()), agreement_task="<words & co>")
    text = file.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.loaded == []
    assert page.seen.count("svg") == 3  # bars, spreads, agreement
    assert "<words" not in text
    assert "&lt;words &amp; co&gt;" in text
    assert not re.search(r'(?:href|url)\s*[=(]\s*"?https?:', text)


def test_the_page_holds_every_number_it_was_given() -> None:
    found = results()
    standing = compare_systems(found)
    text = html_page(found, standing)
    for system in standing.systems:
        for score in system.scores:
            assert f">{100 * score.value:.1f}<" in text
            assert f"{100 * score.low:.1f} to {100 * score.high:.1f}" in text
    assert "coverage 80.0%" in text
    for one in standing.comparisons:
        assert f"{100 * one.comparison.difference.value:+.1f} (" in text


def test_only_metrics_that_rank_have_a_best() -> None:
    geometry = Geometry(
        name="shape", texts=WORDS, random_pairs=50, bootstrap=Bootstrap(resamples=5)
    )
    ranked = Sts(name="ranked", sets=(PAIRS,), bootstrap=Bootstrap(resamples=5))
    found = [
        score_system(str(dim), HashEncoder(dim=dim), [geometry, ranked], on_step=lambda _: None)
        for dim in (2, 64)
    ]
    shape, _, rest = html_page(found, compare_systems(found)).partition("<h2>ranked</h2>")
    assert "anisotropy" in shape
    assert 'class="best"' not in shape
    assert rest.count('class="best"') == 1


def test_the_same_results_give_the_same_page() -> None:
    found = results()
    standing = compare_systems(found)
    assert html_page(found, standing) == html_page(found, standing)


def test_a_metric_that_one_system_lacks_is_a_dash_and_is_not_compared() -> None:
    first, second, _ = results()
    extra = replace(
        second.measurements[0], score=replace(second.measurements[0].score, metric="one more")
    )
    more = replace(second, measurements=(*second.measurements, extra))
    for order in ([first, more], [more, first]):
        standing = compare_systems(order)
        assert [one.comparison.metric for one in standing.comparisons] == ["cosine Spearman"]
        page = html_page(order, standing)
        row = re.search("<td>one more</td>(.*?)</tr>", page)
        assert row is not None
        assert row[1].count("<td>–</td>") == 1
        assert row[1].startswith("<td>–</td>") == (order[0] is first)
