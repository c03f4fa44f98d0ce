"""Collections are made and opened, each for one recipe; the same on both engines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from decant.embedders import (
    CollectionMismatch,
    HashEncoder,
    Prompt,
    StoreError,
)
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    PayloadIndex,
    Record,
    Store,
)


class TestOpening:
    def test_an_open_collection_holds_what_was_added_before(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        Collection.create(store, "docs", encoder).add([Record(id="1", text="one")])
        again = Collection.open(store, "docs", HashEncoder(16))
        assert again.count() == 1
        assert (again.name, again.store) == ("docs", store)

    def test_another_recipe_is_refused_and_both_are_named(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        Collection.create(store, "docs", encoder)
        other = HashEncoder(16, query_prompt=Prompt(prefix="query: "))
        with pytest.raises(CollectionMismatch) as caught:
            Collection.open(store, "docs", other)
        said = str(caught.value)
        assert encoder.recipe.digest() in said
        assert other.recipe.digest() in said
        assert "query_prompt: '{text}' there, 'query: {text}' here" in said
        assert "passage" not in said.partition("they differ in")[2].partition(". Open")[0]

    def test_an_absent_collection_is_an_error_that_names_those_that_are(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        with pytest.raises(StoreError, match="it holds no collection yet"):
            Collection.open(store, "docs", encoder)
        Collection.create(store, "one", encoder)
        Collection.create(store, "two", encoder)
        with pytest.raises(StoreError, match="it holds 'one', 'two'"):
            Collection.open(store, "docs", encoder)

    def test_a_collection_is_not_made_twice(self, store: Store, encoder: HashEncoder) -> None:
        Collection.create(store, "docs", encoder)
        with pytest.raises(StoreError, match=r"open it with Collection\.open"):
            Collection.create(store, "docs", encoder)

    def test_opening_or_making_does_whichever_is_needed(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        Collection.open_or_create(store, "docs", encoder).add([Record(text="one")])
        assert Collection.open_or_create(store, "docs", encoder).count() == 1
        with pytest.raises(CollectionMismatch):
            Collection.open_or_create(store, "docs", HashEncoder(8))

    def test_many_may_open_or_make_at_the_same_time(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        def work(number: int) -> None:
            collection = Collection.open_or_create(store, "docs", encoder)
            collection.add([Record(id=str(number), text="same")])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert Collection.open(store, "docs", encoder).count() == 4

    def test_info_says_what_it_is_and_holds(self, store: Store, encoder: HashEncoder) -> None:
        settings = CollectionSettings(indexed=(PayloadIndex(key="year"),), hnsw_m=8)
        collection = Collection.create(store, "docs", encoder, settings=settings)
        collection.add([Record(text="one")])
        collection.index([Document(source="a", text="two"), Document(source="b", text="")])
        info = collection.info()
        assert (info.name, info.dim, info.passages, info.documents) == ("docs", 16, 2, 2)
        assert info.digest == encoder.recipe.digest()
        assert (info.engine, info.place) == (store.engine, store.place)

    @pytest.mark.parametrize(("m", "ef"), [(-1, 100), (16, 3)])
    def test_settings_out_of_range_are_refused(self, m: int, ef: int) -> None:
        with pytest.raises(StoreError, match="at least"):
            CollectionSettings(hnsw_m=m, hnsw_ef_construct=ef)
