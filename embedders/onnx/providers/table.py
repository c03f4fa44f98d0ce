"""The table of execution providers: what each needs, and how decant uses it.

Everything that asks about a provider reads this table: sessions, ``load``, ``verify``, ``tune``,
``doctor``. A new provider is a row, and a function where it has options of its own. ONNX Runtime is
not imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ...bundle.onnx_file import read_onnx_file
from ...bundle.precision import Precision
from ...distribution import install_command
from ...errors import ProviderError

CPU: Final = "CPUExecutionProvider"
OPENVINO: Final = "OpenVINO"
UNPADDED: Final = "decant.one.int64"
"""The scalar of a graph from which the least value of a mask is that of a batch without padding.

It is 1. With 2 every batch counts as padded, and attention is plain operators, not a fused one
(``decant.export.trace.multi_head_attention``).
"""
_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"

Options = Callable[[Path, int], dict[str, str]]
"""Returns a provider's options for the file of a graph and the number of a device."""

# Measured: the fused kernels take longer than what they fuse, that of SkipLayerNormalization three
# times as long (experiments/log/2026-11-20-skip-layer-normalization.md), that of BiasGelu a fifth
# longer (experiments/log/2026-11-28-decoder-norms-rotary-last-layer.md).
SLOW_ON_CPU: Final = ("SkipLayerNormFusion", "BiasGeluFusion")
"""Fusions that are switched off on the CPU."""

# Fastest first, as measured on batches (experiments/log/2026-11-28-w4-gptq-and-fused-biases.md).
# The CPU has no product of bfloat16.
_ON_CPU = (Precision.INT8, Precision.FP32, Precision.W8, Precision.W4, Precision.FP16)
_ON_GPU = (
    Precision.FP16,
    Precision.BF16,
    Precision.FP32,
    Precision.W8,
    Precision.W4,
    Precision.INT8,
)


# As measured (experiments/log/2026-11-30-openvino-decoders-and-int8.md).
_IN_OPENVINO = (
    Precision.INT8,
    Precision.BF16,
    Precision.FP32,
    Precision.W8,
    Precision.W4,
    Precision.FP16,
)
# What `auto` may take on the processor, fastest first where nothing was measured on this machine.
# int8 comes first because somebody exported it for its speed; bf16 of OpenVINO needs no file and
# was 1.68 times as fast as fp32, whose speed is that of OpenVINO's float32
# (experiments/log/2026-11-30-openvino-on-a-quiet-machine.md).
ON_THE_PROCESSOR: Final = (
    (CPU, Precision.INT8),
    (OPENVINO, Precision.INT8),
    (OPENVINO, Precision.BF16),
    (CPU, Precision.FP32),
    (OPENVINO, Precision.FP32),
    (CPU, Precision.W8),
    (OPENVINO, Precision.W8),
    (CPU, Precision.W4),
    (OPENVINO, Precision.W4),
    (CPU, Precision.FP16),
    (OPENVINO, Precision.FP16),
)
# The processor features, as Linux names them, of which one multiplies in bfloat16, and of which one
# adds products of eight bits in 32. Without the first the products would be emulated; without the
# second they may saturate (experiments/log/2026-11-30-int8-saturation-without-vnni.md).
_INSTRUCTIONS: Final = (
    (Precision.BF16, frozenset({"avx512_bf16", "amx_bf16"})),
    (Precision.INT8, frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})),
)


