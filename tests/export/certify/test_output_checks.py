"""Certificates of what comes beside dense vectors: what is right passes, what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import (
    AppendedTokens,
    Attention,
    PooledTokens,
    Pooling,
    Precision,
    Recipe,
    SparseHead,
)
from decant.embedders.tokens import TokenBatch, Tokens
from decant.export.certify.output_checks import Extras, extra_checks
from decant.export.certify.reference import Reference

RECIPE = Recipe(
    base="fake",
    attention=Attention.CAUSAL,
    pooling=Pooling.MEAN,
    max_tokens=99,
    sparse_head=SparseHead(top=6),
    token_embeddings=True,
)
ROWS = [Tokens(ids=tuple(range(5, 5 + length)), counted=0) for length in (1, 4, 9, 2, 7, 30)]
LAST = AppendedTokens(tokens=("<end>",), read=1)
WORDS = 40

Values = list[NDArray[np.generic]]


def states_of(batch: TokenBatch) -> NDArray[np.float32]:
    columns = np.arange(3, dtype=np.float32)
    return np.asarray(np.cos(batch.input_ids[:, :, None] * (1 + columns)), np.float32)


def weights_of(batch: TokenBatch) -> NDArray[np.float32]:
    seen = np.zeros((len(batch.input_ids), WORDS), np.float32)
    for row, ids, mask in zip(seen, batch.input_ids, batch.attention_mask, strict=True):
        row[ids[mask > 0]] = 1 + ids[mask > 0] / 7
    return seen


def right(batch: TokenBatch, names: Sequence[str]) -> Values:
    weights = weights_of(batch)
    indices = np.argsort(-weights, axis=1)[:, :6]
    found = {
        "sparse_indices": indices,
        "sparse_values": np.take_along_axis(weights, indices, 1),
        "token_embeddings": states_of(batch),
    }
    return [np.asarray(found[name]) for name in names]


def heavier(batch: TokenBatch, names: Sequence[str]) -> Values:
    values = right(batch, names)
    if "sparse_values" in names:
        values[1] = np.asarray(values[1], np.float32) * np.linspace(1, 2, 6, dtype=np.float32)
    return values


def by_column(batch: TokenBatch, names: Sequence[str]) -> Values:
    """Token states that come out in other columns where rows are padded on the left."""
    values = right(batch, names)
    if names == ["token_embeddings"] and not batch.attention_mask[:, 0].all():
        values[0] = np.roll(np.asarray(values[0]), 1, axis=1)
    return values


def broken(batch: TokenBatch, names: Sequence[str]) -> Values:
    values = right(batch, names)
    for value in values:
        if value.dtype == np.float32:
            value[...] = np.nan
    return values


def failed(run: Callable[[TokenBatch, Sequence[str]], Values]) -> list[str]:
    extras = Extras.of(right, ROWS, RECIPE)
    checks = extra_checks(run, ROWS, extras, precision=Precision.FP32, pad_id=0)
    assert [check.name for check in checks] == ["sparse vectors", "token states"]
    assert all(check.cases >= len(ROWS) for check in checks)
    return [check.name for check in checks if not check.passed]


def test_what_pytorch_gives_passes() -> None:
    assert failed(right) == []


@pytest.mark.parametrize(
    ("run", "names"),
    [
        (heavier, ["sparse vectors"]),
        (by_column, ["token states"]),
        (broken, ["sparse vectors", "token states"]),
    ],
)
def test_what_is_wrong_is_named(
    run: Callable[[TokenBatch, Sequence[str]], Values], names: list[str]
) -> None:
    assert failed(run) == names


def test_states_of_appended_tokens_are_compared_one_by_one(tmp_path: Path) -> None:
    rows = [Tokens(ids=row.ids, counted=len(row.ids) - 1) for row in ROWS]
    recipe = replace(
        RECIPE, sparse_head=None, token_embeddings=False, span=PooledTokens.TAIL, appended=LAST
    )

    def last(batch: TokenBatch, names: Sequence[str]) -> Values:
        assert list(names) == ["compress_states"]
        return [states_of(batch)[batch.pooling_mask > 0][:, None]]

    def first(batch: TokenBatch, names: Sequence[str]) -> Values:
        return [states_of(batch)[:, :1]]

    extras = Extras.of(last, rows, recipe)
    vectors = np.ones((len(rows), 2), np.float32)
    Reference(texts=["a"], vectors=vectors, others={}, extras=extras).save(tmp_path / "r.npz")
    again = Reference.read(tmp_path / "r.npz").extras
    for run, passes in ((last, True), (first, False)):
        (check,) = extra_checks(run, rows, again, precision=Precision.FP32, pad_id=0)
        assert (check.name, check.passed) == ("compress states", passes)


def test_entries_that_weigh_alike_may_take_turns_at_the_border() -> None:
    def turned(batch: TokenBatch, names: Sequence[str]) -> Values:
        values = right(batch, names)
        if "sparse_indices" in names:
            values[0] = np.asarray(values[0]).copy()
            full = np.asarray(values[1], np.float32)[:, -1] > 0
            values[0][full, -1] = 38  # another token that weighs the same
        return values

    assert failed(turned) == []


def test_they_survive_the_file_of_the_reference(tmp_path: Path) -> None:
    extras = Extras.of(right, ROWS, RECIPE)
    vectors = np.ones((len(ROWS), 2), np.float32)
    Reference(texts=["a"], vectors=vectors, others={}, extras=extras).save(tmp_path / "r.npz")
    again = Reference.read(tmp_path / "r.npz").extras
    assert again.top == extras.top
    assert again.arrays().keys() == extras.arrays().keys()
    for name, value in extras.arrays().items():
        assert np.array_equal(again.arrays()[name], value)
    bare = Reference(texts=["a"], vectors=vectors, others={})
    bare.save(tmp_path / "bare.npz")
    assert Reference.read(tmp_path / "bare.npz").extras.arrays() == {}
