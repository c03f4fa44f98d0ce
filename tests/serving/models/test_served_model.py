"""What a model says of texts before they are accepted: how many tokens, and which it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from decant.embedders import HashEncoder, RecipeError, Role, TextError, load
from decant.embedders.encoding import cut_recipe
from decant.embedders.tokens import Tokens
from decant.serving import RequestError, ServedModel
from decant.serving.batches import PassKey
from instructed_encoder import InstructedEncoder

QUERY, PASSAGE = (PassKey(role=role) for role in (Role.QUERY, Role.PASSAGE))


@pytest.fixture
def model(full: InstructedEncoder) -> ServedModel:
    """Return a model whose prompts have two words each, and that reads 32 words."""
    return ServedModel(name="full", encoder=full)


def test_tokens_are_those_that_the_model_reads_prompts_included(model: ServedModel) -> None:
    texts = ["one", "one two three", "word " * 100]
    assert model.count_tokens(texts, QUERY, numbers=range(3)) == (3, 5, 32)


def test_tokens_of_a_bundle_are_the_rows_of_its_graph(tiny_bundle: Path) -> None:
    with load(tiny_bundle, provider="cpu") as encoder:
        model = ServedModel(name="tiny", encoder=encoder)
        texts = ["short", "a longer text of several words", "x " * 1_000]
        for key in (QUERY, PASSAGE):
            rows = encoder.text_tokenizer(texts, role=key.role)
            expected = tuple(len(row.ids) for row in rows)
            assert model.count_tokens(texts, key, numbers=range(3)) == expected
        assert expected[-1] == encoder.recipe.max_tokens


class Dropping(HashEncoder):
    """An encoder whose tokenizer drops some texts, and quotes them as that of a bundle does."""

    def text_tokenizer(self, texts: Sequence[str], **_: object) -> list[Tokens]:
        for index, text in enumerate(texts):
            if "dropped" in text:
                raise TextError(f"text {index}, {text!r}, gives no token that counts")
        return [Tokens(ids=(1, 2), counted=0) for _ in texts]


def test_a_refused_text_is_named_by_the_number_of_its_client_and_not_quoted() -> None:
    model = ServedModel(name="tiny", encoder=Dropping())
    assert model.count_tokens(["fine", "fine"], QUERY, numbers=[0, 1]) == (2, 2)
    with pytest.raises(RequestError, match="text 7 cannot be embedded by tiny") as found:
        model.count_tokens(["fine", "dropped"], QUERY, numbers=[5, 7])
    assert "'dropped'" not in str(found.value)
    assert found.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "\ud800"])
def test_what_is_no_text_is_refused(text: str, model: ServedModel) -> None:
    with pytest.raises(RequestError, match="text 1 cannot be embedded by full"):
        model.count_tokens(["fine", text], QUERY, numbers=[0, 1])


def test_a_text_of_which_the_end_would_be_lost_is_refused_on_request(model: ServedModel) -> None:
    model.check_lengths(["word " * 30], PASSAGE, numbers=[0])
    with pytest.raises(RequestError, match="text 3 has 31 tokens, and full reads 30 of a passage"):
        model.check_lengths(["fine", "word " * 31], PASSAGE, numbers=[2, 3])


def test_widths_are_those_that_the_model_was_trained_for(model: ServedModel) -> None:
    recipe, width = model.encoder.recipe, model.encoder.dim
    for dim in range(12):
        try:
            cut_recipe(recipe, width=width, dim=dim, allow_any_dim=False)
        except RecipeError:
            with pytest.raises(RequestError, match=f"to be cut to 4 up; asked for {dim}"):
                model.check_width(dim)
        else:
            model.check_width(dim)


def test_instructions_are_for_queries_of_models_that_take_them(
    model: ServedModel, plain: InstructedEncoder
) -> None:
    model.check_instruction(PassKey(role=Role.QUERY, instruction="find"))
    with pytest.raises(RequestError, match="these texts are passages"):
        model.check_instruction(PassKey(role=Role.PASSAGE, instruction="find"))
    with pytest.raises(RequestError, match="is blank"):
        model.check_instruction(PassKey(role=Role.QUERY, instruction=" "))
    other = ServedModel(name="minilm", encoder=plain)
    with pytest.raises(RequestError, match="minilm takes no instruction"):
        other.check_instruction(PassKey(role=Role.QUERY, instruction="find"))
