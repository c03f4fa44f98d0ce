"""Prompts beyond a prefix: two copies, slots, several prompts, instructions, words, open ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from decant.embedders import (
    Attention,
    Choices,
    InContextExample,
    PooledTokens,
    Pooling,
    Prompt,
    Recipe,
    RecipeError,
    Role,
    SparseHead,
    TextFormat,
    TokenPrepending,
    find_model,
    in_context_query,
    resolve,
)
from decant.embedders.tokens.batching import Batching, pad
from decant.embedders.tokens.content_words import content_words
from decant.embedders.tokens.tokenizer import TextTokenizer
from models import SPECIALS, save_language_model, tokenizer
from naive_strategies import quoted

BOS, EOS = (SPECIALS.index(word) for word in ("<s>", "</s>"))
TEXTS = st.text(min_size=1, max_size=60)
WORDS = tokenizer().get_vocab_size()


def recipe(template: str = "{text}", **fields: object) -> Recipe:
    prompt = Prompt.parse(template)
    given = {"max_tokens": 400, **fields}
    return Recipe(
        base="tiny",
        attention=Attention.CAUSAL,
        pooling=Pooling.MEAN,
        query_prompt=prompt,
        passage_prompt=prompt,
        **given,  # type: ignore[arg-type]
    )


def made(template: str = "{text}", **fields: object) -> TextTokenizer:
    return TextTokenizer(tokenizer(), recipe(template, **fields))


def piece(text: str) -> list[int]:
    return list(tokenizer().encode(text, add_special_tokens=False).ids)


@given(TEXTS)
def test_both_copies_of_echo_have_the_same_ids_and_the_second_counts(text: str) -> None:
    echo = made("say: {text}, again: {text}!", span=PooledTokens.COPY)
    (tokens,) = echo([text], role=Role.PASSAGE)
    copy = piece(text)
    before = [BOS, *piece("say: "), *copy, *piece(", again: ")]
    assert list(tokens.ids) == [*before, *copy, *piece("!"), EOS]
    assert (tokens.counted, tokens.end) == (len(before), None)


@given(st.text(min_size=1, max_size=300), st.integers(30, 60))
def test_echo_cuts_both_copies_alike_and_keeps_the_end(text: str, limit: int) -> None:
    echo = made("say: {text}, again: {text}!", span=PooledTokens.COPY, max_tokens=limit)
    (tokens,) = echo([text], role=Role.PASSAGE)
    assert len(tokens.ids) <= limit
    assert tokens.ids[-1] == EOS
    first = tokens.ids[1 + len(piece("say: ")) : tokens.counted - len(piece(", again: "))]
    second = tokens.ids[tokens.counted : -1 - len(piece("!"))]
    assert first == second
    assert list(first) == piece(text)[: len(first)]
    assert len(first) >= min(echo.max_text_tokens(Role.PASSAGE), len(piece(text)))


@given(TEXTS)
@example("\ufdd0slot\ufdd1")
def test_a_slot_is_one_token_that_no_text_has(text: str) -> None:
    plan = TokenPrepending(start=1, stop=2, slot=WORDS)
    slotted = made("go: {slot} [{text}]", prepending=plan)
    (tokens,) = slotted([text], role=Role.PASSAGE)
    assert list(tokens.ids) == [BOS, *piece("go: "), WORDS, *piece(f" [{text}]"), EOS]


@given(TEXTS)
def test_content_leaves_special_tokens_and_prompt_out(text: str) -> None:
    (tokens,) = made(span=PooledTokens.CONTENT)([text], role=Role.PASSAGE)
    ids = tokens.ids[tokens.counted : tokens.end]
    assert ids == (tuple(piece(text)) or tokens.ids)
    batch = pad([tokens, tokens], pad_id=0, left=True)
    assert batch.pooling_mask.sum(axis=1).tolist() == [len(ids), len(ids)]


def test_an_open_end_has_no_eos_whoever_would_append_it() -> None:
    open_end = made("a {text}:", open_end=True, eos="</s>")
    (tokens,) = open_end(["b"], role=Role.PASSAGE)
    assert list(tokens.ids) == [BOS, *piece("a b:")]


@given(TEXTS)
def test_texts_are_worded_as_the_papers_code_does(text: str) -> None:
    assert TextFormat.QUOTED.of(text) == quoted(text)
    assert TextFormat.VERBATIM.of(text) == text


def test_an_ensemble_is_a_row_for_each_prompt() -> None:
    several = made("a {text}", ensemble=(Prompt.parse("b {text}"), Prompt.parse("c c {text}")))
    rows = several(["x", "y y"], role=Role.PASSAGE)
    assert [len(row.rows) for row in rows] == [3, 3]
    batch = pad(rows, pad_id=0)
    assert batch.input_ids.shape == (6, max(row.width for row in rows))
    shown = [tokenizer().decode(ids.tolist()) for ids in batch.input_ids]
    assert [text.replace("<pad>", "").strip() for text in shown] == [
        "a x", "b x", "c c x", "a y y", "b y y", "c c y y",
    ]  # fmt: skip
    batching = Batching(token_budget=60, pad_id=0, rows=3)
    assert batching.groups([10, 10, 10]) == [[0, 1], [2]]


INSTRUCTED = "Instruct: {instruction}\nQuery:{text}"


def test_an_instruction_takes_the_place_of_the_task_to_the_letter() -> None:
    model = made("Instruct: search\nQuery:{text}", instruction_template=INSTRUCTED)
    (own,) = model(["x"], role=Role.QUERY)
    (same,) = model(["x"], role=Role.QUERY, instruction="search")
    (other,) = model(["x"], role=Role.QUERY, instruction="find {text} twins ")
    assert own == same
    assert list(other.ids) == [BOS, *piece("Instruct: find {text} twins \nQuery:x"), EOS]


def test_instructions_are_refused_where_they_mean_nothing() -> None:
    with pytest.raises(RecipeError, match="takes no instruction"):
        made()(["x"], role=Role.QUERY, instruction="search")
    model = made(instruction_template=INSTRUCTED, max_tokens=60)
    with pytest.raises(RecipeError, match="encode both as queries"):
        model(["x"], role=Role.PASSAGE, instruction="search")
    with pytest.raises(RecipeError, match="must not be blank"):
        model(["x"], role=Role.QUERY, instruction=" ")
    with pytest.raises(RecipeError, match="leave no room for text; raise max_tokens"):
        model(["x"], role=Role.QUERY, instruction="search " * 20)
    for template in ("{text}", "{text} {instruction}", "{instruction} {instruction} {text}"):
        with pytest.raises(RecipeError, match=r"holds \{instruction\} and then \{text\}"):
            recipe(instruction_template=template)


def test_a_strategy_with_a_prompt_takes_the_models_instructions_away(tmp_path: Path) -> None:
    folder = save_language_model(tmp_path / "model", "llama", layers=1, longest=96)
    source = replace(find_model(folder), base="Qwen/Qwen3-Embedding-0.6B")
    said = Choices(eos="</s>")
    assert resolve(source, said).instruction_template == "Instruct: {instruction}\nQuery:{text}"
    assert resolve(source, said, strategy="mean").instruction_template is not None
    assert resolve(source, said, strategy="echo").instruction_template is None
    with pytest.raises(RecipeError, match="cannot have a slot or a second copy"):
        resolve(source, Choices(instruction_template=INSTRUCTED, eos="</s>"), strategy="echo")


_TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}<me>"
_NO_SYSTEM = "{{ raise_exception('none') if messages[0].role == 'system' }}"
_SYSTEM = "You are an AI assistant that can understand human language."


@pytest.mark.parametrize(
    ("template", "before"),
    [
        ("{{ bos_token }}" + _TURNS, f"<system>{_SYSTEM}<user>"),
        (_TURNS, f"<system>{_SYSTEM}<user>"),
        ("{{ date_string }} " + _TURNS, f"26 Jul 2024 <system>{_SYSTEM}<user>"),
        (_NO_SYSTEM + _TURNS, f"<user>{_SYSTEM}\n\n"),
        (_TURNS.replace("messages %}", "messages if m.role == 'user' %}"), f"<user>{_SYSTEM}\n\n"),
    ],
)
def test_promptreps_asks_in_a_conversation_where_the_model_has_one(
    tmp_path: Path, template: str, before: str
) -> None:
    folder = save_language_model(tmp_path / "model", "llama", layers=1)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<s>", "chat_template": template, "model_max_length": 640}),
        encoding="utf-8",
    )
    found = resolve(find_model(folder), strategy="promptreps")
    asked = "Use one word to represent the query in a retrieval task. Make sure your word is in "
    assert found.query_prompt == Prompt(
        prefix=f'{before}Query: "', suffix=f'". {asked}lowercase.<me>The word is: "'
    )
    # The tokenizer begins with <s> by itself, and what follows the quotation mark is not its end.
    (row,) = TextTokenizer(tokenizer(), found)(["hat"], role=Role.QUERY)
    assert list(row.ids) == [
        BOS,
        *piece(found.query_prompt.prefix),
        *piece("hat"),
        *piece(found.query_prompt.suffix),
    ]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"chat_template": "{% for"}', "chat template cannot be used"),
        ('{"chat_template": "{{ raise_exception(\'no\') }}"}', "chat template cannot be used: no"),
        ('{"chat_template": "always the same"}', r"holds \{text\} exactly once"),
        ('{"chat_template": ', "tokenizer_config.json"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_told(
    tmp_path: Path, config: str, said: str
) -> None:
    folder = save_language_model(tmp_path / "model", "llama", layers=1)
    (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        resolve(find_model(folder), Choices(max_tokens=64), strategy="promptreps")


def test_words_are_the_texts_own() -> None:
    assert content_words("The Cat's hat, and 2 cats_!") == ["cat", "hat", "2", "cats_"]
    model = made(sparse_head=SparseHead(words=True))
    first, second = model(["What a thewhat", "the of"], role=Role.PASSAGE)
    assert first.words == tuple(sorted(set(piece("thewhat"))))
    assert second.words == ()
    batch = pad([first, second], pad_id=0)
    assert batch.word_ids is not None
    assert (batch.word_ids[1] == -1).all()
    assert batch.word_ids[0].tolist() == list(first.words)


def test_places_are_found_behind_a_prompt() -> None:
    model = made("to: {text}")
    text = "what the wind wants"
    whole = tokenizer().encode(f"to: {text}").ids
    ((first, last), (none, nothing)) = model.places(text, [(5, 13), (4, 4)], role=Role.PASSAGE)
    assert tokenizer().decode(whole[first:last]).strip() == "the wind"
    assert none == nothing


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"span": PooledTokens.COPY}, "twice in every prompt"),
        ({"prepending": TokenPrepending(start=0, stop=1, slot=9)}, "go together"),
        ({"ensemble": (Prompt(),), "sparse_head": SparseHead()}, "belong to one prompt"),
        ({"ensemble": (Prompt(),), "token_embeddings": True}, "belong to one prompt"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe("{text}", **fields)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: TokenPrepending(start=2, stop=2, slot=9), "0 <= start < stop"),
        (lambda: SparseHead(top=0), "at least 1"),
        (lambda: SparseHead(clusters=1), "at least 2"),
        (lambda: SparseHead(words=True, clusters=9), "choose one"),
        (lambda: SparseHead(passes=5), "of clusters; got passes=5 and clusters=None"),
        (lambda: SparseHead(clusters=9, passes=0), "at least 1, and of clusters; got passes=0"),
        (lambda: Prompt.parse("{text} {slot}"), "before"),
        (lambda: Prompt.parse("{slot} {slot} {text}"), "once"),
    ],
)
def test_values_out_of_range_are_refused(wrong: object, message: str) -> None:
    assert callable(wrong)
    with pytest.raises(RecipeError, match=message):
        wrong()


def test_the_registry_knows_how_models_take_instructions() -> None:
    from decant.embedders.sources.choices import registry_choices

    found = registry_choices("Qwen/Qwen3-Embedding-0.6B")
    assert found.instruction_template == "Instruct: {instruction}\nQuery:{text}"
    chosen = Choices(attention=Attention.CAUSAL, pooling=Pooling.LAST, max_tokens=9).over(found)
    assert chosen.query_prompt is not None
    task = "Given a web search query, retrieve relevant passages that answer the query"
    assert found.instruction_template.replace("{instruction}", task) == chosen.query_prompt


def test_examples_stand_before_the_query_as_bge_en_icl_was_trained() -> None:
    task = "Given a web search query, retrieve relevant passages that answer the query."
    examples = [
        InContextExample("what is a pep", "A design document."),
        InContextExample("{0}?", "None"),
    ]
    made_query = Prompt.parse(in_context_query(task, examples))
    assert made_query.prefix + "x" + made_query.suffix == (
        f"<instruct>{task}\n<query>what is a pep\n<response>A design document.\n\n"
        f"<instruct>{task}\n<query>{{0}}?\n<response>None\n\n"
        f"<instruct>{task}\n<query>x\n<response>"
    )
    assert in_context_query(task, []) == f"<instruct>{task}\n<query>{{text}}\n<response>"
    for wrong in ("a {text}", "a {slot}"):
        with pytest.raises(RecipeError, match="reword them"):
            in_context_query(task, [InContextExample(wrong, "b")])


def test_two_texts_share_no_rows_of_an_ensemble() -> None:
    several = made("a {text}", ensemble=(Prompt.parse("b {text}"),))
    rows = several(["x"] * 3, role=Role.PASSAGE)
    assert np.unique(pad(rows, pad_id=0).input_ids, axis=0).shape[0] == 2
