"""What a framework shows as metadata can be filtered and deleted by, on every engine.

A chunk of ``Collection.index`` shows its source, and dots lead into nested entries.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterCondition, MetadataFilters

from decant.embedders import StoreError
from decant.integrations.langchain import DecantVectorStore as LangChainStore
from decant.integrations.llama_index import DecantVectorStore as LlamaIndexStore
from decant.integrations.qdrant import Chunking, Collection, Equals, Record
from decant.integrations.qdrant import Document as SourceDocument
from tree_nodes import where

FILES = ["a.md", "b.md", "c.md"]


@pytest.fixture
def indexed(collection: Collection) -> Collection:
    """Return chunks of three files, and a record whose metadata name a source of their own."""
    collection.index([SourceDocument(source=name, text=f"trees in {name}") for name in FILES])
    own = Record(id="own", text="trees again", source="a.md", metadata={"source": "b.md"})
    collection.add([own])
    return collection


def sources(collection: Collection) -> list[str]:
    return sorted(passage.source for passage in collection.each())


def shown(documents: list[Document]) -> list[str]:
    return sorted(document.metadata["source"] for document in documents)


def ids(store: LlamaIndexStore, filters: MetadataFilters) -> list[str]:
    return sorted(node.node_id for node in store.get_nodes(filters=filters))


def test_langchain_filters_by_the_source_that_it_shows(indexed: Collection) -> None:
    store = LangChainStore(indexed)
    assert shown(store.similarity_search("trees", k=9)) == ["a.md", "b.md", "b.md", "c.md"]
    for name, count in (("a.md", 1), ("b.md", 2), ("c.md", 1), ("d.md", 0)):
        found = store.similarity_search("trees", k=9, filter={"source": name})
        assert shown(found) == [name] * count


def test_langchain_deletes_by_the_source_that_it_shows(indexed: Collection) -> None:
    store = LangChainStore(indexed)
    store.delete(filter={"source": "a.md"})
    assert sources(indexed) == ["a.md", "b.md", "c.md"]  # the one left of a.md shows b.md
    store.delete(filter={"source": "b.md"})
    assert sources(indexed) == ["c.md"]


def test_llama_index_filters_by_the_source_that_it_shows(indexed: Collection) -> None:
    store = LlamaIndexStore(indexed)
    everything = store.get_nodes()
    for operator, value, wanted in (
        ("==", "b.md", {"b.md"}),
        ("!=", "b.md", {"a.md", "c.md"}),
        ("in", ["a.md", "c.md"], {"a.md", "c.md"}),
        ("nin", ["a.md", "c.md"], {"b.md"}),
    ):
        expected = sorted(n.node_id for n in everything if n.metadata["source"] in wanted)
        assert ids(store, where("source", value, operator)) == expected
    assert ids(store, where("source", None, "is_empty")) == []


def test_llama_index_deletes_by_the_source_that_it_shows(indexed: Collection) -> None:
    store = LlamaIndexStore(indexed)
    store.delete_nodes(filters=where("source", "b.md", "!="))
    assert [node.metadata["source"] for node in store.get_nodes()] == ["b.md", "b.md"]


@pytest.mark.parametrize("nothing", [None, []], ids=str)
def test_an_empty_source_of_its_own_gives_way_to_the_passages_source(
    collection: Collection, nothing: Any
) -> None:
    collection.index([SourceDocument(source="a.md", text="oak", metadata={"source": nothing})])
    (document,) = LangChainStore(collection).similarity_search("oak", filter={"source": "a.md"})
    (node,) = LlamaIndexStore(collection).get_nodes(filters=where("source", "a.md"))
    assert document.metadata == {"source": "a.md", "start_index": 0}
    assert node.metadata == {"source": "a.md"}


def test_an_empty_text_as_source_is_a_source_of_its_own(collection: Collection) -> None:
    collection.index([SourceDocument(source="a.md", text="oak", metadata={"source": ""})])
    store = LangChainStore(collection)
    assert shown(store.similarity_search("oak")) == [""]
    assert store.similarity_search("oak", filter={"source": "a.md"}) == []
    assert shown(store.similarity_search("oak", filter={"source": ""})) == [""]


def test_a_node_of_llama_index_shows_no_source_and_is_not_found_by_one(
    collection: Collection,
) -> None:
    store = LlamaIndexStore(collection)
    origin = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="a.md")}
    store.add([TextNode(id_="x", text="oak", relationships=origin)])
    assert store.get_nodes()[0].metadata == {}
    assert ids(store, where("source", "a.md")) == []
    assert ids(store, where("source", "a.md", "!=")) == ["x"]
    assert ids(store, where("source", None, "is_empty")) == ["x"]


@pytest.mark.parametrize("key", ["ref_doc_id", "doc_id", "document_id"])
def test_llama_indexs_names_for_the_document_filter_by_it(collection: Collection, key: str) -> None:
    store = LlamaIndexStore(collection)
    origin = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="trees")}
    store.add(
        [
            TextNode(id_="oak", text="oak", relationships=origin),
            TextNode(id_="own", text="own", relationships=origin, metadata={key: "water"}),
            TextNode(id_="alone", text="alone"),
        ]
    )
    assert ids(store, where(key, "trees")) == ["oak"]
    assert ids(store, where(key, "water")) == ["own"]
    assert ids(store, where(key, "trees", "!=")) == ["alone", "own"]
    assert ids(store, where(key, ["trees", "alone"], "in")) == ["alone", "oak"]


TEAMS: dict[str, dict[str, Any]] = {
    "nested": {"acl": {"team": "red"}, "size": {"now": 3}},
    "literal": {"acl.team": "red", "size.now": 5},
    "both": {"acl.team": "blue", "acl": {"team": "red"}},
    "blue": {"acl": {"team": "blue"}, "size": {"now": 7}},
    "list": {"acl": {"team": ["red", "green"]}},
    "none": {},
}
RED = ["both", "list", "literal", "nested"]


@pytest.fixture
def teams(collection: Collection) -> Collection:
    nodes = [TextNode(id_=name, text=name, metadata=facts) for name, facts in TEAMS.items()]
    LlamaIndexStore(collection).add(nodes)
    return collection


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (where("acl.team", "red"), RED),
        (where("acl.team", "red", "!="), ["blue", "none"]),
        (where("acl.team", ["green", "blue"], "in"), ["blue", "both", "list"]),
        (where("acl.team", ["green", "blue"], "nin"), ["literal", "nested", "none"]),
        (where("acl.team", ["green", "red"], "all"), ["list"]),
        (where("acl.team", "green", "contains"), ["list"]),
        (where("acl.team", None, "is_empty"), ["none"]),
        (where("size.now", 4, ">"), ["blue", "literal"]),
        (where("size.now", 4, "<="), ["nested"]),
    ],
    ids=str,
)
def test_a_dotted_key_of_llama_index_means_either_form(
    teams: Collection, filters: MetadataFilters, expected: list[str]
) -> None:
    assert ids(LlamaIndexStore(teams), filters) == expected


def test_what_is_not_equal_in_either_form_is_what_is_deleted(teams: Collection) -> None:
    store = LlamaIndexStore(teams)
    store.delete_nodes(filters=where("acl.team", "red", "!="))
    assert sorted(node.node_id for node in store.get_nodes()) == RED


def test_a_dotted_key_of_langchain_means_either_form(teams: Collection) -> None:
    store = LangChainStore(teams)
    found = store.similarity_search("nested", k=9, filter={"acl.team": "red"})
    assert sorted(str(document.id) for document in found) == RED
    store.delete(filter={"acl.team": "red"})
    assert sorted(passage.id for passage in teams.each()) == ["blue", "none"]


def test_decants_own_conditions_still_tell_the_two_forms_apart(teams: Collection) -> None:
    store = LangChainStore(teams)
    literal = store.similarity_search("x", k=9, filter=Equals("acl.team", "red"))
    nested = store.similarity_search("x", k=9, filter=Equals(("acl", "team"), "red"))
    assert [document.id for document in literal] == ["literal"]
    assert sorted(str(document.id) for document in nested) == ["both", "list", "nested"]


@pytest.mark.parametrize("key", ["tags[]", "tags[].name", "tags[0].name", "a.tags[12]"])
def test_a_key_that_leads_into_a_list_is_refused(teams: Collection, key: str) -> None:
    with pytest.raises(StoreError, match="leads into a list"):
        LlamaIndexStore(teams).delete_nodes(filters=where(key, "x", "!="))
    with pytest.raises(StoreError, match="leads into a list"):
        LangChainStore(teams).delete(filter={key: "x"})
    assert teams.count() == len(TEAMS)


@pytest.mark.parametrize("key", ["size[cm]", "a..b", ".a", "b.", "ü.ß", "a b"])
def test_any_other_key_is_taken_to_the_letter(collection: Collection, key: str) -> None:
    store = LangChainStore(collection)
    store.add_texts(["oak", "birch"], [{key: "x"}, {key: "y"}], ids=["oak", "birch"])
    (found,) = store.similarity_search("tree", filter={key: "x"})
    assert found.id == "oak"


NAMES = sorted(TEAMS)
NONE_OF_NONE = where("none", [], "nin")
ONE_OF_NONE = where("none", [], "in")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (ONE_OF_NONE, []),
        (where("none", [], "any"), []),
        (NONE_OF_NONE, NAMES),
        (MetadataFilters(filters=[ONE_OF_NONE, where("acl.team", "red")]), []),
        (MetadataFilters(filters=[NONE_OF_NONE, where("acl.team", "red")]), RED),
        (
            MetadataFilters(
                filters=[ONE_OF_NONE, where("acl.team", "red")], condition=FilterCondition.OR
            ),
            RED,
        ),
        (
            MetadataFilters(
                filters=[NONE_OF_NONE, where("acl.team", "red")], condition=FilterCondition.OR
            ),
            NAMES,
        ),
        (MetadataFilters(filters=[ONE_OF_NONE], condition=FilterCondition.NOT), NAMES),
        (MetadataFilters(filters=[NONE_OF_NONE], condition=FilterCondition.NOT), []),
    ],
    ids=str,
)
def test_one_of_no_values_is_nothing_and_none_of_them_is_everything(
    teams: Collection, filters: MetadataFilters, expected: list[str]
) -> None:
    """As in run-llama/llama_index#17849 and in the stock stores."""
    assert ids(LlamaIndexStore(teams), filters) == expected


