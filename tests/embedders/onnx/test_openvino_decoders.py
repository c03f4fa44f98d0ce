"""Causal attention on OpenVINO: the operator against a loop, and decoders against ONNX Runtime."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from decant.embedders import (
    Attention,
    Bundle,
    CertificateEntry,
    Choices,
    Pooling,
    Precision,
    ProviderError,
    TorchEncoder,
    load,
)
from decant.embedders.bundle.onnx_file import read_onnx_file, without_defaults
from decant.embedders.onnx import GraphFile, Session, open_session
from decant.embedders.sources import Operator
from decant.embedders.tokens import TokenBatch, pad
from decant.embedders.tokens.rows import Tokens
from decant.export import export, verify
from decant.export.trace.tracing import trace
from models import LONGEST, save_model, traced_as

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None, reason="no openvino here; pip install 'decant-qdrant[openvino]'"
)
CPU, OPENVINO = "CPUExecutionProvider", "OpenVINO"
FEATURES = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
HAS_BF16 = any(name in FEATURES for name in ("avx512_bf16", "amx_bf16"))
HEADS, HOLDING, HEAD, WORDS = 4, 2, 8, 40
TABLES = {"queries": HEADS * HEAD, "keys": HOLDING * HEAD, "values": HOLDING * HEAD}
LENGTHS = ([1], [64], [1, 1], [33], [2], [64, 64], [1, 64], [7, 3, 30, 1], [64])

Floats = NDArray[np.float32]


def attention_graph(path: Path, inputs: list[str], **attributes: Any) -> dict[str, Floats]:
    """Write a graph of one operator that reads rows of tables; return the tables."""
    drawn = np.random.default_rng(0)
    tables = {
        name: drawn.normal(size=(WORDS, width)).astype(np.float32) for name, width in TABLES.items()
    }
    extra: dict[str, Any] = {
        "no_past": np.zeros((1, HOLDING, 4, HEAD), np.float32),
        "lowest": np.full(HEADS, np.finfo(np.float32).min, np.float32),
        "sink": np.zeros(HEADS, np.float32),
        "axis": np.array([1], np.int64),
        "one": np.array(1, np.int32),
    }
    int32 = TensorProto.INT32
    nodes = [
        *(helper.make_node("Gather", [name, "input_ids"], [name[0]]) for name in tables),
        helper.make_node("ReduceSum", ["attention_mask", "axis"], ["sums"], keepdims=0),
        helper.make_node("Cast", ["sums"], ["lengths"], to=int32),
        helper.make_node("Sub", ["lengths", "one"], ["last"]),
        helper.make_node("Shape", ["input_ids"], ["shape"], start=1, end=2),
        helper.make_node("Squeeze", ["shape"], ["columns"]),
        helper.make_node("Cast", ["columns"], ["total"], to=int32),
        helper.make_node(
            "GroupQueryAttention", inputs, ["attended"], domain="com.microsoft", num_heads=HEADS,
            kv_num_heads=HOLDING, **attributes,
        ),
        helper.make_node("ReduceSum", ["attended", "axis"], ["sentence_embedding"], keepdims=0),
    ]  # fmt: skip
    ids, mask = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"])
        for name in ("input_ids", "attention_mask")
    )
    found = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(array, name) for name, array in {**tables, **extra}.items()]
    graph = helper.make_graph(nodes, "graph", [ids, mask], [found], weights)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return tables


PLAIN = ["q", "k", "v", "", "", "last", "total"]
SUNK = [*PLAIN, "", "", "", "", "lowest"]


def summed_by_a_loop(
    tables: dict[str, Floats], ids: NDArray[np.int64], *, scale: float, window: int, cap: float
) -> Floats:
    """Return the sum over a row's tokens of what each attends to, float32 (heads x width,)."""
    total = np.zeros((HEADS, HEAD))
    for own, word in enumerate(ids):
        for head in range(HEADS):
            holder = head // (HEADS // HOLDING)
            query = tables["queries"][word].reshape(HEADS, HEAD)[head]
            first = max(0, own + 1 - window) if window > 0 else 0
            seen = ids[first : own + 1]
            keys = tables["keys"][seen].reshape(-1, HOLDING, HEAD)[:, holder]
            scores = keys.astype(np.float64) @ query * scale
            if cap:
                scores = np.tanh(scores / cap) * cap
            shares = np.exp(scores - scores.max())
            values = tables["values"][seen].reshape(-1, HOLDING, HEAD)[:, holder]
            total[head] += shares / shares.sum() @ values
    return total.reshape(-1).astype(np.float32)


@pytest.mark.parametrize("inputs", [PLAIN, SUNK], ids=["plain", "a sink that takes nothing"])
@pytest.mark.parametrize(
    ("scale", "window", "cap"), [(0.0, -1, 0.0), (0.5, 6, 0.0), (1.0, -1, 2.0), (0.3, 1, 5.0)]
)
def test_causal_attention_is_that_of_a_loop(
    tmp_path: Path, inputs: list[str], scale: float, window: int, cap: float
) -> None:
    path = tmp_path / "graph.onnx"
    tables = attention_graph(
        path, inputs, local_window_size=window, softcap=cap, **({"scale": scale} if scale else {})
    )
    session = open_session(GraphFile(path=path, precision=Precision.FP32), OPENVINO, threads=1)
    drawn = np.random.default_rng(1)
    for rows, columns in ((1, 1), (1, 33), (3, 1), (2, 17), (1, 9)):
        ids = drawn.integers(0, WORDS, (rows, columns))
        mask = np.ones_like(ids)
        found = session.run(TokenBatch(input_ids=ids, attention_mask=mask, pooling_mask=mask))
        usual = scale or HEAD**-0.5
        for vector, row in zip(found, ids, strict=True):
            expected = summed_by_a_loop(tables, row, scale=usual, window=window, cap=cap)
            assert np.abs(vector - expected).max() < 1e-4, (rows, columns)


