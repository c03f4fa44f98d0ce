"""Token vectors of ColBERT's models against a naive reference and sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import punctuation

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from contracts.encoder import EncoderContract
from decant.embedders import (
    Choices,
    Output,
    Pooling,
    Recipe,
    RecipeError,
    Role,
    TorchEncoder,
    max_sim,
)
from late_models import (
    MARKERS,
    MASK,
    QUERY_TOKENS,
    TOKEN_WIDTH,
    backbone,
    projection,
    save_colbert,
    save_multi_vector,
    save_pylate,
    word_pieces,
)

QUERIES = ["who runs", "a", "a much longer query than fits"]
PASSAGES = [
    "the cat, it ran. fast!",
    "no",
    "it is a rather long passage, which is cut in",
]


def naive(text: str, role: Role, *, attended: bool = False) -> NDArray[np.float32]:
    """Compute one text's token vectors as ColBERT's paper says, one text at a time."""
    tokenizer = word_pieces()
    ids = tokenizer.encode(text).ids
    marker = tokenizer.token_to_id(MARKERS[0] if role is Role.QUERY else MARKERS[1])
    longest = QUERY_TOKENS if role is Role.QUERY else 40
    if len(ids) + 1 > longest:
        ids = [*ids[: longest - 2], ids[-1]]
    assert marker is not None
    ids = [ids[0], marker, *ids[1:]]
    seen = len(ids)
    if role is Role.QUERY:
        filler = tokenizer.token_to_id(MASK)
        assert filler is not None
        ids += [filler] * (QUERY_TOKENS - seen)
    mask = [1 if attended or place < seen else 0 for place in range(len(ids))]
    model = backbone()
    with torch.no_grad():
        states = model(torch.tensor([ids]), attention_mask=torch.tensor([mask])).last_hidden_state
        rows = [projection() @ state for state in states[0]]
    rows = [row / row.norm() for row in rows]
    skipped = {tokenizer.token_to_id(mark) for mark in punctuation}
    kept = [
        row.numpy()
        for row, one in zip(rows, ids, strict=True)
        if role is Role.QUERY or one not in skipped
    ]
    return np.stack(kept)


def token_vectors(
    encoder: TorchEncoder, texts: list[str], role: Role
) -> tuple[NDArray[np.float32], ...]:
    """Return the token vectors of texts, of one call."""
    found = encoder.encode(texts, role=role, outputs=[Output.TOKEN_EMBEDDINGS]).token_embeddings
    assert found is not None
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models."""
    folder = tmp_path_factory.mktemp("late")
    save_colbert(folder / "colbert")
    save_colbert(folder / "attended", attended=True)
    save_pylate(folder / "pylate")
    save_multi_vector(folder / "multi")
    return folder


@pytest.fixture(scope="module")
def colbert(folders: Path) -> Iterator[TorchEncoder]:
    """Return ColBERT's checkpoint, opened."""
    choices = Choices(pooling=Pooling.MEAN)
    with TorchEncoder.from_pretrained(folders / "colbert", choices=choices) as encoder:
        yield encoder


@pytest.mark.slow
class TestColbert(EncoderContract):
    """A model of token vectors is an encoder as any other."""

    @pytest.fixture
    def encoder(self, colbert: TorchEncoder) -> TorchEncoder:
        return colbert


@pytest.mark.parametrize("name", ["colbert", "attended", "pylate"])
@pytest.mark.parametrize("role", list(Role))
def test_token_vectors_are_colberts(folders: Path, name: str, role: Role) -> None:
    texts = QUERIES if role is Role.QUERY else PASSAGES
    choices = Choices(pooling=Pooling.MEAN)
    with TorchEncoder.from_pretrained(folders / name, choices=choices) as encoder:
        found = token_vectors(encoder, texts, role)
    for text, rows in zip(texts, found, strict=True):
        expected = naive(text, role, attended=name == "attended")
        assert rows.shape == expected.shape
        assert np.abs(rows - expected).max() < 1e-5


@pytest.mark.parametrize("attend", [False, True])
@pytest.mark.parametrize("strategy", ["fixed", "min"])
def test_token_vectors_are_those_of_sentence_transformers(
    tmp_path: Path, strategy: str, *, attend: bool
) -> None:
    library = pytest.importorskip("sentence_transformers")
    folder = save_multi_vector(tmp_path / "m", strategy=strategy, attend=attend)
    theirs = library.MultiVectorEncoder(str(folder), device="cpu")
    with TorchEncoder.from_pretrained(folder, choices=Choices(pooling=Pooling.MEAN)) as encoder:
        pairs = [
            (token_vectors(encoder, QUERIES, Role.QUERY), theirs.encode_query(QUERIES)),
            (token_vectors(encoder, PASSAGES, Role.PASSAGE), theirs.encode_document(PASSAGES)),
        ]
    for found, expected in pairs:
        for rows, others in zip(found, expected, strict=True):
            assert rows.shape == tuple(others.shape)
            assert np.abs(rows - np.asarray(others)).max() < 1e-5


def test_punctuation_of_passages_alone_is_skipped(colbert: TorchEncoder) -> None:
    (plain,) = token_vectors(colbert, ["a b"], Role.PASSAGE)
    (dotted,) = token_vectors(colbert, ["a. b!"], Role.PASSAGE)
    assert len(plain) == len(dotted) == 5  # with [CLS], the marker and [SEP]
    (query,) = token_vectors(colbert, ["a. b!"], Role.QUERY)
    assert query.shape == (QUERY_TOKENS, TOKEN_WIDTH)


def test_the_dense_vector_is_the_same_with_and_without_token_vectors(colbert: TorchEncoder) -> None:
    alone = colbert.encode(QUERIES, role=Role.QUERY).dense
    outputs = [Output.TOKEN_EMBEDDINGS]
    both = colbert.encode(QUERIES, role=Role.QUERY, outputs=outputs).dense
    assert np.abs(alone - both).max() < 1e-6


def test_max_sim_prefers_the_passage_with_the_querys_words(colbert: TorchEncoder) -> None:
    (query,) = token_vectors(colbert, ["the cat"], Role.QUERY)
    same, other = token_vectors(colbert, ["the cat", "99 %"], Role.PASSAGE)
    assert max_sim(query, same) > max_sim(query, other)


def test_a_recipe_with_late_interaction_survives_its_json(colbert: TorchEncoder) -> None:
    recipe = colbert.recipe
    assert recipe.late_interaction is not None
    assert recipe.late_interaction.markers == MARKERS
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_a_model_of_token_vectors_alone_wants_a_pooling(folders: Path) -> None:
    with pytest.raises(RecipeError, match="pass its pooling"):
        TorchEncoder.from_pretrained(folders / "colbert")