def test_all_of_no_values_is_refused_because_stores_differ_on_it(teams: Collection) -> None:
    with pytest.raises(ValueError, match="'none' needs a list that is not empty"):
        LlamaIndexStore(teams).get_nodes(filters=where("none", [], "all"))


@pytest.mark.parametrize(
    "filters",
    [
        NONE_OF_NONE,
        MetadataFilters(filters=[ONE_OF_NONE], condition=FilterCondition.NOT),
        MetadataFilters(filters=[]),
    ],
    ids=str,
)
def test_filters_that_all_nodes_meet_delete_nothing(
    teams: Collection, filters: MetadataFilters
) -> None:
    with pytest.raises(ValueError, match="does not mean everything"):
        LlamaIndexStore(teams).delete_nodes(filters=filters)
    assert teams.count() == len(TEAMS)


def test_an_empty_mapping_is_no_filter_and_deletes_nothing(teams: Collection) -> None:
    store = LangChainStore(teams)
    assert len(store.similarity_search("x", k=9, filter={})) == len(TEAMS)
    assert len(store.max_marginal_relevance_search("x", k=9, filter={})) == len(TEAMS)
    with pytest.raises(ValueError, match=r"filter=\{\}.*does not mean everything"):
        store.delete(filter={})
    assert teams.count() == len(TEAMS)
    store.delete(["none"], filter={})
    assert teams.count() == len(TEAMS) - 1


