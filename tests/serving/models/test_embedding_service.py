"""From the texts of a request to their vectors, against one call of ``encode`` for each text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decant.embedders import Output, Role
from decant.embedders.encoding import cut
from decant.serving import (
    Overloaded,
    QueueSettings,
    RequestError,
    RequestTooLarge,
    ServedModel,
    SettingsError,
    TextLimits,
)
from decant.serving.batches import PassReport
from decant.serving.models import (
    Embeddings,
    EmbeddingService,
    ModelAddress,
    ModelDirectory,
    SparseEmbedding,
    TextRequest,
    VectorKind,
)
from instructed_encoder import InstructedEncoder
from loop_turns import until

ENCODER = InstructedEncoder()
MODEL = ServedModel(name="full", encoder=ENCODER)


def wanted(
    text: str, kind: VectorKind = VectorKind.DENSE, role: Role = Role.PASSAGE
) -> TextRequest:
    """Return a request for one vector."""
    return TextRequest(text=text, address=ModelAddress(model=MODEL, kind=kind), role=role)


def embed(
    requests: Sequence[TextRequest],
    *,
    queue: QueueSettings | None = None,
    limits: TextLimits | None = None,
    seen: list[PassReport] | None = None,
) -> Embeddings:
    """Embed the texts of one request by a service of its own."""
    reports = list[PassReport]() if seen is None else seen

    async def run() -> Embeddings:
        service = EmbeddingService(
            ModelDirectory([MODEL]),
            queue=queue or QueueSettings(),
            limits=limits or TextLimits(),
            on_pass=lambda _, report: reports.append(report),
        )
        async with service:
            return await service.embed(requests)

    return asyncio.run(run())


@st.composite
def text_requests(draw: st.DrawFn) -> TextRequest:
    """Draw a request for any vector of a short text."""
    role = draw(st.sampled_from(Role))
    kind = draw(st.sampled_from(VectorKind))
    is_dense, is_query = kind is VectorKind.DENSE, role is Role.QUERY
    return replace(
        wanted(draw(st.text("ab ", min_size=1, max_size=6)), kind, role),
        dim=draw(st.sampled_from([None, 4, 6, 8])) if is_dense else None,
        instruction=draw(st.sampled_from([None, "find", "sort"])) if is_query else None,
    )


@settings(max_examples=60)
@given(st.lists(text_requests(), min_size=1, max_size=12))
def test_every_row_is_the_vector_of_its_text_alone(requests: list[TextRequest]) -> None:
    found = embed(requests)
    assert len(found.rows) == len(requests)
    for request, row in zip(requests, found.rows, strict=True):
        outputs = [Output.SPARSE, Output.TOKEN_EMBEDDINGS]
        alone = ENCODER.encode(
            [request.text], role=request.role, instruction=request.instruction, outputs=outputs
        )
        assert alone.sparse is not None
        assert alone.token_embeddings is not None
        match request.address.kind:
            case VectorKind.DENSE:
                assert isinstance(row, np.ndarray)
                dense = alone.dense
                if request.dim not in (None, 8):
                    dense = cut(dense, dim=request.dim or 8, normalize=True)
                assert row.tobytes() == dense[0].tobytes()
            case VectorKind.SPARSE:
                assert isinstance(row, SparseEmbedding)
                indices, values = alone.sparse[0]
                assert np.array_equal(row.indices, indices)
                assert np.array_equal(row.values, values)
            case VectorKind.TOKENS:
                assert isinstance(row, np.ndarray)
                assert np.array_equal(row, alone.token_embeddings[0])


def test_all_vectors_of_a_text_come_from_one_pass_and_its_tokens_count_once() -> None:
    seen = list[PassReport]()
    found = embed([wanted("one two", kind) for kind in VectorKind], seen=seen)
    assert [report.texts for report in seen] == [1]
    assert found.tokens == {"full": 4}  # two words of the prompt, two of the text


def test_a_text_that_stands_twice_is_read_once() -> None:
    seen = list[PassReport]()
    found = embed([wanted("same"), wanted("other"), wanted("same")], seen=seen)
    assert sum(report.texts for report in seen) == 2
    first, _, third = found.rows
    assert isinstance(first, np.ndarray)
    assert isinstance(third, np.ndarray)
    assert np.array_equal(first, third)


def test_the_number_of_a_refused_text_is_that_of_the_request() -> None:
    requests = [
        wanted("fine"),
        wanted("fine", role=Role.QUERY),
        replace(wanted("word " * 40), truncate=False),
    ]
    with pytest.raises(RequestError, match="text 2 has 40 tokens"):
        embed(requests)
    assert len(embed([replace(one, truncate=True) for one in requests]).rows) == 3


@pytest.mark.parametrize(
    ("requests", "limits", "message"),
    [
        (3, TextLimits(texts=2), "has 3 texts, and at most 2"),
        (1, TextLimits(text_bytes=3), "text 0 has 4 bytes, and at most 3"),
    ],
)
def test_limits_are_kept(requests: int, limits: TextLimits, message: str) -> None:
    with pytest.raises(RequestTooLarge, match=message):
        embed([wanted("text")] * requests, limits=limits)


def test_bytes_are_counted_and_not_characters() -> None:
    with pytest.raises(RequestTooLarge, match="has 4 bytes"):
        embed([wanted("ää")], limits=TextLimits(text_bytes=3))


def test_a_request_that_no_empty_queue_could_take_is_too_large_also_in_parts() -> None:
    requests = [wanted("one two"), wanted("one two", role=Role.QUERY)]
    embed(requests, queue=QueueSettings(capacity=8))
    with pytest.raises(RequestTooLarge, match="have 8 tokens, and at most 7"):
        embed(requests, queue=QueueSettings(capacity=7))


def test_a_request_that_is_refused_in_part_leaves_nothing_in_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its first half is accepted, its second is not; the first goes when the second fails."""

    async def run() -> None:
        service = EmbeddingService(
            ModelDirectory([MODEL]), queue=QueueSettings(capacity=14), limits=TextLimits()
        )
        async with service:
            worker = service.workers["full"]
            begin = asyncio.Event()
            monkeypatch.setattr(worker, "_run", lambda _: begin.wait())  # it is busy
            busy = asyncio.create_task(service.embed([wanted("busy")]))
            await until(lambda: bool(worker._waiting) and not worker.queue.tokens)
            waiting = asyncio.create_task(service.embed([wanted("one two three four")]))
            await until(lambda: worker.queue.tokens == 6)
            with pytest.raises(Overloaded):
                await service.embed([wanted("a b c"), wanted("a b c", role=Role.QUERY)])
            assert worker.queue.tokens == 6
            for task in (busy, waiting):
                task.cancel()
            await asyncio.gather(busy, waiting, return_exceptions=True)
            assert worker.queue.tokens == 0
            begin.set()

    asyncio.run(run())


def test_only_dense_vectors_can_be_cut() -> None:
    with pytest.raises(RequestError, match="these are sparse"):
        replace(wanted("text", VectorKind.SPARSE), dim=4)


def test_limits_below_one_are_refused() -> None:
    with pytest.raises(SettingsError, match="texts must be at least 1"):
        TextLimits(texts=0)
