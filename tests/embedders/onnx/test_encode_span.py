"""The span of a call of an encoder: its counts agree with a naive loop, its threads are in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace

from decant.embedders import OnnxEncoder, Role, TextError, load
from recorded_spans import Recorded, id_of, recorded_spans

TEXTS = [f"a text of some words, number {number}" for number in range(300)]


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> Iterator[OnnxEncoder]:
    with load(tiny_bundle, provider="cpu", precision="fp32") as found:
        assert isinstance(found, OnnxEncoder)
        yield found


@pytest.fixture
def spans() -> Iterator[Recorded]:
    with recorded_spans() as found:
        yield found


def test_it_counts_texts_and_tokens_and_names_what_ran(
    encoder: OnnxEncoder, spans: Recorded
) -> None:
    encoder.encode(TEXTS, role=Role.PASSAGE)
    found = dict(spans.one("decant.encode").attributes)
    rows = [encoder.text_tokenizer([text], role=Role.PASSAGE, first=0)[0] for text in TEXTS]
    assert found.pop("decant.batches") >= 1
    assert found == {
        "decant.encoder": "OnnxEncoder",
        "decant.model": encoder.recipe.base,
        "decant.recipe": encoder.recipe.digest(),
        "decant.role": "passage",
        "decant.outputs": "dense",
        "decant.precision": "fp32",
        "decant.provider": "CPUExecutionProvider",
        "decant.texts": len(TEXTS),
        "decant.tokens": sum(len(row.ids) for row in rows),
    }


def test_streaming_is_one_span_and_the_same_vectors(encoder: OnnxEncoder, spans: Recorded) -> None:
    whole = encoder.encode(TEXTS, role=Role.QUERY).dense
    parts = list(encoder.stream(TEXTS, role=Role.QUERY))
    one, other = (dict(span.attributes) for span in spans.named("decant.encode"))
    assert one == other
    assert sum(len(part) for part in parts) == len(whole) == one["decant.texts"]


def test_a_refused_text_is_not_in_the_span(encoder: OnnxEncoder, spans: Recorded) -> None:
    with pytest.raises(TextError):
        encoder.encode(["a text that nobody may see", ""], role=Role.QUERY)
    found = spans.one("decant.encode")
    assert found.attributes["error.type"] == "decant.embedders.errors.TextError"
    assert "nobody" not in spans.text()


def test_worker_threads_run_within_the_span(
    encoder: OnnxEncoder, spans: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    run = type(encoder).run_batch

    def watched(self: OnnxEncoder, *args: object, **options: object) -> object:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return run(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(type(encoder), "run_batch", watched)
    encoder.encode(TEXTS, role=Role.PASSAGE)
    assert set(seen) == {id_of(spans.one("decant.encode"))}