@pytest.mark.parametrize(
    ("inputs", "attributes", "named"),
    [
        (["q", "k", "v", "no_past", "no_past", "last", "total"], {}, "past keys and values"),
        ([*PLAIN, "queries", "queries"], {"do_rotary": 1}, "rotary positions"),
        ([*PLAIN, "", "", "", "", "sink"], {}, "a sink that takes a share"),
        (PLAIN, {"smooth_softmax": 1}, "smooth_softmax"),
        (["q", "", "", "", "", "last", "total"], {}, "packed queries"),
    ],
)
def test_another_form_of_the_operator_is_refused_by_name(
    tmp_path: Path, inputs: list[str], attributes: dict[str, int], named: str
) -> None:
    path = tmp_path / "graph.onnx"
    attention_graph(path, inputs, **attributes)
    graph = GraphFile(path=path, precision=Precision.FP32)
    with pytest.raises(ProviderError, match=rf"GroupQueryAttention with {named}"):
        open_session(graph, OPENVINO, threads=1)


def batch_of(lengths: list[int], *, left: bool) -> TokenBatch:
    drawn = np.random.default_rng(sum(lengths))
    rows = [Tokens(ids=tuple(drawn.integers(7, 250, n).tolist()), counted=0) for n in lengths]
    return pad(rows, pad_id=0, left=left)


def cosines(found: Floats, expected: Floats) -> Floats:
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    result: Floats = (found * expected).sum(axis=1) / lengths
    return result


def traced(folder: Path, family: str, *, prompt: str = "", external_above: int = 2**20) -> Path:
    """Write a seeded decoder's graph, for texts behind a prompt if there is one."""
    said = Choices(
        attention=Attention.CAUSAL, pooling=Pooling.LAST, query_prompt=f"{prompt}{{text}}"
    )
    encoder = TorchEncoder.from_pretrained(save_model(folder / "model", family), choices=said)
    path = folder / "graph.onnx"
    trace(encoder.model, path, external_above=external_above)
    encoder.close()
    return path


def assert_agrees_with_onnx_runtime(path: Path) -> None:
    """Compare after batches of every kind, padded on either side, in one session."""
    exact = Session(path, CPU, threads=1)
    for precision in (Precision.FP32, Precision.BF16) if HAS_BF16 else (Precision.FP32,):
        session = open_session(GraphFile(path=path, precision=precision), OPENVINO, threads=1)
        gate = 0.99999 if precision is Precision.FP32 else 0.995
        for lengths in LENGTHS:
            for left in (False, True):
                batch = batch_of(lengths, left=left)
                worst = cosines(session.run(batch), exact.run(batch)).min()
                assert worst > gate, (lengths, left, precision)


def unless_quick(family: str) -> object:
    """Return a parameter that only `make test-slow` runs unless it has windows in some layers."""
    return pytest.param(family, marks=[] if family == "gemma3_text" else [pytest.mark.slow])


@pytest.mark.parametrize("family", list(map(unless_quick, traced_as(Operator.GROUP_QUERY))))
def test_a_decoder_gives_the_vectors_of_onnx_runtime_after_any_batch(
    tmp_path: Path, family: str
) -> None:
    assert_agrees_with_onnx_runtime(traced(tmp_path, family))


@pytest.mark.parametrize("external_above", [2**20, 0], ids=["one file", "weights in a second"])
def test_a_graph_that_takes_prompts_runs_on_whole_rows(tmp_path: Path, external_above: int) -> None:
    path = traced(tmp_path, "qwen3", prompt="find: ", external_above=external_above)
    assert len(read_onnx_file(path).external) == (external_above == 0)
    assert Session(path, CPU, threads=1).takes_prompts
    before = path.read_bytes()
    session = open_session(GraphFile(path=path, precision=Precision.FP32), OPENVINO, threads=1)
    assert not session.takes_prompts
    assert session.inputs == ["input_ids", "attention_mask"]
    assert session.outputs == ["sentence_embedding"]
    assert path.read_bytes() == before
    assert_agrees_with_onnx_runtime(path)


def test_what_is_left_of_a_file_without_defaults_is_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    attention_graph(path, SUNK)
    assert without_defaults(path, ["prompt_states"]) is None
    expected = onnx.load(path)
    kept = [tensor for tensor in expected.graph.initializer if tensor.name not in ("sink", "axis")]
    del expected.graph.initializer[:]
    expected.graph.initializer.extend(kept)
    shortened = without_defaults(path, ["sink", "axis"])
    assert shortened is not None
    assert onnx.load_from_string(shortened) == expected


@pytest.mark.slow
def test_a_decoder_is_certified_in_each_precision_of_this_processor(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    choices = Choices(attention=Attention.CAUSAL, pooling=Pooling.LAST, max_tokens=LONGEST)
    export(save_model(tmp_path / "model", "qwen3"), bundle, choices=choices)
    verify(bundle, provider="openvino", precision="fp32")
    load(bundle, provider="openvino", precision="fp32").close()
    entry = Bundle.open(bundle).entry(Precision.FP32, OPENVINO, graph=Precision.FP32)
    assert isinstance(entry, CertificateEntry)
    assert entry.worst_cosine > 0.99999
    assert entry.batch_invariance > 0.99999
