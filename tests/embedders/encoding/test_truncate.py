"""``load(dim=…)``: vectors cut and normalised again, a recipe that says so, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts.encoder import EncoderContract
from contracts.texts import TEXTS
from decant.embedders import (
    Choices,
    CollectionMismatch,
    Encoder,
    ModelFiles,
    OnnxEncoder,
    Pooling,
    RecipeError,
    Role,
    TorchEncoder,
    load,
    resolve,
)
from decant.embedders.encoding.truncate import cut, cut_recipe
from decant.export import export
from decant.integrations.qdrant import Collection, connect
from models import WIDTH, save_model

SMALLEST = 8
DIM = 12


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that says that it may be cut."""
    target = tmp_path_factory.mktemp("bundle") / "matryoshka"
    export(tiny_folder, target, choices=Choices(min_dim=SMALLEST))
    return target


@pytest.fixture(scope="module")
def whole(bundle: Path) -> Iterator[OnnxEncoder]:
    with load(bundle, provider="cpu") as encoder:
        yield encoder


@pytest.fixture(scope="module")
def short(bundle: Path) -> Iterator[OnnxEncoder]:
    with load(bundle, provider="cpu", dim=DIM) as encoder:
        yield encoder


class TestCutEncoder(EncoderContract):
    """A cut encoder is an encoder."""

    @pytest.fixture
    def encoder(self, short: OnnxEncoder) -> Encoder:
        return short


def shortened(vectors: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    rows = [row[:dim] / np.sqrt(np.sum(row[:dim] ** 2)) for row in vectors.astype(np.float64)]
    return np.array(rows, np.float32)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("count", [1, len(TEXTS), 300])
def test_vectors_are_the_whole_ones_cut_and_normalised_again(
    whole: OnnxEncoder, short: OnnxEncoder, role: Role, count: int
) -> None:
    texts = [TEXTS[index % len(TEXTS)] for index in range(count)]  # 300 run on the workers
    expected = shortened(whole.encode(texts, role=role).dense, DIM)
    found = short.encode(texts, role=role).dense
    assert found.shape == (count, DIM)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_vectors_are_those_of_a_model_whose_recipe_says_dim(
    tiny_folder: Path, short: OnnxEncoder
) -> None:
    reference = TorchEncoder.from_pretrained(tiny_folder, choices=Choices(dim=DIM))
    expected = reference.encode(TEXTS, role=Role.QUERY).dense
    reference.close()
    found = short.encode(TEXTS, role=Role.QUERY).dense
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    assert short.recipe.digest() == reference.recipe.digest()


def test_the_recipe_says_the_width_and_has_another_digest(
    whole: OnnxEncoder, short: OnnxEncoder
) -> None:
    assert (whole.dim, short.dim) == (WIDTH, DIM)
    assert whole.recipe.min_dim == SMALLEST
    assert short.recipe == replace(whole.recipe, dim=DIM)
    assert short.recipe.digest() != whole.recipe.digest()
    assert f"dim={DIM}" in repr(short)


def test_the_whole_width_cuts_nothing(bundle: Path, whole: OnnxEncoder) -> None:
    with load(bundle, provider="cpu", dim=WIDTH) as encoder:
        assert encoder.recipe == whole.recipe
        found = encoder.encode(TEXTS, role=Role.QUERY).dense
    np.testing.assert_array_equal(found, whole.encode(TEXTS, role=Role.QUERY).dense)


@pytest.mark.parametrize(
    ("dim", "allow_any_dim", "message"),
    [
        (0, False, "dim must be at least 1, got 0"),
        (-3, True, "dim must be at least 1, got -3"),
        (WIDTH + 1, False, f"of {WIDTH} values, and dim={WIDTH + 1} asks for more"),
        (WIDTH + 1, True, f"of {WIDTH} values, and dim={WIDTH + 1} asks for more"),
        (
            SMALLEST - 1,
            False,
            rf"to {SMALLEST} values or more, got dim={SMALLEST - 1}.*allow_any_dim",
        ),
    ],
)
def test_what_the_model_was_not_trained_for_is_refused(
    bundle: Path, dim: int, allow_any_dim: bool, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        load(bundle, dim=dim, allow_any_dim=allow_any_dim)


def test_a_model_that_was_not_trained_to_be_cut_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"dim=16.*no min_dim.*allow_any_dim=True \(--allow-any-dim\)"
    ):
        load(tiny_bundle, dim=16)


@pytest.mark.parametrize("dim", [1, SMALLEST - 1])
def test_any_width_is_cut_on_request(bundle: Path, tiny_bundle: Path, dim: int) -> None:
    for place in (bundle, tiny_bundle):
        with load(place, provider="cpu", dim=dim, allow_any_dim=True) as encoder:
            found = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        assert found.shape == (len(TEXTS), dim)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_collection_of_whole_vectors_takes_no_cut_ones(
    whole: OnnxEncoder, short: OnnxEncoder, tmp_path: Path
) -> None:
    with connect(str(tmp_path / "store")) as store:
        Collection.create(store, "docs", whole)
        with pytest.raises(CollectionMismatch, match=f"dim: None there, {DIM} here"):
            Collection.open(store, "docs", short)


def test_what_was_cut_at_export_can_be_cut_further(whole: OnnxEncoder) -> None:
    exported = replace(whole.recipe, dim=16)
    assert cut_recipe(exported, width=16, dim=10, allow_any_dim=False) == replace(exported, dim=10)
    with pytest.raises(RecipeError, match="of 16 values"):
        cut_recipe(exported, width=16, dim=17, allow_any_dim=False)


@given(
    st.lists(st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4), min_size=1),
    st.integers(1, 4),
)
def test_cutting_is_a_slice_divided_by_its_length(rows: list[list[float]], dim: int) -> None:
    vectors = np.array(rows, np.float32)
    before = vectors.copy()
    np.testing.assert_array_equal(cut(vectors, dim=dim, normalize=False), before[:, :dim])
    found = cut(vectors, dim=dim, normalize=True)
    np.testing.assert_array_equal(vectors, before)
    for row, given_row in zip(found, before.astype(np.float64), strict=True):
        length = max(np.sqrt(sum(value**2 for value in given_row[:dim])), 1e-12)
        np.testing.assert_allclose(row, given_row[:dim] / length, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "smallest"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", 32),
        ("google/embeddinggemma-300m", 128),
        ("HIT-TMG/KaLM-embedding-multilingual-mini-instruct-v2", 64),
        ("intfloat/e5-mistral-7b-instruct", None),
    ],
)
def test_the_registry_says_which_models_may_be_cut(
    tmp_path: Path, model: str, smallest: int | None
) -> None:
    save_model(tmp_path, "mistral")
    choices = Choices(pooling=Pooling.MEAN)  # which EmbeddingGemma's row leaves to its folder
    recipe = resolve(ModelFiles(folder=tmp_path, base=model, revision="0"), choices)
    assert recipe.min_dim == smallest
