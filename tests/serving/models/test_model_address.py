"""The names by which clients find a model."""

from __future__ import annotations

import pytest

from decant.embedders import HashEncoder, Role
from decant.serving import RequestError, ServedModel, SettingsError
from decant.serving.models import ModelDirectory, VectorKind
from instructed_encoder import InstructedEncoder


@pytest.fixture
def models(full: InstructedEncoder, plain: HashEncoder) -> ModelDirectory:
    """Return two models."""
    return ModelDirectory(
        [ServedModel(name="full", encoder=full), ServedModel(name="org/minilm", encoder=plain)]
    )


def test_a_name_alone_is_the_dense_vector(models: ModelDirectory) -> None:
    found = models.find("org/minilm")
    assert (found.model.name, found.kind, found.role) == ("org/minilm", VectorKind.DENSE, None)


@pytest.mark.parametrize("written", ["full:sparse:query", "full:query:sparse"])
def test_suffixes_come_in_any_order(written: str, models: ModelDirectory) -> None:
    found = models.find(written)
    assert (found.kind, found.role) == (VectorKind.SPARSE, Role.QUERY)


def test_a_digest_pins_the_recipe(models: ModelDirectory, full: InstructedEncoder) -> None:
    digest = full.recipe.digest()
    assert models.find(f"full@{digest}:tokens").kind is VectorKind.TOKENS
    with pytest.raises(RequestError, match=rf"recipe {digest} here, and the request wants '0f'"):
        models.find("full@0f")
    with pytest.raises(RequestError, match="wants ''"):
        models.find("full@")


def test_an_unknown_name_is_answered_with_those_that_are_there(models: ModelDirectory) -> None:
    with pytest.raises(RequestError, match=r"no model 'bge' here; there are: full, org/minilm$"):
        models.find("bge")


@pytest.mark.parametrize(
    "written",
    ["full:", "full:dense2", "full:query:passage", "full:sparse:tokens", "org/minilm:sparse"],
)
def test_suffixes_that_say_nothing_are_refused(written: str, models: ModelDirectory) -> None:
    with pytest.raises(RequestError, match=r"it has :dense.*:query, :passage, one of each sort"):
        models.find(written)


def test_one_model_needs_no_name_and_several_do(models: ModelDirectory, plain: HashEncoder) -> None:
    only = ServedModel(name="a", encoder=plain)
    assert ModelDirectory([only]).only().model is only
    with pytest.raises(RequestError, match="several models: full, org/minilm"):
        models.only()


def test_a_server_has_models_and_their_names_differ(plain: HashEncoder) -> None:
    twice = [ServedModel(name="a", encoder=plain) for _ in range(2)]
    with pytest.raises(SettingsError, match="two models are called 'a'"):
        ModelDirectory(twice)
    with pytest.raises(SettingsError, match="at least one model"):
        ModelDirectory([])


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a@b", "-a", "a" * 129, "ä"])
def test_names_that_would_be_read_otherwise_are_refused(name: str, plain: HashEncoder) -> None:
    with pytest.raises(SettingsError, match="NAME=BUNDLE"):
        ServedModel(name=name, encoder=plain)
