"""LlamaIndex's metadata filters over our store, alone and together with ids, on every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilters,
)
from qdrant_client import models

from decant.integrations.llama_index import DecantVectorStore
from decant.integrations.qdrant import Collection, Equals
from tree_nodes import ALL, FACTS, ask, left, nodes, where


@pytest.fixture
def trees(collection: Collection) -> DecantVectorStore:
    made = DecantVectorStore(collection)
    made.add(nodes())
    return made


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (where("kind", "tree"), ["birch", "fallen", "oak"]),
        (where("year", 1950), ["birch"]),
        (where("height", 15.0), ["birch"]),
        (where("kind", "tree", "!="), ["sea"]),
        (where("year", 1950, ">"), ["fallen", "sea"]),
        (where("year", 1950, ">="), ["birch", "fallen", "sea"]),
        (where("year", 1950, "<"), ["oak"]),
        (where("year", 1950, "<="), ["birch", "oak"]),
        (where("height", 15.5, ">"), ["oak"]),
        (where("year", [1900, 2000], "in"), ["oak", "sea"]),
        (where("kind", ["water", "stone"], "in"), ["sea"]),
        (where("height", [15.0, 99.0], "in"), ["birch"]),
        (where("kind", ["tree"], "nin"), ["sea"]),
        (where("tags", ["hard", "white"], "any"), ["birch", "fallen", "oak"]),
        (where("tags", ["old", "white"], "all"), ["fallen"]),
        (where("tags", "white", "contains"), ["birch", "fallen"]),
        (where("tags", None, "is_empty"), ["sea"]),
        (where("height", None, "is_empty"), ["fallen", "sea"]),
        (where("file.name", "x"), ["fallen"]),
        (MetadataFilters(filters=[]), ALL),
        (MetadataFilters(filters=[MetadataFilters(filters=[])]), ALL),
        (
            MetadataFilters(filters=[*where("kind", "tree").filters, *where("year", 1950).filters]),
            ["birch"],
        ),
        (
            MetadataFilters(
                filters=[*where("kind", "water").filters, *where("year", 1950).filters],
                condition=FilterCondition.OR,
            ),
            ["birch", "sea"],
        ),
        (
            MetadataFilters(
                filters=[*where("kind", "water").filters, *where("year", 1950).filters],
                condition=FilterCondition.NOT,
            ),
            ["fallen", "oak"],
        ),
        (
            MetadataFilters(
                filters=[
                    where("kind", "tree"),
                    MetadataFilters(
                        filters=[*where("year", 1900).filters, *where("year", 2000).filters],
                        condition=FilterCondition.OR,
                    ),
                ]
            ),
            ["oak"],
        ),
    ],
    ids=str,
)
def test_filters_mean_the_same_in_queries_and_in_get_nodes(
    trees: DecantVectorStore, filters: MetadataFilters, expected: list[str]
) -> None:
    """run-llama/llama_index#20237: operators that a store ignored."""
    assert sorted(ask(trees, "trees", filters=filters).ids or []) == expected
    assert sorted(node.node_id for node in trees.get_nodes(filters=filters)) == expected


@pytest.mark.parametrize(
    "filters",
    [
        where("kind", "tree", "text_match"),
        where("kind", "TREE", "text_match_insensitive"),
        where("kind", "a", ">"),
        where("kind", "tree", "in"),
        where("kind", ["tree"]),
        where("kind", None),
    ],
    ids=str,
)
def test_a_filter_without_counterpart_is_a_clear_error(
    trees: DecantVectorStore, filters: MetadataFilters
) -> None:
    with pytest.raises(ValueError, match="'kind'"):
        ask(trees, "trees", filters=filters)


