"""Texts go on from their prompt's states, and get the vectors that they get as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from decant.embedders import (
    Attention,
    Choices,
    Output,
    ParityError,
    PooledTokens,
    Pooling,
    Role,
    SharedPrompts,
    SparseHead,
    SparsePooling,
    TorchEncoder,
    load,
)
from decant.embedders.encoding import DENSE, PRESENT, PROMPT
from decant.embedders.onnx import Session
from decant.embedders.sources import Operator
from decant.embedders.tokens import Tokens, pad
from decant.export import export
from decant.export.trace import prompt_cache_attention
from decant.export.trace.prompt_cache_attention import shareable
from decant.export.trace.tracing import trace
from models import LONGEST, save_language_model, save_model, traced_as

PROMPT_TEXT = "Instruct: find the passage that answers.\nQuery: {text}"
SAID = Choices(pooling=Pooling.WEIGHTED_MEAN, span=PooledTokens.TEXT, query_prompt=PROMPT_TEXT)
# A window that is shorter than the prompt, and a bound on the scores; the rest is slow.
FAMILIES = ("gemma2",)
OTHERS = sorted({*traced_as(Operator.GROUP_QUERY)} - {*FAMILIES})


@pytest.fixture(
    scope="module",
    params=[*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)],
)
def traced(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TorchEncoder, Session]:
    folder = tmp_path_factory.mktemp(str(request.param))
    encoder = TorchEncoder.from_pretrained(
        save_model(folder / "model", str(request.param)), choices=SAID
    )
    assert shareable(encoder.model)
    trace(encoder.model, folder / "model.onnx")
    return encoder, Session(folder / "model.onnx", "CPUExecutionProvider")


def rows(prompt: int, lengths: tuple[int, ...]) -> list[Tokens]:
    drawn = np.random.default_rng(5)
    begin = drawn.integers(7, 200, prompt).tolist()
    return [
        Tokens(ids=(*begin, *drawn.integers(7, 200, n).tolist()), counted=prompt, prompt=prompt)
        for n in lengths
    ]


def whole(encoder: TorchEncoder, texts: list[Tokens]) -> NDArray[np.float32]:
    """What PyTorch gives for each text alone."""
    return np.concatenate([encoder.run(pad([row], pad_id=0)) for row in texts])


@pytest.mark.parametrize("prompt", [8, 13, 40])
def test_texts_behind_their_prompt_get_the_vectors_of_the_whole(
    traced: tuple[TorchEncoder, Session], prompt: int
) -> None:
    encoder, session = traced
    texts = rows(prompt, (1, 4, 23, 9, min(32, LONGEST - prompt)))
    expected = whole(encoder, texts)
    prompts = SharedPrompts(session)
    for group in ([0, 1, 2, 3, 4], [2], [0]):
        batch = pad([texts[index] for index in group], pad_id=0)
        rest = prompts.cut_shared_prompt(batch, [DENSE])
        assert rest.input_ids.shape[1] == batch.input_ids.shape[1] - prompt
        assert rest.prompt_states is not None
        assert rest.prompt_states.shape[3] == prompt
        found = session.run(rest)
        assert (found * expected[group]).sum(axis=1).min() > 0.999995


def test_without_a_prompt_either_padding_is_fine(traced: tuple[TorchEncoder, Session]) -> None:
    encoder, session = traced
    texts = rows(9, (1, 40, 7))
    expected = whole(encoder, texts)
    for left in (False, True):
        found = session.run(pad(texts, pad_id=0, left=left))
        assert (found * expected).sum(axis=1).min() > 0.999995


def test_the_states_of_a_prompt_are_those_of_its_tokens_in_any_text(
    traced: tuple[TorchEncoder, Session],
) -> None:
    _, session = traced
    texts = rows(10, (3, 17))
    for row in texts:
        batch = pad([row], pad_id=0)
        alone = replace(
            batch,
            input_ids=batch.input_ids[:, :10],
            attention_mask=batch.attention_mask[:, :10],
            pooling_mask=batch.pooling_mask[:, :10],
        )
        ((longer,),) = session.values([PRESENT], batch)
        ((states,),) = session.values([PRESENT], alone)
        np.testing.assert_allclose(longer[:, :, :, :10], states, atol=2e-5)


@pytest.mark.parametrize(
    "said",
    [
        Choices(pooling=Pooling.LAST),  # no prompt
        Choices(pooling=Pooling.MEAN, query_prompt=PROMPT_TEXT),  # the prompt is pooled
        Choices(pooling=Pooling.LAST, query_prompt=PROMPT_TEXT, layer=1),
        Choices(pooling=Pooling.LAST, query_prompt=PROMPT_TEXT, attention=Attention.BIDIRECTIONAL),
    ],
    ids=["no prompt", "pooled", "another layer", "bidirectional"],
)
def test_what_cannot_be_shared_is_not(tmp_path: Path, said: Choices) -> None:
    with TorchEncoder.from_pretrained(save_model(tmp_path / "m", "llama"), choices=said) as encoder:
        assert not shareable(encoder.model)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    said = Choices(pooling=Pooling.LAST, query_prompt=PROMPT_TEXT)
    certificate = export(
        save_model(folder / "model", "llama"), folder / "bundle", choices=said, precisions=["int8"]
    )
    for entry in certificate.entries:
        (check,) = [check for check in entry.checks if check.name == "shared prompt"]
        assert check.passed
        assert check.cases > 40  # every probe that is short enough, alone and in a group
    return folder


def test_others_need_not_know_of_it(bundle: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it notes an input with a default
    plain = onnxruntime.InferenceSession(
        str(bundle / "bundle" / "onnx" / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    assert [item.name for item in plain.get_inputs()] == ["input_ids", "attention_mask"]
    ids = np.arange(7, 37).reshape(2, 15)
    vectors, states = plain.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    assert isinstance(vectors, np.ndarray)
    assert isinstance(states, np.ndarray)
    assert vectors.shape == (2, 32)
    assert states.shape[0] == 0


def test_each_layer_is_one_operator_where_there_is_no_prompt(bundle: Path) -> None:
    model = onnx.load(bundle / "bundle" / "onnx" / "model.onnx")
    choices = [node for node in model.graph.node if node.op_type == "If"]
    assert len(choices) == 2
    for node in choices:
        kinds = {
            branch.name: {inner.op_type for inner in branch.g.node} for branch in node.attribute
        }
        assert kinds["then_branch"] == {"GroupQueryAttention"}
        assert "Softmax" in kinds["else_branch"]
    assert {node.domain for node in model.graph.node} <= {"", "com.microsoft"}
    assert "decant" not in {item.domain for item in model.opset_import}
    assert PROMPT in {item.name for item in model.graph.initializer}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_encoder_computes_the_prompt_once(
    bundle: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"who wrote {number}" for number in range(40)]
    said = Choices(pooling=Pooling.LAST, query_prompt=PROMPT_TEXT)
    with TorchEncoder.from_pretrained(bundle / "model", choices=said) as reference:
        expected = reference.encode(texts, role=Role.QUERY).dense
    widths: list[int] = []
    outputs_of = Session.outputs_of

    def spied(self: Session, batch: object, names: list[str]) -> object:
        widths.append(batch.input_ids.shape[1])  # type: ignore[attr-defined]
        return outputs_of(self, batch, names)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "outputs_of", spied)
    with load(bundle / "bundle", provider="cpu", precision=precision) as encoder:
        prompt = encoder.text_tokenizer(texts[:1], role=Role.QUERY)[0].prompt
        together = encoder.encode(texts, role=Role.QUERY).dense
        alone = np.concatenate([encoder.encode([text], role=Role.QUERY).dense for text in texts])
    least = 0.99999 if precision == "fp32" else 0.99
    assert (together * expected).sum(axis=1).min() > least
    assert (alone * expected).sum(axis=1).min() > least
    assert widths.count(prompt) == 1
    assert max(width for width in widths if width != prompt) < prompt


@pytest.mark.slow
def test_a_graph_that_errs_behind_a_prompt_fails_its_certificate(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_cache_attention, "_LOWEST", 0.0)  # so texts see what comes after
    said = Choices(pooling=Pooling.WEIGHTED_MEAN, span=PooledTokens.TEXT, query_prompt=PROMPT_TEXT)
    with pytest.raises(ParityError, match="shared prompt") as raised:
        export(bundle / "model", tmp_path / "bundle", choices=said)
    assert "one by one" not in str(raised.value)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_an_instruction_of_a_call_is_certified_without_a_prompt_of_ones_own(
    bundle: Path, tmp_path: Path
) -> None:
    said = Choices(
        pooling=Pooling.LAST, instruction_template="Instruct: {instruction}\nQuery: {text}"
    )
    certificate = export(bundle / "model", tmp_path / "bundle", choices=said)
    (check,) = [c for c in certificate.entries[0].checks if c.name == "shared prompt"]
    assert check.passed
    with load(tmp_path / "bundle", provider="cpu") as encoder:
        task = "find what answers the question"
        texts = ["who", "what is that", "where"]
        together = encoder.encode(texts, role=Role.QUERY, instruction=task).dense
        for text, vector in zip(texts, together, strict=True):
            alone = encoder.encode([text], role=Role.QUERY, instruction=task).dense[0]
            np.testing.assert_allclose(alone, vector, atol=1e-5)


@pytest.mark.slow
def test_sparse_vectors_of_words_go_on_from_a_prompt_too(tmp_path: Path) -> None:
    folder = save_language_model(tmp_path / "model", "llama", layers=2)
    sparse_head = SparseHead(weighting=SparsePooling.LAST, top=20, words=True)
    said = Choices(
        pooling=Pooling.LAST,
        span=PooledTokens.TEXT,
        query_prompt=PROMPT_TEXT,
        sparse_head=sparse_head,
    )
    certificate = export(folder, tmp_path / "bundle", choices=said)
    names = {check.name for check in certificate.entries[0].checks}
    assert {"shared prompt", "sparse vectors, shared prompt"} <= names
    texts = ["who wrote it", "the cat sat"]
    with TorchEncoder.from_pretrained(folder, choices=said) as reference:
        expected = reference.encode(texts, role=Role.QUERY, outputs=[Output.SPARSE]).sparse
    with load(tmp_path / "bundle", provider="cpu") as encoder:
        found = encoder.encode(texts, role=Role.QUERY, outputs=[Output.SPARSE]).sparse
    assert found is not None
    assert expected is not None
    for number in range(2):
        np.testing.assert_array_equal(found[number][0], expected[number][0])
        np.testing.assert_allclose(found[number][1], expected[number][1], atol=1e-4)
