"""For any metadata, each entry that is shown filters to exactly the documents that show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from llama_index.core.schema import TextNode

from decant.integrations.langchain import DecantVectorStore as LangChainStore
from decant.integrations.llama_index import DecantVectorStore as LlamaIndexStore
from decant.integrations.qdrant import Collection, Record
from tree_nodes import where

# Floats that any JSON parser gives back as they were, and that are no integers.
WORDS = st.sampled_from(["red", "blue", "", "ü", "a.md", "b.md"])
SCALARS = WORDS | st.integers(-3, 3) | st.booleans() | st.sampled_from([0.5, -2.25])
VALUES = st.none() | SCALARS | st.lists(SCALARS, max_size=2)
NAMES = st.sampled_from(["a", "b", "a.b", "source", "ü", "a b"])
METADATA = st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=2), max_size=3)
SOURCES = st.sampled_from(["", "a.md", "b.md"])
PASSAGES = st.lists(st.tuples(METADATA, SOURCES), min_size=1, max_size=5)


def pairs(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what can be filtered by: each scalar, its key, and of nested ones the way to it."""
    for key, value in metadata.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", scalar) for inner, scalar in pairs(value))
        else:
            items = value if isinstance(value, list) else [value]
            yield from ((key, item) for item in items if item is not None)


def unique(shown: Iterable[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """Return the pairs of several documents, each once; True and 1 are two."""
    found = {(key, type(value), value) for metadata in shown for key, value in pairs(metadata)}
    return [(key, value) for key, _, value in found]


def shows(metadata: Mapping[str, Any], key: str, wanted: object) -> bool:
    """Look for the entry by its name, and by the names that its dots part."""
    places = [metadata.get(key)]
    inner: Any = metadata
    for name in key.split("."):
        inner = inner.get(name) if isinstance(inner, dict) else None
    places.append(inner)
    return any(
        type(item) is type(wanted) and item == wanted
        for place in places
        for item in (place if isinstance(place, list) else [place])
    )


@given(passages=PASSAGES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_langchain_filters_to_exactly_what_it_shows(
    kept: Collection, passages: list[tuple[dict[str, Any], str]]
) -> None:
    kept.clear()
    records = [
        Record(id=str(number), text="a text", metadata=metadata, source=source)
        for number, (metadata, source) in enumerate(passages)
    ]
    kept.add(records)
    store = LangChainStore(kept)
    everything = store.get_by_ids([str(number) for number in range(len(passages))])
    for key, value in unique(one.metadata for one in everything):
        found = store.similarity_search("a text", k=9, filter={key: value})
        expected = {one.id for one in everything if shows(one.metadata, key, value)}
        assert {one.id for one in found} == expected, (key, value)


@given(passages=PASSAGES, nodes=st.lists(METADATA, max_size=3))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_llama_index_filters_to_exactly_what_it_shows_and_to_the_rest(
    kept: Collection,
    passages: list[tuple[dict[str, Any], str]],
    nodes: list[dict[str, Any]],
) -> None:
    kept.clear()
    records = [
        Record(id=str(number), text="a text", metadata=metadata, source=source)
        for number, (metadata, source) in enumerate(passages)
    ]
    kept.add(records)
    store = LlamaIndexStore(kept)
    store.add([TextNode(text="a node", metadata=metadata) for metadata in nodes])
    everything = store.get_nodes()
    for key, value in unique(node.metadata for node in everything):
        if isinstance(value, bool):
            continue  # LlamaIndex's MetadataFilter takes none
        expected = {node.node_id for node in everything if shows(node.metadata, key, value)}
        met = store.get_nodes(filters=where(key, value))
        rest = store.get_nodes(filters=where(key, value, "!="))
        assert {node.node_id for node in met} == expected, (key, value)
        assert {node.node_id for node in rest} == {n.node_id for n in everything} - expected
