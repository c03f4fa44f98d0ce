"""Ids, checks of vectors and metadata: the values that go into a store."""

from __future__ import annotations

import uuid
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from decant.embedders import StoreError
from decant.integrations.qdrant import Collection
from decant.integrations.qdrant.points.payloads import (
    Marker,
    State,
    checked_ids,
    checked_metadata,
    checked_vectors,
)
from decant.integrations.qdrant.stores.point_ids import DocumentKey, record_id


def test_ids_are_the_same_for_ever() -> None:
    # Written down once: another value would make every existing collection index anew.
    key = DocumentKey(root="/docs", source="a.md")
    assert key.marker_id == "38db66b1-bbd4-545c-8f03-8e9a06787e05"
    assert key.chunk_id("ab" * 32, 0) == "6188b221-77ae-51c6-9b5f-68120a876a89"
    assert record_id("foo") == "f97689b6-5da2-558f-91f2-ff826600c420"


def test_a_uuid_is_its_own_id_and_any_other_string_gets_one() -> None:
    drawn = str(uuid.uuid4())
    assert record_id(drawn) == drawn
    for other in (
        drawn.upper(),
        drawn.replace("-", ""),
        "{" + drawn + "}",
        "1",
        "ä \n",
        "x" * 5_000,
    ):
        assert record_id(other) != other
        assert str(uuid.UUID(record_id(other))) == record_id(other)


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), unique=True, min_size=2))
def test_different_documents_have_different_markers(keys: list[tuple[str, str]]) -> None:
    markers = {DocumentKey(root=root, source=source).marker_id for root, source in keys}
    assert len(markers) == len(keys)


def test_equal_texts_of_a_document_have_different_ids() -> None:
    key = DocumentKey(root="", source="a")
    assert key.chunk_id("00", 0) != key.chunk_id("00", 1) != key.chunk_id("01", 1)


def test_a_marker_comes_back_as_it_went() -> None:
    marker = Marker(key=DocumentKey(root="r", source="s"), state=State.DONE, digest="abc", chunks=7)
    assert Marker.read(marker.point().payload) == marker


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_a_vector_that_has_no_finite_length_is_refused_with_its_owner(bad: float) -> None:
    vectors = np.ones((3, 4), np.float32)
    vectors[1, 2] = bad
    with pytest.raises(StoreError, match="vector of the second is not finite"):
        checked_vectors(vectors, 4, ["the first", "the second", "the third"])


@pytest.mark.parametrize("shape", [(3, 5), (2, 4), (4,), (3, 4, 1)])
def test_vectors_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(StoreError, match=r"expected vectors of shape \(3, 4\), got"):
        checked_vectors(np.ones(shape, np.float32), 4, ["a", "b", "c"])


def test_vectors_of_other_types_become_float32() -> None:
    doubles: Any = np.ones((1, 2), np.float64)
    assert checked_vectors(doubles, 2, ["a"]).dtype == np.float32


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)  # fmt: skip
def test_metadata_of_json_values_is_copied_unchanged(metadata: dict[str, object]) -> None:
    assert checked_metadata(metadata, owner="x") == metadata  # type: ignore[arg-type]


def test_ids_are_several_strings_and_not_one() -> None:
    assert checked_ids(["ab", "c"]) == checked_ids(iter(("ab", "c"))) == ["ab", "c"]
    assert checked_ids([]) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ab", r"got one string; write \['ab'\]"),
        (b"ab", "a list of ids is wanted, got a bytes"),
        ({"a": 1}, "a list of ids is wanted, got a dict"),
        (None, "a list of ids is wanted, got a NoneType"),
        (7, "a list of ids is wanted, got a int"),
        (["a", 7], "ids are strings, and that at 1 is a int"),
        ([None], "ids are strings, and that at 0 is a NoneType"),
    ],
)
async def test_a_string_where_ids_are_wanted_is_refused_and_nothing_deleted(
    years: Collection, wrong: Any, message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        years.delete(wrong)
    with pytest.raises(StoreError, match=message):
        years.get(wrong)
    with pytest.raises(StoreError, match=message):
        await years.adelete(wrong)
    with pytest.raises(StoreError, match=message):
        await years.aget(wrong)
    assert years.count() == 10