class Source(StrEnum):
    """Where a provider comes from.

    BUILD: a build of ONNX Runtime. PLUGIN: a library that ONNX Runtime loads. RUNTIME: another
    runtime, which opens the graph itself.
    """

    BUILD = "build"
    PLUGIN = "plugin"
    RUNTIME = "runtime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An execution provider.

    Args:
        name: What users call it.
        full_name: What ONNX Runtime and certificates call it.
        advice: The commands that install it.
        source: Where it comes from.
        package: The module of a plugin, which says where its library lies, or of a runtime; empty
            for a build.
        is_automatic: Whether ``auto`` tries it.
        fallbacks: The providers that run the nodes it does not take, by their full names; the CPU,
            which ONNX Runtime needs for the arithmetic of shapes, is always the last.
        precisions: What it runs, fastest first.
        refused: Precisions that it is known not to run, each with the reason.
        computed: Precisions that it computes from the float32 graph, with no graph of their own.
        instructions: Precisions with the processor's features of which one must be there; one that
            is not named needs none.
        device: The runtime's own name of its device; empty for ONNX Runtime.
        options: Its options.
        entries: Entries of a session's configuration for the file of a graph.
        slow_fusions: Fusions of ONNX Runtime that are switched off.
        constants: Integers of a graph that have another value on this provider, each with its
            name; a graph that lacks one is not changed.
        reports_nodes: Whether ONNX Runtime says which nodes it was given when a session opens.
        ignores_softcap: Whether its attention leaves out a cap of the scores (``softcap``, as Gemma
            2 has one), so that graphs with one are refused.
        binds_outputs_to: ONNX Runtime's name of its memory, where outputs are left there until they
            are asked for; empty where they are not.
        one_at_a_time: Whether only one thread of a process may use it at any time, in whatever
            session; where not, sessions run several batches at once.
        survives_fork: Whether a forked child can open a graph again.
        preloads: Whether its libraries are looked for in other packages first.
        certified_by: What certified it, with the target of make or the file of tests, or "nothing"
            and why.
    """

    name: str
    full_name: str
    advice: str
    source: Source = Source.BUILD
    package: str = ""
    is_automatic: bool = False
    fallbacks: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = _ON_GPU
    refused: tuple[tuple[Precision, str], ...] = ()
    computed: tuple[Precision, ...] = ()
    instructions: tuple[tuple[Precision, frozenset[str]], ...] = ()
    device: str = ""
    options: Options = lambda _path, _device: {}
    entries: Callable[[Path], dict[str, str]] = lambda _path: {}
    slow_fusions: tuple[str, ...] = ()
    constants: tuple[tuple[str, int], ...] = ()
    reports_nodes: bool = True
    ignores_softcap: bool = False
    binds_outputs_to: str = ""
    one_at_a_time: bool = False
    survives_fork: bool = True
    preloads: bool = False
    certified_by: str = "nothing: no machine with such a device was at hand"

    @property
    def is_cpu(self) -> bool:
        """Whether it runs on the processor, where small batches without padding are fastest."""
        return self.full_name in (CPU, OPENVINO)

    def graph_of(self, precision: Precision) -> Precision:
        """Return the precision of the graph that it opens to run a precision."""
        return Precision.FP32 if precision in self.computed else precision

    def runnable(self, graphs: Collection[str]) -> list[Precision]:
        """Return the precisions that it runs with a bundle's graphs, fastest first."""
        return [one for one in self.precisions if self.graph_of(one) in graphs]

    def session_options(self, path: Path, device: int) -> list[tuple[str, dict[str, str]]]:
        """Return the providers of a session with their options: this one, then its fallbacks."""
        rows = [self, *(find_provider(name) for name in self.fallbacks)]
        if self.full_name != CPU:
            rows.append(find_provider(CPU))
        return [(row.full_name, row.options(path, device)) for row in rows]


def _cuda(_: Path, device: int) -> dict[str, str]:
    # Grow the arena by the requested size, not by powers of two: shapes vary with every batch.
    return {"device_id": str(device), "arena_extend_strategy": "kSameAsRequested"}


def _tensorrt(path: Path, device: int) -> dict[str, str]:
    return {
        "device_id": str(device),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(path.parent / "tensorrt"),
    }


def _conjunctions_on_the_cpu(path: Path) -> dict[str, str]:
    """Leave the nodes that join masks to the CPU.

    WebGPU (1.27) takes a program that it made for masks of other shapes, also by another session
    (experiments/log/2026-11-30-webgpu-precisions-and-families.md).

    Raises:
        ProviderError: Such a node has no name by which it could be left to the CPU.
    """
    names = read_onnx_file(path).conjunctions if path.exists() else frozenset()
    if "" in names:
        raise ProviderError(
            f"{path} joins masks by a node without a name, which WebGPU would compute wrongly; "
            "give its nodes names, or pass provider='cpu'"
        )
    key = "ep.webgpuexecutionprovider.forceCpuNodeNames"
    return {key: "\n".join(sorted(names))} if names else {}


def _in_place_of_the_cpu_build(package: str) -> str:
    return f"pip uninstall -y onnxruntime; {package}"


_NO_NVIDIA = "nothing yet: `make test-gpu` waits for an NVIDIA GPU"

