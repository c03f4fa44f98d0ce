"""What a search may ask for beside its page, on every store."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from decant.embedders import HashEncoder, Role, StoreError, TextError, Vectors
from decant.integrations.qdrant import (
    MMR,
    Boost,
    Collection,
    CollectionSettings,
    Document,
    Equals,
    Field,
    Fusion,
    Group,
    Hit,
    Not,
    Recency,
    Record,
    SearchDefaults,
    SearchMode,
    SearchOptions,
    StartsWith,
    Store,
    Words,
    connect,
)
from decant.integrations.qdrant.stores.point_ids import record_id

NOW = datetime(2026, 1, 31, tzinfo=UTC)
MODES = (SearchMode.DENSE, SearchMode.WORDS, SearchMode.HYBRID)


@pytest.fixture(scope="module")
def notes(shared_store: Store) -> Collection:
    """Return the notes on a store of each engine; they are only read."""
    return made_notes(shared_store)


def made_notes(store: Store) -> Collection:
    """Make sixty records on cats from four sources, many of equal texts, with words."""
    made = Collection.create(
        store, "notes", HashEncoder(16), settings=CollectionSettings(words=Words())
    )
    made.add(
        [
            Record(
                id=f"{number:02}",
                text=f"a cat number {number % 20} " + "sleeps " * (number % 5),
                source=f"dir/{number % 4}.md" if number % 7 else "",
                metadata={
                    "stars": number % 3,
                    "date": (NOW - timedelta(days=number)).date().isoformat(),
                },
            )
            for number in range(60)
        ]
    )
    return made


def ids(hits: Iterable[Hit]) -> list[str]:
    return [hit.id for hit in hits]


class TestThresholds:
    def test_a_threshold_cuts_a_single_ranking(self, notes: Collection) -> None:
        for mode in (SearchMode.DENSE, SearchMode.WORDS):
            whole = notes.search("cat number 3", limit=60, mode=mode)
            least = whole[len(whole) // 2].score
            cut = notes.search(
                "cat number 3",
                limit=60,
                mode=mode,
                options=SearchOptions(score_threshold=least),
            )
            assert {*ids(cut)} == {hit.id for hit in whole if hit.score >= least}

    def test_a_fused_score_takes_none(self, notes: Collection) -> None:
        with pytest.raises(StoreError, match=r"nothing else.*\{'dense': 0.5\}"):
            notes.search("cat", options=SearchOptions(score_threshold=0.5))

    def test_thresholds_of_branches_cut_before_the_fusion(self, notes: Collection) -> None:
        found = notes.search(
            "cat number 3", limit=60, options=SearchOptions(score_threshold={"dense": 2.0})
        )
        assert found
        assert all([branch.name for branch in hit.branches] == ["words"] for hit in found)
        with pytest.raises(StoreError, match="the ranking 'bm25'"):
            SearchOptions(score_threshold={"bm25": 1.0})
        for mode, name in ((None, "sparse"), (SearchMode.DENSE, "words")):
            options = SearchOptions(score_threshold={name: 1.0})
            with pytest.raises(StoreError, match=f"the ranking '{name}'"):
                notes.search("cat", mode=mode, options=options)
        with pytest.raises(StoreError, match="the ranking 'sparse'"):
            notes.search("cat", fusion=Fusion.rrf(weights={"sparse": 2}))

    def test_a_threshold_on_words_makes_words_weigh_no_more(self, notes: Collection) -> None:
        query = "cat number 3 sleeps"
        plain = notes.search(query, limit=60)
        words = [hit.score for hit in notes.search(query, limit=60, mode=SearchMode.WORDS)]
        options = SearchOptions(score_threshold={"words": words[5]})
        cut = notes.search(query, limit=60, options=options)
        scores = {hit.id: hit.score for hit in plain}
        assert all(hit.score <= scores[hit.id] + 1e-9 for hit in cut)


class TestGroups:
    @pytest.mark.parametrize("mode", MODES)
    def test_each_document_has_its_best_hits(self, notes: Collection, mode: SearchMode) -> None:
        whole = notes.search("cat number 3", limit=60, mode=mode)
        options = SearchOptions(group=Group(size=2))
        grouped = notes.search("cat number 3", limit=60, mode=mode, options=options)
        expected: dict[str, list[str]] = {}
        for hit in whole:
            expected.setdefault(hit.source or hit.id, []).append(hit.id)
        assert ids(grouped) == [one for group in expected.values() for one in group[:2]]

    def test_the_limit_and_the_offset_count_groups(self, notes: Collection) -> None:
        options = SearchOptions(group=Group(size=2))
        whole = notes.search("cat", limit=60, options=options)
        pages = [notes.search("cat", limit=2, offset=at, options=options) for at in range(0, 20, 2)]
        assert [hit.id for page in pages for hit in page] == ids(whole)

    def test_a_large_document_cannot_fill_the_page(self, store: Store) -> None:
        docs = Collection.create(store, "docs", HashEncoder(16))
        query = docs.encoder.encode(["a cat"], role=Role.QUERY).dense
        near = np.repeat(query, 700, axis=0)
        docs.add(
            [Record(id=f"big{n}", text=f"chapter {n}", source="big.md") for n in range(700)],
            vectors=near,
        )
        docs.add([Record(id=f"s{n}", text=f"note {n}", source=f"{n}.md") for n in range(3)])
        found = docs.search("a cat", limit=4, options=SearchOptions(group=Group()))
        assert found[0].source == "big.md"
        assert {*ids(found[1:])} == {"s0", "s1", "s2"}

    def test_documents_of_equal_source_and_other_roots_are_two(self, store: Store) -> None:
        docs = Collection.create(store, "docs", HashEncoder(16))
        docs.index([Document(source="a.md", root=root, text="a cat sleeps") for root in ("x", "y")])
        found = docs.search("cat", options=SearchOptions(group=Group()))
        assert {hit.root for hit in found} == {"x", "y"}

    def test_an_entry_groups_and_its_absence_does_not(self, store: Store) -> None:
        notes = made_notes(store)
        notes.add([Record(id=name, text="a cat") for name in ("x", "y")])
        found = notes.search("a cat", limit=60, options=SearchOptions(group=Group(by="stars")))
        assert {"x", "y"} < {*ids(found)}
        assert len(found) == 5


class TestOthers:
    @pytest.mark.parametrize("mode", MODES)
    def test_equal_texts_come_once(self, notes: Collection, mode: SearchMode) -> None:
        whole = notes.search("cat number 3", limit=60, mode=mode)
        found = notes.search(
            "cat number 3", limit=60, mode=mode, options=SearchOptions(distinct=True)
        )
        first: dict[str, str] = {}
        for hit in whole:
            first.setdefault(hit.text, hit.id)
        assert len(first) == 20
        assert ids(found) == [*first.values()]

    @pytest.mark.parametrize("mode", MODES)
    def test_boosts_raise_scores(self, notes: Collection, mode: SearchMode) -> None:
        recent = Recency("date", half_life=timedelta(days=10), weight=1.0, at=NOW)
        options = SearchOptions(boosts=[recent, Boost("stars", weight=0.25)])
        plain = {hit.id: hit for hit in notes.search("cat number 3", limit=60, mode=mode)}
        found = notes.search("cat number 3", limit=60, mode=mode, options=options)
        assert plain.keys() == {*ids(found)}
        for hit in found:
            number = int(hit.id)
            share = 0.5 ** (number / 10) + 0.25 * (number % 3)
            score = plain[hit.id].score
            assert hit.score == pytest.approx(score + abs(score) * share, abs=1e-6)
            assert hit.boost == pytest.approx(abs(score) * share, abs=1e-6)
            assert hit.branches == plain[hit.id].branches
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)

    @pytest.mark.parametrize("mode", MODES)
    def test_hits_can_differ_from_each_other(self, notes: Collection, mode: SearchMode) -> None:
        def search(balance: float, limit: int = 6, offset: int = 0) -> list[Hit]:
            options = SearchOptions(mmr=MMR(balance=balance, candidates=30))
            return notes.search(
                "cat number 3", limit=limit, offset=offset, mode=mode, options=options
            )

        best = notes.search("cat number 3", limit=6, mode=mode)
        assert {hit.score for hit in search(1.0)} == {hit.score for hit in best}
        varied = search(0.0)
        assert varied[0].score == best[0].score
        texts = [{hit.text for hit in hits} for hits in (varied, best)]
        assert len(texts[0]) > len(texts[1])
        assert all(hit.vector is None for hit in varied)
        assert ids(search(0.3, limit=3) + search(0.3, limit=3, offset=3)) == ids(search(0.3))

    def test_exact_and_ef_find_the_same_here(self, notes: Collection) -> None:
        plain = notes.search("cat number 3", limit=9, mode=SearchMode.DENSE)
        for options in (SearchOptions(exact=True), SearchOptions(ef=200)):
            found = notes.search("cat number 3", limit=9, mode=SearchMode.DENSE, options=options)
            assert [hit.score for hit in found] == [hit.score for hit in plain]
            assert notes.search("cat number 3", options=options)

    @pytest.mark.parametrize(
        "mode",
        [
            None,
            SearchMode.WORDS,
            # None is hybrid here, and dense vectors are a branch of it.
            pytest.param(SearchMode.DENSE, marks=pytest.mark.slow),
            pytest.param(SearchMode.HYBRID, marks=pytest.mark.slow),
        ],
    )
    def test_many_are_as_each_alone(self, notes: Collection, mode: SearchMode | None) -> None:
        queries = [f"cat number {n}" for n in range(70)]  # more than one request takes
        for options in (SearchOptions(), SearchOptions(distinct=True, group=Group())):
            many = notes.search_many(queries, limit=4, offset=1, mode=mode, options=options)
            assert len(many) == 70
            for place in (0, 7, 63, 64, 69):
                several = many[place]
                one = notes.search(queries[place], limit=4, offset=1, mode=mode, options=options)
                assert [hit.score for hit in several] == [hit.score for hit in one]
                if mode in (None, SearchMode.HYBRID):  # elsewhere equal scores come in any order
                    assert several == one
        assert notes.search_many([]) == []
        assert asyncio.run(notes.asearch_many(["cat"], limit=2))

    def test_wrong_queries_are_refused_before_anything_is_asked(self, notes: Collection) -> None:
        with pytest.raises(TypeError, match=r"write \[query\]"):
            notes.search_many("cat")
        with pytest.raises(TextError, match="1"):
            notes.search_many(["cat", ""])

    def test_prefixes(self, notes: Collection) -> None:
        inside = StartsWith(Field.SOURCE, "dir/1")
        assert {hit.source for hit in notes.search("cat", where=inside)} == {"dir/1.md"}
        assert notes.count(StartsWith("date", "2026-01")) == 31
        assert notes.count(Not(StartsWith("date", "2026-01"))) == 29
        assert notes.count(StartsWith(Field.SOURCE, "Dir")) == 0
        with pytest.raises(StoreError, match="StartsWith"):
            StartsWith("a", "")
        with pytest.raises(StoreError, match="StartsWith"):
            StartsWith(Field.START, "1")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Group(size=0),
        lambda: Recency("a", half_life=timedelta(), weight=1),
        lambda: Boost("a", weight=float("nan")),
        lambda: Boost("a", weight=10**400),
        lambda: MMR(candidates=0),
        lambda: SearchOptions(ef=0),
        lambda: SearchOptions(ef=9, exact=True),
        lambda: SearchOptions(group=Group(), mmr=MMR()),
        lambda: SearchOptions(score_threshold=float("inf")),
        lambda: Recency("a", half_life=30, weight=1),  # type: ignore[arg-type]
        lambda: Recency("", half_life=timedelta(1), weight=1),
        lambda: Boost('a"b', weight=1),
        lambda: Group(size=10**18),
        lambda: Group(size=1.5),  # type: ignore[arg-type]
        lambda: SearchOptions(group=True),  # type: ignore[arg-type]
        lambda: SearchOptions(mmr=0.5),  # type: ignore[arg-type]
        lambda: SearchOptions(ef=10**23),
        lambda: SearchOptions(score_threshold="0.4"),  # type: ignore[arg-type]
        lambda: SearchOptions(boosts=Boost("a", weight=1)),  # type: ignore[arg-type]
        lambda: Fusion.rrf(weights={"word": 2}),
        lambda: Fusion(depth=10**20),
        lambda: SearchOptions(boosts=["date"]),  # type: ignore[list-item]
    ],
)
def test_impossible_options_are_refused(wrong: Any) -> None:
    with pytest.raises(StoreError):
        wrong()


class Counting(HashEncoder):
    """Counts the calls that embed queries."""

    def __init__(self) -> None:
        super().__init__(16)
        self.calls = 0

    def stream(self, texts: Iterable[str], *, role: Role, **options: Any) -> Iterator[Vectors]:
        self.calls += role is Role.QUERY
        return super().stream(texts, role=role, **options)


def test_many_queries_are_embedded_in_one_call(tmp_path: Any) -> None:
    encoder = Counting()
    with connect(tmp_path) as store:
        docs = Collection.create(store, "docs", encoder)
        docs.add([Record(id="a", text="a cat")])
        assert len(docs.search_many([f"cat {n}" for n in range(150)])) == 150
    assert encoder.calls == 1


class TestEqualScores:
    @pytest.mark.parametrize("mode", [SearchMode.DENSE, SearchMode.WORDS])
    def test_pages_make_up_one_long_page_in_the_order_of_ids(
        self, store: Store, mode: SearchMode
    ) -> None:
        made = Collection.create(
            store, "docs", HashEncoder(16), settings=CollectionSettings(words=Words())
        )
        made.add([Record(id=f"{n}", text=f"a ferry of kind {n % 4}") for n in range(60)])
        whole = made.search("ferry of kind 1", limit=60, mode=mode)
        order = [(-hit.score, record_id(hit.id)) for hit in whole]
        assert order == sorted(order)
        for size in (3, 25):
            pages = [
                made.search("ferry of kind 1", limit=size, offset=at, mode=mode)
                for at in range(0, 60, size)
            ]
            assert [hit for page in pages for hit in page] == whole
        many = made.search_many(["ferry of kind 1", "kind 2"], limit=7, offset=7, mode=mode)
        assert many[0] == whole[7:14]

    def test_variety_goes_on_behind_its_candidates(self, notes: Collection) -> None:
        options = SearchOptions(mmr=MMR(candidates=8))
        whole = notes.search("cat number 3", limit=60, options=options)
        assert len({*ids(whole)}) == 60
        pages = [
            notes.search("cat number 3", limit=5, offset=at, options=options)
            for at in range(0, 60, 5)
        ]
        assert [hit.id for page in pages for hit in page] == ids(whole)

    @pytest.mark.parametrize("mode", MODES)
    def test_nothing_that_is_found_is_no_error(self, notes: Collection, mode: SearchMode) -> None:
        for options in (
            SearchOptions(mmr=MMR()),
            SearchOptions(group=Group()),
            SearchOptions(distinct=True),
        ):
            found = notes.search("zzz", mode=mode, where=Equals("n", 1), options=options)
            assert found == []


def test_options_and_fusions_are_values() -> None:
    values: list[object] = [
        SearchOptions(score_threshold={"dense": 0.5}, boosts=[Boost("n", weight=1)]),
        Fusion.rrf(weights={"words": 2}),
        SearchDefaults(mode=SearchMode.HYBRID, fusion=Fusion.rrf(weights={"words": 2})),
    ]
    for value in values:
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value
        assert isinstance(hash(value), int)


def test_a_group_of_a_field_of_decants_own(notes: Collection) -> None:
    found = notes.search("cat", limit=60, options=SearchOptions(group=Group(by=Field.SOURCE)))
    assert len({hit.source for hit in found if hit.source}) == 4
    assert len([hit for hit in found if hit.source]) == 4
    with pytest.raises(StoreError, match="own field"):
        Equals(Field.SOURCE, "a")


def test_a_query_lacks_only_what_it_was_not_given(store: Store) -> None:
    made = Collection.create(
        store, "docs", HashEncoder(16, sparse=True), settings=CollectionSettings(words=Words())
    )
    made.add([Record(id="a", text="a ferry"), Record(id="b", text="a gate")])
    dense = made.encoder.encode(["ferry"], role=Role.QUERY).dense[0]
    (best, _) = made.search_vector(dense, text="ferry")
    assert best.id == "a"
    assert {branch.name for branch in best.branches} == {"dense", "words"}
