"""How a collection is searched by default: kept with it on every engine, and what wins over it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decant.embedders import HashEncoder, Output, Role, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Fusion,
    FusionMethod,
    Hit,
    Record,
    SearchDefaults,
    SearchMode,
    Store,
    Words,
    connect,
    summarize,
)
from decant.integrations.qdrant.stores.collection_metadata import with_search_defaults
from qdrant_double import QdrantDouble

WEIGHTED = SearchDefaults(
    mode=SearchMode.HYBRID, fusion=Fusion.rrf(k=2, weights={"dense": 0.3, "words": 0.7})
)
WORDS = SearchDefaults(mode=SearchMode.WORDS)
MODES = (SearchMode.DENSE, SearchMode.WORDS, SearchMode.HYBRID)
QUERY = "the gate of E1234"


def make(store: Store, encoder: HashEncoder) -> Collection:
    settings = CollectionSettings(words=Words())
    made = Collection.create(store, "notes", encoder, settings=settings)
    texts = ["Error E1234: the gate is shut.", "A gate in the wall.", "The ferry leaves at seven."]
    made.add([Record(id=str(number), text=text) for number, text in enumerate(texts)])
    return made


def scores(hits: list[Hit]) -> list[tuple[str, object]]:
    return [(hit.id, pytest.approx(hit.score)) for hit in hits]


@pytest.mark.parametrize("defaults", [WEIGHTED, WORDS], ids=str)
def test_defaults_are_there_when_a_collection_is_opened(
    store: Store, encoder: HashEncoder, defaults: SearchDefaults
) -> None:
    made = make(store, encoder)
    assert made.info().search_defaults is None
    made.set_search_defaults(defaults)
    opened = Collection.open(store, "notes", encoder)
    assert opened.search_defaults == made.search_defaults == defaults
    assert opened.info().search_defaults == defaults
    assert summarize(store, "notes").card.search == defaults
    expected = made.search(QUERY, mode=defaults.mode, fusion=defaults.fusion)
    assert scores(opened.search(QUERY)) == scores(expected)
    opened.set_search_defaults(None)
    again = Collection.open(store, "notes", encoder)
    assert again.info().search_defaults is None


def test_a_folder_keeps_them_when_the_store_is_closed(scratch: Path, encoder: HashEncoder) -> None:
    with connect(scratch / "index") as store:
        make(store, encoder).set_search_defaults(WEIGHTED)
    with connect(scratch / "index", read_only=True) as store:
        opened = Collection.open(store, "notes", encoder)
        assert opened.search_defaults == WEIGHTED
        assert len(opened.search(QUERY)) == 3
        with pytest.raises(StoreError, match="read_only=True"):
            opened.set_search_defaults(None)
        assert opened.search_defaults == WEIGHTED
    assert [path.name for path in (scratch / "index" / "notes").iterdir() if path.is_file()] == [
        "collection.json"
    ]


def test_what_a_search_specifies_wins(store: Store, encoder: HashEncoder) -> None:
    made = make(store, encoder)
    plain = {mode.value: scores(made.search(QUERY, mode=mode)) for mode in MODES}
    other = Fusion(method=FusionMethod.RELATIVE)
    fused = scores(made.search(QUERY, fusion=other))
    made.set_search_defaults(WORDS)
    assert scores(made.search(QUERY)) == plain["words"]
    assert scores(made.search(QUERY, mode=SearchMode.DENSE)) == plain["dense"]
    assert scores(made.search(QUERY, mode=SearchMode.HYBRID)) == plain["hybrid"]
    assert scores(made.search(QUERY, fusion=other)) == fused
    made.set_search_defaults(WEIGHTED)
    weighted = scores(made.search(QUERY))
    assert weighted != plain["hybrid"]
    assert scores(made.search(QUERY, mode=SearchMode.HYBRID)) == weighted
    assert scores(made.search(QUERY, mode=SearchMode.DENSE)) == plain["dense"]
    assert scores(made.search(QUERY, fusion=other)) == fused


def test_a_vector_alone_is_searched_with_though_words_are_the_default(
    store: Store, encoder: HashEncoder
) -> None:
    made = make(store, encoder)
    vector = encoder.encode([QUERY], role=Role.QUERY).dense[0]
    dense = scores(made.search_vector(vector))
    words = scores(made.search(QUERY, mode=SearchMode.WORDS))
    for defaults in (WORDS, WEIGHTED):
        made.set_search_defaults(defaults)
        assert scores(made.search_vector(vector)) == dense
        assert scores(made.search_vector(vector, text=QUERY)) == scores(made.search(QUERY))
    made.set_search_defaults(WORDS)
    assert scores(made.search_vector(vector, text=QUERY)) == words


def test_a_mode_that_the_collection_lacks_is_refused(store: Store, encoder: HashEncoder) -> None:
    made = make(store, encoder)
    with pytest.raises(StoreError, match="no sparse vectors"):
        made.set_search_defaults(SearchDefaults(mode=SearchMode.SPARSE))
    with pytest.raises(StoreError, match="no ranking 'sparse' to weigh; it has dense, words"):
        made.set_search_defaults(
            SearchDefaults(mode=SearchMode.HYBRID, fusion=Fusion.rrf(weights={"sparse": 2}))
        )
    assert Collection.open(store, "notes", encoder).search_defaults is None


def test_one_ranking_has_no_fusion() -> None:
    with pytest.raises(StoreError, match="one ranking"):
        SearchDefaults(mode=SearchMode.WORDS, fusion=Fusion())


def test_other_metadata_of_a_server_stay(
    double: QdrantDouble, server: Store, encoder: HashEncoder
) -> None:
    made = make(server, encoder)
    before = double.engine.held["notes"].config["metadata"]
    made.set_search_defaults(WEIGHTED)
    after = double.engine.held["notes"].config["metadata"]
    assert {key: after[key] for key in before} == before
    assert {*after} - {*before} == {"decant_search"}


class TestMetadata:
    def test_a_decant_without_defaults_finds_all_that_it_reads(self, encoder: HashEncoder) -> None:
        """It reads the keys that it knows by name, and refuses only a newer format."""
        card = CollectionMetadata.of(encoder, CollectionSettings(words=Words()))
        old = json.loads(card.to_json())
        new = json.loads(with_search_defaults(card.to_json(), WEIGHTED, where="here"))
        assert {key: new[key] for key in old} == old
        assert {*new} - {*old} == {"search"}

    def test_metadata_without_the_key_open(self, encoder: HashEncoder) -> None:
        text = CollectionMetadata.of(encoder, CollectionSettings(words=Words())).to_json()
        assert "search" not in json.loads(text)
        assert CollectionMetadata.from_json(text, where="here").search is None

    def test_what_is_written_is_read(self, encoder: HashEncoder) -> None:
        card = CollectionMetadata.of(encoder)
        text = with_search_defaults(card.to_json(), WEIGHTED, where="here")
        assert CollectionMetadata.from_json(text, where="here").search == WEIGHTED
        assert with_search_defaults(text, None, where="here") == card.to_json()

    def test_keys_of_a_newer_decant_stay(self, encoder: HashEncoder) -> None:
        held = json.loads(CollectionMetadata.of(encoder).to_json()) | {"later": [1]}
        text = with_search_defaults(json.dumps(held), WORDS, where="here")
        assert json.loads(text)["later"] == [1]

    def test_defaults_that_only_a_newer_decant_knows_are_refused_and_can_be_removed(
        self, edge: Store, encoder: HashEncoder
    ) -> None:
        make(edge, encoder).set_search_defaults(WORDS)
        path = Path(edge.place) / "notes" / "collection.json"
        path.write_text(path.read_text().replace('"mode": "words"', '"mode": "thought"'))
        with pytest.raises(StoreError, match=r"search defaults .*'thought' .*upgrade decant"):
            Collection.open(edge, "notes", encoder)
        edge.set_search_defaults("notes", None)
        assert Collection.open(edge, "notes", encoder).search_defaults is None


def test_sparse_vectors_can_be_the_default(store: Store) -> None:
    encoder = HashEncoder(16, sparse=True)
    made = Collection.create(store, "notes", encoder)
    made.add([Record(id="a", text="a gate"), Record(id="b", text="a ferry")])
    made.set_search_defaults(SearchDefaults(mode=SearchMode.SPARSE))
    vectors = encoder.encode(["gate"], role=Role.QUERY, outputs=[Output.SPARSE])
    assert [hit.branches[0].name for hit in made.search_vector(vectors)] == ["sparse"]
    assert [hit.branches[0].name for hit in made.search_vector(vectors.dense[0])] == ["dense"] * 2