@pytest.mark.parametrize("operator", list(FilterOperator))
def test_an_operator_means_what_llama_index_says_or_is_refused(
    trees: DecantVectorStore, operator: FilterOperator
) -> None:
    """Each operator of LlamaIndex, also one that a later version adds, against plain Python."""
    meanings: dict[str, tuple[str, Any, Callable[[Any], bool]]] = {
        "==": ("year", 1950, lambda year: year == 1950),
        "!=": ("height", 15.0, lambda height: height != 15.0),
        ">": ("year", 1950, lambda year: year > 1950),
        ">=": ("year", 1950, lambda year: year >= 1950),
        "<": ("year", 1950, lambda year: year < 1950),
        "<=": ("year", 1950, lambda year: year <= 1950),
        "in": ("kind", ["tree", "stone"], lambda kind: kind in ("tree", "stone")),
        "nin": ("kind", ["tree", "stone"], lambda kind: kind not in ("tree", "stone")),
        "any": ("tags", ["hard", "white"], lambda tags: bool({"hard", "white"} & {*tags})),
        "all": ("tags", ["old", "white"], lambda tags: {"old", "white"} <= {*tags}),
        "contains": ("tags", "white", lambda tags: "white" in tags),
        "is_empty": ("height", None, lambda height: height is None),
    }
    if operator.value not in meanings:
        with pytest.raises(ValueError, match="no counterpart"):
            trees.get_nodes(filters=where("kind", "tree", operator.value))
        return
    key, value, holds = meanings[operator.value]
    expected = sorted(name for name, facts in FACTS.items() if holds(facts.get(key)))
    found = trees.get_nodes(filters=where(key, value, operator.value))
    assert sorted(node.node_id for node in found) == expected
    assert 0 < len(expected) < len(FACTS)


def test_ids_documents_filters_and_where_are_all_met(trees: DecantVectorStore) -> None:
    assert ask(trees, "trees", node_ids=["oak", "sea"], doc_ids=["trees"]).ids == ["oak"]
    native = models.Filter(
        must=[models.FieldCondition(key="metadata.year", match=models.MatchValue(value=1950))]
    )
    kind = where("kind", "tree")
    assert ask(trees, "trees", filters=kind, kwargs={"where": native}).ids == ["birch"]
    assert ask(trees, "trees", filters=kind, kwargs={"where": Equals("year", 1900)}).ids == ["oak"]


def test_an_empty_list_of_ids_is_no_restriction_as_llama_index_means_it(
    trees: DecantVectorStore,
) -> None:
    assert sorted(ask(trees, "trees", node_ids=[], doc_ids=[]).ids or []) == ALL


def test_delete_removes_the_nodes_of_one_document(trees: DecantVectorStore) -> None:
    trees.delete("trees")
    trees.delete("nobody")
    assert left(trees) == ["sea"]


def test_delete_without_a_document_is_refused(trees: DecantVectorStore) -> None:
    with pytest.raises(ValueError, match="id of a document"):
        trees.delete("")
    assert left(trees) == ALL


@pytest.mark.parametrize("filters", [None, MetadataFilters(filters=[])], ids=["none", "empty"])
def test_delete_nodes_without_anything_is_refused(
    trees: DecantVectorStore, filters: MetadataFilters | None
) -> None:
    with pytest.raises(ValueError, match="does not mean everything"):
        trees.delete_nodes(filters=filters)
    assert left(trees) == ALL


def test_delete_nodes_deletes_by_id_by_filter_or_by_both_at_once(trees: DecantVectorStore) -> None:
    """run-llama/llama_index#19277, #15818, #9245."""
    trees.delete_nodes([])
    trees.delete_nodes([], where("kind", "tree"))
    assert left(trees) == ALL
    trees.delete_nodes(["oak", "sea"], where("kind", "tree"))
    assert left(trees) == ["birch", "fallen", "sea"]
    trees.delete_nodes(filters=where("year", 2010))
    assert left(trees) == ["birch", "sea"]
    trees.delete_nodes(["sea", "nobody"])
    assert left(trees) == ["birch"]


def test_ids_or_ed_filters_are_still_anded_with_the_ids(trees: DecantVectorStore) -> None:
    either = MetadataFilters(
        filters=[*where("year", 1950).filters, *where("year", 2000).filters],
        condition=FilterCondition.OR,
    )
    trees.delete_nodes(["oak"], either)
    assert left(trees) == ALL


def test_get_nodes_by_ids_and_filters(trees: DecantVectorStore) -> None:
    assert [node.node_id for node in trees.get_nodes(["sea", "nobody", "oak"])] == ["sea", "oak"]
    both = trees.get_nodes(["sea", "oak"], where("kind", "tree"))
    assert [node.node_id for node in both] == ["oak"]
    assert trees.get_nodes([]) == []
    assert trees.get_nodes([], where("kind", "tree")) == []
