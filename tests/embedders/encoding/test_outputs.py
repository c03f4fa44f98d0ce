"""Sparse vectors and token states as encoders give them, whatever runs the batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import (
    Choices,
    Encoder,
    HashEncoder,
    Output,
    RecipeError,
    Role,
    SparseVectors,
    TorchEncoder,
)
from models import save_language_model

BOTH = [Output.SPARSE, Output.TOKEN_EMBEDDINGS]
TEXTS = ["the wind", "a", "what the wind wants " * 4, "the", "wind wind wind"]


class OutputsContract:
    """Inherit, and give an ``encoder`` with a sparse head and token states."""

    @pytest.fixture
    def encoder(self) -> Iterator[Encoder]:
        raise NotImplementedError("a contract class needs its own `encoder` fixture")

    def test_sparse_rows_are_positive_sorted_and_unique(self, encoder: Encoder) -> None:
        sparse = encoder.encode(TEXTS, role=Role.PASSAGE, outputs=BOTH).sparse
        assert sparse is not None
        assert len(sparse) == len(TEXTS)
        for indices, values in sparse:
            assert indices.dtype == np.int64
            assert values.dtype == np.float32
            assert (np.diff(indices) > 0).all()
            assert (values > 0).all()

    def test_rows_come_in_the_order_of_the_texts(self, encoder: Encoder) -> None:
        whole = encoder.encode(TEXTS * 60, role=Role.PASSAGE, outputs=BOTH)
        assert whole.sparse is not None
        assert whole.token_embeddings is not None
        for number, text in enumerate(TEXTS * 60):
            if number % 37:
                continue
            alone = encoder.encode([text], role=Role.PASSAGE, outputs=BOTH)
            assert alone.sparse is not None
            assert alone.token_embeddings is not None
            assert whole.token_embeddings[number].shape == alone.token_embeddings[0].shape
            np.testing.assert_allclose(
                whole.token_embeddings[number], alone.token_embeddings[0], atol=2e-4
            )
            one, other = (
                dict(zip(*row, strict=True)) for row in (whole.sparse[number], alone.sparse[0])
            )
            assert one.keys() == other.keys()
            np.testing.assert_allclose(list(one.values()), list(other.values()), atol=1e-4)

    def test_what_is_not_asked_for_does_not_come(self, encoder: Encoder) -> None:
        found = encoder.encode(TEXTS, role=Role.QUERY)
        assert (found.sparse, found.token_embeddings) == (None, None)

    def test_no_texts_give_no_rows(self, encoder: Encoder) -> None:
        found = encoder.encode([], role=Role.QUERY, outputs=BOTH)
        assert found.sparse is not None
        assert len(found.sparse) == 0
        assert found.token_embeddings == ()

    def test_a_stream_gives_the_same(self, encoder: Encoder) -> None:
        whole = encoder.encode(TEXTS * 60, role=Role.PASSAGE, outputs=BOTH)
        parts = list(encoder.stream(TEXTS * 60, role=Role.PASSAGE, outputs=BOTH))
        assert len(parts) > 1
        joined = SparseVectors.stacked([part.sparse for part in parts if part.sparse is not None])
        assert whole.sparse is not None
        np.testing.assert_allclose(joined.values, whole.sparse.values, atol=1e-4)
        assert np.array_equal(joined.starts, whole.sparse.starts)
        assert sum(len(part.token_embeddings or ()) for part in parts) == len(TEXTS) * 60


class TestHashEncoder(OutputsContract):
    @pytest.fixture
    def encoder(self) -> HashEncoder:
        return HashEncoder(16, sparse=True, tokens=True)

    def test_words_that_come_often_weigh_more(self, encoder: HashEncoder) -> None:
        sparse = encoder.encode(["wind", "wind wind"], role=Role.QUERY, outputs=BOTH).sparse
        assert sparse is not None
        (one, light), (other, heavy) = sparse
        assert np.array_equal(one, other)
        assert heavy[0] > light[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("outputs") / "model"
    return save_language_model(made, "llama", layers=1, longest=96)


class TestTorchEncoder(OutputsContract):
    @pytest.fixture
    def encoder(self, folder: Path) -> Iterator[TorchEncoder]:
        choices = Choices(token_embeddings=True)
        with TorchEncoder.from_pretrained(folder, strategy="splade", choices=choices) as made:
            yield made


def test_what_a_recipe_does_not_have_is_refused() -> None:
    with pytest.raises(RecipeError, match="no sparse vectors"):
        HashEncoder(8).encode(["a"], role=Role.QUERY, outputs=[Output.SPARSE])
    with pytest.raises(RecipeError, match="no token embeddings"):
        list(HashEncoder(8).stream(["a"], role=Role.QUERY, outputs=[Output.TOKEN_EMBEDDINGS]))
    with pytest.raises(RecipeError, match="takes no instruction"):
        HashEncoder(8).encode(["a"], role=Role.QUERY, instruction="do")


rows = st.lists(
    st.dictionaries(st.integers(0, 30), st.floats(0.125, 8, width=32), max_size=5), max_size=6
)


def from_dicts(given: list[dict[int, float]]) -> SparseVectors:
    width = max([1, *(len(row) for row in given)])
    indices = np.zeros((len(given), width), np.int64)
    values = np.zeros((len(given), width), np.float32)
    for number, row in enumerate(given):
        indices[number, : len(row)] = list(row)
        values[number, : len(row)] = list(row.values())
    return SparseVectors.from_top(indices, values)


def as_dicts(vectors: SparseVectors) -> list[dict[int, float]]:
    return [dict(zip(ids.tolist(), found.tolist(), strict=True)) for ids, found in vectors]


@given(rows, rows)
def test_sparse_vectors_keep_their_rows_when_stacked_and_taken(
    first: list[dict[int, float]], second: list[dict[int, float]]
) -> None:
    stacked = SparseVectors.stacked([from_dicts(first), from_dicts(second)])
    assert as_dicts(stacked) == [*first, *second]
    order = np.arange(len(stacked))[::-1]
    assert as_dicts(stacked.taken(order)) == [*first, *second][::-1]


def test_nan_is_not_lost_among_what_weighs_nothing() -> None:
    values = np.array([[0.0, np.nan, 2.0, -1.0]], np.float32)
    ((indices, found),) = SparseVectors.from_top(np.array([[4, 3, 2, 1]]), values)
    assert indices.tolist() == [2, 3]
    assert found[0] == 2
    assert np.isnan(found[1])


def test_a_row_that_is_not_there_is_an_error() -> None:
    vectors = from_dicts([{1: 2.0}])
    assert vectors[-1][0].tolist() == [1]
    with pytest.raises(IndexError, match="there are 1 vectors, asked for number 1"):
        vectors[1]
