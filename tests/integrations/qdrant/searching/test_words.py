"""Words next to vectors, for any encoder: on every store, through the collection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, Role, StoreError, TextError
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    Equals,
    FieldType,
    Fusion,
    PayloadIndex,
    Record,
    SearchMode,
    Store,
    Words,
    connect,
)
from decant.integrations.qdrant.server.words.remote_words import RemoteWords
from memory_folder import memory_folder
from qdrant_double import STRICT, serve

WORDS = CollectionSettings(words=Words(), indexed=(PayloadIndex(key="n", type=FieldType.INTEGER),))
ENGINES = ["edge", "local", "server", "server-1.20", "strict", "strict-1.20", "grpc-1.20"]
TEXTS = {
    "code": "the parser stopped with error E1234",
    "cats": "cats and dogs sleep",
    "cat": "a cat marker",
    "sea": "the ships wait in the harbour for the tide",
    "ship": "a ship is ready",
}


@pytest.fixture(scope="module", params=ENGINES)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Return a store of each engine, and of servers by version and strict mode, in turn."""
    engine, _, version = request.param.partition("-")
    if engine == "edge":
        folder = tmp_path_factory.mktemp("words")
        with memory_folder(folder) as place, connect(place / "index") as opened:
            yield opened
        return
    if engine == "local":
        client = QdrantClient(":memory:")
        with connect(client) as opened:
            yield opened
        client.close()
        return
    limits = STRICT if engine == "strict" else None
    number = f"{version or '1.19'}.0"
    with serve(limits, version=number, grpc=engine == "grpc") as served:
        yield served


def made(store: Store, name: str) -> Collection:
    """Return a new collection of dense vectors and words."""
    collection = Collection.create(store, name, HashEncoder(16), settings=WORDS)
    collection.add(
        [
            Record(id=name, text=text, metadata={"n": n})
            for n, (name, text) in enumerate(TEXTS.items())
        ]
    )
    return collection


@pytest.fixture(scope="module")
def docs(store: Store) -> Collection:
    """Return a collection for tests that only read it."""
    return made(store, "docs")


@pytest.fixture
def name(store: Store) -> Iterator[str]:
    """Return the name of a collection that is deleted after the test."""
    yield "own"
    store.drop("own")


@pytest.fixture
def own(store: Store, name: str) -> Collection:
    """Return a collection for a test that writes to it."""
    return made(store, name)


def found(docs: Collection, query: str, mode: SearchMode = SearchMode.WORDS) -> set[str]:
    """Return the ids that a query finds."""
    return {hit.id for hit in docs.search(query, mode=mode)}


class TestWords:
    def test_passages_that_share_a_word_are_found(self, docs: Collection) -> None:
        assert found(docs, "E1234?") == {"code"}
        assert found(docs, "CAT") == {"cats", "cat"}, "stems, in any case"
        assert found(docs, "shipping") == {"sea", "ship"}

    def test_stop_words_and_unknown_words_find_nothing(self, docs: Collection) -> None:
        assert found(docs, "the") == set()
        assert found(docs, "zebra") == set()
        assert docs.search("the", mode=SearchMode.HYBRID), "the vectors still find something"

    def test_a_rare_word_weighs_more(self, docs: Collection) -> None:
        hits = docs.search("cat e1234", mode=SearchMode.WORDS)
        assert hits[0].id == "code"
        assert hits[0].score > hits[1].score > 0

    def test_conditions_hold(self, docs: Collection) -> None:
        hits = docs.search("cat", mode=SearchMode.WORDS, where=Equals("n", 2))
        assert [hit.id for hit in hits] == ["cat"]

    def test_documents_are_found_and_their_markers_are_not(self, own: Collection) -> None:
        own.index([Document(source="cat.txt", text="a tiger is a large cat")])
        assert {hit.source for hit in own.search("tiger", mode=SearchMode.WORDS)} == {"cat.txt"}
        own.delete_source("cat.txt")
        assert found(own, "tiger") == set()

    def test_changing_a_text_changes_its_words(self, own: Collection) -> None:
        own.add([Record(id="cat", text="a lion")])
        assert found(own, "cat") == {"cats"}
        assert found(own, "lions") == {"cat"}

    def test_another_handle_writes_and_searches_alike(self, own: Collection) -> None:
        again = Collection.open(own.store, "own", HashEncoder(16))
        again.add([Record(id="new", text="zebras graze")])
        assert found(own, "zebra") == found(again, "zebra") == {"new"}

    def test_an_empty_query_is_refused(self, docs: Collection) -> None:
        for mode in (SearchMode.WORDS, SearchMode.HYBRID):
            with pytest.raises(TextError):
                docs.search("", mode=mode)

    def test_words_of_no_language_stay_as_they_are(self, store: Store, name: str) -> None:
        settings = CollectionSettings(words=Words(language=None))
        docs = Collection.create(store, name, HashEncoder(16), settings=settings)
        docs.add([Record(id=name, text=text) for name, text in TEXTS.items()])
        assert found(docs, "cat") == {"cat"}
        assert {"code", "sea"} <= found(docs, "the")

    @pytest.mark.parametrize(
        "words", [Words(language="chinese"), Words(language=None, segmented=True)]
    )
    def test_words_without_spaces_are_found(self, store: Store, name: str, words: Words) -> None:
        settings = CollectionSettings(words=words)
        docs = Collection.create(store, name, HashEncoder(16), settings=settings)
        docs.add(
            [Record(id="park", text="今天天气很好我们去公园"), Record(id="sea", text="大海很远")]
        )
        assert found(docs, "天气") == {"park"}
        assert found(docs, "大海") == {"sea"}

    def test_what_the_settings_say_is_kept(self, store: Store, name: str) -> None:
        words = Words(language="german", stop_words=False)
        Collection.create(store, name, HashEncoder(16), settings=CollectionSettings(words=words))
        assert store.card(name).words == words


