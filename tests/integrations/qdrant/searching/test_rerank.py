"""Searches with a reranker: against a loop over a search without one, and what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decant.embedders import HashEncoder, HashReranker, RecipeError, Role, StoreError, TextError
from decant.integrations.qdrant import (
    MMR,
    Boost,
    Collection,
    CollectionSettings,
    Document,
    Equals,
    Group,
    Hit,
    Record,
    Rerank,
    SearchMode,
    SearchOptions,
    Store,
    Tenants,
    Words,
    connect,
)
from recorded_spans import parent_of, recorded_spans

QUERY = "a cat on the red mat"
WORDS = ["a", "cat", "dog", "on", "the", "red", "blue", "mat", "sea"]
RERANKER = HashReranker()


def _text(number: int) -> str:
    drawn = np.random.default_rng(number).choice(WORDS, 5)
    return " ".join(drawn)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with connect(tmp_path_factory.mktemp("rerank") / "index") as store:
        words = CollectionSettings(words=Words(language=None))
        made = Collection.create(store, "docs", HashEncoder(8), settings=words)
        made.add(
            [
                Record(
                    id=f"{number:02}",
                    text=_text(number),
                    metadata={"kind": number % 4, "stars": number % 3},
                )
                for number in range(40)
            ]
        )
        yield made


class Spy(HashReranker):
    """Remembers what it scored, and in which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[str, str]] = []
        self.threads: set[int] = set()

    def score(self, query: str, texts: Iterable[str], **options: Any) -> NDArray[np.float32]:
        held = list(texts)
        self.pairs += [(query, text) for text in held]
        self.threads.add(threading.get_ident())
        return super().score(query, held, **options)


class Faulty(HashReranker):
    """Returns what it is told to."""

    def __init__(self, scores: Sequence[float]) -> None:
        super().__init__()
        self.scores = scores

    def score(self, query: str, texts: Iterable[str], **options: Any) -> NDArray[np.float32]:
        return np.array(self.scores, np.float32)


def in_loops(found: Sequence[Hit], candidates: int) -> list[str]:
    """Return the ids of hits, block by block in the order of their scores."""
    ids: list[str] = []
    for start in range(0, len(found), candidates):
        block = found[start : start + candidates]
        scores = [float(RERANKER.score(QUERY, [hit.text])[0]) for hit in block]
        order = sorted(range(len(block)), key=lambda place: (-scores[place], place))
        ids += [block[place].id for place in order]
    return ids


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize("mode", [SearchMode.DENSE, SearchMode.WORDS, SearchMode.HYBRID])
def test_the_candidates_come_in_the_order_of_their_scores(
    docs: Collection, mode: SearchMode
) -> None:
    before = docs.search(QUERY, limit=20, mode=mode)
    hits = docs.search(QUERY, limit=19, mode=mode, rerank=RERANKER, candidates=20)
    assert ids(hits) == in_loops(before, 20)[:19]
    assert ids(hits) != ids(before)[:19]


def test_a_hit_has_the_rerankers_score_and_keeps_its_other_branches(docs: Collection) -> None:
    before = {hit.id: hit for hit in docs.search(QUERY, limit=20)}
    hits = docs.search(QUERY, limit=20, rerank=RERANKER, candidates=20)
    for rank, hit in enumerate(hits, 1):
        *others, last = hit.branches
        assert (last.name, last.rank, last.score) == ("rerank", rank, hit.score)
        assert hit.score == float(RERANKER.score(QUERY, [hit.text])[0])
        assert tuple(others) == before[hit.id].branches


@settings(max_examples=10)
@given(
    page=st.integers(1, 17),
    candidates=st.integers(1, 45),
    mode=st.sampled_from([SearchMode.DENSE, SearchMode.HYBRID]),
)
def test_pages_make_up_one_long_page(
    docs: Collection, page: int, candidates: int, mode: SearchMode
) -> None:
    whole = docs.search(QUERY, limit=100, mode=mode, rerank=RERANKER, candidates=candidates)
    pages = [
        docs.search(
            QUERY, limit=page, offset=start, mode=mode, rerank=RERANKER, candidates=candidates
        )
        for start in range(0, 40 + page, page)
    ]
    assert [hit for part in pages for hit in part] == whole
    assert ids(whole) == in_loops(docs.search(QUERY, limit=100, mode=mode), candidates)


def test_only_the_candidates_of_the_page_are_scored(docs: Collection) -> None:
    spy = Spy()
    docs.search(QUERY, limit=3, offset=8, rerank=spy, candidates=8)
    assert len(spy.pairs) == 8
    spy.pairs.clear()
    docs.search(QUERY, limit=3, rerank=spy)
    assert len(spy.pairs) == 40, "there are fewer hits than the 50 that are scored by default"


