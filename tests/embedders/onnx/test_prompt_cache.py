"""Which part of a batch is a prompt, and when its states are computed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from decant.embedders import SharedPrompts
from decant.embedders.encoding import DENSE, TOKENS
from decant.embedders.onnx import Session, prompt_cache
from decant.embedders.tokens import TokenBatch, Tokens, pad
from decant.embedders.tokens.batching import Batching

PROMPT = tuple(range(10, 20))


class Counting:
    """Stands for a graph; notes what it was given."""

    takes_prompts = True

    def __init__(self, *inputs: str) -> None:
        self.inputs = inputs
        self.ran: list[list[int]] = []
        self.words: list[object] = []

    def outputs_of(self, batch: TokenBatch, _: Sequence[str]) -> list[NDArray[np.generic]]:
        self.ran.append(batch.input_ids[0].tolist())
        assert batch.input_ids.shape[0] == 1
        self.words.append(None if batch.word_ids is None else batch.word_ids.tolist())
        assert batch.prompt_states is None
        return [batch.input_ids[None, None, None, None].astype(np.float64)]


def prompts(*inputs: str) -> tuple[Counting, SharedPrompts]:
    session = Counting("input_ids", "attention_mask", *inputs)
    return session, SharedPrompts(cast("Session", session))


def row(*text: int, prompt: tuple[int, ...] = PROMPT) -> Tokens:
    return Tokens(ids=(*prompt, *text), counted=len(prompt), prompt=len(prompt))


def two(prompt: tuple[int, ...] = PROMPT) -> TokenBatch:
    return pad([row(1, prompt=prompt), row(2, prompt=prompt)], pad_id=0)


def test_a_prompt_that_comes_once_with_one_text_runs_with_it() -> None:
    session, shared = prompts()
    alone = [pad([row(number)], pad_id=0) for number in range(3)]
    assert shared.cut_shared_prompt(alone[0], [DENSE]) is alone[0]
    assert session.ran == []
    assert shared.cut_shared_prompt(alone[1], [DENSE]).prompt_states is not None
    assert shared.cut_shared_prompt(alone[2], [DENSE]).prompt_states is not None
    assert session.ran == [list(PROMPT)]


def test_sixty_four_prompts_that_came_once_are_remembered() -> None:
    session, shared = prompts()
    for begin in (*range(100, 165), 100, 164):
        shared.cut_shared_prompt(pad([row(1, prompt=(begin, *PROMPT))], pad_id=0), [DENSE])
    assert [ids[0] for ids in session.ran] == [164]


def test_words_are_those_of_the_row_that_is_run() -> None:
    session, shared = prompts()
    shared.cut_shared_prompt(replace(two(), word_ids=np.array([[3, 4], [5, -1]])), [DENSE])
    assert session.words == [[[3, 4]]]


def test_a_graph_that_takes_no_prompts_gets_none() -> None:
    session, shared = prompts()
    session.takes_prompts = False
    batch = two()
    assert shared.cut_shared_prompt(batch, [DENSE]) is batch


def test_a_prompt_is_computed_once_and_only_the_rest_is_left() -> None:
    session, shared = prompts("pooling_mask")
    for texts in ([row(1, 2), row(3)], [row(4)], [row(5, 6, 7)]):
        batch = pad(texts, pad_id=0)
        rest = shared.cut_shared_prompt(batch, [DENSE])
        assert rest.prompt == 0
        assert rest.prompt_states is not None
        assert rest.prompt_states.dtype == np.float32
        for name in ("input_ids", "attention_mask", "pooling_mask"):
            np.testing.assert_array_equal(getattr(rest, name), getattr(batch, name)[:, 10:])
    assert session.ran == [list(PROMPT)]


def test_what_reads_the_prompt_runs_whole() -> None:
    session, shared = prompts("pooling_mask")
    batch = pad([row(1, 2)], pad_id=0)
    assert shared.cut_shared_prompt(batch, [DENSE, TOKENS]) is batch
    pooled = pad([Tokens(ids=(*PROMPT, 1), counted=4, prompt=10)], pad_id=0)
    assert shared.cut_shared_prompt(pooled, [DENSE]) is pooled
    assert session.ran == []


def test_a_last_token_is_read_whatever_counts() -> None:
    _, shared = prompts()  # the graph takes no pooling mask
    batch = pad([Tokens(ids=(*PROMPT, 1), counted=0, prompt=10)] * 2, pad_id=0)
    assert shared.cut_shared_prompt(batch, [DENSE]).prompt_states is not None


def test_eight_prompts_are_kept_and_the_oldest_goes() -> None:
    session, shared = prompts()
    for begin in (*range(8), 0, 8, 0, 1):
        prompt = (100 + begin, *PROMPT)
        shared.cut_shared_prompt(two(prompt), [DENSE])
    # 1 was the oldest when 8 came, for 0 had been used again.
    assert [ids[0] - 100 for ids in session.ran] == [*range(8), 8, 1]


def test_what_is_kept_has_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_cache, "_KEPT_BYTES", 3 * 4 * 11)
    session, shared = prompts()
    long = tuple(range(100, 160))  # alone beyond the bound, and kept nevertheless
    first, second, third = ((number, *PROMPT) for number in (1, 2, 3))
    for prompt in (first, second, third, first, long, long, first):
        shared.cut_shared_prompt(two(prompt), [DENSE])
    assert [ids[0] for ids in session.ran] == [1, 2, 3, 100, 1]


def test_threads_that_come_together_compute_it_once() -> None:
    session, shared = prompts()
    batch = two()
    with ThreadPoolExecutor(8) as pool:
        rests = list(pool.map(lambda _: shared.cut_shared_prompt(batch, [DENSE]), range(64)))
    assert session.ran == [list(PROMPT)]
    assert all(rest.prompt_states is rests[0].prompt_states for rest in rests)


@given(
    st.lists(
        st.tuples(st.integers(0, 14), st.lists(st.integers(1, 3), min_size=1, max_size=70)),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_a_batchs_prompt_begins_every_row_and_is_no_whole_row(
    made: list[tuple[int, list[int]]], left: bool
) -> None:
    texts = [
        Tokens(ids=(*range(50, 50 + prompt), *text), counted=prompt, prompt=prompt)
        for prompt, text in made
    ]
    batch = pad(texts, pad_id=0, left=left)
    assert batch.prompt <= min(prompt for prompt, _ in made)
    assert batch.prompt == 0 or (batch.prompt >= 8 and not left)
    for text in texts:
        assert text.ids[: batch.prompt] == texts[0].ids[: batch.prompt]
        assert len(text.ids) > batch.prompt
        if batch.prompt:
            assert len(text.ids) - text.prompt <= 4 * text.prompt


def test_other_prompts_in_one_batch_are_not_shared() -> None:
    assert pad([row(1), row(1, prompt=(9, *PROMPT))], pad_id=0).prompt == 0
    same_begin = (*PROMPT, 77)
    assert pad([row(1), row(1, prompt=same_begin)], pad_id=0).prompt == 10


def test_batches_are_cut_by_what_is_left_to_run() -> None:
    batching = Batching(token_budget=40, pad_id=0, once=True)
    assert batching.batches([row(1)] * 40) == [list(range(40))]
    assert len(batching.batches([row(1)] * 40, whole=True)) == 14  # three rows of 11 tokens
    assert Batching(token_budget=40, pad_id=0).batches([row(1)] * 3) == [[0, 1, 2]]


def test_texts_that_run_whole_have_batches_of_their_own() -> None:
    batching = Batching(token_budget=60, pad_id=0, once=True)
    long = row(*range(41))  # four times the prompt is not worth it
    texts = [row(1, 2, 3), long, row(1), Tokens(ids=(*PROMPT, 1), counted=4)]
    assert batching.batches(texts) == [[0, 2], [1], [3]]
    wordy = row(*range(257), prompt=tuple(range(100, 200)))  # attention would cost more
    assert batching.batches([wordy, row(1)]) == [[1], [0]]
