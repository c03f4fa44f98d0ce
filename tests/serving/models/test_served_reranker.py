"""What a reranker says of pairs before they are accepted: how many tokens, which it refuses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from decant.embedders import HashReranker, TextError
from decant.serving import InstructionRefused, RequestError, ServedReranker, SettingsError
from decant.serving.models import ModelDirectory

PAIRS = [("a river", "the sea"), ("a river", "stone " * 40), ("hill", "a")]


class Picky(HashReranker):
    """A reranker whose tokenizer fails on some texts, and that quotes them."""

    def count_tokens(
        self, pairs: Sequence[tuple[str, str]], *, instruction: str | None = None
    ) -> tuple[int, ...]:
        """Refuse what says so."""
        for pair in pairs:
            if any(one.startswith("refused") for one in pair):
                raise TextError(f"no room: {pair}")
        return super().count_tokens(pairs, instruction=instruction)


def model_of(reranker: HashReranker) -> ServedReranker:
    """Return a served reranker."""
    return ServedReranker(name="ranker", reranker=reranker)


def test_tokens_are_those_that_the_model_reads(ranker: HashReranker) -> None:
    assert model_of(ranker).count_tokens(PAIRS, instruction=None) == (4, 24, 2)
    assert model_of(ranker).cut_texts(["a b c", "d"], tokens=2) == ("a b", "d")


def test_a_pair_that_is_too_long_is_named(ranker: HashReranker) -> None:
    with pytest.raises(RequestError, match="text 8 has 42 tokens with its query"):
        model_of(ranker).check_lengths(PAIRS, instruction=None, first=7)
    model_of(ranker).check_lengths(PAIRS[:1], instruction=None)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("refused query", "a"), "the query of text 5 leaves no room"),
        (("a", "refused passage"), "text 5 cannot be scored by ranker"),
    ],
)
def test_what_is_refused_is_named_and_not_quoted(pair: tuple[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message) as refusal:
        model_of(Picky()).count_tokens([("a", "b"), pair], instruction=None, first=4)
    assert "refused" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_an_instruction_needs_its_place(ranker: HashReranker) -> None:
    with pytest.raises(InstructionRefused, match="takes no instruction"):
        model_of(ranker).check_instruction("find")
    model_of(ranker).check_instruction(None)


def test_names_are_those_of_all_models(ranker: HashReranker) -> None:
    with pytest.raises(SettingsError, match="a model's name"):
        ServedReranker(name="?", reranker=ranker)
    with pytest.raises(SettingsError, match="two models are called 'ranker'"):
        ModelDirectory([model_of(ranker), model_of(ranker)])
    only = ModelDirectory([model_of(ranker)])
    assert only.only_of_all() is only.only_reranker()
    assert only.find_any(f"ranker@{ranker.recipe.digest()}") is only.only_reranker()
    with pytest.raises(RequestError, match="has rerankers alone: ranker"):
        only.only()