def test_a_filter_and_boosts_choose_the_candidates(docs: Collection) -> None:
    where = Equals("kind", 1)
    hits = docs.search(QUERY, limit=50, where=where, rerank=RERANKER)
    assert hits
    assert all(hit.metadata["kind"] == 1 for hit in hits)
    options = SearchOptions(boosts=[Boost("stars", weight=5.0)])
    before = docs.search(QUERY, limit=10, options=options)
    hits = docs.search(QUERY, limit=10, options=options, rerank=RERANKER, candidates=10)
    assert ids(hits) == in_loops(before, 10)
    assert {hit.id: hit.boost for hit in hits} == {hit.id: hit.boost for hit in before}
    assert any(hit.boost for hit in hits)


def test_groups_come_in_the_order_of_their_best_scores(docs: Collection) -> None:
    options = SearchOptions(group=Group(by="kind", size=2))
    before = docs.search(QUERY, limit=4, options=options)
    assert len(before) == 8
    spy = Spy()
    hits = docs.search(QUERY, limit=3, options=options, rerank=spy, candidates=4)
    assert len(spy.pairs) == 8
    found = [[*hits[at : at + 2]] for at in range(0, 6, 2)]
    best = [group[0].score for group in found]
    assert best == sorted(best, reverse=True)
    for group in found:
        assert group[0].metadata["kind"] == group[1].metadata["kind"]
        assert group[0].score >= group[1].score
    left_out = {hit.id for hit in before} - {hit.id for hit in hits}
    assert max(float(RERANKER.score(QUERY, [_text(int(one))])[0]) for one in left_out) <= best[-1]
    pages = [
        docs.search(QUERY, limit=1, offset=at, options=options, rerank=RERANKER, candidates=3)
        for at in range(5)
    ]
    whole = docs.search(QUERY, limit=5, options=options, rerank=RERANKER, candidates=3)
    assert [hit for page in pages for hit in page] == whole


def test_a_threshold_on_the_reranker_ends_the_search_with_its_candidates(docs: Collection) -> None:
    options = SearchOptions(score_threshold={"rerank": 0.4})
    everything = docs.search(QUERY, limit=20, rerank=RERANKER, candidates=20)
    wanted = [hit for hit in everything if hit.score >= 0.4]
    assert 0 < len(wanted) < 20
    spy = Spy()
    found = docs.search(QUERY, limit=100, options=options, rerank=spy, candidates=20)
    assert found == wanted
    assert len(spy.pairs) == 20
    page = docs.search(QUERY, limit=2, offset=1, options=options, rerank=spy, candidates=20)
    assert page == wanted[1:3]


def test_a_threshold_on_another_ranking_chooses_the_candidates(docs: Collection) -> None:
    options = SearchOptions(score_threshold={"dense": 0.5})
    before = docs.search(QUERY, limit=40, mode=SearchMode.DENSE, options=options)
    hits = docs.search(QUERY, limit=40, mode=SearchMode.DENSE, options=options, rerank=RERANKER)
    assert 0 < len(hits) < 40
    assert {*ids(hits)} == {*ids(before)}


def test_many_searches_give_what_each_gives(docs: Collection) -> None:
    queries = [QUERY, "the blue sea", "nothing of the kind"]
    apart = [docs.search(one, limit=4, rerank=RERANKER, candidates=9) for one in queries]
    assert docs.search_many(queries, limit=4, rerank=RERANKER, candidates=9) == apart
    assert docs.search_many([], rerank=RERANKER) == []


def test_a_vector_is_reranked_by_its_text(docs: Collection) -> None:
    vector = docs.encoder.encode([QUERY], role=Role.QUERY)
    hits = docs.search_vector(vector, text=QUERY, limit=4, rerank=RERANKER)
    assert hits == docs.search(QUERY, limit=4, rerank=RERANKER)
    with pytest.raises(StoreError, match="a reranker reads the query's text"):
        docs.search_vector(vector, rerank=RERANKER)


def test_no_candidates_need_no_reranker(docs: Collection) -> None:
    assert docs.search(QUERY, where=Equals("kind", 99), rerank=Faulty([1.0])) == []
    assert docs.search(QUERY, offset=60, rerank=RERANKER) == []


def test_coroutines_score_in_a_thread(server: Store, edge: Store) -> None:
    for store in (server, edge):
        made = Collection.create(store, "docs", HashEncoder(8))
        made.add([Record(id=str(number), text=_text(number)) for number in range(9)])
        spy = Spy()
        wanted = made.search(QUERY, limit=4, rerank=RERANKER, candidates=6)
        assert asyncio.run(made.asearch(QUERY, limit=4, rerank=spy, candidates=6)) == wanted
        many = asyncio.run(made.asearch_many([QUERY], limit=4, rerank=spy, candidates=6))
        assert many == [wanted]
        vector = made.encoder.encode([QUERY], role=Role.QUERY)
        found = made.asearch_vector(vector, text=QUERY, limit=4, rerank=spy, candidates=6)
        assert asyncio.run(found) == wanted
        assert threading.get_ident() not in spy.threads
        assert len(spy.pairs) == 18


def test_every_store_gives_the_same_order(collection: Collection) -> None:
    collection.add([Record(id=f"{number:02}", text=_text(number)) for number in range(12)])
    before = collection.search(QUERY, limit=12)
    hits = collection.search(QUERY, limit=5, offset=2, rerank=RERANKER, candidates=8)
    assert ids(hits) == in_loops(before, 8)[2:7]


