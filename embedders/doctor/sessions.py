"""Which execution providers really run, why the others do not, and where a bundle's nodes land.

Providers are judged by a session that ran, not by the list that ONNX Runtime was built with.
"""

from __future__ import annotations

import base64
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..bundle.bundle import Bundle
from ..bundle.precision import Precision
from ..distribution import install_command
from ..errors import BundleError, ProviderError
from ..onnx.choose_graph import rank_choices
from ..onnx.providers.machine import unsupported
from ..onnx.providers.table import Provider, Source, find_provider
from ..onnx.session import installed_providers, placement
from ..recipe.prompt import Role
from ..tokens.batching import pad
from ..tokens.rows import TokenBatch
from .findings import Finding, Health, good, note, problem
from .shared_libraries import missing_libraries

_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
_REMOTE = "AzureExecutionProvider"  # calls a service elsewhere and runs nothing here
_DRIVER = "libcuda.so.1"
# sentence_embedding = x @ x with x = float(input_ids), 2 by 2: made with onnx.helper, opset 13.
_GRAPH = base64.b64decode(
    "CAgSADqLAQofCglpbnB1dF9pZHMSAXgiBENhc3QqCQoCdG8YAaABAgoiCgF4CgF4EhJzZW50ZW5jZV9lbWJlZGRpbm"
    "ciBk1hdE11bBIBZ1obCglpbnB1dF9pZHMSDgoMCAcSCAoCCAIKAggCYiQKEnNlbnRlbmNlX2VtYmVkZGluZxIOCgwI"
    "ARIICgIIAgoCCAJCBAoAEA0="
)
_TEXT = "Bread rises because yeast turns sugar into carbon dioxide."


def check_sessions(bundle: Path | None) -> Iterator[Finding]:
    """Try every installed provider, then each graph of a bundle on those that run."""
    providers = [_provider(name) for name in installed_providers() if name != _REMOTE]
    yield from providers
    if Path("/dev/nvidia0").exists() and _CUDA not in [item.name for item in providers]:
        yield note(
            "provider",
            _CUDA,
            "there is an NVIDIA GPU, and the installed ONNX Runtime cannot use it",
            f"pip uninstall -y onnxruntime && {install_command('gpu')}",
        )
    if bundle is not None:
        yield from _bundle(bundle, [p.name for p in providers if p.health is Health.GOOD])


def _provider(name: str) -> Finding:
    """Run a tiny graph on a provider."""
    ones = np.ones((2, 2), np.int64)
    batch = TokenBatch(input_ids=ones, attention_mask=ones, pooling_mask=ones)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(_GRAPH)
        try:
            ran = placement(path, name, batch)
        except Exception as error:  # noqa: BLE001 - running raises ONNX Runtime's own kinds
            return _broken(name, _reason(error))
    if name not in ran:
        return _broken(name, f"a session opens, but its nodes run on {', '.join(ran)}")
    return good("provider", name, "opens a session and runs")


def _broken(name: str, reason: str) -> Finding:
    """Return why a provider does not run; missing libraries are the clearest reason."""
    row = find_provider(name)
    if row.source is Source.RUNTIME and not row.is_cpu:
        # Its package brings this device's code whether or not there is such a device.
        return note("provider", name, reason)
    if row.source is not Source.BUILD:
        return problem("provider", name, reason, f"{row.advice}; or do without it")
    missing = missing_libraries(_library(name))
    detail = f"does not start: cannot load {', '.join(missing)}" if missing else reason
    if name == _TENSORRT:
        # onnxruntime-gpu lists it whether or not its libraries are there, so this is no problem.
        return note("provider", name, detail, "only if you want TensorRT: pip install tensorrt")
    if name != _CUDA:
        return problem("provider", name, detail)
    steps = ["pip install 'onnxruntime-gpu[cuda,cudnn]'"] if set(missing) - {_DRIVER} else []
    if _DRIVER in missing:
        steps.append(f"{_DRIVER} comes with the NVIDIA driver")
    advice = "; ".join(steps or ["check the GPU and its driver with nvidia-smi"])
    return problem("provider", name, detail, f"{advice}; or use --provider cpu")


def _library(provider: str) -> Path:
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None, "onnx_session has imported it"
    assert spec.origin is not None
    short = provider.removesuffix("ExecutionProvider").lower()
    return Path(spec.origin).parent / "capi" / f"libonnxruntime_providers_{short}.so"


def _bundle(folder: Path, providers: list[str]) -> Iterator[Finding]:
    """Check a bundle's files, then each graph on each provider."""
    try:
        bundle = Bundle.open(folder)
        rows = bundle.tokenizer()([_TEXT], role=Role.PASSAGE)
        bundle.certificate()
    except BundleError as error:
        yield problem("bundle", "files", str(error))
        return
    manifest = bundle.manifest
    detail = f"{len(manifest.files)} files are whole and the tokenizer gives its golden ids"
    yield good("bundle", "files", detail)
    batch = pad(rows, pad_id=manifest.pad_id)
    rows_of_table = [find_provider(name) for name in providers]
    for precision in sorted(Precision):
        for row in rows_of_table:
            graph = row.graph_of(precision)
            if graph not in manifest.graphs:
                continue
            if reason := unsupported(row, precision):
                yield note("bundle", f"{precision} on {row.full_name}", reason)
                continue
            yield _nodes(bundle.graph(graph), precision, row.full_name, batch)
            yield _certified(bundle, precision, row)
    yield from _chosen(bundle)


def _chosen(bundle: Bundle) -> Iterator[Finding]:
    """Yield what ``load`` takes here and why, what it does not take, and what may be faster."""
    try:
        choice = rank_choices(bundle).choices[0]
    except (BundleError, ProviderError) as error:
        yield problem("bundle", "auto", str(error))
        return
    yield good("bundle", "auto", f"load takes {choice}")
    for one in choice.rejected:
        yield note("bundle", f"auto, not {one.precision} on {one.provider}", one.reason)
    if choice.advice:
        detail, _, command = choice.advice.partition(": ")
        yield note("bundle", "auto, faster", detail, command)


def _nodes(path: Path, precision: str, provider: str, batch: TokenBatch) -> Finding:
    """Return a finding with the operators that the provider left to another provider."""
    name = f"{precision} on {provider}"
    try:
        ran = placement(path, provider, batch)
    except Exception as error:  # noqa: BLE001 - running raises ONNX Runtime's own kinds
        return problem("bundle", name, _reason(error))
    total = sum(count.total() for count in ran.values())
    fallen = [
        f"{operator} ×{times}"
        for other, count in ran.items()
        if other != provider
        for operator, times in count.most_common()
    ]
    if not fallen:
        return good("bundle", name, f"runs all {total} nodes")
    own = ran[provider].total() if provider in ran else 0
    detail = f"runs {own} of {total} nodes; these fell back to the CPU: {', '.join(fallen)}"
    return note("bundle", name, detail)


def _certified(bundle: Bundle, precision: Precision, row: Provider) -> Finding:
    provider = row.full_name
    entry = bundle.entry(precision, provider, graph=row.graph_of(precision))
    name = f"{precision} certificate on {provider}"
    verify = f"decant verify {bundle.folder} --provider {provider}"
    if entry is None:
        return note("bundle", name, "there is none", verify)
    if not entry.passed:
        return problem("bundle", name, f"failed: {entry.failures}", verify)
    return good("bundle", name, "passed")


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
