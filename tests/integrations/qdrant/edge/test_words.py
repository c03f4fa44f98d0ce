"""Edge's BM25, against the formula written out, and after points are deleted."""

from __future__ import annotations

import pytest

from bm25_formula import QUERIES, bm25, fill, made_texts, searched
from decant.integrations.qdrant import Record, Store


@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_those_of_the_formula(edge: Store, query: str) -> None:
    texts = made_texts(300)
    found = searched(fill(edge, "docs", texts), query)
    assert found == pytest.approx(bm25(texts, query), abs=1e-4)


@pytest.mark.parametrize("optimized", [False, True])
def test_deleted_texts_leave_no_trace_in_the_scores(edge: Store, optimized: bool) -> None:
    texts = made_texts(300)
    docs = fill(edge, "docs", texts)
    gone = list(texts)[::2]
    docs.delete(gone)
    if optimized:
        docs.optimize()
    left = {key: text for key, text in texts.items() if key not in gone}
    fresh = fill(edge, "fresh", left)
    for query in QUERIES:
        found = searched(docs, query)
        assert found == pytest.approx(searched(fresh, query), abs=1e-5)
        assert found == pytest.approx(bm25(left, query), abs=1e-4)


def test_a_replaced_text_is_found_by_its_new_words_alone(edge: Store) -> None:
    texts = made_texts(40)
    docs = fill(edge, "docs", texts)
    docs.add([Record(id="t0", text="zuma zuma bano")])
    texts["t0"] = "zuma zuma bano"
    for query in ("zuma", *QUERIES):
        assert searched(docs, query) == pytest.approx(bm25(texts, query), abs=1e-4)


def test_words_are_compared_in_lower_case(edge: Store) -> None:
    docs = fill(edge, "docs", {"a": "Bano CEDI", "b": "bano, cedi!", "c": "doru"})
    found = searched(docs, "bano Cedi")
    assert found.keys() == {"a", "b"}
    assert found["a"] == pytest.approx(found["b"])


def test_a_query_without_any_word_finds_nothing(edge: Store) -> None:
    docs = fill(edge, "docs", {"a": "bano", "b": "cedi"})
    assert searched(docs, "?!") == {}
    assert searched(docs, "unheard") == {}