def test_a_store_that_is_only_read_is_reranked(docs: Collection, tmp_path: Path) -> None:
    with connect(tmp_path / "index") as store:
        made = Collection.create(store, "docs", docs.encoder)
        made.add([Record(id=str(number), text=_text(number)) for number in range(8)])
        wanted = made.search(QUERY, limit=3, rerank=RERANKER)
    with connect(tmp_path / "index", read_only=True) as store:
        read = Collection.open(store, "docs", docs.encoder)
        assert read.search(QUERY, limit=3, rerank=RERANKER) == wanted


def test_a_tenant_is_reranked_alone(edge: Store) -> None:
    tenants = CollectionSettings(tenants=Tenants())
    made = Collection.create(edge, "docs", HashEncoder(8), settings=tenants)
    for name in ("one", "other"):
        made.tenant(name).add([Record(id=f"{name} {at}", text=_text(at)) for at in range(6)])
    spy = Spy()
    hits = made.tenant("one").search(QUERY, rerank=spy)
    assert len(hits) == len(spy.pairs) == 6
    assert {hit.id[:4] for hit in hits} == {"one "}


def test_chunks_of_documents_are_grouped_and_reranked(edge: Store) -> None:
    made = Collection.create(edge, "docs", HashEncoder(8))
    texts = {
        f"{name}.txt": " ".join(map(_text, range(at, at + 200))) for at, name in enumerate("ab")
    }
    made.index([Document(source=source, text=text) for source, text in texts.items()])
    hits = made.search(QUERY, options=SearchOptions(group=Group()), rerank=RERANKER)
    assert {hit.source for hit in hits} == {*texts}
    assert hits[0].score >= hits[1].score


def test_a_search_has_a_span_of_its_reranker_without_texts(docs: Collection) -> None:
    with recorded_spans() as spans:
        docs.search_many([QUERY, "sea"], limit=2, rerank=RERANKER, candidates=7)
        found = spans.one("decant.rerank")
        search = spans.one("decant.search")
        shown = spans.text()
    assert dict(found.attributes) == {
        "decant.model": "hash",
        "decant.queries": 2,
        "decant.passages": 14,
        "decant.candidates": 7,
    }
    assert parent_of(found) == search.context.span_id
    assert search.attributes["decant.reranked"] is True
    assert QUERY not in shown
    assert _text(0) not in shown


@pytest.mark.parametrize("wrong", ["bundle", HashEncoder(4), 3])
def test_something_else_than_a_reranker_is_refused(docs: Collection, wrong: Any) -> None:
    with pytest.raises(StoreError, match=r"rerank takes a reranker, got .*load_reranker"):
        docs.search(QUERY, rerank=wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": 5}, "give rerank=, too"),
        ({"rerank": RERANKER, "candidates": 0}, "candidates is a whole number from 1"),
        (
            {"rerank": RERANKER, "options": SearchOptions(rerank=Rerank(RERANKER))},
            "as rerank= and in options",
        ),
        ({"rerank": RERANKER, "options": SearchOptions(mmr=MMR())}, "mmr and rerank both order"),
        (
            {"rerank": RERANKER, "options": SearchOptions(score_threshold=0.5)},
            r"needs the name of one, such as \{'rerank': 0.5\}",
        ),
        ({"options": SearchOptions(score_threshold={"rerank": 0.5})}, "has no reranker"),
        (
            {"rerank": RERANKER, "options": SearchOptions(score_threshold={"sparse": 0.5})},
            "this search has dense, words",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    docs: Collection, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        docs.search(QUERY, **arguments)


@pytest.mark.parametrize("options", [{"candidates": 2.5}, {"candidates": True}, {"instruction": 3}])
def test_impossible_settings_of_a_reranker_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(StoreError):
        Rerank(RERANKER, **options)


def test_what_the_reranker_raises_reaches_the_caller(docs: Collection) -> None:
    with pytest.raises(RecipeError, match="takes no instruction"):
        docs.search(QUERY, options=SearchOptions(rerank=Rerank(RERANKER, instruction="Find cats")))
    with pytest.raises(TextError, match="empty"):
        docs.search("", rerank=RERANKER)


@pytest.mark.parametrize("scores", [[1.0], [float("nan")] * 5, [float("inf")] * 5])
def test_scores_that_are_none_are_refused(docs: Collection, scores: list[float]) -> None:
    with pytest.raises(StoreError, match="one finite number for each of 5 passages"):
        docs.search(QUERY, limit=2, rerank=Faulty(scores), candidates=5)


def test_a_hit_without_a_text_is_named(docs: Collection, edge: Store) -> None:
    made = Collection.create(edge, "docs", docs.encoder)
    vectors = docs.encoder.encode(["a cat"], role=Role.PASSAGE)
    made.add([Record(id="blank", text="")], vectors=vectors)
    with pytest.raises(StoreError, match="the hit 'blank' has no text for the reranker"):
        made.search(QUERY, rerank=RERANKER)