def test_langchain_shows_where_in_its_document_a_chunk_starts_and_filters_by_it(
    collection: Collection,
) -> None:
    text = "oak trees grow slowly. " * 3
    collection.index([SourceDocument(source="a", text=text)], chunking=Chunking(max_tokens=8))
    collection.index([SourceDocument(source="b", text="birch", metadata={"start_index": 7})])
    collection.index([SourceDocument(source="c", text="pine", metadata={"start_index": None})])
    collection.add([Record(id="r", text="a record"), Record(id="s", text="of a", source="a")])
    store = LangChainStore(collection)
    everything = store.similarity_search("trees", k=20)
    starts = [document.metadata.get("start_index") for document in everything]
    assert starts.count(None) == 2
    assert {0, 7} < set(starts)
    for document in everything:
        if (start := document.metadata.get("start_index")) is None:
            continue
        if document.metadata["source"] == "a":
            assert text[start:].startswith(document.page_content)
        for value in (start, float(start)):
            found = store.similarity_search("trees", k=20, filter={"start_index": value})
            assert [one.metadata["start_index"] for one in found] == [start] * starts.count(start)
    for nothing in (0.5, True, "0", 1_000):
        assert store.similarity_search("trees", k=20, filter={"start_index": nothing}) == []
    store.delete(filter={"start_index": 0, "source": "a"})
    left = store.similarity_search("trees", k=20, filter={"source": "a"})
    assert 0 not in [document.metadata.get("start_index") for document in left]
    assert len(store.get_by_ids(["r", "s"])) == 2