# In the order in which `auto` tries them. TensorRT builds an engine for minutes, so it runs only if
# it is asked for, and so does what is not certified by our own tests.
PROVIDERS: Final[tuple[Provider, ...]] = (
    Provider(
        name="cuda",
        full_name=_CUDA,
        advice=_in_place_of_the_cpu_build(install_command("gpu")),
        is_automatic=True,
        options=_cuda,
        binds_outputs_to="cuda",
        survives_fork=False,
        preloads=True,
        certified_by=_NO_NVIDIA,
    ),
    Provider(
        name="tensorrt",
        full_name=_TENSORRT,
        advice=_in_place_of_the_cpu_build(f"{install_command('gpu')} tensorrt"),
        # It does not know ONNX Runtime's own operators, such as GroupQueryAttention. CUDA does, and
        # runs these nodes; without CUDA they would run on the CPU.
        fallbacks=(_CUDA,),
        options=_tensorrt,
        binds_outputs_to="cuda",
        survives_fork=False,
        preloads=True,
        certified_by=_NO_NVIDIA,
    ),
    Provider(
        name="migraphx",
        full_name="MIGraphXExecutionProvider",
        advice=_in_place_of_the_cpu_build("pip install onnxruntime-migraphx"),
        is_automatic=True,
    ),
    Provider(
        name="rocm",
        full_name="ROCMExecutionProvider",
        advice=_in_place_of_the_cpu_build("pip install onnxruntime-rocm"),
        is_automatic=True,
    ),
    Provider(
        name="dml",
        full_name="DmlExecutionProvider",
        advice=_in_place_of_the_cpu_build("pip install onnxruntime-directml"),
        is_automatic=True,
    ),
    Provider(
        name="coreml",
        full_name="CoreMLExecutionProvider",
        advice="a build of onnxruntime for macOS",
    ),
    Provider(
        name="webgpu",
        full_name="WebGpuExecutionProvider",
        advice="pip install onnxruntime-ep-webgpu, or "
        + _in_place_of_the_cpu_build(install_command("webgpu")),
        source=Source.PLUGIN,
        package="onnxruntime_ep_webgpu",
        # No device but one in software was at hand to measure the order of their speeds.
        precisions=(Precision.FP16, Precision.FP32, Precision.W8, Precision.W4),
        refused=(
            (Precision.BF16, "WebGPU has no bfloat16"),
            (
                Precision.INT8,
                "it has no product of integers, and the CPU would run all linear layers",
            ),
        ),
        # Its fused attention (1.27) is wrong where subgroups have four lanes
        # (experiments/log/2026-11-30-webgpu-multi-head-attention.md).
        constants=((UNPADDED, 2),),
        entries=_conjunctions_on_the_cpu,
        # With 79 nodes on the device and 21 on the CPU, 1.27 reports the 21 alone.
        reports_nodes=False,
        # The program that runs in place of the fused one takes no cap (1.27; the same entry).
        ignores_softcap=True,
        binds_outputs_to="webgpu",
        # Its sessions share one queue of commands: "CommandEncoder is already finished" (1.27).
        one_at_a_time=True,
        survives_fork=False,
        certified_by="`make test-webgpu`, on a Vulkan device in software",
    ),
    Provider(
        name="openvino-ep",
        full_name="OpenVINOExecutionProvider",
        advice="pip install onnxruntime-ep-openvino",
        source=Source.PLUGIN,
        package="onnxruntime_ep_openvino",
        certified_by="nothing: it offers no device on AMD's processors, and no others were at hand",
    ),
    Provider(
        name="openvino",
        full_name=OPENVINO,
        advice=install_command("openvino"),
        source=Source.RUNTIME,
        package="openvino",
        device="CPU",
        precisions=_IN_OPENVINO,
        computed=(Precision.BF16,),
        instructions=_INSTRUCTIONS,
        certified_by="`tests/embedders/onnx/test_openvino.py`, where `openvino` is installed",
    ),
    Provider(
        name="openvino-gpu",
        full_name="OpenVINO-GPU",
        advice=install_command("openvino"),
        source=Source.RUNTIME,
        package="openvino",
        device="GPU",
        precisions=_IN_OPENVINO,
        survives_fork=False,
        certified_by="nothing: no GPU of Intel was at hand",
    ),
    Provider(
        name="cpu",
        full_name=CPU,
        advice=install_command("cpu"),
        is_automatic=True,
        precisions=_ON_CPU,
        slow_fusions=SLOW_ON_CPU,
        certified_by="every run of the tests, by `tests/export/test_precisions.py`",
    ),
)

_BY_NAME: Mapping[str, Provider] = {
    key: row for row in PROVIDERS for key in (row.name, row.full_name.lower())
}
_FULL = "ExecutionProvider"


def find_provider(name: str) -> Provider:
    """Return the provider with a short or a full name.

    A full name that is not in the table gets a plain row: there are builds of ONNX Runtime with
    providers of their own.

    Raises:
        ProviderError: There is none.

    >>> find_provider("cuda").full_name
    'CUDAExecutionProvider'
    """
    if (row := _BY_NAME.get(name.lower())) is not None:
        return row
    if not name.endswith(_FULL):
        known = ", ".join(sorted(one.name for one in PROVIDERS))
        raise ProviderError(f"no provider is called {name!r}; known are auto, {known}")
    return Provider(
        name=name.removesuffix(_FULL).lower(),
        full_name=name,
        advice="a build of onnxruntime that has it",
    )
