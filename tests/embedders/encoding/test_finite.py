"""Vectors that are no numbers are refused with the index of their text, by every encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from decant.embedders import ParityError, Role, TorchEncoder, Vectors
from decant.embedders.encoding.batch_encoder import BatchEncoder, BatchSettings
from decant.embedders.encoding.finite import check_finite
from decant.embedders.encoding.sparse_vectors import SparseVectors
from decant.embedders.tokens import TokenBatch
from decant.embedders.tokens.batching import Batching

TEXTS = [f"text {number}" for number in range(1500)]


@pytest.fixture(scope="module")
def torch_encoder(tiny_folder: Path) -> Iterator[TorchEncoder]:
    with TorchEncoder.from_pretrained(tiny_folder) as encoder:
        yield encoder


@pytest.mark.parametrize("bad", [0, 3, 127, 128, 1151, 1499])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_text_is_named_wherever_it_stands(
    torch_encoder: TorchEncoder, bad: int, value: float
) -> None:
    texts = [*TEXTS[:bad], "the one", *TEXTS[bad:]]
    (marked,) = torch_encoder.text_tokenizer(["the one"], role=Role.QUERY)

    class Spoilt(BatchEncoder):
        def run_batch(
            self, batch: TokenBatch, names: Sequence[str], *, alone: bool
        ) -> list[NDArray[np.generic]]:
            assert names == ["sentence_embedding"]
            assert not alone
            found = np.ones((len(batch.input_ids), 4), np.float32)
            width = len(marked.ids)
            rows = (batch.input_ids[:, :width] == marked.ids).all(axis=1)
            found[rows & (batch.attention_mask.sum(axis=1) == width), 2] = value
            return [found]

    settings = BatchSettings(batching=Batching(token_budget=512, pad_id=0), workers=2, dim=4)
    with Spoilt(torch_encoder.text_tokenizer, settings) as encoder:
        with pytest.raises(ParityError, match=rf"vector of text {bad} holds NaN or infinity"):
            encoder.encode(texts, role=Role.QUERY)
        assert np.isfinite(encoder.encode(TEXTS, role=Role.QUERY).dense).all()


@pytest.mark.parametrize("count", [1, 300])
def test_a_model_with_damaged_weights_is_refused(tiny_folder: Path, count: int) -> None:
    with TorchEncoder.from_pretrained(tiny_folder) as encoder:
        with torch.no_grad():
            next(encoder.model.parameters()).fill_(float("nan"))
        with pytest.raises(ParityError, match=r"text 0 .* weights of tiny-bert are damaged"):
            encoder.encode(TEXTS[:count], role=Role.QUERY)


def vectors(**given: object) -> Vectors:
    return Vectors(dense=np.ones((3, 2), np.float32), **given)  # type: ignore[arg-type]


def test_every_output_is_looked_at() -> None:
    whole = np.ones((3, 2, 5), np.float32)
    broken = whole.copy()
    broken[1, 1, 4] = np.nan
    sparse = SparseVectors(
        starts=np.array([0, 2, 2, 4]),
        indices=np.array([1, 5, 2, 3]),
        values=np.array([1.0, 2.0, np.inf, 1.0], np.float32),
    )
    good = vectors(soft_tokens=whole, token_embeddings=tuple(whole))
    assert check_finite(good, first=7, by="m") is good
    with pytest.raises(ParityError, match="states of text 8"):
        check_finite(vectors(soft_tokens=broken), first=7, by="m")
    with pytest.raises(ParityError, match="token states of text 8"):
        check_finite(vectors(token_embeddings=tuple(broken)), first=7, by="m")
    with pytest.raises(ParityError, match="sparse vector of text 9"):
        check_finite(vectors(sparse=sparse), first=7, by="m")