class TestHybrid:
    def test_it_is_the_default_and_finds_what_either_finds(self, docs: Collection) -> None:
        hits = docs.search("E1234")
        assert hits[0].id == "code"
        assert len(hits) == len(TEXTS)
        assert {branch.name for branch in hits[0].branches} == {"dense", "words"}

    def test_each_hit_says_where_it_was_found(self, docs: Collection) -> None:
        for hit in docs.search("cat and ship"):
            for branch in hit.branches:
                alone = docs.search("cat and ship", mode=SearchMode(branch.name))
                assert alone[branch.rank - 1].score == pytest.approx(branch.score, abs=1e-6)

    def test_pages_make_up_one_long_page(self, docs: Collection) -> None:
        for fusion in (Fusion.dbsf(), Fusion.rrf(), Fusion(depth=2)):
            whole = docs.search("cat ship", limit=50, fusion=fusion)
            pages = [docs.search("cat ship", limit=2, offset=n, fusion=fusion) for n in (0, 2, 4)]
            assert [hit for page in pages for hit in page] == whole

    def test_a_weight_of_words_alone_ranks_as_words_do(self, docs: Collection) -> None:
        words = [hit.id for hit in docs.search("cat e1234", mode=SearchMode.WORDS)]
        fused = docs.search("cat e1234", fusion=Fusion.relative(weights={"dense": 0}))
        assert fused[0].id == words[0]

    def test_vectors_come_when_asked_for(self, docs: Collection) -> None:
        (hit,) = docs.search("cat", limit=1, with_vectors=True)
        assert hit.vector is not None
        assert hit.vector.shape == (16,)

    def test_a_fusion_of_one_ranking_is_refused(self, docs: Collection) -> None:
        with pytest.raises(StoreError, match="one ranking alone is not fused"):
            docs.search("cat", mode=SearchMode.DENSE, fusion=Fusion.dbsf())

    def test_vectors_alone_hold_no_words(self, docs: Collection) -> None:
        vector = docs.encoder.encode(["cat"], role=Role.QUERY).dense[0]
        assert docs.search_vector(vector)[0].branches[0].name == "dense"
        for mode in (SearchMode.WORDS, SearchMode.HYBRID):
            with pytest.raises(StoreError, match="vectors hold no words"):
                docs.search_vector(vector, mode=mode)


def test_a_collection_without_words_says_how_to_get_them(store: Store, name: str) -> None:
    docs = Collection.create(store, name, HashEncoder(16))
    docs.add([Record(id="a", text="a cat")])
    assert docs.search("cat")[0].branches[0].name == "dense"
    for mode in (SearchMode.WORDS, SearchMode.HYBRID):
        with pytest.raises(StoreError, match=r"CollectionSettings\(words=Words\(\)\)"):
            docs.search("cat", mode=mode)


def test_a_language_that_nobody_knows_is_refused() -> None:
    with pytest.raises(StoreError, match="knows no language 'klingon'"):
        Words(language="klingon")


def test_a_forked_child_does_not_wait_for_a_lock_of_its_parent() -> None:
    class Catalog:
        def average_length(self, name: str) -> float:
            return 5.0

    words = RemoteWords(Catalog())  # type: ignore[arg-type]
    words._lock.acquire()  # another thread of the parent measures at the fork
    words.renew()  # what a child does first
    words.remember("docs", None)
    assert not words._lock.locked()
