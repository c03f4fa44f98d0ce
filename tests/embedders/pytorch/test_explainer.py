"""States are read back by a language model, greedily, and what cannot be read is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from decant.embedders import Explainer, ExplanationError, RecipeError
from models import WIDTH, save_language_model, save_model


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("decoder") / "model", "llama", layers=2)


@pytest.fixture(scope="module")
def explainer(decoder: Path) -> Explainer:
    return Explainer.from_pretrained(decoder)


def drawn(seed: int, count: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def by_hand(decoder: Path, states: NDArray[np.float32], most: int) -> tuple[str, list[list[int]]]:
    """Return the greedy text, a token at a time without a cache, and each state's nearest ids."""
    model = AutoModelForCausalLM.from_pretrained(decoder).eval()
    weights = model.state_dict()
    table, head = weights["model.embed_tokens.weight"], weights["lm_head.weight"]
    ends = {2, 4}  # </s> of the configuration, and <|endoftext|>
    embedded, said = torch.from_numpy(states)[None], []
    with torch.inference_mode():
        nearest = (torch.from_numpy(states) @ head.T).argsort(dim=1, descending=True)
        for _ in range(most):
            token = int(model(inputs_embeds=embedded).logits[0, -1].argmax())
            said.append(token)
            if token in ends:
                break
            embedded = torch.cat([embedded, table[token][None, None]], dim=1)
    words = Tokenizer.from_file(str(decoder / "tokenizer.json"))
    return words.decode(said), nearest.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_text_is_the_greedy_one_and_the_tokens_those_of_the_largest_logits(
    decoder: Path, explainer: Explainer, seed: int
) -> None:
    states = drawn(seed)
    before = states.copy()
    found = explainer.explain(states, max_new_tokens=12, top=4)
    text, nearest = by_hand(decoder, states, 12)
    assert found.text == text
    words = Tokenizer.from_file(str(decoder / "tokenizer.json"))
    expected = [[words.decode([i], skip_special_tokens=False) for i in row[:4]] for row in nearest]
    assert [list(row) for row in found.tokens] == expected
    np.testing.assert_array_equal(states, before)


def test_other_states_give_other_texts(explainer: Explainer) -> None:
    texts = {explainer.explain(drawn(seed), max_new_tokens=12).text for seed in range(6)}
    assert len(texts) > 3
    assert explainer.width == WIDTH
    assert len(explainer.explain(drawn(0, 1), max_new_tokens=1, top=10**6).tokens[0]) > 200


def test_settings_of_the_model_do_not_make_it_draw_by_lot(decoder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(decoder, tmp_path / "sampling")
    settings = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 3.0}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    plain = Explainer.from_pretrained(decoder)
    drawing = Explainer.from_pretrained(folder)
    for seed in range(3):
        one, other = (e.explain(drawn(seed), max_new_tokens=12) for e in (plain, drawing))
        assert one == other


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (np.ones((3, WIDTH + 1), np.float32), "33 wide and the language model takes 32"),
        (np.full((3, WIDTH), np.nan, np.float32), "NaN or infinity"),
        (np.ones((2, 3, WIDTH), np.float32), "explain them one by one"),
        (np.ones((0, WIDTH), np.float32), "explain them one by one"),
    ],
)
def test_states_that_cannot_be_decoded_are_refused(
    explainer: Explainer, states: NDArray[np.float32], said: str
) -> None:
    with pytest.raises(ExplanationError, match=said):
        explainer.explain(states)


@pytest.mark.parametrize("wrong", [{"top": 0}, {"max_new_tokens": 0}])
def test_numbers_below_one_are_refused(explainer: Explainer, wrong: dict[str, int]) -> None:
    with pytest.raises(ExplanationError, match="must be at least 1"):
        explainer.explain(drawn(0), **wrong)


def test_a_folder_without_a_head_is_refused(tmp_path: Path) -> None:
    bare = save_model(tmp_path / "bare", "llama")
    with pytest.raises(RecipeError, match=r"bare cannot decode states.*lm_head"):
        Explainer.from_pretrained(bare)


def test_a_model_that_sees_both_ways_is_refused(tmp_path: Path) -> None:
    both = save_language_model(tmp_path / "both", "bert", layers=1)
    with pytest.raises(RecipeError, match="both cannot decode states"):
        Explainer.from_pretrained(both)
