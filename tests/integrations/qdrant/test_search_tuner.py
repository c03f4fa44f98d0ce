"""Choosing how a collection is searched: what wins is chosen, and chance is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from decant.embedders import HashEncoder, Role, Vectors
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    LabelledQuery,
    RankingMetric,
    Record,
    SearchDefaults,
    SearchMode,
    Store,
    StoreInputError,
    Words,
    tune_search,
)

COUNT = 30
WORDS = CollectionSettings(words=Words(language=None))


class Alike(HashEncoder):
    """Gives passages unrelated vectors, and every query that of the first; counts its texts."""

    def __init__(self) -> None:
        super().__init__(16)
        self.queries = 0

    def stream(self, texts: Iterable[str], *, role: Role, **options: Any) -> Iterator[Vectors]:
        listed = list(texts)
        if role == Role.QUERY:
            self.queries += len(listed)
            listed = ["code0 lies there"] * len(listed)
        yield from super().stream(listed, role=role, **options)


def records(count: int = COUNT) -> list[Record]:
    return [
        Record(id=f"id{number}", text=f"code{number} lies there", source=f"file{number % 10}")
        for number in range(count)
    ]


def queries(count: int = COUNT) -> list[LabelledQuery]:
    return [
        LabelledQuery(text=f"code{number}", relevant={f"id{number}": 1}) for number in range(count)
    ]


@pytest.fixture
def coded(store: Store) -> Collection:
    """Return a collection whose words tell passages apart, which vectors do not."""
    made = Collection.create(store, "docs", Alike(), settings=WORDS)
    made.add(records())
    return made


def test_words_that_win_are_chosen_with_a_gain_above_zero(coded: Collection) -> None:
    by_vectors = SearchDefaults(mode=SearchMode.DENSE)
    coded.set_search_defaults(by_vectors)
    tuning = tune_search(coded, queries())
    scores = {str(one.defaults): one.score for one in tuning.candidates}
    assert tuning.present == by_vectors
    assert tuning.is_better
    assert tuning.gain.low > 0
    assert scores["words"] == tuning.best.score == 1
    assert scores["dense"] < 0.5
    assert tuning.chosen == SearchDefaults(mode=SearchMode.WORDS)
    assert "words is better than dense: +" in str(tuning)
    assert coded.search_defaults == by_vectors  # nothing is written
    coded.set_search_defaults(tuning.chosen)
    again = tune_search(coded, queries())
    assert not again.is_better
    assert again.present == again.chosen == tuning.chosen
    assert str(again) == "words, the present default, is the best; nothing is changed"


def test_each_query_is_embedded_once(coded: Collection) -> None:
    assert isinstance(coded.encoder, Alike)
    before = coded.encoder.queries
    tune_search(coded, queries())
    assert coded.encoder.queries - before == COUNT


def test_scores_are_those_of_the_collections_own_searches(coded: Collection) -> None:
    metric = RankingMetric.parse("recall@3")
    tuning = tune_search(coded, queries(), metric=metric)
    for one in tuning.candidates:
        if one.defaults.mode is SearchMode.DENSE:
            continue  # all have one vector, and of more equal ones than 100 some are ranked
        found = [
            coded.search(query.text, limit=3, mode=one.defaults.mode, fusion=one.defaults.fusion)
            for query in queries()
        ]
        hits = [
            any(hit.id in query.relevant for hit in page)
            for query, page in zip(queries(), found, strict=True)
        ]
        assert one.score == pytest.approx(sum(hits) / len(hits)), str(one.defaults)


def test_where_nothing_differs_the_default_stays(store: Store, encoder: HashEncoder) -> None:
    """Every query is answered by the only passage, so that every candidate is perfect."""
    made = Collection.create(store, "docs", encoder, settings=WORDS)
    made.add([Record(id="all", text="code0 code1 code2")])
    asked = [LabelledQuery(text=f"code{n % 3}", relevant={"all": 1}) for n in range(COUNT)]
    tuning = tune_search(made, asked)
    assert {one.score for one in tuning.candidates} == {1.0}
    assert (tuning.gain.low, tuning.gain.value, tuning.gain.high) == (0, 0, 0)
    assert not tuning.is_better
    assert tuning.chosen == tuning.present


def test_a_gain_that_may_be_chance_changes_nothing(coded: Collection) -> None:
    """One query is better served by words, and all others by every search."""
    first = LabelledQuery(text="code0", relevant={"id0": 1})
    asked = [first] * (COUNT - 1) + [LabelledQuery(text="code7", relevant={"id7": 1})]
    tuning = tune_search(coded, asked, metric=RankingMetric.parse("recall@1"))
    assert not tuning.is_better
    assert tuning.chosen == tuning.present
    assert str(tuning).endswith("nothing is changed")


def test_labels_that_are_not_there_are_reported(coded: Collection) -> None:
    lost = [LabelledQuery(text="code3", relevant={"gone": 1, "away": 1})]
    half = [LabelledQuery(text="code4", relevant={"id4": 1, "gone": 1})]
    tuning = tune_search(coded, [*queries(), *lost, *half])
    assert tuning.queries == COUNT + 1
    assert tuning.left_out == 1
    assert tuning.unknown == ("away", "gone")


def test_fewer_than_twenty_answered_queries_are_refused(coded: Collection) -> None:
    asked = [*queries(19), LabelledQuery(text="code3", relevant={"gone": 1})]
    with pytest.raises(StoreInputError, match=r"^19 of 20 queries .*at least 20 .*50 or more"):
        tune_search(coded, asked)
    assert tune_search(coded, queries(20)).queries == 20


def test_a_collection_with_one_ranking_has_nothing_to_choose(
    store: Store, encoder: HashEncoder
) -> None:
    made = Collection.create(store, "docs", encoder)
    made.add(records())
    with pytest.raises(StoreInputError, match="nothing to choose"):
        tune_search(made, queries())


def test_the_best_passage_of_a_labelled_source_counts(store: Store) -> None:
    """Three passages of each source: whichever is found first, the source is found once."""
    made = Collection.create(store, "docs", Alike(), settings=WORDS)
    made.add(records())
    asked = [
        LabelledQuery(text=f"code{number}", relevant={f"file{number % 10}": 1})
        for number in range(COUNT)
    ]
    tuning = tune_search(made, asked, metric=RankingMetric.parse("recall@10"))
    scores = {str(one.defaults): one.score for one in tuning.candidates}
    assert scores["dense"] == 1.0  # all thirty passages are of ten sources
    assert tune_search(made, queries(), metric=RankingMetric.parse("recall@10")).candidates[
        1
    ].score == pytest.approx(1 / 3)


def test_documents_are_labelled_by_their_sources(store: Store) -> None:
    made = Collection.create(store, "docs", Alike(), settings=WORDS)
    made.index(
        Document(source=f"{number}.md", text=f"code{number} lies there", root="notes")
        for number in range(COUNT)
    )
    asked = [
        LabelledQuery(text=f"code{number}", relevant={f"{number}.md": 1}) for number in range(COUNT)
    ]
    made.set_search_defaults(SearchDefaults(mode=SearchMode.DENSE))
    tuning = tune_search(made, asked)
    assert tuning.unknown == ()
    assert tuning.chosen == SearchDefaults(mode=SearchMode.WORDS)


def test_three_rankings_are_weighed_together(store: Store) -> None:
    encoder = HashEncoder(16, sparse=True)
    made = Collection.create(store, "docs", encoder, settings=WORDS)
    made.add(records())
    tried = [one.defaults for one in tune_search(made, queries()).candidates]
    modes = [one.mode.value for one in tried]
    assert {"dense", "sparse", "words", "hybrid"} == {*modes}
    weights = [dict(one.fusion.weights) for one in tried if one.fusion and one.fusion.weights]
    assert {"dense": 0.5, "sparse": 0.25, "words": 0.25} in weights
    assert all(sum(found.values()) == pytest.approx(1) for found in weights)
    assert _distinct(tried)


def _distinct(tried: Sequence[SearchDefaults]) -> bool:
    return len({str(one) for one in tried}) == len(tried)
