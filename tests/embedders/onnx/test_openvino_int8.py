"""int8 on OpenVINO: its integers are those of ONNX Runtime, and its products are of integers."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from decant.embedders import Bundle, Precision, ProviderError, Role, load
from decant.embedders.onnx import GraphFile, Session, find_provider, open_session, unsupported
from decant.embedders.onnx.providers import machine
from decant.embedders.tokens import TokenBatch
from decant.export import convert, verify

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None, reason="no openvino here; pip install 'decant-qdrant[openvino]'"
)
CPU, OPENVINO = "CPUExecutionProvider", "OpenVINO"
TEXTS = [f"text number {number} " * (number % 9 + 1) for number in range(40)]
ROWS, WIDTH = 50, 16


def quantizing_graph(path: Path, *, zero: NDArray[np.generic], computed: bool) -> GraphFile:
    """Write a graph that rounds rows of a table to integers, with one step or with one a row."""
    drawn = np.random.default_rng(0)
    weights: dict[str, NDArray[np.generic]] = {
        "words": drawn.normal(size=(ROWS, WIDTH)).astype(np.float32),
        "flat": np.array([-1, WIDTH], np.int64),
        "step": np.array(0.02, np.float32),
        "zero": zero,
        "levels": np.array(100, np.float32),
        "axis": np.array([1], np.int64),
    }
    value = numpy_helper.from_array(zero.reshape(1), "value")
    rows = [
        helper.make_node("ReduceMax", ["rows", "axis"], ["largest"], keepdims=0),
        helper.make_node("Div", ["largest", "levels"], ["divided"]),
        helper.make_node("Abs", ["divided"], ["steps"]),
        helper.make_node("Shape", ["steps"], ["count"]),
        helper.make_node("ConstantOfShape", ["count"], ["zeros"], value=value),
        helper.make_node("QuantizeLinear", ["rows", "steps", "zeros"], ["whole"], axis=0),
    ]
    whole = helper.make_node("QuantizeLinear", ["rows", "step", "zero"], ["whole"])
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["states"]),
        helper.make_node("Reshape", ["states", "flat"], ["rows"]),
        *(rows if computed else [whole]),
        helper.make_node("Cast", ["whole"], ["sentence_embedding"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "T"])
    found = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes,
        "graph",
        [ids],
        [found],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return GraphFile(path=path, precision=Precision.FP32)  # which every processor runs


@pytest.mark.parametrize("computed", [False, True], ids=["one step", "a step for each row"])
@pytest.mark.parametrize("zero", [np.uint8(16), np.uint8(128), np.int8(0)])
def test_integers_are_those_of_onnx_runtime(
    tmp_path: Path, zero: np.uint8 | np.int8, *, computed: bool
) -> None:
    graph = quantizing_graph(tmp_path / "graph.onnx", zero=np.array(zero), computed=computed)
    session = open_session(graph, OPENVINO, threads=1)
    exact = Session(graph.path, CPU, threads=1)
    for shape in ((1, 1), (3, 7), (1, 33)):
        ids = np.random.default_rng(shape[1]).integers(0, ROWS, shape)
        batch = TokenBatch(input_ids=ids, attention_mask=ids, pooling_mask=ids)
        found, expected = session.run(batch), exact.run(batch)
        assert found.shape == expected.shape
        # A tie may fall to either side, by the last bit of the quotient.
        assert np.abs(found - expected).max() <= 1
        assert (found == expected).mean() > 0.99


def test_integers_of_another_width_are_refused_by_name(tmp_path: Path) -> None:
    graph = quantizing_graph(tmp_path / "graph.onnx", zero=np.array(np.uint16(9)), computed=False)
    with pytest.raises(ProviderError, match=r"QuantizeLinear-.*with integers of type"):
        open_session(graph, OPENVINO, threads=1)


@pytest.mark.skipif(
    bool(unsupported(find_provider("openvino"), Precision.INT8)), reason="no VNNI here"
)
def test_an_int8_bundle_is_certified_and_multiplies_integers(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    convert(folder, "int8")
    verify(folder, provider="openvino", precision="int8")
    with (
        load(folder, provider="openvino", precision="int8") as found,
        load(folder, provider="cpu", precision="int8") as expected,
    ):
        first = found.encode(TEXTS, role=Role.PASSAGE).dense
        second = expected.encode(TEXTS, role=Role.PASSAGE).dense
    assert (first * second).sum(axis=1).min() > 0.99
    graph = GraphFile(path=Bundle.open(folder).graph(Precision.INT8), precision=Precision.INT8)
    session = open_session(graph, OPENVINO, threads=1)
    compiled = session._running()  # type: ignore[attr-defined]  # OpenVINO's own account of it
    kinds = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    products = [
        str(kind["runtimePrecision"].value)
        for kind in kinds
        if str(kind["layerType"].value) == "FullyConnected"
    ]
    assert {"u8", "i8"} & set(products)


def test_without_the_instructions_int8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "processor_features", lambda: frozenset({"avx2", "avx512f"}))
    reason = unsupported(find_provider("openvino"), Precision.INT8)
    assert "none of amx_int8, avx512_vnni, avx_vnni" in reason
    assert unsupported(find_provider("cpu"), Precision.INT8) == ""
