"""Metrics of one ranking: against ir-measures, which are trec_eval's own."""

from __future__ import annotations

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import R, nDCG

from decant.integrations.qdrant import RankingMeasure, RankingMetric, StoreInputError

IDS = [f"d{number}" for number in range(12)]


@given(
    st.lists(st.sampled_from(IDS), unique=True),
    st.dictionaries(st.sampled_from(IDS), st.integers(1, 3), min_size=1),
    st.integers(1, 12),
)
def test_both_metrics_are_those_of_trec_eval(
    ranking: list[str], grades: dict[str, int], k: int
) -> None:
    run = {"q": {item: float(-place) for place, item in enumerate(ranking)}}
    found = ir_measures.calc_aggregate([nDCG @ k, R @ k], {"q": grades}, run)
    ndcg = RankingMetric(measure=RankingMeasure.NDCG, k=k)
    recall = RankingMetric(measure=RankingMeasure.RECALL, k=k)
    expected = (found[nDCG @ k], found[R @ k]) if ranking else (0.0, 0.0)
    assert (ndcg.score(ranking, grades), recall.score(ranking, grades)) == pytest.approx(expected)


def test_a_metric_is_read_from_its_name() -> None:
    assert RankingMetric.parse("nDCG@10") == RankingMetric()
    assert str(RankingMetric.parse("recall@100")) == "recall@100"


@pytest.mark.parametrize("name", ["map", "ndcg", "ndcg@0", "recall@101", "ndcg@x", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(StoreInputError):
        RankingMetric.parse(name)
