"""``decant doctor``: what it finds on this machine, and what it would find on a broken one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders.doctor import Diagnosis, Finding, Health, diagnose
from decant.embedders.doctor.sessions import _broken, _provider
from decant.embedders.doctor.shared_libraries import missing_libraries, needed_libraries
from repository import EXTRAS

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes a distribution look installed."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-9.9.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")

    return install


def test_this_machine_is_described_and_the_cpu_runs(decant: Decant) -> None:
    ran = decant("doctor")
    for shown in ("python", "onnxruntime", "CPUExecutionProvider", "qdrant-edge-py", "langchain"):
        assert shown in ran.out
    cpu = only(diagnose(), "CPUExecutionProvider")
    assert cpu.health is Health.GOOD


def test_a_bundle_is_run_on_every_provider_and_its_nodes_are_counted(
    decant: Decant, tiny_bundle: Path
) -> None:
    found = decant("doctor", tiny_bundle, "--json").json["findings"]
    assert isinstance(found, list)
    by_name = {item["name"]: item for item in found}
    assert by_name["files"]["health"] == "good"
    assert by_name["fp32 on CPUExecutionProvider"]["detail"].startswith("runs all ")
    assert by_name["fp32 certificate on CPUExecutionProvider"]["detail"] == "passed"
    assert by_name["auto"]["detail"].startswith("load takes fp32 on CPUExecutionProvider: ")
    assert by_name["auto, not bf16 on OpenVINO"]["health"] == "note"


def test_a_damaged_bundle_is_a_problem_and_told_by_the_exit_code(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))
    (bundle / "config.json").write_text("{}")
    ran = decant("doctor", bundle)
    assert ran.code == Exit.FINDING
    assert "problem" in ran.out
    assert "1 problem" in ran.err
    assert "config.json was altered" in only(diagnose(bundle), "files").detail


def test_a_bundle_that_is_not_certified_here_is_a_note_with_the_command(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))
    certificate = json.loads((bundle / "certificate.json").read_text())
    certificate["entries"] = []
    (bundle / "certificate.json").write_text(json.dumps(certificate))
    found = only(diagnose(bundle), "fp32 certificate on CPUExecutionProvider")
    assert found.health is Health.NOTE
    assert found.advice == f"decant verify {bundle} --provider CPUExecutionProvider"


def test_a_failed_certificate_is_a_problem(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))
    certificate = json.loads((bundle / "certificate.json").read_text())
    check = certificate["entries"][0]["checks"][0]
    check["passed"], check["finding"] = False, "one weight differs"
    (bundle / "certificate.json").write_text(json.dumps(certificate))
    found = only(diagnose(bundle), "fp32 certificate on CPUExecutionProvider")
    assert found.health is Health.PROBLEM
    assert "one weight differs" in found.detail


def test_two_builds_of_onnxruntime_are_a_problem_with_the_pip_lines(
    installed: Callable[[str], None],
) -> None:
    present = [name for name in ("onnxruntime", "onnxruntime-gpu") if has(diagnose(), name)]
    installed("onnxruntime-gpu" if present == ["onnxruntime"] else "onnxruntime")
    found = only(diagnose(), "conflict")
    assert found.health is Health.PROBLEM
    assert found.advice == (
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'decant-qdrant[gpu]'"
    )


def test_without_onnxruntime_the_pip_line_is_said_and_the_rest_still_looked_at(
    decant: Decant,
) -> None:
    ran = decant.without("onnxruntime", "doctor", "--json")
    assert ran.code == Exit.FINDING
    findings = ran.json["findings"]
    assert isinstance(findings, list)
    (found,) = [item for item in findings if item["health"] == "problem"]
    assert "pip install 'decant-qdrant[cpu]'" in found["advice"]
    assert {item["topic"] for item in findings} >= {"system", "store", "extra"}


def test_a_provider_that_is_not_there_does_not_count_as_running() -> None:
    found = _provider("MIGraphXExecutionProvider")
    assert found.health is Health.PROBLEM
    assert "not installed" in found.detail


def test_cuda_that_does_not_start_is_a_problem_and_tensorrt_only_a_note() -> None:
    assert _broken(CUDA, "it does not start").health is Health.PROBLEM
    assert "nvidia-smi" in _broken(CUDA, "it does not start").advice
    assert _broken(TENSORRT, "it does not start").health is Health.NOTE


def test_every_extra_of_ours_is_looked_at_or_left_out_on_purpose() -> None:
    looked_at = {item.name for item in diagnose().findings if item.topic == "extra"}
    left_out = {"cpu", "gpu", "webgpu", "quickstart", "peers", "test", "dev", "docs-site"}
    assert looked_at | left_out == EXTRAS


def test_an_incomplete_extra_is_a_note_with_the_pip_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from decant.embedders.doctor import diagnosis as doctor

    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else "99")
    (found,) = [item for item in doctor._extras() if item.name == "export"]
    assert found.health is Health.NOTE
    assert found.detail == "not installed (no torch)"
    assert found.advice == "pip install 'decant-qdrant[export]'"


def test_an_extra_needs_what_the_extras_in_it_need(monkeypatch: pytest.MonkeyPatch) -> None:
    from decant.embedders.doctor import diagnosis as doctor

    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "onnx-ir" else "99")
    incomplete = {item.name for item in doctor._extras() if item.health is Health.NOTE}
    assert {"onnx", "export", "training"} <= incomplete
    assert "docs" not in incomplete


@pytest.mark.parametrize(
    ("name", "finding", "health", "advice"),
    [
        ("numpy", "numpy", Health.PROBLEM, r"pip install 'numpy>=.+'"),
        ("onnxruntime", "onnxruntime", Health.PROBLEM, r"pip install 'onnxruntime>=.+'"),
        ("transformers", "export", Health.NOTE, r"pip install 'decant-qdrant\[export\]'"),
    ],
)
def test_what_is_too_old_is_named_with_the_pip_line(
    name: str, finding: str, health: Health, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decant.embedders.doctor import diagnosis as doctor

    monkeypatch.setattr(doctor, "_version", lambda other: "0.9" if other == name else "99")
    looked = (*doctor._base(), *doctor._runtimes(), *doctor._extras())
    (found,) = [item for item in looked if item.name == finding and item.topic != "store"]
    assert found.health is health
    assert f"{name} is 0.9" in found.detail
    assert re.fullmatch(advice, found.advice)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    real = library()
    needed = needed_libraries(real)
    assert "libc.so.6" in needed
    assert missing_libraries(real) == []
    altered = tmp_path / "altered.so"
    altered.write_bytes(real.read_bytes().replace(b"libc.so.6\0", b"libq.so.6\0"))
    assert missing_libraries(altered) == ["libq.so.6"]
    assert len(needed_libraries(altered)) == len(needed)


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n" * 20, b"\x7fELF\x01\x01" + bytes(200)])
def test_what_is_no_64_bit_library_needs_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.so"
    file.write_bytes(content)
    assert needed_libraries(file) == []
    assert needed_libraries(tmp_path / "nowhere.so") == []


def library() -> Path:
    """Return a small compiled module that is here for certain."""
    module = np.linalg._umath_linalg.__file__
    return Path(module)


def only(diagnosis: Diagnosis, name: str) -> Finding:
    """Return the one finding of this name."""
    (found,) = [item for item in diagnosis.findings if item.name == name]
    return found


def has(diagnosis: Diagnosis, name: str) -> bool:
    """Return whether something of this name was found."""
    return any(item.name == name for item in diagnosis.findings)
