"""Appended tokens: what a recipe may say of them, how inputs end, and which states are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModel

from decant.embedders import (
    Activation,
    AppendedTokens,
    Attention,
    Choices,
    ContrastivePrompting,
    Dense,
    HashEncoder,
    LayerMix,
    Output,
    PooledTokens,
    Pooling,
    Prompt,
    Recipe,
    RecipeError,
    Role,
    SparseHead,
    TorchEncoder,
    find_model,
    resolve,
    span_vectors,
)
from decant.embedders.pytorch.appended_states import folded, read_states
from decant.embedders.tokens import TextTokenizer
from models import COMPRESS, LONGEST, save_compressing, tokenizer

TEXTS = ["the wind", "a", "what the wind wants", "the"]
TAIL = Recipe(
    base="model",
    attention=Attention.CAUSAL,
    pooling=Pooling.MEAN,
    max_tokens=16,
    eos="</s>",
    span=PooledTokens.TAIL,
    appended=AppendedTokens(tokens=COMPRESS, read=3),
)


class TestRecipe:
    @pytest.mark.parametrize(
        ("tokens", "read", "decoded", "said"),
        [
            ((), 1, 0, "one or more"),
            (("a", ""), 1, 0, "none empty"),
            (("a", "b"), 0, 0, "1 to 2 can be read"),
            (("a", "b"), 3, 0, "1 to 2 can be read, got read=3"),
            (("a",), 1, -1, "decoded must be at least 0"),
        ],
    )
    def test_what_cannot_be_read_is_refused(
        self, tokens: tuple[str, ...], read: int, decoded: int, said: str
    ) -> None:
        with pytest.raises(RecipeError, match=said):
            AppendedTokens(tokens=tokens, read=read, decoded=decoded)

    def test_the_span_and_the_tokens_go_together(self) -> None:
        for span, appended in ((PooledTokens.TAIL, None), (PooledTokens.ALL, TAIL.appended)):
            with pytest.raises(RecipeError, match="go together"):
                replace(TAIL, span=span, appended=appended)

    def test_no_more_layers_are_decoded_than_there_are(self) -> None:
        head = (Dense(path="1_Dense", inputs=4, outputs=4),)
        appended = AppendedTokens(tokens=("a",), read=1, decoded=2)
        with pytest.raises(RecipeError, match="decoded=2 of the head's layers, and the head has 1"):
            replace(TAIL, head=head, appended=appended)

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            ({"ensemble": (Prompt(prefix="q"),)}, "several prompts"),
            (
                {"contrast": ContrastivePrompting(prompt=Prompt(), layer=0, strength=1.0)},
                "several prompts",
            ),
            ({"query_prompt": Prompt(between_copies=" ")}, "second copy"),
            ({"sparse_head": SparseHead()}, "a sparse head"),
            ({"mix": LayerMix()}, "a mix of layers"),
        ],
    )
    def test_what_means_nothing_beside_them_is_refused(
        self, other: dict[str, object], said: str
    ) -> None:
        with pytest.raises(RecipeError, match=said):
            replace(TAIL, **other)  # type: ignore[arg-type]

    def test_a_strategy_that_pools_the_text_is_refused_on_such_a_model(self, summed: Path) -> None:
        with pytest.raises(RecipeError, match="go together"):
            resolve(find_model(summed), Choices(span=PooledTokens.ALL))


class TestTokens:
    @pytest.fixture
    def words(self) -> Tokenizer:
        made = tokenizer("<s> $A")
        made.add_special_tokens(list(COMPRESS))
        return made

    def test_they_end_every_input_and_the_last_are_counted(self, words: Tokenizer) -> None:
        rows = TextTokenizer(words, TAIL)(["the", "the wind" * 30], role=Role.QUERY)
        ids = [words.token_to_id(token) for token in ("</s>", *COMPRESS)]
        for row in rows:
            assert list(row.ids[-5:]) == ids
            assert row.ids[0] == words.token_to_id("<s>")
            assert row.counted == len(row.ids) - 3
            assert row.end is None
        assert [len(row.ids) for row in rows][1] == TAIL.max_tokens

    def test_room_is_what_they_leave(self, words: Tokenizer) -> None:
        bare = replace(TAIL, span=PooledTokens.ALL, appended=None)
        for role in Role:
            with_them = TextTokenizer(words, TAIL).max_text_tokens(role)
            assert with_them == TextTokenizer(words, bare).max_text_tokens(role) - len(COMPRESS)
        with pytest.raises(RecipeError, match="leave no room for text"):
            TextTokenizer(words, replace(TAIL, max_tokens=6))

    def test_an_open_end_still_ends_with_them(self, words: Tokenizer) -> None:
        recipe = replace(TAIL, open_end=True)
        (row,) = TextTokenizer(words, recipe)(["the"], role=Role.QUERY)
        assert len(row.ids) == len(words.encode("the").ids) + len(COMPRESS)

    def test_a_token_that_the_vocabulary_lacks_is_an_error(self) -> None:
        with pytest.raises(RecipeError, match="appends '<EMBED0>', which this tokenizer"):
            TextTokenizer(tokenizer(), TAIL)


@pytest.fixture(scope="module")
def summed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of AutoRegEmbed's kind: three of four tokens, no layers after them."""
    return save_compressing(tmp_path_factory.mktemp("summed") / "model")


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of LLM2Vec-Gen's kind: two tokens, two linear layers."""
    made = tmp_path_factory.mktemp("layered") / "model"
    return save_compressing(made, read=2, widths=(24, 40))


