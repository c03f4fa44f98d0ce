"""All that is owed on a GPU in one call: its steps, budget, resuming and page, on a double."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import gpu_report
from bench.gpu.report.page import Report, page
from bench.gpu.report.placement import placed
from bench.gpu.report.plan import Wanted, choose, lacking, plan
from bench.gpu.report.steps import (
    Outcome,
    State,
    Step,
    carry_out,
    exit_code,
    log_of,
    run_process,
)
from bench.gpu.report.work import Record, Writer
from bench.gpu.shapes import SHAPES, Family
from bench.report import Figure, Findings, Row, Section, Target
from tiny_shapes import TINY

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def step(name: str, *, least: float = 5, missing: str = "") -> Step:
    return Step(name=name, title=f"does {name}", command=(name,), least=least, lacking=missing)


class Machine:
    """Runs steps on a clock of its own; each takes so many seconds and ends with an exit code."""

    def __init__(self, codes: Mapping[str, int | None], *, seconds: float = 10) -> None:
        self.codes, self.seconds = dict(codes), seconds
        self.now = 0.0
        self.ran: list[str] = []

    def __call__(self, it: Step, folder: Path, seconds: float) -> int | None:
        self.ran.append(it.name)
        self.now += min(self.seconds, seconds)
        log_of(it.name, folder).write_text(f"the end of {it.name}\n", encoding="utf-8")
        return self.codes.get(it.name, 0)

    def carry_out(self, steps: list[Step], folder: Path, *, seconds: float) -> dict[str, State]:
        found = carry_out(
            steps, folder, seconds=seconds, run=self, clock=lambda: self.now, on_step=str
        )
        return {outcome.step: outcome.state for outcome in found}


def test_a_step_that_fails_is_written_down_and_the_others_go_on(tmp_path: Path) -> None:
    machine = Machine({"b": 134})
    states = machine.carry_out([step(name) for name in "abc"], tmp_path, seconds=600)
    assert states == {"a": State.PASSED, "b": State.FAILED, "c": State.PASSED}
    held = json.loads((tmp_path / "steps" / "b.json").read_text("utf-8"))
    assert held["reason"] == "exit code 134: the end of b"
    assert held["seconds"] == 10


def test_a_budget_that_ends_leaves_the_rest_unfinished_and_says_what_they_need(
    tmp_path: Path,
) -> None:
    steps = [step("a"), step("b"), step("long", least=30), step("short")]
    machine = Machine({})
    states = machine.carry_out(steps, tmp_path, seconds=35)
    assert states == {
        "a": State.PASSED, "b": State.PASSED, "long": State.UNFINISHED, "short": State.PASSED,
    }  # fmt: skip
    held = json.loads((tmp_path / "steps" / "long.json").read_text("utf-8"))
    assert held["reason"] == "15 s were left, and it needs 30 s"


def test_a_step_is_stopped_where_the_budget_ends(tmp_path: Path) -> None:
    machine = Machine({"a": None}, seconds=10_000)
    assert machine.carry_out([step("a")], tmp_path, seconds=20) == {"a": State.FAILED}
    assert machine.now == 20
    held = json.loads((tmp_path / "steps" / "a.json").read_text("utf-8"))
    assert held["reason"].startswith("it was stopped after 20 s")


def test_resuming_runs_what_never_ran_then_what_failed_and_nothing_that_passed(
    tmp_path: Path,
) -> None:
    steps = [step("a"), step("b"), step("c"), step("d")]
    Machine({"a": 1}).carry_out(steps, tmp_path, seconds=25)
    machine = Machine({})
    states = machine.carry_out(steps, tmp_path, seconds=600)
    assert machine.ran == ["d", "a"]
    assert set(states.values()) == {State.PASSED}
    assert list(states) == ["a", "b", "c", "d"]


def test_a_failure_is_kept_where_there_is_no_time_to_run_it_again(tmp_path: Path) -> None:
    steps = [step("a"), step("b")]
    Machine({"a": 1}).carry_out(steps, tmp_path, seconds=600)
    states = Machine({}).carry_out(steps, tmp_path, seconds=1)
    assert states == {"a": State.FAILED, "b": State.PASSED}


def test_what_cannot_run_here_has_its_reason_and_is_no_failure(tmp_path: Path) -> None:
    machine = Machine({})
    states = machine.carry_out([step("a", missing="no TensorRT")], tmp_path, seconds=600)
    assert (states, machine.ran) == ({"a": State.LACKING}, [])


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ((State.PASSED, State.LACKING), 0),
        ((State.PASSED, State.UNFINISHED), 3),
        ((State.UNFINISHED, State.FAILED), 1),
    ],
)
def test_the_exit_code_says_whether_something_failed_or_is_left(
    states: tuple[State, ...], code: int
) -> None:
    outcomes = [Outcome(step="a", title="a", state=state, seconds=0) for state in states]
    assert exit_code(outcomes) == code


# --- processes


def python(name: str, code: str, *, output: str = "") -> Step:
    return Step(name=name, title=name, command=(sys.executable, "-c", code), output=output)


def ran(steps: list[Step], folder: Path) -> list[Outcome]:
    return carry_out(steps, folder, seconds=60, run=run_process, on_step=str)


def test_a_process_that_ends_itself_fails_its_step_alone(tmp_path: Path) -> None:
    first, second, third = ran(
        [
            python("aborts", "import os, sys; print('CUDA error'); sys.stdout.flush(); os.abort()"),
            python("prints", "print(7)", output="seven.txt"),
            Step(name="lost", title="lost", command=("no-such-program-anywhere",)),
        ],
        tmp_path,
    )
    assert (first.state, second.state, third.state) == (State.FAILED, State.PASSED, State.FAILED)
    assert "CUDA error" in first.reason
    assert "no-such-program-anywhere" in third.reason
    assert (tmp_path / "seven.txt").read_text("utf-8").strip() == "7"


def test_a_process_that_hangs_is_stopped(tmp_path: Path) -> None:
    log_of("hangs", tmp_path).parent.mkdir()
    hangs = python("hangs", "import threading; threading.Event().wait()")
    assert run_process(hangs, tmp_path, 0.2) is None


# --- the plan


def test_proofs_come_before_speeds_and_tensorrt_comes_last() -> None:
    steps = plan(Wanted(folder=Path("f"), provider="cuda", models=("minilm", "qwen3-0.6b", "x")))
    names = [it.name for it in steps]
    assert names[:5] == [
        "machine", "doctor", "cuda-minilm-certify", "tests", "cuda-qwen3-0.6b-certify",
    ]  # fmt: skip
    assert len(set(names)) == len(names)
    for model in ("minilm", "qwen3-0.6b", "x"):
        own = [names.index(f"cuda-{model}-{part}") for part in ("certify", "speed", "quantize")]
        assert own == sorted(own)
    assert all(name.startswith("tensorrt") for name in names[-4:])
    assert choose(steps, ["tests", "machine"]) == [steps[0], steps[3]]
    with pytest.raises(ValueError, match="no step is called lost; known are machine, doctor"):
        choose(steps, ["lost"])


def test_a_provider_that_is_not_built_in_is_lacking() -> None:
    assert lacking("cpu") == ""
    assert "built without" in lacking("coreml")


# --- where nodes ran


def test_arithmetic_of_shapes_may_stay_on_the_cpu_and_nothing_else() -> None:
    fine = placed({CUDA: {"MatMul": 80}, CPU: {"Shape": 2, "Concat": 1}}, CUDA)
    assert str(fine) == (
        "3 of 83 elsewhere (Shape ×2, Concat ×1); none of them computes on the CPU"
    )
    bad = placed({CUDA: {"MatMul": 80}, CPU: {"Shape": 2, "GroupQueryAttention": 6}}, CUDA)
    assert bad.computing == {"GroupQueryAttention": 6}
    assert str(bad).endswith("on the CPU compute: GroupQueryAttention ×6")
    assert str(placed({CUDA: {"MatMul": 80}}, CUDA)) == "all 80 there"


# --- the page


def test_what_a_part_had_found_before_an_error_stays(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "found" / "x.json")

    def run_out_of_memory() -> None:
        writer.add(note="one sentence")
        raise MemoryError("Failed to allocate memory")

    with writer.guard("fp16"):
        run_out_of_memory()
    with writer.guard("bf16"):
        writer.add(note="another")
    assert writer.record.notes == ("one sentence", "another")
    assert writer.record.errors == ("fp16: MemoryError: Failed to allocate memory",)
    assert json.loads((tmp_path / "found" / "x.json").read_text("utf-8"))["errors"]


def test_the_page_has_every_step_its_reason_and_its_tables() -> None:
    row = Row(
        name="decant bf16", settings="", chunks=2, tokens=200, chunks_per_second=1,
        tokens_per_second=123_456.7, chunks_per_cpu_second=1, our_speed_up=None, laps=(),
    )  # fmt: skip
    record = Record(
        findings=Findings(
            sections=(Section(title="MiniLM, 128 tokens", rows=(row,)),),
            figures=(Figure(name="one query, p50", value=1.25, unit="ms"),),
            targets=(
                Target(name="nodes", wanted=0, measured=2, unit="nodes", at_most=True),
                Target(name="share", wanted=60, measured=61, unit="%"),
            ),
        ),
        notes=("driver 595.1 | H200",),
        errors=("minilm fp16: OutOfMemoryError: full",),
    )
    outcomes = (
        Outcome(step="s", title="speed", state=State.FAILED, seconds=61.4, reason="x\n" * 400),
        Outcome(step="t", title="TensorRT", state=State.LACKING, seconds=0, reason="not built in"),
        Outcome(step="u", title="late", state=State.UNFINISHED, seconds=0, reason="no time"),
    )
    text = page(
        Report(
            date="2026-12-01T10:00:00+00:00", command="python benchmarks/gpu_report.py out",
            seed=3, outcomes=outcomes, records={"s": record},
        )
    )  # fmt: skip
    assert text.startswith("# 2026-12-01: what runs on this GPU, and how fast\n")
    assert "`python benchmarks/gpu_report.py out`, 2026-12-01T10:00:00+00:00, seed 3." in text
    assert "Of 3 steps 1 failed, 1 could not run here, 1 had no time left" in text
    assert "| TensorRT | lacking | 0 | not built in |" in text
    assert "| decant bf16 | 123,457 |" in text
    assert "| one query, p50 | 1.25 ms |" in text
    assert "| nodes | at most 0 nodes | 2 nodes | **no** |" in text
    assert "| share | at least 60 % | 61 % | yes |" in text
    assert "- minilm fp16: OutOfMemoryError: full" in text
    assert "- driver 595.1 \\| H200" in text
    assert max(map(len, text.splitlines())) < 400


# --- the command


class Double:
    """Does the parts of models in this process, and answers for doctor and the tests."""

    def __init__(self, *, tests: int) -> None:
        self.tests = tests
        self.ran: list[str] = []

    def __call__(self, it: Step, folder: Path, _seconds: float) -> int | None:
        self.ran.append(it.name)
        if it.name in ("doctor", "tests"):
            (folder / it.output).write_text("{}", encoding="utf-8")
            return self.tests if it.name == "tests" else 0
        return gpu_report.main(it.command[2:])


@pytest.fixture
def tiny(tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return options for the smallest run, in which the CPU stands for CUDA."""
    monkeypatch.setitem(SHAPES, "qwen3-tiny", TINY[Family.QWEN3])
    monkeypatch.setitem(SHAPES, "llama-1b", replace(TINY[Family.LLAMA], depth=2))
    return [
        "--provider", "cpu", "--lengths", "16,mixed", "--tokens", "300", "--rounds", "1",
        "--batches", "1", "--queries", "1", "--peak-size", "64", "--precisions", "fp32",
        "--dtypes", "float32", "--peers", "sdpa,eager", "--quantized", "int8",
        "--model", str(tiny_model), "--data", str(tiny_data),
    ]  # fmt: skip


