"""The three heads of BGE-M3 in one pass, against FlagEmbedding's formulas written down naively."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel

from decant.embedders import Output, RecipeError, Role, SparseVectors, TorchEncoder, find_model
from decant.embedders.tokens import load_tokenizer
from late_models import save_bge_m3

TEXTS = ["a cat sat on a cat", "rain", "the wind, the wind and the rain <unk> again"]
OUTPUTS = [Output.SPARSE, Output.TOKEN_EMBEDDINGS]


class Program:
    """Pickled, it makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def naive(folder: Path, text: str) -> tuple[NDArray[np.float32], dict[int, float], Tensor]:
    """Return dense vector, weight by token id, and token vectors, as BGEM3Model computes them."""
    ids = load_tokenizer(folder).encode(text).ids
    model = AutoModel.from_pretrained(folder).eval()
    width = model.config.hidden_size
    sparse, tokens = nn.Linear(width, 1), nn.Linear(width, width)
    for layer, name in ((sparse, "sparse_linear.pt"), (tokens, "colbert_linear.pt")):
        layer.load_state_dict(torch.load(folder / name, weights_only=True))
    with torch.no_grad():
        (states,) = model(torch.tensor([ids])).last_hidden_state
        dense = nn.functional.normalize(states[0], dim=0)
        weights: dict[int, float] = {}
        for one, state in zip(ids, states, strict=True):
            weight = float(torch.relu(sparse(state)))
            if one not in {0, 1, 2, 3} and weight > weights.get(one, 0.0):
                weights[one] = weight
        vectors = nn.functional.normalize(tokens(states[1:]), dim=-1)
    return dense.numpy(), weights, vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny model in the layout of BAAI/bge-m3."""
    return save_bge_m3(tmp_path_factory.mktemp("m3") / "model")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Iterator[TorchEncoder]:
    """Return the model with all its heads."""
    with TorchEncoder.from_pretrained(folder, strategy="bge-m3") as made:
        yield made


def test_one_pass_gives_what_flagembedding_computes(folder: Path, encoder: TorchEncoder) -> None:
    found = encoder.encode(TEXTS, role=Role.PASSAGE, outputs=OUTPUTS)
    assert isinstance(found.sparse, SparseVectors)
    assert found.token_embeddings is not None
    for row, text in enumerate(TEXTS):
        dense, weights, vectors = naive(folder, text)
        assert np.abs(found.dense[row] - dense).max() < 1e-5
        ids, values = found.sparse[row]
        assert len(weights) > 1
        assert ids.tolist() == sorted(weights)
        assert values == pytest.approx([weights[one] for one in ids.tolist()], abs=1e-5)
        assert found.token_embeddings[row].shape == tuple(vectors.shape)
        assert np.abs(found.token_embeddings[row] - vectors.numpy()).max() < 1e-5


def test_without_the_strategy_it_has_its_dense_vector_alone(folder: Path) -> None:
    with TorchEncoder.from_pretrained(folder) as plain:
        assert plain.recipe.sparse_head is None
        assert plain.recipe.late_interaction is None
        dense, _, _ = naive(folder, TEXTS[0])
        assert np.abs(plain.encode(TEXTS[:1], role=Role.QUERY).dense[0] - dense).max() < 1e-5


@pytest.mark.parametrize("name", ["sparse_linear.pt", "colbert_linear.pt"])
def test_the_revision_changes_with_a_head_and_with_no_other_file_of_pytorch(
    folder: Path, tmp_path: Path, name: str
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    revision = find_model(folder).revision
    torch.save({"step": 1}, copy / "optimizer.pt")
    assert find_model(copy).revision == revision
    head = torch.load(copy / name, weights_only=True)
    torch.save({**head, "bias": head["bias"] + 1}, copy / name)
    assert find_model(copy).revision != revision


@pytest.mark.parametrize("name", ["sparse_linear.pt", "colbert_linear.pt"])
@pytest.mark.parametrize("old", [False, True], ids=["archive", "pickle"])
def test_a_program_in_a_head_does_not_run(
    folder: Path, tmp_path: Path, name: str, old: bool
) -> None:
    copy, made = Path(shutil.copytree(folder, tmp_path / "model")), tmp_path / "made by the pickle"
    torch.save({"weight": Program(made)}, copy / name, _use_new_zipfile_serialization=not old)
    with pytest.raises(RecipeError, match="holds more than tensors, and decant does not run it"):
        TorchEncoder.from_pretrained(copy, strategy="bge-m3")
    assert not made.exists()


def test_a_folder_without_the_heads_says_which_file_lacks(tmp_path: Path) -> None:
    bare = save_bge_m3(tmp_path / "bare")
    (bare / "sparse_linear.pt").unlink()
    with pytest.raises(RecipeError, match=r"sparse_linear\.pt"):
        TorchEncoder.from_pretrained(bare, strategy="bge-m3")
