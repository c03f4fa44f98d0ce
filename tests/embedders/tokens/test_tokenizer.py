"""Tokenising: what survives truncation, what counts, and that texts stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

from decant.embedders import (
    Attention,
    PooledTokens,
    Pooling,
    Prompt,
    Recipe,
    RecipeError,
    Role,
    TextError,
    TokenPrepending,
)
from decant.embedders.tokens.batching import Batching, bucket, pad, token_batches
from decant.embedders.tokens.golden_texts import GOLDEN_TEXTS
from decant.embedders.tokens.rows import Tokens
from decant.embedders.tokens.tokenizer import TextTokenizer
from models import SPECIALS, tokenizer

PAD, BOS, EOS = (SPECIALS.index(word) for word in ("<pad>", "<s>", "</s>"))
QUERY = Prompt.parse("query: {text}")
WRAPPED = Prompt.parse("Instruct: find\nQuery: {text}\n<response>")


def recipe(
    *,
    query: Prompt | None = None,
    eos: str | None = None,
    span: PooledTokens = PooledTokens.ALL,
    max_tokens: int = 48,
) -> Recipe:
    return Recipe(
        base="tiny",
        attention=Attention.CAUSAL,
        pooling=Pooling.LAST,
        max_tokens=max_tokens,
        query_prompt=query or Prompt(),
        eos=eos,
        span=span,
    )


def decoded(tokens: Tokens) -> str:
    return str(tokenizer().decode(list(tokens.ids), skip_special_tokens=False))


@given(st.text(min_size=1, max_size=40))
def test_a_short_text_gets_the_ids_of_prompt_and_text_as_one_string(text: str) -> None:
    made = TextTokenizer(tokenizer(), recipe(query=QUERY, max_tokens=4000))
    whole = tokenizer().encode(f"query: {text}").ids
    assert list(made([text], role=Role.QUERY)[0].ids) == whole
    assert list(made([text], role=Role.PASSAGE)[0].ids) == tokenizer().encode(text).ids


@given(st.text(min_size=1, max_size=300), st.integers(40, 60))
def test_truncation_cuts_the_text_alone(text: str, limit: int) -> None:
    made = TextTokenizer(tokenizer(), recipe(query=WRAPPED, max_tokens=limit))
    tokens = made([text], role=Role.QUERY)[0]
    assert len(tokens.ids) <= limit
    assert tokens.ids[0] == BOS
    assert tokens.ids[-1] == EOS
    shown = decoded(tokens)
    assert shown.startswith("<s>Instruct: find\nQuery:")
    assert shown.endswith("\n<response></s>")


@given(st.text(min_size=1, max_size=60), st.integers(1, 30))
def test_a_limit_of_the_text_counts_no_prompt(text: str, limit: int) -> None:
    """An instruction before the text takes nothing from it."""
    limited = replace(recipe(query=WRAPPED, max_tokens=300), max_text_tokens=limit)
    free = TextTokenizer(tokenizer(), recipe(query=WRAPPED, max_tokens=300))
    made = TextTokenizer(tokenizer(), limited)
    ((begin, end),) = free.places(text, [(0, len(text))], role=Role.QUERY)
    kept = min(end - begin, limit)
    (whole,), (row,) = (one([text], role=Role.QUERY) for one in (free, made))
    assert row.ids == whole.ids[: begin + kept] + whole.ids[end:]
    assert made.max_text_tokens(Role.QUERY) == made.max_text_tokens(Role.PASSAGE) == limit
    (row,) = TextTokenizer(tokenizer(), replace(limited, max_tokens=48))([text], role=Role.QUERY)
    assert row.width <= 48


def test_the_tokenizers_own_truncation_and_padding_are_dropped() -> None:
    model = tokenizer()
    model.enable_truncation(8)
    model.enable_padding(length=8)
    made = TextTokenizer(model, recipe())
    assert len(made(["x"], role=Role.QUERY)[0].ids) == 3
    assert len(made(["word " * 9], role=Role.QUERY)[0].ids) > 8
    assert model.truncation is not None  # the caller's tokenizer is left alone


def test_eos_is_appended_where_the_tokenizer_forgets_it() -> None:
    made = TextTokenizer(tokenizer("<s> $A"), recipe(eos="</s>", max_tokens=10))
    short, long = made(["x", "much too long for ten tokens"], role=Role.PASSAGE)
    assert short.ids[-1] == EOS
    assert long.ids[-1] == EOS
    assert len(long.ids) == 10


def test_eos_is_not_appended_twice() -> None:
    made = TextTokenizer(tokenizer("<s> $A </s>"), recipe(eos="</s>"))
    assert made(["x"], role=Role.PASSAGE)[0].ids.count(EOS) == 1


def test_eos_written_in_a_text_does_not_pass_for_the_end() -> None:
    made = TextTokenizer(tokenizer("<s> $A"), recipe(eos="</s>"))
    assert made(["x</s>"], role=Role.PASSAGE)[0].ids.count(EOS) == 2


def test_an_unknown_eos_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match=r"<\|im_end\|>"):
        TextTokenizer(tokenizer(), recipe(eos="<|im_end|>"))


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(RecipeError, match="no room for text"):
        TextTokenizer(tokenizer(), recipe(query=WRAPPED, max_tokens=12))


def test_room_is_what_fits_beside_prompt_and_special_tokens() -> None:
    made = TextTokenizer(tokenizer("<s> $A"), recipe(query=QUERY, eos="</s>", max_tokens=32))
    room = made.max_text_tokens(Role.QUERY)
    fits, cut = made(["z" * room, "z" * (room + 1)], role=Role.QUERY)
    assert len(fits.ids) == len(cut.ids) == 32
    assert fits.ids == cut.ids


def test_the_text_span_leaves_out_the_prompt_and_keeps_what_follows() -> None:
    made = TextTokenizer(tokenizer(), recipe(query=QUERY, span=PooledTokens.TEXT))
    tokens = made(["what"], role=Role.QUERY)[0]
    # " what" straddles the border of prompt and text, and belongs to the text.
    assert decoded(Tokens(ids=tokens.ids[tokens.counted :], counted=0)) == " what</s>"
    assert made(["what"], role=Role.PASSAGE)[0].counted == 0


def test_white_space_is_text() -> None:
    made = TextTokenizer(tokenizer(), recipe())
    ids = {
        made([text], role=Role.PASSAGE)[0].ids for text in ("a b", "a  b", "a\nb", " a b", "a b ")
    }
    assert len(ids) == 5


@given(
    st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=6), min_size=1, max_size=5),
    st.booleans(),
)
def test_padding_hides_nothing_and_counts_nothing_else(rows: list[list[int]], left: bool) -> None:
    tokens = [Tokens(ids=tuple(row), counted=len(row) - 1) for row in rows]
    batch = pad(tokens, pad_id=0, left=left)
    width = max(len(row) for row in rows)
    assert batch.input_ids.shape == (len(rows), width)
    assert batch.input_ids.dtype == np.int64
    assert (batch.pooling_mask <= batch.attention_mask).all()
    for row, ids, shown, counted in zip(
        rows, batch.input_ids, batch.attention_mask, batch.pooling_mask, strict=True
    ):
        assert ids[shown == 1].tolist() == row
        assert ids[counted == 1].tolist() == row[-1:]
        assert (ids[shown == 0] == 0).all()
        assert bool(shown[-1]) or not left


@given(
    st.lists(st.integers(1, 50), max_size=30),
    st.integers(1, 120),
    st.none() | st.integers(1, 120),
)
def test_batches_hold_every_text_once_within_the_budget(
    lengths: list[int], budget: int, even_from: int | None
) -> None:
    groups = token_batches(lengths, budget, even_from=even_from)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[index] for index in group)
        assert longest * len(group) <= budget or len(group) == 1


@given(st.lists(st.integers(1, 50), max_size=60))
def test_batches_that_are_large_enough_are_not_padded(lengths: list[int]) -> None:
    for group in token_batches(lengths, 200, even_from=50):
        sizes = [lengths[index] for index in group]
        before_the_last = max(sizes) * (len(sizes) - 1)
        assert len(set(sizes)) == 1 or before_the_last < 50 or sizes[-1] == sizes[-2]


@given(st.integers(1, 40_000))
def test_a_bucket_adds_at_most_an_eighth_and_there_are_few(length: int) -> None:
    assert length <= bucket(length) <= max(8, length + 7, length * 9 / 8)
    assert bucket(bucket(length)) == bucket(length)


def test_all_lengths_up_to_8192_fall_into_few_buckets() -> None:
    assert len({bucket(length) for length in range(1, 8193)}) == 64


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=30),
    st.none() | st.integers(60, 90),
)
def test_few_widths_keep_rows_whole_and_stop_at_the_longest(
    lengths: list[int], longest: int | None
) -> None:
    batching = Batching(token_budget=100, pad_id=7, few_widths=True, longest=longest)
    rows = [Tokens(ids=tuple(range(1, length + 1)), counted=0) for length in lengths]
    groups = batching.groups(lengths)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        batch = batching.stack([rows[index] for index in group])
        width: int = batch.input_ids.shape[1]
        most = max(lengths[index] for index in group)
        assert width in {bucket(most), most, longest or most}
        assert width <= max(most, longest or width)
        assert width * len(group) <= 100 or len(group) == 1
        assert batch.attention_mask.sum(1).tolist() == [lengths[index] for index in group]
        assert (batch.input_ids[batch.attention_mask == 0] == 7).all()


def test_golden_ids_cover_both_roles_and_stay_short() -> None:
    made = TextTokenizer(tokenizer(), recipe(query=QUERY, max_tokens=4000))
    golden = made.golden()
    assert [text for _, text, _ in golden] == [*GOLDEN_TEXTS, *GOLDEN_TEXTS]
    assert max(len(ids) for _, _, ids in golden) <= 64 + 12


@pytest.mark.parametrize("span", [PooledTokens.ALL, PooledTokens.TEXT, PooledTokens.CONTENT])
def test_a_text_of_which_no_token_is_left_is_named_by_its_index(span: PooledTokens) -> None:
    model = tokenizer("$A")
    model.normalizer = normalizers.Strip()
    made = TextTokenizer(model, recipe(span=span))
    with pytest.raises(TextError, match=r"text 41, '   ', gives no token that .*leave it out"):
        made(["fine", "   ", "fine"], role=Role.PASSAGE, first=40)
    assert len(made(["fine"], role=Role.PASSAGE)) == 1
    assert () in {ids for _, _, ids in made.golden()}  # golden texts are no one's texts


def test_a_text_of_which_no_token_is_left_is_refused_behind_a_prompt_that_does_not_count() -> None:
    model = tokenizer("<s> $A")
    model.normalizer = normalizers.Strip()
    counted = TextTokenizer(model, recipe(query=QUERY))
    assert counted(["   "], role=Role.QUERY)[0].counted == 0
    made = TextTokenizer(model, recipe(query=QUERY, span=PooledTokens.TEXT))
    with pytest.raises(TextError, match=r"text 1, '   ', gives no token that counts"):
        made(["a", "   "], role=Role.QUERY)
    ended = TextTokenizer(model, recipe(query=QUERY, span=PooledTokens.TEXT, eos="</s>"))
    (row,) = ended(["   "], role=Role.QUERY)
    assert row.ids[row.counted :] == (EOS,)


def larger(*tokens: str) -> Tokenizer:
    """Return a tokenizer with more tokens than the model that it is for."""
    made = tokenizer()
    made.add_special_tokens(list(tokens))
    return made


KNOWN = tokenizer().get_vocab_size()


def test_a_text_with_a_token_that_has_no_embedding_is_named_by_its_index() -> None:
    made = TextTokenizer(larger("<image>", "<audio>"), recipe(), embedded=KNOWN)
    assert len(made(["an image"], role=Role.PASSAGE)) == 1
    message = rf"text 8 holds '<audio>' \(id {KNOWN + 1}\), and .* for {KNOWN} tokens alone"
    with pytest.raises(TextError, match=message):
        made(["fine", "an <audio> file"], role=Role.PASSAGE, first=7)
    # A text that is cut before the token does not hold it any more.
    assert len(made(["word " * 60 + "<audio>"], role=Role.PASSAGE)) == 1
    assert len(made.golden()) == 2 * len(GOLDEN_TEXTS)


@pytest.mark.parametrize("rows", [KNOWN + 1, KNOWN + 100, None])
def test_tokens_with_embeddings_are_taken(rows: int | None) -> None:
    made = TextTokenizer(larger("<image>"), recipe(), embedded=rows)
    assert KNOWN in made(["an <image>"], role=Role.PASSAGE)[0].ids


@pytest.mark.parametrize("kind", ["prompt", "eos", "instruction"])
def test_a_prompt_with_a_token_that_has_no_embedding_is_refused(kind: str) -> None:
    query = Prompt.parse("<image> {text}") if kind == "prompt" else QUERY
    eos = "<image>" if kind == "eos" else None
    said = replace(recipe(query=query, eos=eos), instruction_template="{instruction}: {text}")
    instruction = "find an <image>" if kind == "instruction" else None
    with pytest.raises(RecipeError, match=r"hold '<image>' \(id \d+\).*resize its embeddings"):
        TextTokenizer(larger("<image>"), said, embedded=KNOWN)(
            ["fine"], role=Role.QUERY, instruction=instruction
        )


def test_the_slot_of_token_prepending_is_no_token_of_a_text() -> None:
    slotted = replace(
        recipe(),
        query_prompt=Prompt(before_slot="go ", prefix="on "),
        passage_prompt=Prompt(before_slot="go "),
        prepending=TokenPrepending(slot=KNOWN, start=0, stop=1),
    )
    made = TextTokenizer(larger("<image>"), slotted, embedded=KNOWN)
    assert made(["fine"], role=Role.QUERY)[0].ids.count(KNOWN) == 1
    with pytest.raises(TextError, match="text 0 holds '<image>'"):
        made(["an <image>"], role=Role.QUERY)