def test_certificates_and_nodes_of_a_model_are_on_the_page(
    tiny: list[str], tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    double = Double(tests=1)
    steps = "machine,tests,cpu-minilm-certify,cpu-minilm-binding"
    only = ["--models", "minilm", "--bundle", str(tiny_bundle), "--only", steps]
    assert gpu_report.main([str(folder), *tiny, *only], run=double) == 1
    text = (folder / "report.md").read_text("utf-8")
    assert "Of 4 steps 3 passed, 1 failed." in text
    assert "| the tests that are marked gpu | failed |" in text
    assert "MiniLM fp32, failed checks of its certificate" in text
    assert "MiniLM fp32: all" in text
    assert "outputs not bound, p50" in text
    assert "onnxruntime" in text
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert [outcome["state"] for outcome in report["outcomes"]] == [
        "passed",
        "passed",
        "failed",
        "passed",
    ]

    assert gpu_report.main([str(folder), *tiny, *only]) == 2  # it would be overwritten
    again = Double(tests=0)
    assert gpu_report.main([str(folder), *tiny, *only, "--resume"], run=again) == 0
    assert again.ran == ["tests"]
    assert "Of 4 steps 4 passed." in (folder / "report.md").read_text("utf-8")


@pytest.mark.slow
def test_the_whole_report_is_made_on_the_double(tiny: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "report"
    double = Double(tests=0)
    arguments = [str(folder), *tiny, "--models", "minilm,qwen3-tiny,llama-1b", "--minutes", "60"]
    assert gpu_report.main([*arguments, "--prepare"]) == 0
    assert gpu_report.main(arguments, run=double) == 0
    assert len(double.ran) == len(set(double.ran)) == 15
    text = (folder / "report.md").read_text("utf-8")
    for words in (
        "### MiniLM, 16 tokens", "torch float32 eager, batch", "MiniLM int8, failed checks",
        "outputs not bound, p50", "one query of 16 tokens", "memory in use after the warm-up",
        "this onnxruntime was built without TensorrtExecutionProvider",
    ):  # fmt: skip
        assert words in text


def test_without_a_gpu_every_step_says_so_by_name(tiny: list[str], tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    folder = tmp_path / "report"
    there = ["--provider", "cuda", *tiny[2:], "--models", "llama-1b"]
    only = ["--only", "machine,cuda-llama-1b-certify,tensorrt-llama-1b-certify"]
    assert gpu_report.main([str(folder), *there, *only], run=Double(tests=0)) == 1
    text = (folder / "report.md").read_text("utf-8")
    assert "sees no NVIDIA GPU to compare CUDAExecutionProvider on" in text
    assert "| llama-1b on tensorrt: certificates and where nodes run | lacking |" in text


def test_a_step_that_is_not_known_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu_report.main([str(tmp_path / "report"), "--only", "nothing"]) == 2
    assert "no step is called nothing; known are machine, doctor" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