def by_hand(folder: Path, text: str, read: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return vector and states of a passage, with one layer after the other for each token."""
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = words.encode(f"say {text}").ids + [words.token_to_id(token) for token in COMPRESS]
    model = AutoModel.from_pretrained(folder)
    with torch.inference_mode():
        hidden = model(torch.tensor([ids])).last_hidden_state[0, -read:]
        decoded = hidden
        for number, path in enumerate(sorted(folder.glob("*_Dense"))):
            tensors = load_file(path / "model.safetensors")
            hidden = hidden @ tensors["linear.weight"].T + tensors["linear.bias"]
            decoded = hidden if number == 0 else decoded
        vector = torch.nn.functional.normalize(hidden.mean(0), dim=0)
    return vector.numpy(), decoded.numpy()


@pytest.mark.parametrize(("kind", "read"), [("summed", 3), ("layered", 2)])
def test_vectors_and_states_are_those_of_the_papers(
    kind: str, read: int, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(kind)
    with TorchEncoder.from_pretrained(folder) as encoder:
        found = encoder.encode(TEXTS, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS])
    assert found.soft_tokens is not None
    for text, vector, states in zip(TEXTS, found.dense, found.soft_tokens, strict=True):
        expected, decoded = by_hand(folder, text, read)
        np.testing.assert_allclose(vector, expected, atol=1e-5)
        np.testing.assert_allclose(states, decoded, atol=2e-5)


def test_parts_of_a_text_have_no_vector_of_their_own(summed: Path) -> None:
    choices = Choices(token_embeddings=True)
    with (
        TorchEncoder.from_pretrained(summed, choices=choices) as encoder,
        pytest.raises(RecipeError, match="appended tokens, which belong to no part"),
    ):
        span_vectors(encoder, "the wind", [(0, 3)])


def test_an_encoder_without_such_tokens_says_so() -> None:
    with pytest.raises(RecipeError, match="its recipe appends no tokens"):
        HashEncoder(8).encode(["a"], role=Role.QUERY, outputs=[Output.SOFT_TOKENS])


@given(st.data())
def test_states_are_read_wherever_the_tokens_stand(data: st.DataObject) -> None:
    count, rows = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    places = st.lists(st.integers(0, 8), min_size=count, max_size=count, unique=True)
    chosen = [sorted(data.draw(places)) for _ in range(rows)]
    hidden = np.random.default_rng(0).normal(size=(rows, 9, 2)).astype(np.float32)
    mask = np.zeros((rows, 9), np.int64)
    for row, found in enumerate(chosen):
        mask[row, found] = 1
    expected = np.stack([hidden[row, found] for row, found in enumerate(chosen)])
    hidden[mask == 0] = np.nan
    states = read_states(torch.from_numpy(hidden), torch.from_numpy(mask), count)
    np.testing.assert_array_equal(states.numpy(), expected)


@pytest.fixture
def head() -> torch.nn.Sequential:
    torch.manual_seed(1)
    identity = torch.nn.Identity
    return torch.nn.Sequential(
        torch.nn.Linear(8, 5), identity(), torch.nn.Linear(5, 6, bias=False), identity()
    )


def test_folded_layers_give_what_stacked_ones_do_for_each_token(head: torch.nn.Sequential) -> None:
    states = torch.randn(3, 4, 8)
    (one,) = folded(head)
    with torch.inference_mode():
        stacked = torch.stack([head(states[:, token]) for token in range(4)], dim=1).mean(1)
        np.testing.assert_allclose(one(states.mean(1)), stacked, atol=1e-6)
    assert len(head) == 4


def test_an_activation_parts_what_is_folded(head: torch.nn.Sequential) -> None:
    bent = torch.nn.Sequential(*head, torch.nn.Linear(6, 7), torch.nn.Tanh())
    made = folded(torch.nn.Sequential(*bent, torch.nn.Linear(7, 2), torch.nn.Identity()))
    assert [type(layer).__name__ for layer in made] == ["Linear", "Tanh", "Linear"]
    states = torch.randn(3, 8)
    with torch.inference_mode():
        np.testing.assert_allclose(made(states), made[2](bent(states)), atol=1e-6)


def test_layers_without_bias_fold_to_one_without() -> None:
    bare = [torch.nn.Linear(3, 3, bias=False), torch.nn.Identity()] * 2
    (one,) = folded(torch.nn.Sequential(*bare))
    assert isinstance(one, torch.nn.Linear)
    assert one.bias is None


def test_the_decoded_layers_may_end_in_an_activation(layered: Path) -> None:
    recipe = resolve(find_model(layered))
    first = replace(recipe.head[0], activation=Activation.TANH)
    bent = Choices(head=(first, *recipe.head[1:]))
    with TorchEncoder.from_pretrained(layered, choices=bent) as encoder:
        found = encoder.encode(TEXTS, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS])
    assert found.soft_tokens is not None
    assert np.abs(found.soft_tokens).max() <= 1
    _, decoded = by_hand(layered, TEXTS[0], 2)
    np.testing.assert_allclose(found.soft_tokens[0], np.tanh(decoded), atol=2e-5)


def test_long_texts_are_cut_before_the_tokens(summed: Path) -> None:
    with TorchEncoder.from_pretrained(summed) as encoder:
        room = encoder.max_text_tokens(Role.PASSAGE)
        assert room == LONGEST - len(COMPRESS) - len(encoder.tokenizer.encode("say").ids)
        full, longer = (
            encoder.encode([text], role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS])
            for text in ("b" * room, "b" * 3 * room)
        )
    assert full.soft_tokens is not None
    assert longer.soft_tokens is not None
    np.testing.assert_allclose(full.soft_tokens, longer.soft_tokens, atol=1e-5)
    np.testing.assert_allclose(full.dense, longer.dense, atol=1e-6)
